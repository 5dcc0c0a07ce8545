# ruff: noqa: S608 (the SQL is put together from names made here, and the statement's own text)
"""COPY INTO … FROM (SELECT …): what the SELECT makes of the columns of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake import casts, errors, functions
from mz_orchestration.local.snowflake.catalog import Column
from mz_orchestration.local.snowflake.copy_source import SourceFile
from mz_orchestration.local.snowflake.copy_spec import METADATA, CopySpec
from mz_orchestration.local.snowflake.names import display, literal
from mz_orchestration.local.snowflake.queries import describe
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.translate import encode_names, parse

if TYPE_CHECKING:
    from sqlglot import exp


def transformed(
    statement: Statement, spec: CopySpec, targets: list[Column], file: SourceFile
) -> tuple[list[Column], list[str], list[str]]:
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
    projected = [e.this.sql(dialect="duckdb") for e in tree.expressions]
    named = ", ".join(f"{sql} AS c{i}" for i, sql in enumerate(projected))
    _, types = describe(statement, f"SELECT {named} FROM ({file.raw()}) AS raw")
    return targets, projected, types


def _reference(statement: Statement, spec: CopySpec, node: exp.Expression, file: SourceFile) -> exp.Expression:
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
        if name in METADATA:
            return _inner(file, (name,), file.metadata(name))
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


def _path(file: SourceFile, node: exp.Expression, keys: list[str]) -> str:
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


def _inner(file: SourceFile, key: tuple[str, ...], sql: str) -> exp.Expression:
    from sqlglot import exp

    identifier = exp.to_identifier(f"p{file.reference(key, sql)}", quoted=False)
    identifier.set("physical", True)
    return exp.Column(this=identifier)
