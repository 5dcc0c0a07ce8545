"""The sensor for exports that are made elsewhere: by cron, by Airflow, by a person.

A tick lists a folder once and hands the listing to `exports.watch.Arrivals`, which says what has newly completed; or
it reads the queue of the bucket's events. What has completed becomes a materialization of the export's asset, and the
loads that depend on it are requested. Nothing waits in between.
"""

# Annotations are not postponed: Dagster reads those of the function inside the builder as they are.
import re
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetsDefinition,
    AssetSelection,
    AssetSpec,
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from mz_orchestration.dagster.keys import asset_key
from mz_orchestration.dagster.metadata import data_version, export_metadata_of
from mz_orchestration.dagster.resources import BoundResources, ObjectStoreResource
from mz_orchestration.dagster.sensors.cursor import Cursor, read_cursor
from mz_orchestration.dagster.sensors.known import Known
from mz_orchestration.errors import ConfigurationError, NotFoundError, VerificationError

if TYPE_CHECKING:
    from mz_orchestration.exports.watch.arrival import Arrival
    from mz_orchestration.exports.watch.arrivals import ArrivalPolicy
    from mz_orchestration.objectstore.client import ObjectInfo, ObjectStore
    from mz_orchestration.objectstore.location import Location

EXPORT_ID = "materialize/export_id"
#: Seconds that a tick may take; Dagster cuts it off after 60.
BUDGET = 40.0

KeyOf = Callable[["Arrival"], AssetKey | None]


class CompletionCursor(Cursor):
    """Of the sensor that lists.

    Attributes:
        folder: What it watches; the watermarks of another folder mean nothing here.
        watermark: Of exports by anybody.
        verified: Of exports of this package, which count once their manifest is there.
        pending: Exports that have completed and were not told of yet, for a tick has only so much time.
    """

    version: Literal[1] = 1
    folder: str
    watermark: dict[str, Any] | None = None
    verified: dict[str, Any] | None = None
    pending: tuple[dict[str, Any], ...] = ()


def build_export_completion_sensor(
    *,
    folder: str,
    name: str = "export_completion",
    loads: Sequence[AssetsDefinition | AssetSpec] = (),
    asset_key_of: KeyOf | None = None,
    require: Literal["manifest", "sentinel"] = "manifest",
    queue: str | None = None,
    object_store: ObjectStoreResource | None = None,
    settle: float = 5.0,
    abandoned_after: float = 24 * 3600.0,
    minimum_interval_seconds: int = 30,
    default_status: DefaultSensorStatus = DefaultSensorStatus.STOPPED,
    budget: float = BUDGET,
) -> SensorDefinition:
    """A sensor that tells of exports made elsewhere, and has them loaded.

    It needs the resource ``object_store`` (`ObjectStoreResource`). Each export that has completed since the tick before
    becomes a materialization of its asset, with the metadata of its manifest; the loads that depend on that asset are
    requested. What runs of this Dagster have exported is left to them. Exports that had completed before the first tick
    are not told of.

    Args:
        folder: ``s3://bucket/folder/``; everything below is watched.
        name: Of the sensor.
        loads: Assets to materialize when the export on which they depend has completed, from `build_load_asset`.
        asset_key_of: Says which asset an export is; None of one to be left out. By default, as exports are named that
            Dagster makes, ``exports/<schema>/<object>`` or ``exports/<name>``, and ``exports/<path below the folder>``
            for those of others.
        require: ``manifest``: exports of this package, once they are verified, which is what loads take.
            ``sentinel``: exports by other means, too; they count once the sentinel is gone and files are there.
        queue: URL of an SQS queue with the bucket's removal events, to read instead of listing the folder.
        object_store: Resource of this sensor's own, in place of the code location's.
        settle: Seconds between two equal looks at an export whose sentinel was never seen.
        abandoned_after: Seconds without a new file after which an export is not waited for any more.
        minimum_interval_seconds: Between two ticks.
        default_status: Whether it runs before somebody has started it.
        budget: Seconds a tick may take; what is left is told of by the next.

    Raises:
        ConfigurationError: An argument is wrong.
    """
    from mz_orchestration.exports.watch.arrivals import ArrivalPolicy
    from mz_orchestration.objectstore.location import parse_folder

    base = parse_folder(folder, field="folder")
    policy = ArrivalPolicy(require, settle, abandoned_after)
    if not 0 < budget <= BUDGET + 15:
        raise ConfigurationError(
            f"budget: {budget!r} is not between 0 and {BUDGET + 15:g} seconds.", hint="Dagster cuts ticks off after 60."
        )
    bound = BoundResources(object_store=object_store)
    specs = [spec for load in loads for spec in ([load] if isinstance(load, AssetSpec) else load.specs)]
    wanted = [spec.key for spec in specs]
    clients = _Clients()

    @sensor(
        name=name,
        description=f"Tells of exports below {base} that were made elsewhere.",
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        required_resource_keys=bound.keys({"object_store"}),
        target=AssetSelection.assets(*wanted) if wanted else None,
    )
    def completion(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        began = time.monotonic()
        resource = bound.resolved("object_store") or context.resources.object_store
        telling = _Telling(
            Known(context.instance), clients.of(resource), asset_key_of or default_asset_key, specs, began + budget
        )
        if queue is None:
            return _by_listing(context, telling, base, policy)
        from mz_orchestration.dagster.sensors.export_queue import by_queue

        return by_queue(context, telling, base, policy, queue, resource, hand_back=2 * minimum_interval_seconds)

    return completion


def default_asset_key(arrival: "Arrival") -> AssetKey:
    """The key of an export's asset as `DagsterMaterializeTranslator` makes it.

    Args:
        arrival: The export.
    """
    from mz_orchestration.materialize.names import parse_object_name

    # What could not stand in a path was replaced there, and told apart by a hash.
    plain = re.sub(r"-[0-9a-f]{8}$", "", arrival.export)
    try:
        return asset_key("exports", parse_object_name(plain))
    except ValueError:
        return asset_key("exports", tuple(part for part in plain.split("/") if part))


class _Clients:
    """The client of the last tick, as long as the settings are the same: making one takes longer than a tick."""

    def __init__(self) -> None:
        self._made: tuple[Any, ObjectStore] | None = None

    def of(self, resource: ObjectStoreResource) -> "ObjectStore":
        """A client with the settings of a resource."""
        settings = resource.store_config()
        if self._made is None or self._made[0] != settings:
            self._made = settings, resource.store()
        return self._made[1]


class _Telling:
    """Turns exports that have completed into events and requests, as long as there is time."""

    def __init__(
        self,
        known: Known,
        store: "ObjectStore",
        key_of: KeyOf,
        loads: Iterable[AssetSpec],
        until: float,
    ) -> None:
        self.known = known
        self.store = store
        self._key_of = key_of
        self._loads: dict[AssetKey, list[AssetKey]] = {}
        self._until = until
        self.events: list[AssetMaterialization] = []
        self._requests: dict[AssetKey, RunRequest] = {}
        for load in loads:
            for dep in load.deps:
                self._loads.setdefault(dep.asset_key, []).append(load.key)

    @property
    def time_is_up(self) -> bool:
        """Whether the rest is the next tick's."""
        return time.monotonic() >= self._until

    @property
    def requests(self) -> list[RunRequest]:
        """One run for each export that was told of: a load takes what its export wrote last."""
        return list(self._requests.values())

    def tell(self, arrival: "Arrival") -> bool:
        """Tell of an export, unless it is known.

        Returns:
            Whether it had been told of, or is not to be.
        """
        key, export_id = self._key_of(arrival), str(arrival.to_payload()["id"])
        if key is None:
            return True
        manifest = self._manifest(arrival)
        if manifest is not None and self.known.made_here(manifest.run_key):
            return True
        told = self.known.told(key, EXPORT_ID, export_id)
        if not told:
            metadata: dict[str, Any] = {EXPORT_ID: export_id, "materialize/sentinel_seen": arrival.sentinel_seen}
            if manifest is not None:
                metadata |= export_metadata_of(manifest)
            else:
                metadata |= {
                    "dagster/uri": str(arrival.folder),
                    "materialize/path": str(arrival.folder),
                    "materialize/files": arrival.files,
                    "materialize/bytes": arrival.bytes,
                }
            tags = {} if manifest is None else {"dagster/data_version": data_version(manifest).value}
            self.events.append(AssetMaterialization(key, metadata=metadata, tags=tags))
        if manifest is not None and (loads := self._loads.get(key)):
            # Whoever died between the two has told and not requested: run keys are Dagster's to compare.
            tags = {"materialize/export": str(arrival.folder)}
            self._requests[key] = RunRequest(run_key=export_id, asset_selection=loads, tags=tags)
        return told

    def _manifest(self, arrival: "Arrival") -> Any:
        if arrival.manifest is None:
            return None
        from mz_orchestration.exports.latest import open_manifest

        try:
            return open_manifest(self.store, arrival.manifest)
        except (NotFoundError, VerificationError):
            # Swept away meanwhile, or none of ours: an export of others.
            return None


def _by_listing(
    context: SensorEvaluationContext, telling: _Telling, base: "Location", policy: "ArrivalPolicy"
) -> SensorResult | SkipReason:
    from mz_orchestration.exports.watch.arrivals import Arrivals

    cursor = read_cursor(context, CompletionCursor)
    if cursor is not None and cursor.folder != str(base):
        context.log.warning(f"The cursor is that of {cursor.folder}: {base} is watched from now on.")
        cursor = None
    try:
        anybody = Arrivals(base, policy, cursor.watermark if cursor else None) if policy.require == "sentinel" else None
        verified = Arrivals(base, _with_manifest(policy), cursor.verified if cursor else None)
        waiting = [_arrival(each) for each in cursor.pending] if cursor else []
    except (ConfigurationError, KeyError, TypeError, ValueError) as error:
        context.log.warning(f"The cursor cannot be read, and the sensor begins anew: {error}")
        anybody = Arrivals(base, policy) if policy.require == "sentinel" else None
        verified, waiting, cursor = Arrivals(base, _with_manifest(policy)), [], None
    began = time.monotonic()
    objects = telling.store.list_objects(base)
    arrived = _arrived(objects, anybody, verified, time.monotonic() - began)
    pending = [*waiting, *sorted(arrived, key=lambda each: each.completed_at)]
    told = 0
    # One at least, however long the listing took.
    while pending and not (told and telling.time_is_up):
        telling.tell(pending.pop(0))
        told += 1
    text = CompletionCursor(
        folder=str(base),
        watermark=anybody.watermark if anybody else None,
        verified=verified.watermark,
        pending=tuple(_payload(each) for each in pending),
    ).model_dump_json()
    reason = f"{len(objects)} objects below {base}, no export has completed since the tick before."
    if cursor is None:
        reason = f"{len(objects)} objects below {base}: what completes from now on is told of."
    elif told:
        reason = f"{told} exports have completed; Dagster made them itself, or knew them."
    return SensorResult(
        asset_events=telling.events,
        run_requests=telling.requests,
        cursor=text,
        skip_reason=None if telling.events or telling.requests else reason,
    )


def _arrived(objects: "Sequence[ObjectInfo]", anybody: Any, verified: Any, took: float) -> "list[Arrival]":
    """What one listing says has completed: exports of ours with their manifest, of others without."""
    now = datetime.now(UTC)
    found: list[Arrival] = verified.look(objects, now, took)
    if anybody is not None:
        # Of our own exports the sentinel goes before they are verified, and perhaps they never are.
        found += [each for each in anybody.look(objects, now, took) if not is_ours(each)]
    return found


def is_ours(arrival: "Arrival") -> bool:
    """Whether a path is one that this package exports to.

    Args:
        arrival: The export.
    """
    from mz_orchestration.exports.paths import is_attempt_folder

    return is_attempt_folder(arrival.folder.name)


def _with_manifest(policy: "ArrivalPolicy") -> "ArrivalPolicy":
    from dataclasses import replace

    return replace(policy, require="manifest")


def _payload(arrival: "Arrival") -> dict[str, Any]:
    return {**arrival.to_payload(), "number": arrival.number}


def _arrival(payload: dict[str, Any]) -> "Arrival":
    from mz_orchestration.exports.watch.arrival import Arrival
    from mz_orchestration.objectstore.location import parse_location

    manifest = payload["manifest"]
    return Arrival(
        folder=parse_location(str(payload["path"]), field="path"),
        export=str(payload["export"]),
        number=str(payload["number"]),
        files=int(payload["files"]),
        bytes=int(payload["bytes"]),
        manifest=None if manifest is None else parse_location(str(manifest), field="manifest"),
        sentinel_seen=bool(payload["sentinel_seen"]),
        completed_at=datetime.fromisoformat(str(payload["completed_at"])),
    )
