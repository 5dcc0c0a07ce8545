# ruff: noqa: S608 (the SQL is put together from names and types made here)
"""The rows: DuckDB, one physical table for each version of a Snowflake table.

DuckDB aborts a transaction at the first failing statement and knows no savepoints; Snowflake does not abort.
So no DuckDB transaction outlives a statement here. A transaction of a session works on private copies of the
tables it changes, and COMMIT makes those copies the tables' versions: a failing statement has nothing to
abort, every statement sees what is committed when it starts (Snowflake's READ COMMITTED) plus its own
session's changes, and rollback is forgetting.
"""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake.catalog import Column
from mz_orchestration.local.snowflake.errors import sql_raise
from mz_orchestration.local.snowflake.macros import install
from mz_orchestration.local.snowflake.names import duck, literal
from mz_orchestration.local.snowflake.types import MAX_TEXT

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY_LIMIT = "1500MB"


class Storage:
    """The DuckDB database behind the account."""

    def __init__(self, folder: Path) -> None:
        import duckdb

        self.folder = folder / "working"
        # What a killed predecessor left is of no use: nothing outlives the process.
        shutil.rmtree(self.folder, ignore_errors=True)
        spill = self.folder / "spill"
        spill.mkdir(parents=True, mode=0o700)
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": MEMORY_LIMIT,
                "temp_directory": str(spill),
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "preserve_insertion_order": "true",
            },
        )
        install(self._connection)
        self._lock = threading.Lock()
        self._names = itertools.count(1)
        self._running: set[int] = set()
        self._statements = itertools.count(1)
        self._retired: list[tuple[int, str]] = []

    @contextmanager
    def cursor(self, timezone: str) -> Iterator[DuckDBPyConnection]:
        """A connection for one statement; tables retired meanwhile stay until it ends."""
        with self._lock:
            number = next(self._statements)
            self._running.add(number)
            cursor = self._connection.cursor()
        try:
            cursor.execute(f"SET TimeZone = {literal(timezone)}")
            yield cursor
        finally:
            cursor.close()
            with self._lock:
                self._running.discard(number)
                self._sweep()

    def create(self, cursor: DuckDBPyConnection, columns: Sequence[Column]) -> str:
        """Make an empty physical table and return its name."""
        with self._lock:
            physical = f"t_{next(self._names)}"
        cursor.execute(f"CREATE TABLE {physical} ({', '.join(_definition(c) for c in columns)})")
        return physical

    def copy(self, cursor: DuckDBPyConnection, physical: str, columns: Sequence[Column]) -> str:
        """Make a physical table with the same rows and return its name."""
        new = self.create(cursor, columns)
        cursor.execute(f"INSERT INTO {new} SELECT * FROM {physical}")
        return new

    def count(self, cursor: DuckDBPyConnection, physical: str) -> int:
        """The number of rows of a physical table."""
        return scalar(cursor, f"SELECT count(*) FROM {physical}")

    def retire(self, physical: str) -> None:
        """Drop a physical table as soon as no running statement can still read it."""
        with self._lock:
            self._retired.append((next(self._statements), physical))
            self._sweep()

    def close(self) -> None:
        """Forget everything."""
        self._connection.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _sweep(self) -> None:
        oldest = min(self._running, default=None)
        waiting: list[tuple[int, str]] = []
        for number, physical in self._retired:
            if oldest is not None and oldest < number:
                waiting.append((number, physical))
            else:
                self._connection.execute(f"DROP TABLE IF EXISTS {physical}")
        self._retired = waiting


def scalar(cursor: DuckDBPyConnection, sql: str) -> int:
    """Run a statement that answers one number (DML answers its row count)."""
    # Fetched to the end: a connection with an unfinished result takes no other work.
    rows = cursor.execute(sql).fetchall()
    return int(rows[0][0]) if rows and rows[0][0] is not None else 0


def _definition(column: Column) -> str:
    parts = [duck(column.name), column.type.duck]
    if column.default is not None:
        parts.append(f"DEFAULT ({column.default})")
    if not column.nullable:
        parts.append("NOT NULL")
    length = column.type.length
    if column.type.name == "TEXT" and length is not None and length < MAX_TEXT:
        # The check itself raises, because the message has to quote the value.
        raised = sql_raise("100078", "22000", "String '", duck(column.name), "' is too long and would be truncated")
        parts.append(f"CHECK (CASE WHEN length({duck(column.name)}) > {length} THEN {raised} ELSE TRUE END)")
    return " ".join(parts)
