"""Where records arrive: a table by key, "update or create", that tests can look into."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from mz_orchestration.local.census.delivery import Shipment
from mz_orchestration.local.environment import CENSUS_DESTINATION

_CREATE = """
    CREATE TABLE records (
        object TEXT NOT NULL,
        key TEXT NOT NULL,
        record TEXT NOT NULL,
        run INTEGER NOT NULL,
        PRIMARY KEY (object, key)
    ) WITHOUT ROWID
"""
_PUT = "INSERT INTO records VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET record = excluded.record, run = excluded.run"


class Destination:
    """Stands for a Braze account.

    Args:
        file: Where the records are kept; what an earlier run of the stack left there is removed.
    """

    id = CENSUS_DESTINATION
    name = "Braze"

    def __init__(self, file: Path) -> None:
        self._file = file
        self._rules: dict[str, re.Pattern[str]] = {}
        file.unlink(missing_ok=True)
        with self._open() as database:
            database.execute(_CREATE)

    def take(self, object: str, shipment: Shipment, run: int, unlucky: set[str]) -> set[str]:
        """Take what a run sends.

        Args:
            object: Kind of the records.
            shipment: What is sent.
            run: Id of the run.
            unlucky: Keys to reject, whatever their records.

        Returns:
            The keys of rejected records.
        """
        rejected = {key for key, record in shipment.records.items() if key in unlucky or self._breaks(record)}
        puts = (
            (object, key, json.dumps(record, default=str, ensure_ascii=False), run)
            for key, record in shipment.records.items()
            if key not in rejected
        )
        with self._open() as database:
            database.executemany(_PUT, puts)
            database.executemany(
                "DELETE FROM records WHERE object = ? AND key = ?", ((object, key) for key in shipment.deletes)
            )
        return rejected

    def records(self, object: str | None = None) -> list[dict[str, Any]]:
        """What has arrived, by key."""
        with self._open() as database:
            rows = database.execute(
                "SELECT object, key, record, run FROM records WHERE ?1 IS NULL OR object = ?1 ORDER BY object, key",
                (object,),
            ).fetchall()
        return [
            {"object": row[0], "key": row[1], "record": json.loads(row[2], parse_constant=str), "run": row[3]}
            for row in rows
        ]

    def require(self, rules: Mapping[str, str]) -> None:
        """Reject records from now on whose fields do not match.

        Args:
            rules: Regular expressions that the text of a field must match from end to end; NULL is the empty text.
        """
        self._rules = {field: re.compile(pattern, re.DOTALL) for field, pattern in rules.items()}

    def _breaks(self, record: Mapping[str, Any]) -> bool:
        for field, pattern in self._rules.items():
            value = record.get(field)
            if pattern.fullmatch("" if value is None else str(value)) is None:
                return True
        return False

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        # A connection of its own for each thread that comes by.
        with closing(sqlite3.connect(self._file, timeout=30)) as database, database:
            yield database
