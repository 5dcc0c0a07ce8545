"""A load from a manifest as a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mz_orchestration.airflow.jobs.base import Job, Links, Listener, Outcome
from mz_orchestration.airflow.lineage import Dataset, files_dataset, table_dataset

if TYPE_CHECKING:
    from mz_orchestration.airflow.connections import Systems
    from mz_orchestration.objectstore.client import ObjectStore
    from mz_orchestration.runs.record import RunRecord
    from mz_orchestration.snowflake.job import Job as RunningLoad
    from mz_orchestration.snowflake.load import LoadResult
    from mz_orchestration.snowflake.spec import LoadSpec


@dataclass(frozen=True)
class LoadJob(Job):
    """Load what a manifest lists into a table, reconciled.

    :param spec: fields of a ``LoadSpec``.
    :param snowflake_conn_id: connection to Snowflake.
    :param aws_conn_id: connection to the object store; None leaves it to boto3.
    """

    kind: ClassVar[str] = "load"

    spec: dict[str, Any]
    snowflake_conn_id: str = "snowflake_default"
    aws_conn_id: str | None = "aws_default"

    def connections(self) -> Mapping[str, str | None]:
        """Snowflake and the object store."""
        return {"snowflake": self.snowflake_conn_id, "aws": self.aws_conn_id}

    def check(self) -> None:
        """Find mistakes in the arguments, and whether the connector is there."""
        from mz_orchestration.snowflake.session import require_connector

        self.load_spec()
        require_connector()

    def seconds(self) -> float:
        """Each of a load's long statements has the deadline; COPY INTO and the publish are two."""
        return 2 * self.load_spec().timeout

    async def carry_out(self, systems: Systems, listener: Listener) -> Outcome:
        """Load; what the table has had is returned as it is."""
        result = await self.load(systems, systems.store(), listener)
        lineage = {"inputs": [files_dataset(result.manifest)], "outputs": outputs(result, systems)}
        return Outcome(result.to_metadata(), extra_of(result), query_links(result.query_ids, systems), lineage)

    async def load(self, systems: Systems, store: ObjectStore, listener: Listener) -> LoadResult:
        """The load alone, for jobs that go on from an export."""
        from dataclasses import replace

        from mz_orchestration.flow import arun
        from mz_orchestration.snowflake.load import load_context, load_flow

        def tell(job: RunningLoad) -> None:
            if ids := (*job.entry.query_ids, *job.entry.publish_ids):
                listener.on_links(query_links(ids, systems))

        spec = self.load_spec()
        context = replace(load_context(spec, systems.snowflake, store, listener.on_event), on_job=tell)
        return await arun(load_flow(spec, context))

    def cancel(self, systems: Systems, listener: Listener) -> list[str]:
        """Abort the load's statement, whoever submitted it."""
        from mz_orchestration.errors import NotFoundError
        from mz_orchestration.exports.latest import open_manifest
        from mz_orchestration.objectstore.location import parse_folder, parse_location
        from mz_orchestration.runs.store import RunStore

        spec, store = self.load_spec(), systems.store()
        try:
            manifest = open_manifest(store, parse_location(spec.manifest, field="manifest"))
        except NotFoundError:
            return []
        stored = RunStore(store, parse_folder(manifest.base, field="base")).find(manifest.export, manifest.run_key)
        return [] if stored is None else self.cancel_in(stored.record, systems, store, listener)

    def cancel_in(self, record: RunRecord, systems: Systems, store: ObjectStore, listener: Listener) -> list[str]:
        """Abort the loads into this job's table that a run record tells of."""
        from mz_orchestration.snowflake.handle import cancel_load, load_handles
        from mz_orchestration.snowflake.quoting import parse_name

        wanted = parse_name(self.load_spec().table, field="table")
        return [
            f"the load into {handle.target}"
            for handle in load_handles(record)
            if parse_name(handle.target, field="target")[-len(wanted) :] == wanted
            and cancel_load(handle, snowflake=systems.snowflake, store=store, on_event=listener.on_event)
        ]

    def load_spec(self) -> LoadSpec:
        """What is loaded, validated."""
        from mz_orchestration.snowflake.spec import load_spec

        return load_spec(**self.spec)


def query_links(query_ids: tuple[str, ...], systems: Systems) -> Links:
    """Where Snowflake shows the last of some statements."""
    from mz_orchestration.consoles import query_url

    account = systems.snowflake.account if systems.snowflake is not None else None
    return {"SnowflakeQueryLink": query_url(query_ids[-1], account)} if query_ids else {}


def outputs(result: LoadResult, systems: Systems) -> list[Dataset]:
    """What was written, in OpenLineage's names."""
    return [] if result.superseded else table_dataset(result.target, result.rows, systems)


def extra_of(result: LoadResult) -> dict[str, Any]:
    """What an asset event tells of a load: which export is in the table now, and how much of it."""
    manifest = result.manifest
    extra = {
        "manifest": str(manifest.location),
        "run_key": manifest.run_key,
        "object": manifest.object,
        "path": manifest.path,
        "rows": result.rows,
        "files": len(manifest.files),
        "bytes": manifest.size,
        "timestamp": manifest.timestamp,
        "target": result.target,
        "superseded": int(result.superseded),
    }
    return {name: value for name, value in extra.items() if value is not None}
