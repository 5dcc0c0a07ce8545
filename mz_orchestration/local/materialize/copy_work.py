"""Carrying out ``COPY ... TO 's3://...'`` for a session.

While the export runs in a thread, the client's own session waits for a lock: it is busy for everyone, and a cancel of
any kind reaches it as it would reach a query. When the client is lost the session still waits, as Materialize's does.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import threading
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg

from mz_orchestration.local.materialize import export, store
from mz_orchestration.local.materialize.copy_checks import Admin, CheckedCopy, CopyChecks
from mz_orchestration.local.materialize.copy_grammar import CopyTo
from mz_orchestration.local.materialize.errors import StatementError
from mz_orchestration.local.materialize.exchange import Exchange, Record, StatementFailed
from mz_orchestration.local.materialize.faults import Faults
from mz_orchestration.local.materialize.job import ExportJob, ExportPlan, Snapshot
from mz_orchestration.local.materialize.moments import Moment
from mz_orchestration.local.materialize.snapshots import kept_snapshot
from mz_orchestration.local.materialize.store import Keys
from mz_orchestration.local.materialize.switches import Switches
from mz_orchestration.local.materialize.timeline import Timeline

_LOCK = "SELECT pg_advisory_xact_lock($1::int, $2::int)"
_LOCK_REGARDLESS = "SELECT mz_local.lock_regardless($1::int, $2::int)"
_SET_LIMITS = "SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true)"


class ProxyWork:
    """Carries out the statements PostgreSQL cannot, for all sessions of the server."""

    def __init__(self, admin: Admin, timeline: Timeline, conninfo: str, workers: int) -> None:
        self._admin = admin
        self._timeline = timeline
        self._conninfo = conninfo
        self._workers = workers
        self._jobs: set[ExportJob] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._switches = Switches(admin)
        # With each process they begin anew, as with each start of Materialize.
        self._transient_ids = itertools.count(1)
        # Locks of one class of their own, apart from what clients may lock.
        self._lock_class = secrets.randbelow(1 << 30)

    async def copy(self, exchange: Exchange, record: Record, copy: CopyTo) -> str:
        """``COPY ... TO <expression>``; returns its tag.

        Raises:
            StatementError: the statement is refused or failed.
            StatementFailed: PostgreSQL refused it and the client knows.
        """
        checked = await CopyChecks(self._admin, exchange, record).run(copy)
        if checked.as_of is None and exchange.in_transaction:
            await self._timeline.enter(exchange, record, copy.query)
        snapshot, limits = await _snapshot(exchange, record)
        # No time limit of the session holds for an export.
        await exchange.query(record, _SET_LIMITS, "0", "0")
        async with AsyncExitStack() as stack:
            if copy.as_of is not None and checked.as_of is not None:
                moment = Moment(self._timeline, self._conninfo, exchange, record, copy.query)
                snapshot = await moment.at(checked.as_of, copy.as_of.at_least, snapshot, stack)
            rows = await self._run(exchange, record, copy, checked, snapshot)
        await exchange.query(record, _SET_LIMITS, *limits)
        return f"COPY {rows}"

    async def _run(
        self, exchange: Exchange, record: Record, copy: CopyTo, checked: CheckedCopy, snapshot: Snapshot
    ) -> int:
        number = next(self._transient_ids)
        keys = Keys(checked.bucket, checked.path, f"t{number}")
        faults = await self._switches.take(keys.uri)
        plan = ExportPlan(
            conninfo=self._conninfo,
            snapshot=snapshot,
            query=_slowed(copy.query, faults),
            columns=checked.columns,
            csv=checked.csv,
            settings=checked.settings,
            keys=keys,
            max_file_size=checked.max_file_size,
            batches=self._workers,
            faults=faults,
        )
        async with AsyncExitStack() as stack:
            late = None
            if faults.second_replica is not None:
                kept = await stack.enter_async_context(kept_snapshot(self._conninfo, snapshot.name))
                late = replace(
                    plan,
                    snapshot=replace(snapshot, name=kept),
                    query=_shuffled(copy.query),
                    faults=Faults(),
                    late=True,
                )
            rows = await self._export(exchange, record, plan, number)
            if late is not None:
                self._later(self._second_replica(late, faults.second_replica or 0.0, stack.pop_all()))
        return rows

    async def validate(self, exchange: Exchange, record: Record, name: tuple[str, ...]) -> str:
        """``VALIDATE CONNECTION``; returns its tag."""
        settings = await CopyChecks(self._admin, exchange, record).connection(name)
        if settings is None:
            raise StatementError("the local stack validates AWS connections only", "0A000")
        await asyncio.to_thread(store.validate, settings)
        return "VALIDATE CONNECTION"

    def stop(self) -> None:
        """Stop all exports."""
        for task in self._tasks:
            task.cancel()
        for job in list(self._jobs):
            job.cancel()

    async def _export(self, exchange: Exchange, record: Record, plan: ExportPlan, number: int) -> int:
        job = ExportJob(plan)
        await self._lock(number)
        deaf = plan.faults.cancel_lost_in_preflight > 0
        if deaf:
            await self._lock(-number)
            loop = asyncio.get_running_loop()
            job.registered = partial(loop.call_soon_threadsafe, self._unlock_later, -number)
        self._jobs.add(job)
        task = asyncio.create_task(self._in_thread(job, number))
        watch = asyncio.create_task(self._end_with_client(exchange, job))
        try:
            if deaf:
                await exchange.query(record, _LOCK_REGARDLESS, str(self._lock_class), str(-number))
            await exchange.query(record, _LOCK, str(self._lock_class), str(number))
        except StatementFailed:
            job.cancel()
            # Its end interests nobody any more, but its exception must be taken.
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            raise
        finally:
            watch.cancel()
        return await task

    async def _in_thread(self, job: ExportJob, number: int) -> int:
        try:
            return await _call_in_thread(partial(export.run, job))
        finally:
            self._jobs.discard(job)
            await self._unlock(number)
            if job.plan.faults.cancel_lost_in_preflight:
                await self._unlock(-number)

    async def _lock(self, number: int) -> None:
        await self._admin.rows("SELECT pg_advisory_lock(%s, %s)", self._lock_class, number)

    async def _unlock(self, number: int) -> None:
        # When the server stops, the connection that holds the lock goes first, and the lock with it.
        with contextlib.suppress(psycopg.Error):
            await self._admin.rows("SELECT pg_advisory_unlock(%s, %s)", self._lock_class, number)

    async def _end_with_client(self, exchange: Exchange, job: ExportJob) -> None:
        """Stop the export when its client is lost, if that is what versions of the chosen age do."""
        await exchange.client_gone.wait()
        if (await self._switches.current(job.plan.keys.uri)).on_disconnect == "cancel":
            job.cancel()

    async def _second_replica(self, plan: ExportPlan, delay: float, snapshot: AsyncExitStack) -> None:
        async with snapshot:
            await asyncio.sleep(delay)
            job = ExportJob(plan)
            self._jobs.add(job)
            try:
                await _call_in_thread(partial(export.run_late, job))
            except StatementError:
                # Nobody waits for it: its statement has long ended.
                return
            finally:
                self._jobs.discard(job)

    def _unlock_later(self, number: int) -> None:
        self._later(self._unlock(number))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _slowed(query: str, faults: Faults) -> str:
    if not faults.slow_rows:
        return query
    return f"SELECT q.* FROM ({query}\n) AS q WHERE mz_local.drag({faults.slow_rows!r})"  # noqa: S608


def _shuffled(query: str) -> str:
    return f"SELECT q.* FROM ({query}\n) AS q ORDER BY random()"  # noqa: S608


async def _snapshot(exchange: Exchange, record: Record) -> tuple[Snapshot, list[str]]:
    """What the session sees, and its time limits."""
    [row] = await exchange.query(
        record,
        "SELECT pg_export_snapshot(), current_setting('search_path'), session_user, current_user,"
        " mz_now()::text, current_setting('statement_timeout'), current_setting('lock_timeout')",
    )
    values = [value or "" for value in row]
    return Snapshot(*values[:5]), values[5:]


async def _call_in_thread(function: Callable[[], int]) -> int:
    """Run it in a thread that does not hold up the end of the process."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[int] = loop.create_future()

    def finish(value: int, error: StatementError | None) -> None:
        if result.done():
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(value)

    def work() -> None:
        value, failure = 0, None
        try:
            value = function()
        except StatementError as error:
            failure = error
        except Exception as error:
            failure = StatementError(f"internal error: {type(error).__name__}: {error}")
        if not loop.is_closed():
            loop.call_soon_threadsafe(finish, value, failure)

    threading.Thread(target=work, daemon=True, name="export").start()
    return await result
