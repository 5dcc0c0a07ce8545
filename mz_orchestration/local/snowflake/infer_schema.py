"""INFER_SCHEMA, and CREATE TABLE … USING TEMPLATE of its answer."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mz_orchestration.local.snowflake import csv_files, errors, file_formats, queries
from mz_orchestration.local.snowflake.catalog import Column
from mz_orchestration.local.snowflake.file_formats import CsvFormat, Format, ParquetFormat
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.names import display
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.stages import stage_path
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.store import FetchedFile
from mz_orchestration.local.snowflake.table_functions import table_function
from mz_orchestration.local.snowflake.translate import Translator, parse
from mz_orchestration.local.snowflake.types import BOOLEAN, NUMBER, TEXT, parse_type

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = [
    ("COLUMN_NAME", TEXT), ("TYPE", TEXT), ("NULLABLE", BOOLEAN), ("EXPRESSION", TEXT), ("FILENAMES", TEXT),
    ("ORDER_ID", NUMBER),
]  # fmt: skip
_TEMPLATE = "USING TEMPLATE takes SELECT ARRAY_AGG(OBJECT_CONSTRUCT(*)) [WITHIN GROUP (ORDER BY …)] FROM … here"
_CSV_GUESSES = ("BOOLEAN", "DECIMAL(38, 0)", "DECIMAL(38, 10)", "DOUBLE", "DATE", "TIME", "TIMESTAMP")
_CSV_TYPES = {
    "BOOLEAN": "BOOLEAN", "DECIMAL(38, 0)": "NUMBER(38, 0)", "DECIMAL(38, 10)": "NUMBER(38, 10)", "DOUBLE": "REAL",
    "DATE": "DATE", "TIME": "TIME", "TIMESTAMP": "TIMESTAMP_NTZ",
}  # fmt: skip


@dataclass(frozen=True)
class _Inferred:
    """A column found in files; ``place`` is how a COPY would read it."""

    name: str
    type: str
    nullable: bool
    place: str
    files: tuple[str, ...]


@table_function(
    "INFER_SCHEMA", "LOCATION", "FILE_FORMAT", "FILES", "IGNORE_CASE", "MAX_FILE_COUNT", "MAX_RECORDS_PER_FILE", "KIND"
)
def infer_schema(statement: Statement, _: str | None, arguments: dict[str, Any]) -> Result:
    """The columns of staged files."""
    for needed in ("LOCATION", "FILE_FORMAT"):
        if not isinstance(arguments.get(needed), str):
            raise errors.compilation("001015", "42P13", f"Missing argument '{needed}' of function 'INFER_SCHEMA'.")
    if not arguments["LOCATION"].startswith("@"):
        raise errors.invalid_value("LOCATION", arguments["LOCATION"])
    fmt = file_formats.named(statement, Parser(arguments["FILE_FORMAT"]).name())
    ignore_case = arguments.get("IGNORE_CASE") in (True, "TRUE", "true")
    merged: dict[str, _Inferred] = {}
    with _fetched(statement, arguments) as files:
        for file in files:
            statement.check()
            for column in _columns(statement, fmt, file):
                found = replace(column, name=column.name.upper()) if ignore_case else column
                merged[found.name] = _merged(merged.get(found.name), found)
    rows = [
        [c.name, c.type, c.nullable, _expression(c, ignore_case), ", ".join(c.files), position]
        for position, c in enumerate(merged.values())
    ]
    return Result.of(_COLUMNS, rows)


def template(statement: Statement, parser: Parser) -> list[Column]:
    """The columns that the query in brackets behind USING TEMPLATE describes."""
    from sqlglot import exp

    parser.expect("(")
    start, end, depth = parser.token.start, parser.token.start, 0
    while depth or not parser.looking_at(")"):
        token = parser.take()
        depth += {"(": 1, ")": -1}.get(token.upper, 0)
        end = token.end
    parser.expect(")")
    tree = parse(parser.sql[start:end])
    wanted = tree.expressions[0] if isinstance(tree, exp.Select) and len(tree.expressions) == 1 else None
    order = wanted.expression if isinstance(wanted, exp.WithinGroup) else None
    aggregate = wanted.this if isinstance(wanted, exp.WithinGroup) else wanted
    if not isinstance(aggregate, exp.ArrayAgg) or not isinstance(aggregate.this, exp.StarMap):
        raise errors.unsupported(_TEMPLATE, statement.sql)
    tree.set("expressions", [exp.Star()])
    if order is not None:
        tree.set("order", order)
    answer = queries.run(statement, Translator(statement).query(tree)).table.to_pylist()
    if not answer:
        raise errors.compilation("001003", "42601", "The template of the table has no columns.")
    columns = []
    for row in answer:
        if not {"COLUMN_NAME", "TYPE"} <= set(row):
            raise errors.unsupported(_TEMPLATE, statement.sql)
        nullable = row.get("NULLABLE") is not False
        columns.append(Column(row["COLUMN_NAME"], parse_type(Parser(row["TYPE"])), nullable))
    return columns


@contextmanager
def _fetched(statement: Statement, arguments: dict[str, Any]) -> Iterator[Iterator[FetchedFile]]:
    stage, path = stage_path(statement, arguments["LOCATION"])
    names = arguments.get("FILES")
    files = statement.account.store.files(
        statement.catalog, stage, path, [names] if isinstance(names, str) else [str(n) for n in names or []] or None
    )
    if not files:
        # By documentation a location without files is an error; its number is not documented.
        raise errors.remote_file_not_found(statement.account.store.authorise(statement.catalog, stage, path))
    if isinstance(limit := arguments.get("MAX_FILE_COUNT"), int):
        files = files[:limit]
    folder = statement.storage.folder / f"infer-{uuid.uuid4().hex}"
    folder.mkdir(mode=0o700)
    try:
        with closing(statement.account.store.fetch_all(stage, files, folder)) as fetched:
            yield fetched
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _merged(known: _Inferred | None, found: _Inferred) -> _Inferred:
    """One column of several files; where their types differ, it is text."""
    if known is None:
        return found
    kind = known.type if known.type == found.type else "TEXT"
    return replace(known, type=kind, nullable=known.nullable or found.nullable, files=(*known.files, *found.files))


def _expression(column: _Inferred, ignore_case: bool) -> str:
    if column.place.startswith("$"):
        return f"{column.place}::{column.type}"
    if ignore_case:
        return f"GET_IGNORE_CASE ($1, '{column.name}')::{column.type}"
    return f"$1:{display(column.place) if not column.place.isidentifier() else column.place}::{column.type}"


def _columns(statement: Statement, fmt: Format, file: FetchedFile) -> list[_Inferred]:
    if isinstance(fmt, CsvFormat):
        return _csv(statement, fmt, file)
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file.path)
    except Exception as error:
        # pyarrow answers a file that is no Parquet with errors of several classes.
        raise errors.SnowflakeError(
            "100069",
            "22P02",
            f"Error parsing the parquet file: {str(error).splitlines()[0]}\n  File '{file.stored.key}'",
        ) from error
    return [_Inferred(f.name, _parquet_type(f.type, fmt), f.nullable, f.name, (file.stored.key,)) for f in schema]


def _parquet_type(kind: pa.DataType, fmt: ParquetFormat) -> str:
    import pyarrow as pa

    types = pa.types
    if types.is_boolean(kind):
        return "BOOLEAN"
    if types.is_integer(kind):
        return "NUMBER(38, 0)"
    if types.is_decimal(kind):
        return f"NUMBER({kind.precision}, {kind.scale})"
    if types.is_floating(kind):
        return "REAL"
    if types.is_date(kind):
        return "DATE"
    if types.is_time(kind):
        return "TIME" if fmt.use_logical_type else "NUMBER(38, 0)"
    if types.is_timestamp(kind):
        if not fmt.use_logical_type:
            return "NUMBER(38, 0)"
        return "TIMESTAMP_NTZ" if kind.tz is None else "TIMESTAMP_LTZ"
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return "TEXT" if fmt.binary_as_text else "BINARY"
    if types.is_nested(kind):
        return "VARIANT"
    return "TEXT"


def _csv(statement: Statement, fmt: CsvFormat, file: FetchedFile) -> list[_Inferred]:
    """Types that every value of a column fits; columns without a header are c1, c2, …"""
    source = csv_files.open_csv(statement.cursor, file.path, fmt, None)
    found: list[_Inferred] = []
    for i in range(source.width):
        fits = ", ".join(
            f"bool_and(c{i + 1} IS NULL OR TRY_CAST(c{i + 1} AS {guess}) IS NOT NULL)" for guess in _CSV_GUESSES
        )
        sql = f"SELECT count(c{i + 1}), {fits} FROM {source.sql} AS src"  # noqa: S608 (names and types made here)
        # Fetched to the end: a connection with an unfinished result takes no other work.
        row = statement.cursor.execute(sql).fetchall()[0]
        guesses = [g for g, fit in zip(_CSV_GUESSES, row[1:], strict=True) if fit]
        kind = _CSV_TYPES[guesses[0]] if row[0] and guesses else "TEXT"
        name = source.header[i] if source.header is not None else f"c{i + 1}"
        found.append(_Inferred(name, kind, True, f"${i + 1}", (file.stored.key,)))
    return found
