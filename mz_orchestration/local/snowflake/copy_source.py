# ruff: noqa: S608 (the SQL is put together from names and types made here)
"""Staged files as COPY INTO finds them: their columns, and how DuckDB reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mz_orchestration.local.snowflake import casts, errors
from mz_orchestration.local.snowflake.copy_spec import METADATA
from mz_orchestration.local.snowflake.csv_files import CsvSource, Record
from mz_orchestration.local.snowflake.file_formats import ParquetFormat
from mz_orchestration.local.snowflake.names import literal
from mz_orchestration.local.snowflake.queries import describe
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.store import FetchedFile

_PATH_COLUMN = "mz__path"


@dataclass(frozen=True)
class FileColumn:
    """A column of a file: its own name, and how DuckDB reads it."""

    name: str
    expression: str
    type: str


@dataclass
class SourceFile:
    """One file, or several of the same columns, ready to be read."""

    source: str
    columns: list[FileColumn]
    files: Sequence[FetchedFile]
    csv: bool
    row: str
    whole_row: str = "NULL"
    faulty: tuple[Record, ...] = ()
    paths: dict[tuple[str, ...], str] = field(default_factory=dict)

    def metadata(self, name: str) -> str:
        """A METADATA$ column."""
        if name == "METADATA$FILE_ROW_NUMBER":
            return self.row
        duck_type = METADATA[name]
        if name == "METADATA$START_SCAN_TIME":
            return f"CAST({literal(datetime.now(UTC).isoformat())} AS {duck_type})"
        values = [_metadata(name, file) for file in self.files]
        if len(values) == 1:
            return f"CAST({literal(values[0])} AS {duck_type})"
        # Local copies are named by their position among the files of the statement.
        first = self.files[0].path.name
        position = f"CAST(regexp_extract(src.{_PATH_COLUMN}, '[0-9]+$') AS BIGINT) - {first} + 1"
        return f"CAST(([{', '.join(literal(v) for v in values)}])[{position}] AS {duck_type})"

    def reference(self, key: tuple[str, ...], sql: str) -> int:
        """The number of the raw column that holds an expression."""
        self.paths.setdefault(key, sql)
        return list(self.paths).index(key)

    def raw(self, *, exact: bool = False) -> str:
        """The query over what has been referred to; ``exact`` numbers the rows as ``rn``."""
        parts = [f"{sql} AS p{i}" for i, sql in enumerate(self.paths.values())]
        if exact:
            parts.insert(0, f"{self.row} AS rn")
        return f"SELECT {', '.join(parts) or '1 AS p0'} FROM {self.source} AS src"


def csv_file(source: CsvSource, files: Sequence[FetchedFile]) -> SourceFile:
    """A CSV file; its columns are named by its header, or $1, $2, …"""
    names = source.header or [f"${i + 1}" for i in range(source.width)]
    columns = [FileColumn(name, f"src.c{i + 1}", "VARCHAR") for i, name in enumerate(names)]
    return SourceFile(source.sql, columns, files, csv=True, row=source.row, faulty=source.faulty)


def parquet_file(
    statement: Statement, files: Sequence[FetchedFile], fmt: ParquetFormat, *, numbered: bool
) -> SourceFile:
    """Parquet files of one schema; ``numbered`` ones know their file and row."""
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(files[0].path).names
    except Exception as error:
        # pyarrow answers a file that is no Parquet with errors of several classes.
        raise errors.SnowflakeError(
            "100069", "22P02", f"Error parsing the parquet file: {str(error).splitlines()[0]}"
        ) from error
    binary = f"binary_as_string={str(fmt.binary_as_text).lower()}"
    read, types = describe(statement, f"SELECT * FROM read_parquet({literal(str(files[0].path))}, {binary})")
    paths = ", ".join(literal(str(file.path)) for file in files)
    # Only where they are asked for: a file may have columns of these names itself.
    row = "src.file_row_number + 1" if numbered else "row_number() OVER ()"
    extra = f", file_row_number=true, filename='{_PATH_COLUMN}'" if numbered else ""
    source = f"read_parquet([{paths}], {binary}{extra})"
    columns = [
        _physical(name, f'src."{column.replace(chr(34), chr(34) * 2)}"', duck_type, fmt)
        for name, column, duck_type in zip(names, read, types, strict=True)
    ]
    members = ", ".join(f"{literal(c.name)}, {casts.to_json(c.expression, c.type)}" for c in columns)
    return SourceFile(source, columns, files, csv=False, row=row, whole_row=f"json_object({members})")


def _physical(name: str, expression: str, duck_type: str, fmt: ParquetFormat) -> FileColumn:
    if fmt.use_logical_type:
        return FileColumn(name, expression, duck_type)
    if duck_type in {"TIMESTAMP", "TIMESTAMP WITH TIME ZONE"}:
        return FileColumn(name, f"epoch_us({expression})", "BIGINT")
    if duck_type == "TIME":
        return FileColumn(name, f"CAST(epoch_us({expression}) AS BIGINT)", "BIGINT")
    return FileColumn(name, expression, duck_type)


def _metadata(name: str, file: FetchedFile) -> str:
    stored = file.stored
    return {
        "METADATA$FILENAME": stored.key,
        "METADATA$FILE_LAST_MODIFIED": stored.modified.astimezone(UTC).replace(tzinfo=None).isoformat(),
        "METADATA$FILE_CONTENT_KEY": stored.content_key,
    }[name]
