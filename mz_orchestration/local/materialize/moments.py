"""``AS OF``: the snapshot a timestamp stands for, if there is one."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace

import psycopg

from mz_orchestration.local.materialize.errors import StatementError
from mz_orchestration.local.materialize.exchange import Exchange, Record
from mz_orchestration.local.materialize.job import Snapshot
from mz_orchestration.local.materialize.relations import Reads
from mz_orchestration.local.materialize.snapshots import kept_snapshot
from mz_orchestration.local.materialize.timeline import Timeline

_LONGEST_SLEEP = 3600.0


class Moment:
    """Looks for the snapshot of one query of one session."""

    def __init__(self, timeline: Timeline, conninfo: str, exchange: Exchange, record: Record, query: str) -> None:
        self._timeline = timeline
        self._conninfo = conninfo
        self._exchange = exchange
        self._record = record
        self._query = query

    async def at(self, wanted: int, at_least: bool, present: Snapshot, stack: AsyncExitStack) -> Snapshot:
        """The snapshot of a timestamp; one to come is waited for.

        Args:
            wanted: the timestamp.
            at_least: whether a later one will do.
            present: what the session sees now.
            stack: keeps the snapshot.

        Raises:
            StatementError: nothing holds that timestamp.
            StatementFailed: the statement was cancelled while it waited.
        """
        now = self._timeline.now()
        if at_least and wanted <= now:
            return present
        reads = await self._timeline.reads(self._exchange, self._record, self._query)
        if reads is not None and not reads.relations:
            return replace(present, timestamp=str(wanted))
        if wanted > now:
            await self._wait(wanted)
            name = await stack.enter_async_context(kept_snapshot(self._conninfo))
            return replace(present, name=name, timestamp=str(wanted))
        holder = self._timeline.holder(wanted)
        if reads is not None and holder is not None and holder.offers(reads.collections):
            try:
                name = await stack.enter_async_context(kept_snapshot(self._conninfo, holder.snapshot))
                return replace(present, name=name, timestamp=str(wanted))
            except psycopg.Error:
                # The transaction has just ended, or failed.
                pass
        raise _not_valid(reads, now, wanted)

    async def _wait(self, wanted: int) -> None:
        """In the client's session, so that a cancel ends it."""
        while (left := (wanted - self._timeline.now()) / 1000) > 0:
            await self._exchange.query(self._record, "SELECT pg_sleep($1)", str(min(left, _LONGEST_SLEEP)))


def _not_valid(reads: Reads | None, now: int, wanted: int) -> StatementError:
    inputs = ", ".join(f"u{oid}" for oid in sorted(reads.collections)) if reads else ""
    return StatementError(
        "could not find a valid timestamp for the query",
        "22000",
        detail=f"Constraints:\nlower:\n  (Storage inputs: [{inputs}]): [{now}]\n"
        f"upper:\n  (Query's AS OF): [{wanted}]\n",
    )
