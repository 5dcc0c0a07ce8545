"""The life of runs: queued, working, completed; skipped behind another, cancelled, failed; and schedules."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

from mz_orchestration.local.census.answers import ApiError, now
from mz_orchestration.local.census.delivery import Shipment, Snapshot, arrived, pack, unlucky
from mz_orchestration.local.census.destination import Destination
from mz_orchestration.local.census.faults import Failure, Faults, Rules
from mz_orchestration.local.census.runs import Run
from mz_orchestration.local.census.sources import Source, SourceError
from mz_orchestration.local.census.syncs import PERIODS, Settings, Sync

# Runs are counted from here on, so that nobody takes the id of a sync for that of a run.
_FIRST_RUN = 1001
# How soon a schedule notices that its period has changed.
_TICK = 0.1
_MANUAL = ("Manual", "Triggered by the API")
_SCHEDULED = ("Schedule", "Triggered by the schedule of the sync")


class _CancelledError(Exception):
    """Somebody cancelled the run."""


class Engine:
    """Syncs, their runs and the tasks that move them. All methods belong to the event loop.

    Args:
        destination: Where they go.
        rules: What goes wrong on purpose.
    """

    def __init__(self, destination: Destination, rules: Rules) -> None:
        self.sources: dict[int, Source] = {}
        self.destination = destination
        self.syncs: dict[int, Sync] = {}
        self.runs: dict[int, Run] = {}
        self._rules = rules
        self._snapshots: dict[int, Snapshot] = {}
        self._cancels: dict[int, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._schedules: dict[int, asyncio.Task[None]] = {}

    async def create(self, values: Mapping[str, Any]) -> Sync:
        """Create a sync.

        Raises:
            ApiError: It cannot be as asked.
        """
        settings = Settings.parse(values)
        await self._check(settings)
        sync = Sync(len(self.syncs) + 1, settings)
        self.syncs[sync.id] = sync
        self._schedule(sync)
        return sync

    async def change(self, sync: Sync, changes: Mapping[str, Any]) -> None:
        """Change settings of a sync.

        Raises:
            ApiError: It cannot be as asked; nothing was changed.
        """
        await self._check(Settings.parse({**sync.settings.dump(), **changes}))
        sync.change(changes)
        self._schedule(sync)

    async def _check(self, settings: Settings) -> None:
        source = self.sources.get(settings.source_attributes.connection_id)
        if source is None:
            raise ApiError(422, f"source_attributes: there is no source {settings.source_attributes.connection_id}")
        if str(settings.destination_attributes.connection_id) != str(self.destination.id):
            raise ApiError(
                422, f"destination_attributes: there is no destination {settings.destination_attributes.connection_id}"
            )
        if settings.schedule_frequency == "continuous" and not await asyncio.to_thread(
            source.continuous, settings.source_attributes.object
        ):
            raise ApiError(422, "schedule_frequency: continuous is for sources and materialized views only")

    def runs_of(self, sync: Sync) -> list[Run]:
        """The runs of a sync, oldest first."""
        return [run for run in self.runs.values() if run.sync_id == sync.id]

    def working(self, sync: Sync) -> bool:
        """Whether a run of the sync is active."""
        return any(run.active for run in self.runs_of(sync))

    def trigger(self, sync: Sync, *, full: bool, scheduled: bool = False) -> Run:
        """Start a run; one that finds another active will be skipped.

        Raises:
            ApiError: The sync cannot send all records.
        """
        append = sync.settings.operation == "append"
        if full and append:
            raise ApiError(422, "force_full_sync is not supported by syncs of type append")
        run = Run(
            id=_FIRST_RUN + len(self.runs),
            sync_id=sync.id,
            # Nothing was sent yet, so all will be.
            full=full or (sync.id not in self._snapshots and not append),
            reason=_SCHEDULED if scheduled else _MANUAL,
            scheduled=now() if scheduled else None,
        )
        self.runs[run.id] = run
        self._cancels[run.id] = asyncio.Event()
        task = asyncio.create_task(self._live(run, sync, self._rules.of_run(str(sync.id))))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run

    def cancel(self, run: Run) -> None:
        """Cancel an active run; it ends in a moment."""
        self._cancels[run.id].set()

    async def _live(self, run: Run, sync: Sync, faults: Faults) -> None:
        try:
            await self._work(run, sync, faults)
        except _CancelledError:
            run.canceled = True
            run.become("completed")
        except SourceError as error:
            run.failure = Failure(code=error.code, message=error.message, detail=error.detail)
            run.become("failed", run.step)
        except Exception as error:
            # A fault of the stand-in; the run must not stay active for ever.
            traceback.print_exc(file=sys.stderr)
            run.failure = Failure(code="INTERNAL_ERROR", message=type(error).__name__)
            run.become("failed", run.step)
        finally:
            del self._cancels[run.id]

    async def _work(self, run: Run, sync: Sync, faults: Faults) -> None:
        pace = self._rules.pace(str(sync.id))
        await self._pause(run, pace.queued)
        if any(earlier.active for earlier in self.runs_of(sync) if earlier.id < run.id):
            run.become("skipped")
            return
        for status, seconds in faults.run_status.items():
            run.become(status)
            await self._pause(run, seconds)
        run.become("working", "Reading source")
        begun = time.monotonic()
        settings = sync.settings
        snapshot = dict(self._snapshots.get(sync.id, {}))
        # The source is read first and the records are sent last: what comes between is for the next run.
        shipment = await asyncio.to_thread(self._packed, settings, snapshot, run.full, faults)
        run.counts = shipment.counts
        run.become("working", "Running sync")
        if faults.cancel_run:
            await self._pause(run, pace.working / 2)
            raise _CancelledError
        await self._pause(run, pace.working - (time.monotonic() - begun))
        if faults.fail_run is not None:
            raise SourceError(faults.fail_run.code, faults.fail_run.message, faults.fail_run.detail)
        await asyncio.to_thread(self._deliver, settings, snapshot, shipment, run, faults)
        self._snapshots[sync.id] = snapshot
        run.become("completed")

    def _packed(self, settings: Settings, snapshot: Snapshot, full: bool, faults: Faults) -> Shipment:
        source = self.sources[settings.source_attributes.connection_id]
        columns = [mapping.from_.data for mapping in settings.mappings]
        rows = source.read(settings.source_attributes.object, columns)
        return pack(rows, settings, snapshot, full=full, faults=faults)

    def _deliver(self, settings: Settings, snapshot: Snapshot, shipment: Shipment, run: Run, faults: Faults) -> None:
        kind = settings.destination_attributes.object
        rejected = self.destination.take(kind, shipment, run.id, unlucky(shipment, faults))
        arrived(shipment, snapshot, rejected)

    async def _pause(self, run: Run, seconds: float) -> None:
        cancel = self._cancels[run.id]
        try:
            await asyncio.wait_for(cancel.wait(), max(0.0, seconds))
        except TimeoutError:
            if not cancel.is_set():
                return
        raise _CancelledError

    def _schedule(self, sync: Sync) -> None:
        if (before := self._schedules.pop(sync.id, None)) is not None:
            before.cancel()
        if sync.settings.schedule_frequency != "never" and not sync.settings.paused:
            self._schedules[sync.id] = asyncio.create_task(self._repeat(sync))

    async def _repeat(self, sync: Sync) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(_TICK)
            period = PERIODS.get(sync.settings.schedule_frequency, self._rules.pace(str(sync.id)).poll)
            if time.monotonic() - last >= period:
                last = time.monotonic()
                self.trigger(sync, full=False, scheduled=True)
