# ruff: noqa: S608 (the SQL is put together from names and types made here)
"""INFORMATION_SCHEMA, and other answers that queries can select from, as tables of one statement."""

from __future__ import annotations

import itertools
from typing import Any

from mz_orchestration.local.snowflake import errors, grants, load_history
from mz_orchestration.local.snowflake.catalog import Name, Table
from mz_orchestration.local.snowflake.names import display, encode
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.types import MAX_TEXT, NUMBER, TEXT, TIMESTAMP_LTZ, SfType

_names = itertools.count(1)

_TABLES: list[tuple[str, SfType]] = [
    ("TABLE_CATALOG", TEXT), ("TABLE_SCHEMA", TEXT), ("TABLE_NAME", TEXT), ("TABLE_OWNER", TEXT),
    ("TABLE_TYPE", TEXT), ("IS_TRANSIENT", TEXT), ("CLUSTERING_KEY", TEXT), ("ROW_COUNT", NUMBER),
    ("BYTES", NUMBER), ("RETENTION_TIME", NUMBER), ("IS_INSERTABLE_INTO", TEXT), ("CREATED", TIMESTAMP_LTZ),
    ("LAST_ALTERED", TIMESTAMP_LTZ), ("LAST_DDL", TIMESTAMP_LTZ), ("AUTO_CLUSTERING_ON", TEXT), ("COMMENT", TEXT),
    ("IS_TEMPORARY", TEXT), ("IS_ICEBERG", TEXT), ("IS_DYNAMIC", TEXT), ("IS_HYBRID", TEXT),
]  # fmt: skip
_COLUMNS: list[tuple[str, SfType]] = [
    ("TABLE_CATALOG", TEXT), ("TABLE_SCHEMA", TEXT), ("TABLE_NAME", TEXT), ("COLUMN_NAME", TEXT),
    ("ORDINAL_POSITION", NUMBER), ("COLUMN_DEFAULT", TEXT), ("IS_NULLABLE", TEXT), ("DATA_TYPE", TEXT),
    ("CHARACTER_MAXIMUM_LENGTH", NUMBER), ("CHARACTER_OCTET_LENGTH", NUMBER), ("NUMERIC_PRECISION", NUMBER),
    ("NUMERIC_PRECISION_RADIX", NUMBER), ("NUMERIC_SCALE", NUMBER), ("DATETIME_PRECISION", NUMBER),
    ("COMMENT", TEXT),
]  # fmt: skip
_VIEWS: list[tuple[str, SfType]] = [
    ("TABLE_CATALOG", TEXT), ("TABLE_SCHEMA", TEXT), ("TABLE_NAME", TEXT), ("TABLE_OWNER", TEXT),
    ("VIEW_DEFINITION", TEXT), ("IS_SECURE", TEXT), ("CREATED", TIMESTAMP_LTZ), ("LAST_ALTERED", TIMESTAMP_LTZ),
    ("COMMENT", TEXT),
]  # fmt: skip
_CONSTRAINTS: list[tuple[str, SfType]] = [
    ("CONSTRAINT_CATALOG", TEXT), ("CONSTRAINT_SCHEMA", TEXT), ("CONSTRAINT_NAME", TEXT), ("TABLE_CATALOG", TEXT),
    ("TABLE_SCHEMA", TEXT), ("TABLE_NAME", TEXT), ("CONSTRAINT_TYPE", TEXT), ("ENFORCED", TEXT),
]  # fmt: skip
_SCHEMATA: list[tuple[str, SfType]] = [
    ("CATALOG_NAME", TEXT), ("SCHEMA_NAME", TEXT), ("SCHEMA_OWNER", TEXT), ("CREATED", TIMESTAMP_LTZ),
    ("COMMENT", TEXT),
]  # fmt: skip
_STAGES: list[tuple[str, SfType]] = [
    ("STAGE_CATALOG", TEXT), ("STAGE_SCHEMA", TEXT), ("STAGE_NAME", TEXT), ("STAGE_URL", TEXT),
    ("STAGE_TYPE", TEXT), ("CREATED", TIMESTAMP_LTZ), ("COMMENT", TEXT),
]  # fmt: skip
_DATABASES: list[tuple[str, SfType]] = [
    ("DATABASE_NAME", TEXT), ("DATABASE_OWNER", TEXT), ("CREATED", TIMESTAMP_LTZ), ("COMMENT", TEXT),
]  # fmt: skip


def register(statement: Statement, result: Result) -> str:
    """Make an answer readable by the statement's connection and return the name to read it by."""
    name = f"answer_{next(_names)}"
    columns = [encode(column) for column, _ in result.columns]
    statement.cursor.register(f"{name}_raw", result.table.rename_columns(columns))
    typed = ", ".join(
        f'CAST("{c}" AS JSON) AS "{c}"' if t.duck == "JSON" else f'"{c}"'
        for c, (_, t) in zip((c.replace('"', '""') for c in columns), result.columns, strict=True)
    )
    statement.cursor.execute(f"CREATE TEMP TABLE {name} AS SELECT {typed} FROM {name}_raw")
    return name


def visible(statement: Statement) -> list[tuple[Name, Table]]:
    """The tables and views a session sees, sorted by name: those its role holds a privilege on."""
    with statement.catalog.lock:
        shared = {n: t for n, t in statement.catalog.tables() if grants.sees(statement, t.access)}
        found = {**shared, **statement.session.temporary}
    return sorted(found.items(), key=lambda item: (item[0].database, item[0].schema, item[0].object))


def row_count(statement: Statement, table: Table) -> int:
    """The rows the session sees in a table."""
    return statement.storage.count(statement.cursor, statement.session.version(table).physical)


def information_schema(statement: Statement, name: Name) -> Result:
    """One view of a database's INFORMATION_SCHEMA."""
    with statement.catalog.lock:
        database = statement.catalog.database(name.database)
        grants.require(statement, database.access, "DATABASE", display(name.database), "USAGE")
    match name.object:
        case "TABLES":
            return Result.of(_TABLES, [_table_row(statement, n, t) for n, t in _of(statement, name)])
        case "COLUMNS":
            rows = [row for n, t in _of(statement, name) for row in _column_rows(n, t)]
            return Result.of(_COLUMNS, rows)
        case "VIEWS":
            views = [(n, t) for n, t in _of(statement, name) if t.query is not None]
            return Result.of(
                _VIEWS,
                [[n.database, n.schema, n.object, t.access.owner, t.query, "NO", t.created, t.altered, t.comment]
                 for n, t in views],
            )  # fmt: skip
        case "TABLE_CONSTRAINTS":
            keys = [(n, c) for n, t in _of(statement, name) for c in t.constraints]
            return Result.of(
                _CONSTRAINTS,
                [[n.database, n.schema, c.name, n.database, n.schema, n.object, c.kind, "NO"] for n, c in keys],
            )
        case "LOAD_HISTORY":
            return load_history.load_history(statement, name.database)
        case "SCHEMATA" | "STAGES" | "DATABASES":
            return _containers(statement, name)
        case _:
            raise errors.does_not_exist("Object", str(name))


def _of(statement: Statement, name: Name) -> list[tuple[Name, Table]]:
    return [(n, t) for n, t in visible(statement) if n.database == name.database]


def _table_row(statement: Statement, name: Name, table: Table) -> list[Any]:
    view = table.query is not None
    rows = None if view else row_count(statement, table)
    kind = {"TEMPORARY": "LOCAL TEMPORARY", "VIEW": "VIEW"}.get(table.kind, "BASE TABLE")
    return [
        name.database, name.schema, name.object, table.access.owner, kind, _yes(table.kind == "TRANSIENT"),
        table.cluster_by, rows, None if rows is None else rows * 64, None if view else 1, _yes(not view),
        table.created, table.altered, table.altered, _yes(table.auto_clustering), table.comment,
        _yes(table.kind == "TEMPORARY"), _yes(table.special == "ICEBERG"), "NO", _yes(table.special == "HYBRID"),
    ]  # fmt: skip


def _yes(holds: bool) -> str:
    return "YES" if holds else "NO"


def _column_rows(name: Name, table: Table) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for position, column in enumerate(table.columns, start=1):
        kind = column.type
        number = kind.name == "NUMBER"
        rows.append(
            [
                name.database, name.schema, name.object, column.name, position, column.default_shown,
                _yes(column.nullable), kind.name,
                kind.length if kind.name == "TEXT" else None, _octets(kind),
                kind.precision if number else None, 10 if number else None, kind.scale if number else None,
                kind.scale if kind.name.startswith("TIME") else None, column.comment,
            ]
        )  # fmt: skip
    return rows


def _octets(kind: SfType) -> int | None:
    """A text's length in bytes: four for a character, up to the limit of all texts."""
    if kind.name == "TEXT" and kind.length is not None:
        return min(kind.length * 4, MAX_TEXT)
    return kind.length


def _containers(statement: Statement, name: Name) -> Result:
    catalog = statement.catalog
    with catalog.lock:
        if name.object == "DATABASES":
            databases = [d for d in catalog.databases.values() if grants.sees(statement, d.access)]
            return Result.of(_DATABASES, [[d.name, d.access.owner, d.created, d.comment] for d in databases])
        schemas = [s for s in catalog.database(name.database).schemas.values() if grants.sees(statement, s.access)]
        if name.object == "SCHEMATA":
            return Result.of(
                _SCHEMATA, [[name.database, s.name, s.access.owner, s.created, s.comment] for s in schemas]
            )
        return Result.of(
            _STAGES,
            [
                [name.database, s.name, g.name, g.url, "External Named", g.created, g.comment]
                for s in schemas
                for g in s.stages.values()
                if grants.sees(statement, g.access)
            ],
        )
