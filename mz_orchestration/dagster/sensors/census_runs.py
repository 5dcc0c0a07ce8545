"""The sensor for runs of Census syncs that somebody else has started: Census' own schedule, or a person."""

# Annotations are not postponed: Dagster reads those of the function inside the builder as they are.
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Literal

from dagster import (
    AssetCheckEvaluation,
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    DefaultSensorStatus,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)
from pydantic import AwareDatetime, Field

from mz_orchestration.dagster.assets.checks import ACCEPTED
from mz_orchestration.dagster.errors import error_metadata
from mz_orchestration.dagster.keys import asset_key
from mz_orchestration.dagster.metadata import sync_metadata
from mz_orchestration.dagster.resources import BoundResources, CensusResource
from mz_orchestration.dagster.sensors.cursor import Cursor, read_cursor
from mz_orchestration.dagster.sensors.export_completion import BUDGET
from mz_orchestration.dagster.sensors.known import Known
from mz_orchestration.errors import ConfigurationError, RejectedRecordsError

if TYPE_CHECKING:
    from mz_orchestration.census.config import CensusConfig
    from mz_orchestration.census.models import SyncRun
    from mz_orchestration.census.spec import SyncSpec

RUN = "census/sync_run"
# Runs of one sync that a tick looks through at most, and that it remembers as a rule: less than a page.
_LOOKED_THROUGH = 500
_REMEMBERED = 20

Event = AssetMaterialization | AssetObservation | AssetCheckEvaluation


class SeenRuns(Cursor):
    """What is known of a sync.

    Attributes:
        since: Runs that were created before are of no interest.
        done: Ids of younger ones that were told of, or are not to be.
    """

    since: AwareDatetime | None = None
    done: tuple[str, ...] = ()


class RunsCursor(Cursor):
    """Of the sensor.

    Attributes:
        syncs: By id.
        first: The sync that the next tick looks at first, for a tick has only so much time.
    """

    version: Literal[1] = 1
    syncs: dict[str, SeenRuns] = Field(default_factory=dict)
    first: str = ""


def build_census_run_sensor(
    *,
    syncs: Sequence["str | int | SyncSpec"],
    name: str = "census_runs",
    asset_key_of: Callable[[str], AssetKey] | None = None,
    checks: bool = True,
    census: CensusResource | None = None,
    settle: float = 60.0,
    minimum_interval_seconds: int = 60,
    default_status: DefaultSensorStatus = DefaultSensorStatus.STOPPED,
    budget: float = BUDGET,
) -> SensorDefinition:
    """A sensor that tells how runs of syncs have ended.

    It needs the resource ``census`` (`CensusResource`). A run that has completed, with no more rejected or invalid
    records than may be, becomes a materialization of the sync's asset; one that failed, was cancelled or skipped, or
    lost too many records, an observation, never a materialization. Runs that steps of this Dagster have materialized
    are left to them. Runs that had ended before the first tick are not told of.

    Args:
        syncs: Their ids; or what `sync_spec` makes, for limits of rejected records.
        name: Of the sensor.
        asset_key_of: Says which asset a sync is; ``census/<id>`` by default.
        checks: Tell of the check ``records_accepted``, too, which `build_sync_asset` declares. Set it to False for
            assets that do not have it.
        census: Resource of this sensor's own, in place of the code location's.
        settle: Seconds since its end before a run is told of: a step of ours that waits for it tells first.
        minimum_interval_seconds: Between two ticks.
        default_status: Whether it runs before somebody has started it.
        budget: Seconds a tick may take; the syncs that are left are the next one's.

    Raises:
        ConfigurationError: A sync is named twice, or an argument is wrong.
    """
    from mz_orchestration.census.spec import SyncSpec, sync_spec

    specs = [each if isinstance(each, SyncSpec) else sync_spec(sync=each) for each in syncs]
    by_id = {spec.sync: spec for spec in specs}
    if not by_id or len(by_id) < len(specs):
        raise ConfigurationError("syncs: name one sync at least, and none twice.")
    key_of = asset_key_of or (lambda sync: asset_key("census", (sync,)))
    bound = BoundResources(census=census)

    @sensor(
        name=name,
        description=f"Tells how runs of {len(by_id)} Census syncs have ended.",
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        required_resource_keys=bound.keys({"census"}),
    )
    def runs(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        from mz_orchestration.census.client import CensusClient

        until = time.monotonic() + budget
        cursor = read_cursor(context, RunsCursor) or RunsCursor()
        known, events = Known(context.instance), list[Event]()
        seen = {sync: cursor.syncs[sync] for sync in by_id if sync in cursor.syncs}
        turns = _in_turn(list(by_id), cursor.first)
        first = turns[0]
        config = _config(bound.resolved("census") or context.resources.census)
        with CensusClient(config) as client:
            for number, sync in enumerate(turns):
                first = turns[(number + 1) % len(turns)]
                before = datetime.now(UTC) - timedelta(seconds=settle)
                ended, seen[sync] = newly_ended(client.runs(sync), seen.get(sync), before)
                for run in ended:
                    if not known.told(key_of(sync), RUN, run.id):
                        events += _told(run, by_id[sync], key_of(sync), config, checks)
                if time.monotonic() >= until:
                    break
        text = RunsCursor(syncs=seen, first=first).model_dump_json()
        reason = None if events else f"No run of {len(by_id)} syncs has ended that is not known."
        return SensorResult(asset_events=events, cursor=text, skip_reason=reason)

    return runs


def newly_ended(runs: "Iterable[SyncRun]", seen: SeenRuns | None, before: datetime) -> "tuple[list[SyncRun], SeenRuns]":
    """The runs of a sync that have ended since the look before, the oldest first, and what to remember: pure.

    Args:
        runs: From the newest on, as Census lists them; no more of them is read than is needed.
        seen: What the look before remembered; None at the first, which finds nothing.
        before: Runs that ended later than this are left to the next look.
    """
    from mz_orchestration.census.judge import RunState, state_of

    since = seen.since if seen else None
    done = set(seen.done) if seen else set()
    found: list[SyncRun] = []
    young: list[SyncRun] = []
    kept = _REMEMBERED
    for run in islice(runs, _LOOKED_THROUGH):
        if since is not None and run.created_at is not None and run.created_at < since:
            break
        young.append(run)
        ended_at = run.completed_at or run.updated_at
        is_fresh = seen is not None and ended_at is not None and ended_at > before
        if run.id in done:
            continue
        if state_of(run) is RunState.RUNNING or is_fresh:
            # Nothing that is still to be told of may fall out of sight.
            kept = max(kept, len(young))
            continue
        if seen is not None:
            found.append(run)
        done.add(run.id)
    moments = [run.created_at for run in young[:kept] if run.created_at is not None]
    ids = tuple(run.id for run in young[:kept] if run.id in done)
    return found[::-1], SeenRuns(since=min(moments, default=since), done=ids)


def _in_turn(syncs: list[str], first: str) -> list[str]:
    at = syncs.index(first) if first in syncs else 0
    return syncs[at:] + syncs[:at]


def _config(resource: CensusResource) -> "CensusConfig":
    from mz_orchestration.census.config import CensusConfig
    from mz_orchestration.dagster.resources import has_settings

    return resource.config() if has_settings(resource) else CensusConfig.from_environment()


def _told(run: "SyncRun", spec: "SyncSpec", key: AssetKey, config: "CensusConfig", checks: bool) -> list[Event]:
    from mz_orchestration.census.context import history_url
    from mz_orchestration.census.judge import verdict
    from mz_orchestration.census.sync import SyncResult

    url = history_url(config, spec.sync)
    told = SyncResult(spec.sync, run, attached=True, repeated=False, seconds=0.0, url=url).to_metadata()
    metadata = sync_metadata({name: value for name, value in told.items() if name not in ("seconds", "repeated")})
    error = verdict(run, spec, url)
    found: list[Event] = []
    if error is None:
        found.append(AssetMaterialization(key, metadata=metadata, tags={"dagster/data_version": run.id}))
    else:
        found.append(AssetObservation(key, description=str(error), metadata={**metadata, **error_metadata(error)}))
    if checks and (error is None or isinstance(error, RejectedRecordsError)):
        counts = {name: value for name, value in metadata.items() if name.startswith("census/records_")}
        text = None if error is None else str(error)
        check = AssetCheckEvaluation(key, ACCEPTED, error is None, metadata=counts, description=text, blocking=True)
        found.append(check)
    return found
