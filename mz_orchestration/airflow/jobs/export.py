"""An export as a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self

from mz_orchestration.airflow.jobs.base import Job, Links, Listener, Outcome
from mz_orchestration.airflow.lineage import Dataset, files_dataset, materialize_dataset

if TYPE_CHECKING:
    from mz_orchestration.airflow.connections import Systems
    from mz_orchestration.exports.policy import ExportPolicy
    from mz_orchestration.exports.result import ExportResult
    from mz_orchestration.exports.spec import ExportSpec
    from mz_orchestration.objectstore.client import ObjectStore
    from mz_orchestration.runs.store import StoredRun

# By how much the clocks of a worker and a triggerer may differ.
_CLOCKS = timedelta(seconds=5)


@dataclass(frozen=True)
class ExportJob(Job):
    """Export, verify, and write the manifest.

    :param spec: fields of an ``ExportSpec``.
    :param run_key: names the logical run.
    :param policy: fields of an ``ExportPolicy``.
    :param materialize_conn_id: connection to Materialize.
    :param aws_conn_id: connection to the object store; None leaves it to boto3.
    """

    kind: ClassVar[str] = "export"

    spec: dict[str, Any]
    run_key: str
    policy: dict[str, Any] = field(default_factory=dict)
    materialize_conn_id: str = "materialize_default"
    aws_conn_id: str | None = "aws_default"

    def connections(self) -> Mapping[str, str | None]:
        """Materialize and the object store."""
        return {"materialize": self.materialize_conn_id, "aws": self.aws_conn_id}

    def check(self) -> None:
        """Find mistakes in the arguments."""
        self.export_spec()
        self._policy()

    def seconds(self) -> float:
        """The export's own deadline."""
        return self.export_spec().timeout

    def resumed(self, systems: Systems, since: datetime) -> Self:
        """Wait for the attempt that this try has begun."""
        if not self.began_since(systems.store(), since):
            return self
        return replace(self, policy=self._policy().for_own_attempt().model_dump(mode="json"))

    def began_since(self, store: ObjectStore, since: datetime) -> bool:
        """Whether there is an open attempt that began after a moment."""
        stored = self.stored(store)
        if stored is None or not stored.record.attempts:
            return False
        attempt = stored.record.attempts[-1]
        return attempt.open and attempt.started_at >= since - _CLOCKS

    def links(self, systems: Systems) -> Links:
        """Where the exports of this object lie, and Materialize's console."""
        from mz_orchestration.consoles import console_url, folder_url

        spec = self.export_spec()
        return {
            "MaterializeConsoleLink": console_url(systems.materialize, systems.console_url),
            "ExportFolderLink": folder_url(str(spec.base.child(f"{spec.folder_name}/")), systems.object_store),
        }

    async def carry_out(self, systems: Systems, listener: Listener) -> Outcome:
        """Export; a finished run is returned as it is."""
        result = await self.export(systems, systems.store(), listener)
        lineage = {"inputs": self.inputs(result, systems), "outputs": [files_dataset(result.manifest)]}
        return Outcome(result.to_metadata(), extra_of(result), self.result_links(result, systems), lineage)

    async def export(self, systems: Systems, store: ObjectStore, listener: Listener) -> ExportResult:
        """The export alone, for jobs that go on with it."""
        from mz_orchestration.exports.export import arun_export

        return await arun_export(
            self.export_spec(),
            run_key=self.run_key,
            materialize=systems.materialize,
            store=store,
            policy=self._policy(),
            on_event=listener.on_event,
        )

    def cancel(self, systems: Systems, listener: Listener) -> list[str]:
        """Cancel the COPY, whoever began it."""
        from mz_orchestration.exports.handle import cancel_export, handles_of

        store = systems.store()
        stored = self.stored(store)
        if stored is None or stored.record.manifest is not None or not stored.record.attempts:
            return []
        handle = handles_of(stored.record)[-1]
        stopped = cancel_export(handle, materialize=systems.materialize, store=store, on_event=listener.on_event)
        return [f"the COPY to {handle.path}"] if stopped else []

    def stored(self, store: ObjectStore) -> StoredRun | None:
        """The run's record."""
        from mz_orchestration.runs.store import RunStore

        spec = self.export_spec()
        return RunStore(store, spec.base).find(spec.folder_name, self.run_key)

    def export_spec(self) -> ExportSpec:
        """What is exported, validated."""
        from mz_orchestration.exports.spec import export_spec

        return export_spec(**self.spec)

    def _policy(self) -> ExportPolicy:
        from mz_orchestration.exports.policy import ExportPolicy
        from mz_orchestration.validation import validated

        return validated(ExportPolicy, **self.policy)

    def inputs(self, result: ExportResult, systems: Systems) -> list[Dataset]:
        """What was read, in OpenLineage's names."""
        return materialize_dataset(result.manifest, self.spec.get("query"), systems)

    def result_links(self, result: ExportResult, systems: Systems) -> Links:
        """Where the files of this run lie."""
        from mz_orchestration.consoles import folder_url

        return {"ExportFolderLink": folder_url(result.manifest.path, systems.object_store)}


def extra_of(result: ExportResult) -> dict[str, Any]:
    """What an asset event tells of an export: where it is, of when, and how much."""
    told = ("manifest", "run_key", "object", "path", "format", "rows", "files", "bytes", "timestamp")
    metadata = result.to_metadata()
    return {name: metadata[name] for name in told if name in metadata}
