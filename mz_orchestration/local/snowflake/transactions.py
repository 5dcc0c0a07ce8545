"""Transactions: what is open, who holds which table, who waits, and how one is ended from another session.

A transaction belongs to a session and outlives its client: a process that disappears leaves it open with its locks.
It then ends by ``SYSTEM$ABORT_TRANSACTION``, or by itself once another transaction waits for one of its locks and it
has been idle for `Transactions.idle_limit` seconds.

The documentation does not say what a session sees whose transaction somebody else ended. The choice here is the one
that misleads a client most easily: the session is simply outside a transaction, so what it sends next commits by
itself and its COMMIT answers as if all were well.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake import errors, grants
from mz_orchestration.local.snowflake.system_functions import system_function

if TYPE_CHECKING:
    from mz_orchestration.local.snowflake.catalog import Name, Table, Version
    from mz_orchestration.local.snowflake.session import Session
    from mz_orchestration.local.snowflake.statement import Statement

# As in Snowflake. LOCK_TIMEOUT is shorter here, so that whoever waits for an orphan's lock has to deal with it.
IDLE_LIMIT = 300.0

# The query that the current thread runs, for SHOW LOCKS.
current_query: ContextVar[str | None] = ContextVar("current_query", default=None)

# Snowflake's ids grow with time and are large.
_ids = itertools.count(int(time.time() * 1000) * 1_000_000)


@dataclass(frozen=True)
class Lock:
    """A table held by a transaction."""

    name: Name
    query_id: str | None
    acquired: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(eq=False)
class Transaction:
    """Uncommitted versions of tables, and the tables it holds locked.

    Attributes:
        name: What BEGIN NAME gave, or one of the system's own.
        explicit: Opened by BEGIN (or by AUTOCOMMIT = FALSE) rather than for one statement.
        aborted: Ended by another session.
    """

    session: Session
    name: str = ""
    explicit: bool = False
    aborted: bool = False
    id: int = field(default_factory=lambda: next(_ids))
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    versions: dict[Table, Version] = field(default_factory=dict)
    locks: dict[Table, Lock] = field(default_factory=dict)
    mutex: threading.RLock = field(default_factory=threading.RLock)


@dataclass(frozen=True)
class Waiting:
    """A statement that waits for a table."""

    transaction: Transaction
    name: Name
    query_id: str | None


class Transactions:
    """All transactions of the account."""

    def __init__(self) -> None:
        self.idle_limit = IDLE_LIMIT
        self._lock = threading.Lock()
        self._open: dict[int, Transaction] = {}
        self._waiting: dict[int, Waiting] = {}
        self._waits = itertools.count()

    def add(self, transaction: Transaction) -> None:
        """Know a transaction from its beginning."""
        with self._lock:
            self._open[transaction.id] = transaction

    def remove(self, transaction: Transaction) -> None:
        """Forget one that has ended."""
        with self._lock:
            self._open.pop(transaction.id, None)

    def get(self, transaction_id: int | None) -> Transaction | None:
        """The open transaction of an id."""
        with self._lock:
            return self._open.get(transaction_id) if transaction_id is not None else None

    def all(self) -> list[Transaction]:
        """Every open transaction, oldest first."""
        with self._lock:
            return sorted(self._open.values(), key=lambda t: t.id)

    def waits(self) -> list[Waiting]:
        """Who waits for a lock."""
        with self._lock:
            return list(self._waiting.values())

    def is_blocked(self, query_id: str) -> bool:
        """Whether a query waits for a lock."""
        return any(wait.query_id == query_id for wait in self.waits())

    @contextmanager
    def waiting(self, transaction: Transaction, name: Name) -> Iterator[None]:
        """Be listed as waiting for a table."""
        number = next(self._waits)
        with self._lock:
            self._waiting[number] = Waiting(transaction, name, current_query.get())
        try:
            yield
        finally:
            with self._lock:
                del self._waiting[number]

    def is_abandoned(self, transaction: Transaction) -> bool:
        """Whether a transaction that others wait for has been idle for too long."""
        return transaction.explicit and transaction.session.idle_for() >= self.idle_limit


@system_function("SYSTEM$ABORT_TRANSACTION")
def abort_transaction(statement: Statement, arguments: list[str]) -> str:
    """SYSTEM$ABORT_TRANSACTION(id): one that has ended already is left as it is."""
    if len(arguments) != 1 or not arguments[0].isdecimal():
        shown = f"SYSTEM$ABORT_TRANSACTION({', '.join(arguments)})"
        raise errors.compilation("001044", "42P13", f"Invalid argument types for function '{shown}'")
    found = statement.account.transactions.get(int(arguments[0]))
    if found is not None and found.session.user != statement.session.user and not grants.is_admin(statement):
        raise errors.insufficient("TRANSACTION", arguments[0])
    if found is not None and found.explicit and found.session.abort_transaction(found):
        return f"Aborted transaction id: {arguments[0]}"
    # By documentation nothing is altered then; the wording is this stand-in's.
    return f"Transaction id: {arguments[0]} is not running"
