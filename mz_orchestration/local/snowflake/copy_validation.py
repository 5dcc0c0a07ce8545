# ruff: noqa: S608 (the SQL is put together from names made here)
"""COPY INTO with VALIDATION_MODE: the files are read, and nothing is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mz_orchestration.local.snowflake import queries
from mz_orchestration.local.snowflake.catalog import Table
from mz_orchestration.local.snowflake.copy_rows import examine, told
from mz_orchestration.local.snowflake.copy_spec import CopySpec
from mz_orchestration.local.snowflake.file_formats import Format
from mz_orchestration.local.snowflake.load_history import LOADED
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.store import FetchedFile
from mz_orchestration.local.snowflake.translate import Translation
from mz_orchestration.local.snowflake.types import NUMBER, TEXT

_COLUMNS = [
    ("ERROR", TEXT), ("FILE", TEXT), ("LINE", NUMBER), ("CHARACTER", NUMBER), ("BYTE_OFFSET", NUMBER),
    ("CATEGORY", TEXT), ("CODE", NUMBER), ("SQL_STATE", TEXT), ("COLUMN_NAME", TEXT), ("ROW_NUMBER", NUMBER),
    ("ROW_START_LINE", NUMBER),
]  # fmt: skip


def validate(statement: Statement, spec: CopySpec, fmt: Format, table: Table, files: Iterable[FetchedFile]) -> Result:
    """Answer with the first rows, or with all errors."""
    if spec.validated_rows is not None:
        return _rows(statement, spec, fmt, table, files)
    history = statement.session.version(table).history
    rows: list[list[Any]] = []
    for file in files:
        entry = history.get(file.stored.url)
        known = entry is not None and entry.etag == file.stored.etag
        if known and not spec.force and (spec.validation == "RETURN_ERRORS" or (entry and entry.status == LOADED)):
            # RETURN_ALL_ERRORS tells those of files too that an earlier statement has loaded in part.
            continue
        examined = examine(statement, spec, fmt, table, file, every=True)
        if examined.good is not None:
            statement.storage.retire(examined.good)
        for found in examined.errors:
            rows.append(
                [found.error.message, file.stored.key, found.line, found.character, found.byte, found.category,
                 int(found.error.code), found.error.sqlstate, found.column, found.row, found.line]
            )  # fmt: skip
    return Result.of(_COLUMNS, rows)


def _rows(statement: Statement, spec: CopySpec, fmt: Format, table: Table, files: Iterable[FetchedFile]) -> Result:
    """RETURN_n_ROWS: the rows as they would be loaded, or the first error among them."""
    wanted = left = spec.validated_rows or 0
    good: list[str] = []
    try:
        for file in files:
            examined = examine(statement, spec, fmt, table, file)
            if examined.good is not None:
                good.append(examined.good)
            if examined.errors and examined.errors[0].row <= left:
                raise told(file, examined.errors[0])
            left -= examined.parsed
            if left <= 0:
                break
        sources = good or [statement.session.version(table).physical + " WHERE FALSE"]
        sql = f"SELECT * FROM ({' UNION ALL '.join(f'(SELECT * FROM {source})' for source in sources)}) LIMIT {wanted}"
        return queries.run(statement, Translation(sql, {c.name: c.type for c in table.columns}))
    finally:
        for name in good:
            statement.storage.retire(name)
