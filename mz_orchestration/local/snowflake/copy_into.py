# ruff: noqa: S608 (the SQL is put together from names and types made here)
"""COPY INTO <table>: files chosen, skipped by load history, loaded all or none, and accounted for."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.catalog import LoadedFile, Stage, Table, Version
from mz_orchestration.local.snowflake.copy_plan import Reading, plan
from mz_orchestration.local.snowflake.copy_spec import CopySpec, parse_copy
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.names import display, duck
from mz_orchestration.local.snowflake.queries import translate_error
from mz_orchestration.local.snowflake.results import COPY, Result
from mz_orchestration.local.snowflake.stages import compile_pattern, stage_path
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.storage import scalar
from mz_orchestration.local.snowflake.store import StoredFile
from mz_orchestration.local.snowflake.types import NUMBER, TEXT

_COLUMNS = [
    ("file", TEXT), ("status", TEXT), ("rows_parsed", NUMBER), ("rows_loaded", NUMBER), ("error_limit", NUMBER),
    ("errors_seen", NUMBER), ("first_error", TEXT), ("first_error_line", NUMBER),
    ("first_error_character", NUMBER), ("first_error_column_name", TEXT),
]  # fmt: skip
_HINT = (
    "\n  If you would like to continue loading when an error is encountered, use other values such as "
    "'SKIP_FILE' or 'CONTINUE' for the ON_ERROR option. For more information on loading options, please run "
    "'info loading_data' in a SQL client."
)


def copy_into(statement: Statement, parser: Parser) -> Result:
    """Run a COPY INTO statement."""
    spec = parse_copy(statement, parser)
    name = statement.name(spec.table, "COPY")
    statement.session.find(name, display(*spec.table))
    stage, path = stage_path(statement, spec.stage)
    files = statement.account.store.files(statement.catalog, stage, path, spec.files)
    if spec.pattern is not None:
        matcher = compile_pattern(spec.pattern)
        files = [file for file in files if matcher.fullmatch(file.url)]
    with statement.session.writing(name, statement.cursor, statement.cancel) as (table, work):
        version = work.versions[table]
        fresh = [f for f in files if spec.force or not _known(version, f)]
        counts = _load(statement, spec, stage, table, version.physical, fresh) if fresh else {}
        seen = {f.url: LoadedFile(f.etag, f.size) for f in fresh}
        work.versions[table] = version.with_files(seen)
    return _answer(statement, spec, files, counts)


def _known(version: Version, file: StoredFile) -> bool:
    return version.history.get(file.url) == LoadedFile(file.etag, file.size)


def _answer(statement: Statement, spec: CopySpec, files: list[StoredFile], counts: dict[str, int]) -> Result:
    rows: list[list[object]] = []
    delta = statement.account.faults.take() if counts else 0
    for file in files:
        if file.url in counts:
            count = counts[file.url]
            rows.append([file.url, "LOADED", count, count + delta, 1, 0, None, None, None, None])
            delta = 0
        elif spec.files is not None:
            # A file asked for by name is accounted for; one that merely lies under the path is passed over.
            rows.append([file.url, "LOAD_SKIPPED", 0, 0, 0, 1, "File was loaded before.", None, None, None])
    if not rows:
        return Result.status("Copy executed with 0 files processed.", COPY)
    return Result.of(_COLUMNS, rows, COPY)


def _load(
    statement: Statement,
    spec: CopySpec,
    stage: Stage,
    table: Table,
    physical: str,
    files: list[StoredFile],
) -> dict[str, int]:
    """Load the files into a physical table: all of them or none."""
    counts: dict[str, int] = {}
    cursor = statement.cursor
    cursor.begin()
    try:
        for file in files:
            statement.check()
            local = statement.storage.folder / f"load-{uuid.uuid4().hex}"
            try:
                statement.account.store.fetch(stage, file, local)
                counts[file.url] = _load_file(statement, spec, table, physical, file, local)
            finally:
                local.unlink(missing_ok=True)
        cursor.commit()
    except BaseException:
        with contextlib.suppress(Exception):
            cursor.rollback()
        raise
    return counts


def _load_file(statement: Statement, spec: CopySpec, table: Table, physical: str, file: StoredFile, local: Path) -> int:
    reading: Reading | None = None
    try:
        reading = plan(statement, spec, table, local, file.url)
        names = ", ".join(duck(c.name) for c in reading.columns)
        if not reading.columns:
            return _load_defaults(statement, table, physical, reading)
        return scalar(
            statement.cursor,
            f"INSERT INTO {physical} ({names}) SELECT {', '.join(reading.converted)} "
            f"FROM ({reading.sql}) AS rows({reading.names})",
        )
    except Exception as error:
        translated = translate_error(error, statement)
        if translated.code.startswith("100"):
            raise _located(statement, table, reading, file, translated) from error
        raise translated from error


def _load_defaults(statement: Statement, table: Table, physical: str, reading: Reading) -> int:
    """No column of the file is in the table: as many rows of defaults as the file has rows."""
    first = table.columns[0]
    value = first.default or "NULL"
    return scalar(statement.cursor, f"INSERT INTO {physical} ({duck(first.name)}) SELECT {value} FROM ({reading.sql})")


def _located(
    statement: Statement,
    table: Table,
    reading: Reading | None,
    file: StoredFile,
    error: errors.SnowflakeError,
) -> errors.SnowflakeError:
    """The error with the file, row and column it comes from, as Snowflake tells them."""
    # The failed statement aborted the DuckDB transaction; the search for the row runs outside it.
    statement.cursor.rollback()
    row, column = 1, 0
    if reading is not None:
        row, column = _culprit(statement, reading, error.code)
    text = f"{error.message}\n  File '{file.key}', line {row}, character 1"
    if reading is not None and reading.columns:
        shown = reading.columns[column].name
        text += f'\n  Row {row}, column "{table_name(statement, table)}"["{shown}":{column + 1}]'
    return errors.SnowflakeError(error.code, error.sqlstate, text + _HINT)


def table_name(statement: Statement, table: Table) -> str:
    """The name a table object is bound to now."""
    with statement.catalog.lock:
        bound = [*statement.catalog.tables(), *statement.session.temporary.items()]
        return next((name.object for name, found in bound if found is table), "?")


def _culprit(statement: Statement, reading: Reading, code: str) -> tuple[int, int]:
    """Row (from 1) and column (from 0) of the first value that does not convert."""
    best: tuple[int, int] | None = None
    for i, (target, converted) in enumerate(zip(reading.columns, reading.converted, strict=True)):
        if code == "100072":
            if target.nullable:
                continue
            condition = f"({converted}) IS NULL"
        elif code == "100078":
            if target.type.name != "TEXT":
                continue
            condition = f"length({converted}) > {target.type.length}"
        else:
            condition = f"c{i} IS NOT NULL AND TRY({errors.without_raise(converted)}) IS NULL"
        numbered = f"SELECT row_number() OVER () AS rn, * FROM ({reading.sql}) AS rows({reading.names})"
        with contextlib.suppress(Exception):
            # A query that fails as a whole has no row to point at.
            row = scalar(statement.cursor, f"SELECT min(rn) FROM ({numbered}) WHERE {condition}")
            if row and (best is None or row < best[0]):
                best = (row, i)
    return best or (1, 0)
