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
from collections.abc import Callable
from functools import partial

import psycopg

from mz_orchestration.local.materialize import export, store
from mz_orchestration.local.materialize.copy_checks import Admin, CopyChecks
from mz_orchestration.local.materialize.copy_grammar import CopyTo
from mz_orchestration.local.materialize.errors import StatementError
from mz_orchestration.local.materialize.exchange import Exchange, Record, StatementFailed
from mz_orchestration.local.materialize.job import ExportJob, ExportPlan, Snapshot
from mz_orchestration.local.materialize.store import Keys

_SET_LIMITS = "SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true)"


class ProxyWork:
    """Carries out the statements PostgreSQL cannot, for all sessions of the server."""

    def __init__(self, admin: Admin, conninfo: str, workers: int) -> None:
        self._admin = admin
        self._conninfo = conninfo
        self._workers = workers
        self._jobs: set[ExportJob] = set()
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
        snapshot, limits = await _snapshot(exchange, record)
        number = next(self._transient_ids)
        plan = ExportPlan(
            conninfo=self._conninfo,
            snapshot=snapshot,
            query=copy.query,
            columns=checked.columns,
            csv=checked.csv,
            settings=checked.settings,
            keys=Keys(checked.bucket, checked.path, f"t{number}"),
            max_file_size=checked.max_file_size,
            batches=self._workers,
        )
        # No time limit of the session holds for an export.
        await exchange.query(record, _SET_LIMITS, "0", "0")
        rows = await self._export(exchange, record, plan, number)
        await exchange.query(record, _SET_LIMITS, *limits)
        return f"COPY {rows}"

    async def validate(self, exchange: Exchange, record: Record, name: tuple[str, ...]) -> str:
        """``VALIDATE CONNECTION``; returns its tag."""
        settings = await CopyChecks(self._admin, exchange, record).connection(name)
        if settings is None:
            raise StatementError("the local stack validates AWS connections only", "0A000")
        await asyncio.to_thread(store.validate, settings)
        return "VALIDATE CONNECTION"

    def stop(self) -> None:
        """Stop all exports."""
        for job in list(self._jobs):
            job.cancel()

    async def _export(self, exchange: Exchange, record: Record, plan: ExportPlan, number: int) -> int:
        job = ExportJob(plan)
        await self._admin.rows("SELECT pg_advisory_lock(%s, %s)", self._lock_class, number)
        self._jobs.add(job)
        task = asyncio.create_task(self._in_thread(job, number))
        try:
            await exchange.query(record, f"SELECT pg_advisory_xact_lock({self._lock_class}, {number})")
        except StatementFailed:
            job.cancel()
            # Its end interests nobody any more, but its exception must be taken.
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            raise
        return await task

    async def _in_thread(self, job: ExportJob, number: int) -> int:
        try:
            return await _call_in_thread(partial(export.run, job))
        finally:
            self._jobs.discard(job)
            # When the server stops, the connection that holds the lock goes first, and the lock with it.
            with contextlib.suppress(psycopg.Error):
                await self._admin.rows("SELECT pg_advisory_unlock(%s, %s)", self._lock_class, number)


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
