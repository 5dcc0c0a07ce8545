# ruff: noqa: S608 (the SQL is put together from names and types made here)
"""What a COPY INTO reads from its files: a query whose columns go into the target columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mz_orchestration.local.snowflake import casts, errors
from mz_orchestration.local.snowflake.catalog import Column, Table
from mz_orchestration.local.snowflake.copy_source import FileColumn, SourceFile, csv_file, parquet_file
from mz_orchestration.local.snowflake.copy_spec import METADATA, CopySpec
from mz_orchestration.local.snowflake.copy_transform import transformed
from mz_orchestration.local.snowflake.csv_files import Record, open_csv, open_exactly
from mz_orchestration.local.snowflake.file_formats import CsvFormat, Format
from mz_orchestration.local.snowflake.names import display
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.store import FetchedFile


@dataclass(frozen=True)
class Reading:
    """How files of one shape are read.

    ``raw`` reads what is needed as ``p0`` …, ``projected`` makes of it the columns ``c0`` …, and ``converted``
    makes of those the values of ``columns``. Numbered rows are told apart by ``rn``. ``faulty`` are records that
    are in the file and not in ``raw``.
    """

    raw: str
    columns: list[Column]
    projected: list[str]
    converted: list[str]
    faulty: tuple[Record, ...] = ()

    def rows(self, source: str | None = None) -> str:
        """The query over all rows, or over a table that ``raw`` has been read into."""
        projected = ", ".join(f"{sql} AS c{i}" for i, sql in enumerate(self.projected))
        inner = source or f"({self.raw})"
        return f"SELECT {', '.join(self.converted)} FROM (SELECT {projected} FROM {inner} AS raw) AS rows"

    def value(self, column: int, source: str) -> str:
        """The query over one column alone."""
        projected = f"SELECT {self.projected[column]} AS c{column} FROM {source} AS raw"
        return f"SELECT {self.converted[column]} FROM ({projected}) AS rows"


def plan(
    statement: Statement,
    spec: CopySpec,
    fmt: Format,
    table: Table,
    files: Sequence[FetchedFile],
    *,
    exact: bool = False,
) -> Reading:
    """Decide how files are read into the table.

    Args:
        statement: the COPY INTO.
        spec: what it asks for.
        fmt: the file format.
        table: the target.
        files: files with the same columns; of CSV one at a time.
        exact: number the rows, and leave out faulty records of a CSV file instead of failing.
    """
    targets = _targets(spec, table)
    if isinstance(fmt, CsvFormat):
        expected = None if spec.projection is not None else len(targets)
        opening = open_exactly if exact else open_csv
        file = csv_file(opening(statement.cursor, files[0].path, fmt, expected), files)
    else:
        file = parquet_file(statement, files, fmt, numbered=spec.uses_metadata)
    if spec.projection is not None:
        columns, projected, types = transformed(statement, spec, targets, file)
    else:
        columns, projected, types = _direct(spec, targets, file)
    if not columns:
        # No column of the file is in the table: as many rows of defaults as the file has rows.
        columns, projected, types = table.columns[:1], [table.columns[0].default or "NULL"], ['"NULL"']
        if table.columns[0].default is not None:
            types = [table.columns[0].type.duck]
    converted = [
        _truncated(spec, target, casts.cast(f"c{i}", duck_type, target.type, parse_variant=file.csv))
        for i, (target, duck_type) in enumerate(zip(columns, types, strict=True))
    ]
    return Reading(file.raw(exact=exact), columns, projected, converted, file.faulty)


def _truncated(spec: CopySpec, target: Column, converted: str) -> str:
    if spec.truncate and target.type.name == "TEXT":
        return f"left({converted}, {target.type.length})"
    return converted


def _direct(spec: CopySpec, targets: list[Column], file: SourceFile) -> tuple[list[Column], list[str], list[str]]:
    """Columns by name, by position, or the whole row."""
    if spec.match_by is not None:
        pairs = _matched(spec, targets, file)
    elif file.csv:
        pairs = list(zip(targets, file.columns, strict=True))
    else:
        pairs = [(_single(targets), FileColumn("$1", file.whole_row, "JSON"))]
    projected = [f"p{file.reference((str(i),), c.expression)}" for i, (_, c) in enumerate(pairs)]
    return [t for t, _ in pairs], projected, [c.type for _, c in pairs]


def _targets(spec: CopySpec, table: Table) -> list[Column]:
    if spec.columns is None:
        return table.columns
    found: list[Column] = []
    for name in spec.columns:
        column = table.column(name)
        if column is None:
            raise errors.invalid_identifier(display(name))
        found.append(column)
    return found


def _matched(spec: CopySpec, targets: list[Column], file: SourceFile) -> list[tuple[Column, FileColumn]]:
    """Pairs by name; a target the file lacks keeps its default, a file column without target is ignored."""
    exact = spec.match_by == "CASE_SENSITIVE"
    by_name: dict[str, FileColumn] = {}
    for column in file.columns:
        key = column.name if exact else column.name.upper()
        if key in by_name:
            raise errors.SnowflakeError(
                "100080", "22000", f"Ambiguous column name '{column.name}' in file '{file.files[0].stored.url}'"
            )
        by_name[key] = column
    for name in spec.include_metadata:
        if not any(target.name == name for target in targets):
            raise errors.invalid_identifier(display(name))
    pairs: list[tuple[Column, FileColumn]] = []
    for target in targets:
        if (asked := spec.include_metadata.get(target.name)) is not None:
            pairs.append((target, FileColumn(asked, file.metadata(asked), METADATA[asked])))
            continue
        column_found = by_name.get(target.name if exact else target.name.upper())
        if column_found is not None:
            pairs.append((target, column_found))
        elif not target.nullable and target.default is None:
            pairs.append((target, FileColumn(target.name, "NULL", '"NULL"')))
    return pairs


def _single(targets: list[Column]) -> Column:
    if len(targets) == 1 and targets[0].type.duck == "JSON":
        return targets[0]
    raise errors.compilation(
        "002019",
        "0A000",
        "PARQUET file format can produce one and only one column of type variant, object, or array. Load data "
        "into separate columns using the MATCH_BY_COLUMN_NAME copy option or copy with transformation.",
    )
