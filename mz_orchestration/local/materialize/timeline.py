"""Logical timestamps: every transaction reads at one, and while it is open others can read at it, too.

A timestamp is a name for a snapshot of PostgreSQL. The first query of an explicit transaction gives it one, together
with its timedomain: what it may read from then on. PostgreSQL keeps no history, so a timestamp means something only
while a transaction holds it; Materialize's own default is a second.
"""

from __future__ import annotations

import time
import weakref

from mz_orchestration.local.materialize import relations
from mz_orchestration.local.materialize.errors import StatementError
from mz_orchestration.local.materialize.exchange import Exchange, Record
from mz_orchestration.local.materialize.reading import ReadTransaction
from mz_orchestration.local.materialize.relations import Catalog, Reads

_SET_TIMESTAMP = "SELECT set_config('mz.timestamp', $1, true)"
_PATH = (
    "SELECT string_agg(quote_ident(name), ', ' ORDER BY place)"
    " FROM unnest(current_schemas(false)) WITH ORDINALITY s (name, place)"
)
_OUTSIDE = (
    "Transactions can only reference objects in the same timedomain. "
    "See https://materialize.com/docs/sql/begin/#same-timedomain-error"
)


class Timeline:
    """The timestamps of one server."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._last = 0
        self._open: weakref.WeakValueDictionary[int, ReadTransaction] = weakref.WeakValueDictionary()

    @staticmethod
    def now() -> int:
        """The time of day in milliseconds, of which timestamps are made."""
        return time.time_ns() // 1_000_000

    def holder(self, timestamp: int) -> ReadTransaction | None:
        """The open transaction that reads at this timestamp."""
        return self._open.get(timestamp)

    async def enter(self, exchange: Exchange, record: Record, query: str) -> None:
        """Let a query take part in the transaction its session is in.

        Raises:
            StatementError: it reads what the transaction's first query did not choose.
            StatementFailed: the transaction has failed before.
        """
        transaction = exchange.reading
        if transaction is None:
            # No two snapshots share a timestamp.
            self._last = max(self._last + 1, self.now())
            transaction = ReadTransaction(self._last)
        # Each time, because a rollback to a savepoint takes settings back.
        await exchange.query(record, _SET_TIMESTAMP, str(transaction.timestamp))
        if exchange.reading is None:
            if not exchange.nested:
                [[snapshot]] = await exchange.query(record, "SELECT pg_export_snapshot()")
                transaction.snapshot = snapshot or ""
            exchange.reading = self._open[transaction.timestamp] = transaction
        found = await self.reads(exchange, record, query)
        if found is None or not (found.relations or found.clock):
            return
        if transaction.domain is None:
            transaction.domain = await relations.timedomain(self._catalog, found.relations)
        outside = [name for oid, name in found.collections.items() if oid not in transaction.domain]
        if outside:
            raise StatementError(_OUTSIDE, "25000", detail=_detail(outside, list(transaction.domain.values())))

    async def reads(self, exchange: Exchange, record: Record, query: str) -> Reads | None:
        """What a query reads; None when that cannot be told."""
        [[path]] = await exchange.query(record, _PATH)
        return await relations.reads(self._catalog, query, path or "")


def _detail(outside: list[str], domain: list[str]) -> str:
    available = "\n".join(sorted(domain))
    return (
        "The following relations in the query are outside the transaction's time domain:\n"
        + "\n".join(sorted(outside))
        + "\n"
        + (f"Only the following relations are available:\n{available}" if domain else "No relations are available.")
    )
