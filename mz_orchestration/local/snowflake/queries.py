# ruff: noqa: S608 (the SQL is put together from names and types made here)
"""Queries: run in DuckDB, typed as Snowflake types them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake import casts, errors, types
from mz_orchestration.local.snowflake.catalog import Column
from mz_orchestration.local.snowflake.results import SELECT, Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.translate import Translation, Translator, output_name, parse
from mz_orchestration.local.snowflake.types import SfType

if TYPE_CHECKING:
    from sqlglot import exp

_INDISTINCT = {
    "JSON": {"VARIANT", "ARRAY", "OBJECT"},
    "TIMESTAMP WITH TIME ZONE": {"TIMESTAMP_LTZ", "TIMESTAMP_TZ"},
    "VARCHAR": {"TEXT"},
}


def select(statement: Statement) -> Result:
    """Answer a query."""
    return run(statement, Translator(statement).query(parse(statement.sql)))


def describe_query(statement: Statement) -> Result:
    """A query's columns, without running it."""
    translation = Translator(statement).query(parse(statement.sql))
    translation.sql = f"SELECT * FROM ({translation.sql}) WHERE FALSE"
    return run(statement, translation)


def run(statement: Statement, translation: Translation) -> Result:
    """Run a translated query."""
    columns, duck_types = describe(statement, translation.sql)
    typed = [_sf_type(n, d, translation.hints) for n, d in zip(columns, duck_types, strict=True)]
    shown = [_shown(f"c{i}", d) for i, d in enumerate(duck_types)]
    sql = translation.sql
    if any(expression != f"c{i}" for i, expression in enumerate(shown)):
        names = ", ".join(f"c{i}" for i in range(len(shown)))
        sql = f"SELECT {', '.join(shown)} FROM ({sql}) AS q({names})"
    try:
        table = statement.cursor.sql(sql).to_arrow_table()
    except Exception as error:
        raise translate_error(error, statement) from error
    names_out = [output_name(c) for c in columns]
    return Result(tuple(zip(names_out, typed, strict=True)), table.rename_columns(names_out), SELECT)


def describe(statement: Statement, sql: str) -> tuple[list[str], list[str]]:
    """Names and DuckDB types of a query's columns, without running it."""
    try:
        relation = statement.cursor.sql(sql)
    except Exception as error:
        raise translate_error(error, statement) from error
    return list(relation.columns), [str(t) for t in relation.types]


def translate_error(error: Exception, statement: Statement) -> errors.SnowflakeError:
    """DuckDB's error as Snowflake's; an interrupt is an abort somebody asked for."""
    if isinstance(error, errors.SnowflakeError):
        return error
    return errors.cancelled() if statement.cancel.is_set() else errors.from_duckdb(error, statement.sql)


def source_columns(statement: Statement, tree: exp.Expression) -> tuple[str, list[Column]]:
    """A query for CREATE TABLE … AS: DuckDB's SQL and the columns the new table gets."""
    translation = Translator(statement).query(tree)
    columns, duck_types = describe(statement, translation.sql)
    typed = [
        Column(output_name(n), _sf_type(n, d, translation.hints)) for n, d in zip(columns, duck_types, strict=True)
    ]
    return insert_source(translation.sql, duck_types, [c.type for c in typed]), typed


def insert_source(sql: str, duck_types: Sequence[str], targets: Sequence[SfType]) -> str:
    """The query with its columns converted to the target columns' types."""
    names = [f"c{i}" for i in range(len(targets))]
    converted = ", ".join(
        casts.cast(name, source, target) for name, source, target in zip(names, duck_types, targets, strict=True)
    )
    return f"SELECT {converted} FROM ({sql}) AS q({', '.join(names)})"


def refuse_text(columns: Sequence[Column], duck_types: Sequence[str]) -> None:
    """Refuse text for a semi-structured column: it becomes one by PARSE_JSON and not by itself."""
    for column, duck_type in zip(columns, duck_types, strict=True):
        if column.type.duck == "JSON" and duck_type == "VARCHAR":
            raise errors.compilation(
                "002023",
                "22000",
                "Expression type does not match column data type, expecting "
                f"{column.type.name} but got VARCHAR for column {column.name}",
            )


def _sf_type(name: str, duck_type: str, hints: dict[str, SfType]) -> SfType:
    plain = types.from_duck(duck_type)
    hint = hints.get(output_name(name))
    return hint if hint is not None and hint.name in _INDISTINCT.get(duck_type, set()) else plain


def _shown(expression: str, duck_type: str) -> str:
    """The expression in a form that Arrow and the wire know."""
    if duck_type in {"HUGEINT", "UHUGEINT"}:
        return f"CAST({expression} AS DECIMAL(38, 0))"
    if casts.is_nested(duck_type):
        return f"to_json({expression})"
    if duck_type in {"UUID", "INTERVAL", '"NULL"', "NULL"}:
        return f"CAST({expression} AS VARCHAR)"
    return expression
