# ruff: noqa: S608 (the SQL is put together from names and types made here)
"""INFORMATION_SCHEMA, and other answers that queries can select from, as tables of one statement."""

from __future__ import annotations

import itertools
from typing import Any

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.catalog import Name, Table
from mz_orchestration.local.snowflake.names import encode
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.types import NUMBER, TEXT, TIMESTAMP_LTZ, SfType

_names = itertools.count(1)

_TABLES: list[tuple[str, SfType]] = [
    ("TABLE_CATALOG", TEXT), ("TABLE_SCHEMA", TEXT), ("TABLE_NAME", TEXT), ("TABLE_OWNER", TEXT),
    ("TABLE_TYPE", TEXT), ("IS_TRANSIENT", TEXT), ("CLUSTERING_KEY", TEXT), ("ROW_COUNT", NUMBER),
    ("BYTES", NUMBER), ("RETENTION_TIME", NUMBER), ("CREATED", TIMESTAMP_LTZ), ("LAST_ALTERED", TIMESTAMP_LTZ),
    ("LAST_DDL", TIMESTAMP_LTZ), ("COMMENT", TEXT), ("IS_TEMPORARY", TEXT),
]  # fmt: skip
_COLUMNS: list[tuple[str, SfType]] = [
    ("TABLE_CATALOG", TEXT), ("TABLE_SCHEMA", TEXT), ("TABLE_NAME", TEXT), ("COLUMN_NAME", TEXT),
    ("ORDINAL_POSITION", NUMBER), ("COLUMN_DEFAULT", TEXT), ("IS_NULLABLE", TEXT), ("DATA_TYPE", TEXT),
    ("CHARACTER_MAXIMUM_LENGTH", NUMBER), ("CHARACTER_OCTET_LENGTH", NUMBER), ("NUMERIC_PRECISION", NUMBER),
    ("NUMERIC_PRECISION_RADIX", NUMBER), ("NUMERIC_SCALE", NUMBER), ("DATETIME_PRECISION", NUMBER),
    ("COMMENT", TEXT),
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
    """The tables a session sees, sorted by name."""
    with statement.catalog.lock:
        found = {**dict(statement.catalog.tables()), **statement.session.temporary}
    return sorted(found.items(), key=lambda item: (item[0].database, item[0].schema, item[0].object))


def row_count(statement: Statement, table: Table) -> int:
    """The rows the session sees in a table."""
    return statement.storage.count(statement.cursor, statement.session.version(table).physical)


def information_schema(statement: Statement, name: Name) -> Result:
    """One view of a database's INFORMATION_SCHEMA."""
    with statement.catalog.lock:
        statement.catalog.database(name.database)
    match name.object:
        case "TABLES":
            return Result.of(_TABLES, [_table_row(statement, n, t) for n, t in _of(statement, name)])
        case "COLUMNS":
            rows = [row for n, t in _of(statement, name) for row in _column_rows(n, t)]
            return Result.of(_COLUMNS, rows)
        case "SCHEMATA" | "STAGES" | "DATABASES":
            return _containers(statement, name)
        case _:
            raise errors.does_not_exist("Object", str(name))


def _of(statement: Statement, name: Name) -> list[tuple[Name, Table]]:
    return [(n, t) for n, t in visible(statement) if n.database == name.database]


def _table_row(statement: Statement, name: Name, table: Table) -> list[Any]:
    rows = row_count(statement, table)
    kind = "LOCAL TEMPORARY" if table.kind == "TEMPORARY" else "BASE TABLE"
    return [
        name.database, name.schema, name.object, statement.session.role, kind,
        "YES" if table.kind == "TRANSIENT" else "NO", None, rows, rows * 64, 1, table.created, table.altered,
        table.altered, table.comment, "YES" if table.kind == "TEMPORARY" else "NO",
    ]  # fmt: skip


def _column_rows(name: Name, table: Table) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for position, column in enumerate(table.columns, start=1):
        kind = column.type
        number = kind.name == "NUMBER"
        rows.append(
            [
                name.database, name.schema, name.object, column.name, position, column.default,
                "YES" if column.nullable else "NO", kind.name,
                kind.length if kind.name == "TEXT" else None, kind.length,
                kind.precision if number else None, 10 if number else None, kind.scale if number else None,
                kind.scale if kind.name.startswith("TIME") else None, column.comment,
            ]
        )  # fmt: skip
    return rows


def _containers(statement: Statement, name: Name) -> Result:
    catalog, role = statement.catalog, statement.session.role
    with catalog.lock:
        if name.object == "DATABASES":
            return Result.of(_DATABASES, [[d.name, role, d.created, d.comment] for d in catalog.databases.values()])
        schemas = catalog.database(name.database).schemas.values()
        if name.object == "SCHEMATA":
            return Result.of(_SCHEMATA, [[name.database, s.name, role, s.created, s.comment] for s in schemas])
        return Result.of(
            _STAGES,
            [
                [name.database, s.name, g.name, g.url, "External Named", g.created, g.comment]
                for s in schemas
                for g in s.stages.values()
            ],
        )
