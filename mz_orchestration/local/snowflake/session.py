"""A session: who is connected, its names and parameters, what runs in it, its transaction and temporary tables."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.catalog import Catalog, Context, Name, Table, Version
from mz_orchestration.local.snowflake.storage import Storage
from mz_orchestration.local.snowflake.transactions import Lock, Transaction, Transactions, current_query

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from mz_orchestration.local.snowflake.statement import Statement

_ids = itertools.count(1)

# The account's defaults. TIMEZONE is Snowflake's own default, not UTC: a loader that forgets to set it shows.
# LOCK_TIMEOUT is a minute instead of twelve hours: a lock left by a killed client must not hang a laptop.
DEFAULT_PARAMETERS: dict[str, str | int | bool] = {
    "AUTOCOMMIT": True,
    "TIMEZONE": "America/Los_Angeles",
    "QUERY_TAG": "",
    "LOCK_TIMEOUT": 60,
    "STATEMENT_TIMEOUT_IN_SECONDS": 172800,
    "DATE_OUTPUT_FORMAT": "YYYY-MM-DD",
    "TIME_OUTPUT_FORMAT": "HH24:MI:SS",
    "TIMESTAMP_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF3 TZHTZM",
    "TIMESTAMP_NTZ_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF3",
    "TIMESTAMP_LTZ_OUTPUT_FORMAT": "",
    "TIMESTAMP_TZ_OUTPUT_FORMAT": "",
    "TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_NTZ",
    "BINARY_OUTPUT_FORMAT": "HEX",
    "PYTHON_CONNECTOR_QUERY_RESULT_FORMAT": "JSON",
    "CLIENT_RESULT_CHUNK_SIZE": 160,
    # Bulk parameters always come inside the request: there is no internal stage to upload them to.
    "CLIENT_STAGE_ARRAY_BINDING_THRESHOLD": 0,
    "CLIENT_SESSION_KEEP_ALIVE": False,
    "CLIENT_TELEMETRY_ENABLED": False,
    "ERROR_ON_NONDETERMINISTIC_MERGE": True,
}


class Session:
    """One login. Statements of a session may run at the same time (asynchronous ones do)."""

    def __init__(self, catalog: Catalog, storage: Storage, transactions: Transactions, user: str) -> None:
        self.id = next(_ids) + 10_000
        self.token = uuid.uuid4().hex
        self.master_token = uuid.uuid4().hex
        self.user = user
        self.role = "ACCOUNTADMIN"
        self.warehouse: str | None = None
        self.context = Context()
        self.parameters = dict(DEFAULT_PARAMETERS)
        self.query_ids: list[str] = []
        self.transaction: Transaction | None = None
        self.temporary: dict[Name, Table] = {}
        self._catalog = catalog
        self._storage = storage
        self._transactions = transactions
        self._lock_statements = threading.Lock()
        self._statements: dict[str, Statement] = {}
        self._last_used = time.monotonic()
        self._closed = False

    @property
    def timezone(self) -> str:
        """The session's time zone."""
        return str(self.parameters["TIMEZONE"])

    def renew(self) -> None:
        """Take a new token."""
        self.token = uuid.uuid4().hex

    def find(self, name: Name, shown: str | None = None, kind: str = "Table") -> Table:
        """The table of this name; a temporary one of this session hides a permanent one."""
        with self._catalog.lock:
            return self.temporary.get(name) or self._catalog.table(name, shown, kind)

    def exists(self, name: Name) -> bool:
        """Whether the name is taken by a table this session sees."""
        with self._catalog.lock:
            return name in self.temporary or name.object in self._catalog.schema_of(name).tables

    def version(self, table: Table) -> Version:
        """The data this session sees in a table."""
        if self.transaction is not None and table in self.transaction.versions:
            return self.transaction.versions[table]
        return table.version

    def enter(self, statement: Statement) -> bool:
        """Count a statement as this session's; False if the session has ended."""
        with self._lock_statements:
            if not self._closed:
                self._statements[statement.query_id] = statement
            return not self._closed

    def leave(self, statement: Statement) -> None:
        """Forget a statement that has ended."""
        with self._lock_statements:
            self._statements.pop(statement.query_id, None)
            self._last_used = time.monotonic()

    def idle_for(self) -> float:
        """Seconds since the last statement ended; 0 while one runs."""
        with self._lock_statements:
            return 0.0 if self._statements else time.monotonic() - self._last_used

    def abort_statements(self) -> int:
        """Cancel everything that runs in this session, but the statement that asks for it; says how many there were."""
        with self._lock_statements:
            others = [s for query_id, s in self._statements.items() if query_id != current_query.get()]
        for statement in others:
            statement.abort()
        return len(others)

    def last_query_id(self, number: int = -1) -> str | None:
        """The id of a query, counted from the first one (1, 2, …) or from the last one (-1, -2, …)."""
        known = dict(enumerate(self.query_ids, start=1)) | dict(enumerate(self.query_ids, start=-len(self.query_ids)))
        return known.get(number)

    def begin(self, name: str | None = None) -> None:
        """Open a transaction; inside one it does nothing, as in Snowflake."""
        if self.transaction is None:
            work = Transaction(self, name or str(uuid.uuid4()), explicit=True)
            self._transactions.add(work)
            self.transaction = work

    def commit(self) -> None:
        """Make the transaction's versions the tables' versions, all at once."""
        self._end(self.transaction, self._publish)

    def rollback(self) -> None:
        """Forget the transaction's versions."""
        self._end(self.transaction, self._forget)

    def abort_transaction(self, work: Transaction) -> bool:
        """Roll back on somebody else's behalf, cancelling what runs in the session; False if it had ended by then."""
        work.aborted = True
        self.abort_statements()
        work.aborted = self._end(work, self._forget)
        return work.aborted

    def _end(self, work: Transaction | None, how: Callable[[Transaction], None]) -> bool:
        if work is None:
            return False
        # A statement of the transaction that still runs (an asynchronous one) is waited for.
        with work.mutex:
            if self.transaction is not work:
                return False
            self.transaction = None
            how(work)
            self._transactions.remove(work)
            return True

    @contextmanager
    def locked(self, *names: Name, cancel: threading.Event) -> Iterator[list[Table]]:
        """Hold these tables for a DDL statement, outside any transaction."""
        work = self._one_statement()
        try:
            yield [self._lock(name, work, cancel) for name in names]
        finally:
            self._release(work)
            self._transactions.remove(work)

    def _one_statement(self) -> Transaction:
        work = Transaction(self)
        self._transactions.add(work)
        return work

    @contextmanager
    def writing(
        self, name: Name, cursor: DuckDBPyConnection, cancel: threading.Event
    ) -> Iterator[tuple[Table, Transaction]]:
        """Hold a table for one DML statement.

        The statement reads its version from the transaction it gets and may put a new one there. In an
        explicit transaction that is a private copy; otherwise the committed data itself, and what the
        statement put there is committed when it ends well.
        """
        if self.transaction is None and not self.parameters["AUTOCOMMIT"]:
            self.begin()
        work = self.transaction
        if work is not None:
            with work.mutex:
                if work.aborted:
                    raise errors.transaction_aborted(work.id)
                table = self._lock(name, work, cancel)
                if table not in work.versions:
                    physical = self._storage.copy(cursor, table.version.physical, table.columns)
                    work.versions[table] = Version(physical, dict(table.version.history))
                yield table, work
            return
        work = self._one_statement()
        try:
            table = self._lock(name, work, cancel)
            work.versions[table] = table.version
            yield table, work
            self._publish(work)
        except BaseException:
            self._forget(work)
            raise
        finally:
            self._release(work)
            self._transactions.remove(work)

    def _lock(self, name: Name, work: Transaction, cancel: threading.Event) -> Table:
        deadline = time.monotonic() + int(self.parameters["LOCK_TIMEOUT"])
        table = self._try_lock(name, work, 0)
        if table is not None:
            return table
        with self._transactions.waiting(work, name):
            while table is None:
                if work.aborted:
                    raise errors.transaction_aborted(work.id)
                if cancel.is_set():
                    raise errors.cancelled()
                holder = self._holder(name)
                if holder is not None and self._transactions.is_abandoned(holder):
                    holder.session.abort_transaction(holder)
                elif time.monotonic() > deadline:
                    raise errors.lock_timeout(str(name), holder.id if holder else None, self.parameters["LOCK_TIMEOUT"])
                table = self._try_lock(name, work, 0.1)
        return table

    def _try_lock(self, name: Name, work: Transaction, patience: float) -> Table | None:
        with self._catalog.lock:
            # Looked up again each time: a swap or a rename may have moved the name.
            table = self.find(name)
            if table.locked_by not in (None, work.id):
                self._catalog.released.wait(patience)
                table = self.find(name)
            if table.locked_by not in (None, work.id):
                return None
            table.locked_by = work.id
            work.locks.setdefault(table, Lock(name, current_query.get()))
            return table

    def _holder(self, name: Name) -> Transaction | None:
        with self._catalog.lock:
            return self._transactions.get(self.find(name).locked_by)

    def _publish(self, work: Transaction) -> None:
        retired: list[str] = []
        with self._catalog.lock:
            for table, version in work.versions.items():
                if table.version.physical != version.physical:
                    retired.append(table.version.physical)
                table.version = version
                table.altered = datetime.now(UTC)
        self._release(work)
        for physical in retired:
            self._storage.retire(physical)

    def _forget(self, work: Transaction) -> None:
        self._release(work)
        for table, version in work.versions.items():
            if version.physical != table.version.physical:
                self._storage.retire(version.physical)

    def _release(self, work: Transaction) -> None:
        with self._catalog.lock:
            for table in work.locks:
                if table.locked_by == work.id:
                    table.locked_by = None
            work.locks.clear()
            self._catalog.released.notify_all()

    def close(self) -> None:
        """Cancel what runs, roll back and drop the temporary tables."""
        with self._lock_statements:
            self._closed = True
        self.abort_statements()
        self.rollback()
        for table in self.temporary.values():
            self._storage.retire(table.version.physical)
        self.temporary.clear()
