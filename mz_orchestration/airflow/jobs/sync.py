"""A run of a Census sync as a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mz_orchestration.airflow.jobs.base import Job, Links, Listener, Outcome

if TYPE_CHECKING:
    from mz_orchestration.airflow.connections import Systems
    from mz_orchestration.census.spec import SyncSpec


@dataclass(frozen=True)
class SyncJob(Job):
    """Trigger a sync once and wait for its run.

    :param spec: fields of a ``SyncSpec``.
    :param run_key: names the logical run.
    :param at: folder of the object store that holds the record; None keeps none.
    :param census_conn_id: connection to Census.
    :param aws_conn_id: connection to the object store; None leaves it to boto3.
    """

    kind: ClassVar[str] = "sync"

    spec: dict[str, Any]
    run_key: str
    at: str | None = None
    census_conn_id: str = "census_default"
    aws_conn_id: str | None = "aws_default"

    @property
    def found_again(self) -> bool:  # type: ignore[override]
        """Without a record nobody knows which run was triggered."""
        return self.at is not None

    def connections(self) -> Mapping[str, str | None]:
        """Census, and the object store where there is a record."""
        store = {} if self.at is None else {"aws": self.aws_conn_id}
        return {"census": self.census_conn_id, **store}

    def check(self) -> None:
        """Find mistakes in the arguments."""
        from mz_orchestration.objectstore.location import parse_folder

        self.sync_spec()
        if self.at is not None:
            parse_folder(self.at, field="at")

    def seconds(self) -> float:
        """The sync's own deadline."""
        return self.sync_spec().timeout

    def links(self, systems: Systems) -> Links:
        """Where Census shows the sync's runs; its API has no address of a single one."""
        from mz_orchestration.census.context import history_url

        if systems.census is None:
            return {}
        return {"CensusSyncLink": history_url(systems.census, self.sync_spec().sync)}

    async def carry_out(self, systems: Systems, listener: Listener) -> Outcome:
        """Trigger and wait; a run that is known from before is waited for, one that is finished is returned."""
        from mz_orchestration.census.sync import arun_sync

        result = await arun_sync(
            self.sync_spec(),
            run_key=None if self.at is None else self.run_key,
            at=self.at,
            census=systems.census,
            store=None if self.at is None else systems.store(),
            on_event=listener.on_event,
        )
        metadata = result.to_metadata()
        return Outcome(metadata, dict(metadata), {"CensusSyncLink": result.url})

    def cancel(self, systems: Systems, listener: Listener) -> list[str]:
        """Cancel the run, if it is known to be ours."""
        from mz_orchestration.census.handle import SyncHandle, cancel_sync
        from mz_orchestration.census.record import find_sync, sync_record_location
        from mz_orchestration.objectstore.location import parse_folder

        if self.at is None:
            return []
        spec = self.sync_spec()
        place = sync_record_location(parse_folder(self.at, field="at"), spec.sync, self.run_key)
        stored = find_sync(systems.store(), place)
        attempt = stored.record.attempts[-1] if stored is not None and stored.record.attempts else None
        if stored is None or attempt is None or not attempt.open or attempt.run is None:
            return []
        handle = SyncHandle(
            spec=spec,
            run=attempt.run,
            where=stored.record.where,
            triggered=attempt.triggered,
            run_key=self.run_key,
            at=self.at,
        )
        stopped = cancel_sync(handle, census=systems.census, on_event=listener.on_event)
        return [f"run {attempt.run} of the Census sync {spec.sync}"] if stopped else []

    def sync_spec(self) -> SyncSpec:
        """What is synced, validated."""
        from mz_orchestration.census.spec import sync_spec

        return sync_spec(**self.spec)
