"""The statements of an export, composed with quoting done by psycopg."""

from __future__ import annotations

from typing import Any

from psycopg import sql

from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.materialize.names import parse_object_name
from mz_orchestration.materialize.types import Column


def describe_statement(spec: ExportSpec) -> sql.Composed:
    """A statement that returns no row but the columns of what is to be exported."""
    return sql.SQL("SELECT * FROM {} LIMIT 0").format(_source(spec))


def copy_statement(spec: ExportSpec, columns: list[Column] | None, path: str) -> sql.Composed:
    """``COPY ... TO`` the given path.

    Args:
        spec: What to export.
        columns: With their casts; None when they are not known yet (a dry run).
        path: The attempt's own URL.
    """
    what: sql.Composable
    if columns is not None and any(column.cast for column in columns):
        listed = sql.SQL(", ").join(_projected(column) for column in columns)
        what = sql.SQL("(SELECT {} FROM {})").format(listed, _source(spec))
    elif spec.query is not None:
        what = _query(spec.query)
    else:
        what = _identifier(spec.object)
    return sql.SQL("COPY {} TO {} WITH ({})").format(what, sql.Literal(path), _options(spec))


def _projected(column: Column) -> sql.Composable:
    name = sql.Identifier(column.name)
    if column.cast is None:
        return name
    if column.cast == "jsonb":
        return sql.SQL("to_jsonb({}) AS {}").format(name, name)
    # The cast comes from our own table of types, never from outside.
    return sql.SQL("{}::{} AS {}").format(name, _trusted(column.cast), name)


def _source(spec: ExportSpec) -> sql.Composable:
    if spec.query is None:
        return _identifier(spec.object)
    return sql.SQL("{} AS q").format(_query(spec.query))


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
