# ruff: noqa: S608 (the SQL is put together from names and types made here)
"""What a COPY INTO reads from one file: a query whose columns go into the target columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake import casts, errors, functions
from mz_orchestration.local.snowflake.catalog import Column, Table
from mz_orchestration.local.snowflake.copy_spec import CopySpec, CsvFormat, ParquetFormat
from mz_orchestration.local.snowflake.csv_files import CsvSource, open_csv
from mz_orchestration.local.snowflake.names import display, literal
from mz_orchestration.local.snowflake.queries import describe
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.translate import encode_names, parse

if TYPE_CHECKING:
    from sqlglot import exp


@dataclass(frozen=True)
class FileColumn:
    """A column of a file: its own name, and how DuckDB reads it."""

    name: str
    expression: str
    type: str


@dataclass(frozen=True)
class Reading:
    """The query over one file, its column types, the columns it fills, and how each value is converted."""

    sql: str
    columns: list[Column]
    converted: list[str]

    @property
    def names(self) -> str:
        """The names of the query's columns as a list for a table alias."""
        return ", ".join(f"c{i}" for i in range(len(self.columns)))


@dataclass
class _File:
    """A file ready to be read."""

    source: str
    columns: list[FileColumn]
    url: str
    csv: bool
    whole_row: str = "NULL"
    paths: dict[tuple[str, ...], str] = field(default_factory=dict)


def plan(statement: Statement, spec: CopySpec, table: Table, path: Path, url: str) -> Reading:
    """Decide how one file is read into the table."""
    targets = _targets(spec, table)
    if isinstance(spec.format, CsvFormat):
        expected = None if spec.projection is not None else len(targets)
        file = _csv(open_csv(statement.cursor, path, spec.format, expected), url)
    else:
        file = _parquet(statement, path, spec.format, url)
    if spec.projection is not None:
        return _transformed(statement, spec, targets, file)
    if spec.match_by is not None:
        pairs = _matched(spec, targets, file)
    elif file.csv:
        pairs = list(zip(targets, file.columns, strict=True))
    else:
        pairs = [(_single(targets), FileColumn("$1", file.whole_row, "JSON"))]
    selected = ", ".join(f"{c.expression} AS s{i}" for i, (_, c) in enumerate(pairs)) or "1 AS s0"
    converted = [
        casts.cast(f"c{i}", column.type, target.type, parse_variant=file.csv)
        for i, (target, column) in enumerate(pairs)
    ]
    return Reading(f"SELECT {selected} FROM {file.source} AS src", [t for t, _ in pairs], converted)


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


def _csv(source: CsvSource, url: str) -> _File:
    names = source.header or [f"${i + 1}" for i in range(source.width)]
    columns = [FileColumn(name, f"src.c{i + 1}", "VARCHAR") for i, name in enumerate(names)]
    return _File(source.sql, columns, url, csv=True)


def _parquet(statement: Statement, path: Path, fmt: ParquetFormat, url: str) -> _File:
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
    except Exception as error:
        # pyarrow answers a file that is no Parquet with errors of several classes.
        raise errors.SnowflakeError(
            "100069", "22P02", f"Error parsing the parquet file: {str(error).splitlines()[0]}"
        ) from error
    binary = str(fmt.binary_as_text).lower()
    source = f"read_parquet({literal(str(path))}, binary_as_string={binary}, file_row_number=true)"
    read, types = describe(statement, f"SELECT * EXCLUDE (file_row_number) FROM {source}")
    columns = [
        _physical(name, f'src."{column.replace(chr(34), chr(34) * 2)}"', duck_type, fmt)
        for name, column, duck_type in zip(names, read, types, strict=True)
    ]
    members = ", ".join(f"{literal(c.name)}, {casts.to_json(c.expression, c.type)}" for c in columns)
    return _File(source, columns, url, csv=False, whole_row=f"json_object({members})")


def _physical(name: str, expression: str, duck_type: str, fmt: ParquetFormat) -> FileColumn:
    if fmt.use_logical_type:
        return FileColumn(name, expression, duck_type)
    if duck_type in {"TIMESTAMP", "TIMESTAMP WITH TIME ZONE"}:
        return FileColumn(name, f"epoch_us({expression})", "BIGINT")
    if duck_type == "TIME":
        return FileColumn(name, f"CAST(epoch_us({expression}) AS BIGINT)", "BIGINT")
    return FileColumn(name, expression, duck_type)


def _matched(spec: CopySpec, targets: list[Column], file: _File) -> list[tuple[Column, FileColumn]]:
    """Pairs by name; a target the file lacks keeps its default, a file column without target is ignored."""
    exact = spec.match_by == "CASE_SENSITIVE"
    by_name: dict[str, FileColumn] = {}
    for column in file.columns:
        key = column.name if exact else column.name.upper()
        if key in by_name:
            raise errors.SnowflakeError(
                "100080", "22000", f"Ambiguous column name '{column.name}' in file '{file.url}'"
            )
        by_name[key] = column
    pairs: list[tuple[Column, FileColumn]] = []
    for target in targets:
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


def _transformed(statement: Statement, spec: CopySpec, targets: list[Column], file: _File) -> Reading:
    """FROM (SELECT …): each ``$n`` or ``$1:path`` becomes a column of an inner query."""
    from sqlglot import exp

    tree = parse(f"SELECT {spec.projection} FROM src")
    if not isinstance(tree, exp.Select):
        raise errors.unsupported("COPY INTO transformation", statement.sql)
    if len(tree.expressions) != len(targets):
        raise errors.compilation(
            "002020",
            "21S01",
            f"Insert value list does not match column list expecting {len(targets)} but got {len(tree.expressions)}",
        )
    tree = tree.transform(lambda node: _reference(statement, spec, node, file))
    for i, projection in enumerate(list(tree.expressions)):
        plain = projection.this if isinstance(projection, exp.Alias) else projection
        projection.replace(exp.Alias(this=plain.copy(), alias=exp.to_identifier(f"e{i}")))
    tree = functions.replace(tree, statement)
    encode_names(tree)
    outer = ", ".join(e.sql(dialect="duckdb") for e in tree.expressions)
    inner = ", ".join(f"{sql} AS p{i}" for i, sql in enumerate(file.paths.values())) or "1 AS p0"
    sql = f"SELECT {outer} FROM (SELECT {inner} FROM {file.source} AS src) AS rows"
    _, types = describe(statement, sql)
    converted = [
        casts.cast(f"c{i}", duck_type, target.type, parse_variant=file.csv)
        for i, (target, duck_type) in enumerate(zip(targets, types, strict=True))
    ]
    return Reading(sql, targets, converted)


def _reference(statement: Statement, spec: CopySpec, node: exp.Expression, file: _File) -> exp.Expression:
    from sqlglot import exp

    if isinstance(node, exp.JSONExtract) and (number := _position(spec, node.this)) is not None:
        keys = [str(part.this) for part in node.expression.expressions[1:]]
        if number != 1 or file.csv or not keys:
            raise errors.unsupported(f"path {node.sql(dialect='snowflake')}", statement.sql)
        return _inner(file, (f"${number}", *keys), _path(file, node, keys))
    number = _position(spec, node)
    if number is not None:
        if file.csv:
            column = file.columns[number - 1].expression if number <= len(file.columns) else "CAST(NULL AS VARCHAR)"
            return _inner(file, (f"${number}",), column)
        return _inner(file, ("$1",), file.whole_row if number == 1 else "NULL")
    if isinstance(node, exp.Column):
        name = node.name.upper()
        if name == "METADATA$FILENAME":
            return exp.Literal.string(file.url.split("/", 3)[3])
        if name == "METADATA$FILE_ROW_NUMBER":
            row = "row_number() OVER ()" if file.csv else "src.file_row_number + 1"
            return _inner(file, (name,), row)
        if not node.this.args.get("physical"):
            raise errors.invalid_identifier(display(name))
    return node


def _position(spec: CopySpec, node: exp.Expression) -> int | None:
    """The ``n`` of ``$n`` or ``t.$n``."""
    from sqlglot import exp

    if isinstance(node, exp.Column) and isinstance(node.this, exp.Parameter):
        table = node.args.get("table")
        shown = str(table.this) if table and table.args.get("quoted") else str(table.this).upper() if table else None
        if shown is not None and shown != spec.alias:
            raise errors.invalid_identifier(f"{shown}.${node.this.this}")
        node = node.this
    if isinstance(node, exp.Parameter) and isinstance(node.this, exp.Literal) and not node.this.is_string:
        return int(node.this.this)
    return None


def _path(file: _File, node: exp.Expression, keys: list[str]) -> str:
    from sqlglot import exp

    parts = node.args["expression"].expressions[1:]
    column = next((c for c in file.columns if c.name == keys[0]), None)
    if column is None:
        return "NULL"
    if len(parts) == 1 and column.type == "UBIGINT":
        # Checked here, since the SELECT may cast it before the target's own conversion sees it.
        return casts.signed(column.expression)
    if len(parts) == 1:
        return column.expression
    steps = "".join(
        f"[{part.this}]" if isinstance(part, exp.JSONPathSubscript) else '."' + str(part.this).replace('"', '\\"') + '"'
        for part in parts[1:]
    )
    return f"json_extract({casts.to_json(column.expression, column.type)}, {literal('$' + steps)})"


def _inner(file: _File, key: tuple[str, ...], sql: str) -> exp.Expression:
    from sqlglot import exp

    if key not in file.paths:
        file.paths[key] = sql
    position = list(file.paths).index(key)
    identifier = exp.to_identifier(f"p{position}", quoted=False)
    identifier.set("physical", True)
    return exp.Column(this=identifier)
