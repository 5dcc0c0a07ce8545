"""A session: who is connected, its current names and parameters, its transaction and temporary tables."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.catalog import Catalog, Context, Name, Table, Version
from mz_orchestration.local.snowflake.storage import Storage

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

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


@dataclass(eq=False)
class Transaction:
    """Uncommitted versions of tables, and the tables it holds locked."""

    id: int = field(default_factory=lambda: next(_ids))
    versions: dict[Table, Version] = field(default_factory=dict)
    locked: set[Table] = field(default_factory=set)
    mutex: threading.RLock = field(default_factory=threading.RLock)


class Session:
    """One login. Statements of a session may run at the same time (asynchronous ones do)."""

    def __init__(self, catalog: Catalog, storage: Storage, user: str) -> None:
        self.id = next(_ids) + 10_000
        self.token = uuid.uuid4().hex
        self.master_token = uuid.uuid4().hex
        self.user = user
        self.role = "ACCOUNTADMIN"
        self.warehouse: str | None = None
        self.context = Context()
        self.parameters = dict(DEFAULT_PARAMETERS)
        self.last_query_id: str | None = None
        self.transaction: Transaction | None = None
        self.temporary: dict[Name, Table] = {}
        self._catalog = catalog
        self._storage = storage

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

    def begin(self) -> None:
        """Open a transaction; inside one it does nothing, as in Snowflake."""
        if self.transaction is None:
            self.transaction = Transaction()

    def commit(self) -> None:
        """Make the transaction's versions the tables' versions, all at once."""
        work, self.transaction = self.transaction, None
        if work is not None:
            self._publish(work)

    def rollback(self) -> None:
        """Forget the transaction's versions."""
        work, self.transaction = self.transaction, None
        if work is not None:
            self._forget(work)

    @contextmanager
    def locked(self, *names: Name, cancel: threading.Event) -> Iterator[list[Table]]:
        """Hold these tables for a DDL statement, outside any transaction."""
        work = Transaction()
        try:
            yield [self._lock(name, work, cancel) for name in names]
        finally:
            self._release(work)

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
                table = self._lock(name, work, cancel)
                if table not in work.versions:
                    physical = self._storage.copy(cursor, table.version.physical, table.columns)
                    work.versions[table] = Version(physical, dict(table.version.history))
                yield table, work
            return
        work = Transaction()
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

    def _lock(self, name: Name, work: Transaction, cancel: threading.Event) -> Table:
        deadline = time.monotonic() + int(self.parameters["LOCK_TIMEOUT"])
        with self._catalog.lock:
            while True:
                # Looked up again after each wait: a swap or a rename may have moved the name.
                table = self.find(name)
                if table.locked_by in (None, work.id):
                    table.locked_by = work.id
                    work.locked.add(table)
                    return table
                if cancel.is_set():
                    raise errors.cancelled()
                if time.monotonic() > deadline:
                    raise errors.SnowflakeError(
                        "000625",
                        "57014",
                        f"Statement has waited {self.parameters['LOCK_TIMEOUT']} seconds (LOCK_TIMEOUT) for "
                        f"the lock on table '{name}' held by transaction {table.locked_by} and was aborted.",
                    )
                self._catalog.released.wait(0.1)

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
            for table in work.locked:
                if table.locked_by == work.id:
                    table.locked_by = None
            work.locked.clear()
            self._catalog.released.notify_all()

    def close(self) -> None:
        """Roll back and drop the temporary tables."""
        self.rollback()
        for table in self.temporary.values():
            self._storage.retire(table.version.physical)
        self.temporary.clear()
