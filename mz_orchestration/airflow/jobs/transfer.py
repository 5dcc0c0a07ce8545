"""An export and the load of what it wrote, as one job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

from mz_orchestration.airflow.jobs import export as exports
from mz_orchestration.airflow.jobs import load as loads
from mz_orchestration.airflow.jobs.base import Job, Links, Listener, Outcome

if TYPE_CHECKING:
    from mz_orchestration.airflow.connections import Systems


@dataclass(frozen=True)
class TransferJob(Job):
    """Export, verify, load.

    :param export: the export.
    :param load: fields of a ``LoadSpec`` but for the manifest.
    :param snowflake_conn_id: connection to Snowflake.
    """

    kind: ClassVar[str] = "transfer"

    export: exports.ExportJob
    load: dict[str, Any]
    snowflake_conn_id: str = "snowflake_default"

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """The job of :meth:`to_dict`."""
        return super().from_fields({**fields, "export": exports.ExportJob.from_fields(fields["export"])})

    def connections(self) -> Mapping[str, str | None]:
        """Materialize, the object store and Snowflake."""
        return {**self.export.connections(), "snowflake": self.snowflake_conn_id}

    def check(self) -> None:
        """Find mistakes in both halves, so that one in the load does not cost an export."""
        self.export.check()
        self._load(self.export.export_spec().to).check()

    def seconds(self) -> float:
        """Both halves."""
        return self.export.seconds() + self._load(self.export.export_spec().to).seconds()

    def resumed(self, systems: Systems, since: datetime) -> Self:
        """Wait for the attempt at the export that this try has begun."""
        return replace(self, export=self.export.resumed(systems, since))

    def links(self, systems: Systems) -> Links:
        """Those of the export."""
        return self.export.links(systems)

    async def carry_out(self, systems: Systems, listener: Listener) -> Outcome:
        """Export, then load; what is finished of it is returned as it is."""
        if systems.snowflake is not None:
            systems.snowflake.connect_arguments()  # a mistake in them would cost an export
        store = systems.store()
        export = await self.export.export(systems, store, listener)
        links = self.export.result_links(export, systems)
        listener.on_links(links)
        load = await self._load(export.manifest_url).load(systems, store, listener)
        return Outcome(
            {"export": export.to_metadata(), "load": load.to_metadata()},
            exports.extra_of(export) | loads.extra_of(load),
            links | loads.query_links(load.query_ids, systems),
            {"inputs": self.export.inputs(export, systems), "outputs": loads.outputs(load, systems)},
        )

    def cancel(self, systems: Systems, listener: Listener) -> list[str]:
        """Cancel the COPY or abort the load, whoever began it."""
        stopped = self.export.cancel(systems, listener)
        store = systems.store()
        stored = self.export.stored(store)
        if stored is not None:
            load = self._load(self.export.export_spec().to)
            stopped += load.cancel_in(stored.record, systems, store, listener)
        return stopped

    def _load(self, manifest: str) -> loads.LoadJob:
        return loads.LoadJob({**self.load, "manifest": manifest}, self.snowflake_conn_id, self.export.aws_conn_id)
