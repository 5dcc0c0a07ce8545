"""The statements of an export, composed with quoting done by psycopg."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg import sql

from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.materialize.names import parse_object_name
from mz_orchestration.materialize.sql_types import parse_type
from mz_orchestration.materialize.types import FLOAT_TYPES, Column

# Text that is cast to jsonb holds JSON; anything else becomes JSON.
_READ_AS_JSON = ("text", "varchar", "char", "jsonb")
# What Materialize's to_jsonb makes strings of (src/sql/src/plan/typeconv.rs) although JSON holds it as a number.
_NUMBERS = ("bigint", "uint2", "uint4", "uint8")


def describe_statement(spec: ExportSpec) -> sql.Composed:
    """A statement that returns no row but the columns of what is to be exported."""
    return sql.SQL("SELECT * FROM {} LIMIT 0").format(_source(spec))


def read_statement(specs: Iterable[ExportSpec]) -> sql.Composed:
    """The first statement of a transaction that will read all of these at one logical timestamp.

    It answers that timestamp and the server's version, and reads no row: a transaction may reach only what its
    first statement names, and holds back compaction of just that.
    """
    named = [sql.SQL("SELECT 1 FROM {} WHERE false").format(_source(spec)) for spec in specs]
    held = sql.SQL(" UNION ALL ").join([*named, sql.SQL("SELECT 1")])
    return sql.SQL("SELECT mz_now()::text, mz_version() FROM ({}) AS held").format(held)


def count_statement(spec: ExportSpec, as_of: int | None = None) -> sql.Composed:
    """Counts the rows of what is to be exported."""
    return sql.SQL("SELECT count(*) FROM {}{}").format(_source(spec), _as_of(as_of))


def copy_statement(spec: ExportSpec, columns: list[Column] | None, path: str, as_of: int | None = None) -> sql.Composed:
    """``COPY ... TO`` the given path.

    Args:
        spec: What to export.
        columns: With their casts; None when they are not known yet (a dry run).
        path: The attempt's own URL.
        as_of: Logical timestamp to read at, held by another session; None means the session's own.
    """
    what: sql.Composable
    if columns and (any(column.cast for column in columns) or _by_position(spec, columns)):
        what = sql.SQL("(SELECT {} FROM {}{})").format(_listed(columns), _source(spec), _as_of(as_of))
    elif as_of is not None:
        what = sql.SQL("(SELECT * FROM {}{})").format(_source(spec), _as_of(as_of))
    elif spec.query is not None:
        what = _query(spec.query)
    else:
        what = _identifier(spec.object)
    return sql.SQL("COPY {} TO {} WITH ({})").format(what, sql.Literal(path), _options(spec))


def projection(spec: ExportSpec, columns: Sequence[Column]) -> sql.Composed:
    """A SELECT of the columns in order, with their casts; of all, where they cannot be named or are not known."""
    listed = sql.SQL("*") if not columns or any(column.renamed for column in columns) else _listed(columns)
    return sql.SQL("SELECT {} FROM {}").format(listed, _source(spec))


def _listed(columns: Sequence[Column]) -> sql.Composable:
    return sql.SQL(", ").join(_projected(column) for column in columns)


def _projected(column: Column) -> sql.Composable:
    name = sql.Identifier(column.name)
    if column.cast is None:
        return name
    if column.cast == "jsonb" and (column.array or column.type not in _READ_AS_JSON):
        return sql.SQL("to_jsonb({}{}) AS {}").format(name, _way_to_json(column), name)
    # A type has no parameters; this text is put together from a closed list of words and numbers.
    return sql.SQL("{}::{} AS {}").format(name, _trusted(parse_type(column.cast).text), name)


def _by_position(spec: ExportSpec, columns: list[Column]) -> bool:
    """Whether only the order of the fields tells the columns apart, and the columns can be named.

    CSV has no names: were the object made again after it was described, with its columns in another order, ``*``
    would fill the wrong ones.
    """
    return spec.format == "csv" and not any(column.renamed for column in columns)


def _way_to_json(column: Column) -> sql.SQL:
    if column.type in _NUMBERS:
        way = "::numeric"
    elif column.type in FLOAT_TYPES:
        # To a JSON number it goes by way of numeric, which refuses Infinity and 1e39 and makes 0 of 1e-45.
        way = "::text"
    else:
        way = ""
    return sql.SQL(way + "[]" if way and column.array else way)


def _source(spec: ExportSpec) -> sql.Composable:
    if spec.query is None:
        return _identifier(spec.object)
    return sql.SQL("{} AS q").format(_query(spec.query))


def _as_of(timestamp: int | None) -> sql.Composable:
    # Materialize takes a constant only, no parameter.
    return sql.SQL("") if timestamp is None else sql.SQL(" AS OF {}").format(sql.Literal(timestamp))


def _query(query: str) -> sql.Composable:
    # A line comment at the end of the query must not swallow the parenthesis.
    return sql.SQL("(\n{}\n)").format(_trusted(query.strip()))


def _identifier(name: str) -> sql.Identifier:
    return sql.Identifier(*parse_object_name(name))


def _trusted(text: Any) -> sql.SQL:
    return sql.SQL(text)


def _options(spec: ExportSpec) -> sql.Composed:
    options: list[sql.Composable] = [
        sql.SQL("AWS CONNECTION = {}").format(_identifier(spec.connection)),
        sql.SQL("FORMAT = {}").format(sql.Literal(spec.format)),
        sql.SQL("MAX FILE SIZE = {}").format(sql.Literal(spec.max_file_size)),
    ]
    if spec.format == "csv":
        csv = spec.csv
        options += [
            sql.SQL("DELIMITER = {}").format(sql.Literal(csv.delimiter)),
            sql.SQL("QUOTE = {}").format(sql.Literal(csv.quote)),
            sql.SQL("ESCAPE = {}").format(sql.Literal(csv.escape or csv.quote)),
            sql.SQL("NULL = {}").format(sql.Literal(csv.null)),
            sql.SQL("HEADER = {}").format(sql.SQL("true" if csv.header else "false")),
        ]
    return sql.SQL(", ").join(options)
