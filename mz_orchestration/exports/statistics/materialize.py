"""Asking Materialize for the statistics of what it is about to export: one statement, one row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg import sql

from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.exports.statements import projection
from mz_orchestration.exports.statistics.model import (
    MAX_TEXT_BYTES,
    ColumnStatistics,
    Kind,
    Source,
    Statistics,
    boolean_statistics,
    canonical,
    kind_of,
)
from mz_orchestration.materialize.types import Column

# What numbers are taken as: sums of small integers could overflow, and some types have no aggregates.
_AS_NUMBER = {
    "smallint": sql.SQL("{}::bigint"),
    "integer": sql.SQL("{}::bigint"),
    "oid": sql.SQL("{}::bigint"),
    "uint2": sql.SQL("{}::text::numeric"),
    "uint4": sql.SQL("{}::text::numeric"),
    "uint8": sql.SQL("{}::text::numeric"),
    "mz_timestamp": sql.SQL("{}::text::numeric"),
}
_PLAIN = sql.SQL("{}")
_TEXT = sql.SQL("{}::text")
# https://materialize.com/docs/sql/types/numeric/: a numeric has 39 digits, and a sum may have been rounded to them.
_DIGITS = 38


def statistics_statement(spec: ExportSpec, columns: Sequence[Column]) -> sql.Composed:
    """One row: the number of rows, then for each column what `read_statistics` takes apart, all as text.

    Args:
        spec: What is exported.
        columns: With their casts; none of them, for a dry run, leaves the number of rows.
    """
    wanted: list[sql.Composable] = [sql.SQL("count(*)::text")]
    for number, column in enumerate(columns, 1):
        wanted += _aggregates(sql.Identifier(f"c{number}"), column)
    named = sql.SQL(", ").join(sql.Identifier(f"c{number}") for number in range(1, len(columns) + 1))
    return sql.SQL("SELECT {} FROM ({}) AS q{}").format(
        sql.SQL(", ").join(wanted),
        projection(spec, columns),
        sql.SQL(" ({})").format(named) if columns else sql.SQL(""),
    )


def read_statistics(row: Sequence[str | None], columns: Sequence[Column]) -> tuple[int, Statistics]:
    """The number of rows, and the statistics, of the answer to `statistics_statement`."""
    values = iter(row)
    rows = int(next(values) or 0)
    return rows, Statistics(
        source=Source.MATERIALIZE, columns=tuple(_statistics(values, rows, column) for column in columns)
    )


def _aggregates(name: sql.Identifier, column: Column) -> Iterator[sql.Composable]:
    kind = kind_of(column)
    yield sql.SQL("count({})::text").format(name)
    if kind is Kind.BOOLEAN:
        # bool has an order in some systems only; true values can be counted anywhere.
        yield sql.SQL("count(CASE WHEN {} THEN 1 END)::text").format(name)
    elif kind is Kind.TEXT:
        for function in (sql.SQL("min"), sql.SQL("max")):
            # One character more than fits, so that a text that was cut can be told from one that was not.
            yield sql.SQL("left({}({}::text), {})").format(function, name, sql.Literal(MAX_TEXT_BYTES + 1))
    elif kind is not Kind.OTHER:
        # A time's text has the order of the time.
        value = {Kind.NUMBER: _AS_NUMBER.get(column.exported.type, _PLAIN), Kind.TIME: _TEXT}.get(kind, _PLAIN)
        functions = [sql.SQL("min"), sql.SQL("max")]
        # Sums of floats are of little use here: Materialize adds them with 24 binary places and wraps around
        # (src/compute/src/render/reduce.rs).
        functions += [sql.SQL("sum")] if kind is Kind.NUMBER else []
        for function in functions:
            yield sql.SQL("{}({})::text").format(function, value.format(name))


def _statistics(values: Iterator[str | None], rows: int, column: Column) -> ColumnStatistics:
    kind = kind_of(column)
    filled = int(next(values) or 0)
    minimum = maximum = total = None
    if kind is Kind.BOOLEAN:
        return boolean_statistics(column, rows, filled, int(next(values) or 0))
    if kind is not Kind.OTHER:
        minimum, maximum = canonical(next(values), column), canonical(next(values), column)
    if kind is Kind.NUMBER:
        total = canonical(next(values), column)
        if total is not None and len(total.lstrip("-").replace(".", "").lstrip("0")) > _DIGITS:
            total = None
    return ColumnStatistics(name=column.name, nulls=rows - filled, minimum=minimum, maximum=maximum, total=total)
