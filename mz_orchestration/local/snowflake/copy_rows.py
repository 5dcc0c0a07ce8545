# ruff: noqa: S608 (the SQL is put together from names and types made here)
"""Which rows of one file go into the table, and what is wrong with the others.

Slower than loading at once, and so used only where a load has failed, may skip rows, or is validated.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake import csv_files, errors
from mz_orchestration.local.snowflake.catalog import Table
from mz_orchestration.local.snowflake.copy_plan import Reading, plan
from mz_orchestration.local.snowflake.copy_spec import CopySpec
from mz_orchestration.local.snowflake.file_formats import CsvFormat, Format
from mz_orchestration.local.snowflake.names import duck
from mz_orchestration.local.snowflake.queries import translate_error
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.storage import scalar
from mz_orchestration.local.snowflake.store import FetchedFile

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_names = itertools.count(1)
_HINT = (
    "\n  If you would like to continue loading when an error is encountered, use other values such as "
    "'SKIP_FILE' or 'CONTINUE' for the ON_ERROR option. For more information on loading options, please run "
    "'info loading_data' in a SQL client."
)
# Errors at which the reading of a record stops; the others are found when it has been read.
_IN_FIELD = {"100016", "100066"}
_RAW_COLUMN = re.compile(r"\bp\d+\b")


@dataclass(frozen=True)
class RowError:
    """One faulty row: rows and lines count from 1, bytes from 0."""

    row: int
    error: errors.SnowflakeError
    line: int
    character: int = 1
    byte: int = 0
    column: str | None = None
    category: str = "parsing"


@dataclass(frozen=True)
class Examined:
    """A file read row by row. ``good`` is a DuckDB table like the target that holds its good rows.

    A ``broken`` file cannot be read at all and has a single error.
    """

    parsed: int
    good: str | None
    errors: tuple[RowError, ...]
    broken: bool = False


@dataclass(frozen=True)
class _Work:
    """One file's rows in DuckDB."""

    statement: Statement
    table: Table
    reading: Reading
    raw: str

    @property
    def cursor(self) -> DuckDBPyConnection:
        return self.statement.cursor

    def insert(self, target: str, condition: str) -> None:
        names = ", ".join(duck(c.name) for c in self.reading.columns)
        source = f"(SELECT * FROM {self.raw} WHERE {condition} ORDER BY rn)"
        self.cursor.execute(f"INSERT INTO {target} ({names}) {self.reading.rows(source)}")


def examine(
    statement: Statement, spec: CopySpec, fmt: Format, table: Table, file: FetchedFile, *, every: bool = False
) -> Examined:
    """Tell the good rows of a file from the faulty ones.

    Args:
        statement: the COPY INTO; its connection must not be in a transaction.
        spec: what it asks for.
        fmt: the file format.
        table: the target, which is not written to.
        file: the file.
        every: locate every error, not the first alone.
    """
    raw = f"raw_{next(_names)}"
    try:
        reading = plan(statement, spec, fmt, table, [file], exact=True)
        statement.cursor.execute(f"CREATE TEMP TABLE {raw} AS {reading.raw}")
    except Exception as error:
        translated = data_error(error, statement)
        return Examined(0, None, (RowError(1, translated, 1),), broken=True)
    work = _Work(statement, table, reading, raw)
    parsed = scalar(statement.cursor, f"SELECT count(*) FROM {raw}") + len(reading.faulty)
    good = statement.storage.create(statement.cursor, table.columns)
    faulty = _sort(work, good)
    found = [RowError(row, error, row, category="conversion") for row, error in faulty.items()]
    for record in reading.faulty:
        assert record.error is not None
        found.append(RowError(record.number, record.error, record.number))
    found.sort(key=lambda e: e.row)
    last = len(found) if every else 1
    located = [_locate(work, fmt, file, e) for e in found[:last]]
    statement.cursor.execute(f"DROP TABLE {raw}")
    return Examined(parsed, good, (*located, *found[last:]))


def data_error(error: Exception, statement: Statement) -> errors.SnowflakeError:
    """The error as Snowflake's; one that is not about the data is raised."""
    translated = translate_error(error, statement)
    if translated.code.startswith("100"):
        return translated
    raise translated from error


def told(file: FetchedFile, found: RowError) -> errors.SnowflakeError:
    """The error that ends a statement."""
    error = found.error
    text = f"{error.message}\n  File '{file.stored.key}', line {found.line}, character {found.character}"
    if found.column is not None:
        text += f"\n  Row {found.row}, column {found.column}"
    return errors.SnowflakeError(error.code, error.sqlstate, text + _HINT)


def table_name(statement: Statement, table: Table) -> str:
    """The name a table object is bound to now."""
    with statement.catalog.lock:
        bound = [*statement.catalog.tables(), *statement.session.temporary.items()]
        return next((name.object for name, found in bound if found is table), "?")


def _sort(work: _Work, good: str) -> dict[int, errors.SnowflakeError]:
    """Put the good rows into a table; what the others raise, by row number."""
    statement, faulty = work.statement, dict[int, errors.SnowflakeError]()
    with contextlib.suppress(Exception):
        work.insert(good, "TRUE")
        return faulty
    probe = statement.storage.create(statement.cursor, work.table.columns)
    try:
        for suspects in _suspects(work):
            for row in suspects:
                statement.check()
                try:
                    work.insert(probe, f"rn = {row}")
                except Exception as error:
                    faulty[row] = data_error(error, statement)
            try:
                work.insert(good, f"rn NOT IN ({', '.join(map(str, faulty)) or 'NULL'})" if faulty else "TRUE")
                break
            except Exception as error:
                failed = data_error(error, statement)
        else:
            raise failed
    finally:
        statement.storage.retire(probe)
    return faulty


def _suspects(work: _Work) -> Iterator[list[int]]:
    """Rows to try one by one: first those a value of which plainly does not convert, then all."""
    reading = work.reading
    conditions = []
    for i, target in enumerate(reading.columns):
        converted = f"TRY({errors.without_raise(reading.converted[i])})"
        given = [f"{name} IS NOT NULL" for name in sorted(set(_RAW_COLUMN.findall(reading.projected[i])))]
        conditions.append(f"({converted} IS NULL AND ({' OR '.join(given) if target.nullable and given else 'TRUE'}))")
        if target.type.name == "TEXT":
            conditions.append(f"length({converted}) > {target.type.length}")
    tried = ", ".join(f"TRY({errors.without_raise(sql)}) AS c{i}" for i, sql in enumerate(reading.projected))
    with contextlib.suppress(Exception):
        # DuckDB's TRY refuses some expressions; then there is only the long way.
        rows = work.cursor.execute(
            f"SELECT rn FROM (SELECT *, {tried} FROM {work.raw}) WHERE {' OR '.join(conditions)} ORDER BY rn"
        ).fetchall()
        yield [row[0] for row in rows]
    yield [row[0] for row in work.cursor.execute(f"SELECT rn FROM {work.raw} ORDER BY rn").fetchall()]


def _locate(work: _Work, fmt: Format, file: FetchedFile, found: RowError) -> RowError:
    """The error with the place it comes from."""
    position = _culprit(work, found.row) if found.category == "conversion" else None
    shown = f'"{table_name(work.statement, work.table)}"'
    column: str | None = None
    if position is not None:
        target = work.reading.columns[position]
        column = f'{shown}["{target.name}":{work.table.columns.index(target) + 1}]'
    record = next((r for r in work.reading.faulty if r.number == found.row), None)
    if record is not None and found.error.code == "100080":
        column = f"{shown}[{len(record.fields)}]"
    if not isinstance(fmt, CsvFormat):
        return replace(found, column=column)
    field = 0
    if record is not None and found.error.code in _IN_FIELD:
        field = len(record.starts) - 1
    elif position is not None and work.reading.projected[position] == f"p{position}":
        # A transformed value has no field of its own to point at.
        field = position
    line, character, byte = csv_files.locate(file.path, fmt, found.row, field)
    return replace(found, line=line, character=character, byte=byte, column=column)


def _culprit(work: _Work, row: int) -> int | None:
    """The first column whose value of a row does not go into the table."""
    source = f"(SELECT * FROM {work.raw} WHERE rn = {row})"
    for i, target in enumerate(work.reading.columns):
        try:
            values = work.cursor.execute(work.reading.value(i, source)).fetchall()
        except Exception:
            # Whatever it says: the row's own error has been kept.
            return i
        value = values[0][0] if values else None
        length = target.type.length if target.type.name == "TEXT" else None
        if (value is None and not target.nullable) or (length is not None and len(value or "") > length):
            return i
    return None
