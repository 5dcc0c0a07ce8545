"""SHOW: what there is."""

from __future__ import annotations

import re
from typing import Any

from mz_orchestration.local.snowflake import errors, grants
from mz_orchestration.local.snowflake.catalog import Name, Table
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.metadata import row_count, visible
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.show_grants import show_future_grants, show_grants
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.types import NUMBER, TEXT, TIMESTAMP_LTZ, SfType

_Columns = list[tuple[str, SfType]]


def _text(*names: str) -> _Columns:
    return [(name, TEXT) for name in names]


_TABLES: _Columns = [
    ("created_on", TIMESTAMP_LTZ), *_text("name", "database_name", "schema_name", "kind", "comment"),
    ("cluster_by", TEXT), ("rows", NUMBER), ("bytes", NUMBER),
    *_text("owner", "retention_time", "automatic_clustering", "change_tracking", "is_external", "owner_role_type",
           "is_hybrid", "is_iceberg", "is_dynamic"),
]  # fmt: skip
_VIEWS: _Columns = [
    ("created_on", TIMESTAMP_LTZ),
    *_text("name", "reserved", "database_name", "schema_name", "owner", "comment", "text", "is_secure",
           "is_materialized", "owner_role_type"),
]  # fmt: skip
_STAGES: _Columns = [
    ("created_on", TIMESTAMP_LTZ),
    *_text("name", "database_name", "schema_name", "url", "has_credentials", "has_encryption_key", "owner",
           "comment", "region", "type", "cloud", "notification_channel", "storage_integration", "endpoint",
           "owner_role_type", "directory_enabled"),
]  # fmt: skip
_CONTAINERS: _Columns = [
    ("created_on", TIMESTAMP_LTZ),
    *_text("name", "is_default", "is_current", "database_name", "owner", "comment", "options"),
]
_INTEGRATIONS: _Columns = [*_text("name", "type", "category", "enabled", "comment")]
_PARAMETERS: _Columns = _text("key", "value", "default", "level", "description", "type")


def show(statement: Statement, parser: Parser) -> Result:
    """SHOW TABLES, VIEWS, STAGES, SCHEMAS, DATABASES, INTEGRATIONS, WAREHOUSES, ROLES, PARAMETERS or GRANTS."""
    if parser.accept("GRANTS"):
        return show_grants(statement, parser)
    if parser.accept("FUTURE", "GRANTS"):
        return show_future_grants(statement, parser)
    parser.accept_any("TERSE")
    storage_only = parser.accept("STORAGE")
    kind = parser.accept_any(
        "TABLES", "VIEWS", "STAGES", "SCHEMAS", "DATABASES", "INTEGRATIONS", "WAREHOUSES", "ROLES", "PARAMETERS"
    )
    if kind is None or (storage_only and kind != "INTEGRATIONS"):
        raise errors.unsupported(f"SHOW {parser.token.text.upper()}", statement.sql)
    like = _like(parser.string()) if parser.accept("LIKE") else re.compile("")
    if kind == "PARAMETERS":
        parser.accept("IN", "SESSION")
        parser.end()
        return _parameters(statement, like)
    database, schema = _scope(statement, parser)
    parser.end()
    with statement.catalog.lock:
        match kind:
            case "TABLES":
                rows = [r for r in _tables(statement, database, schema) if like.match(r[1])]
                return Result.of(_TABLES, rows)
            case "VIEWS":
                rows = [r for r in _views(statement, database, schema) if like.match(r[1])]
                return Result.of(_VIEWS, rows)
            case "ROLES":
                named = [[r, "", ""] for r in sorted(statement.catalog.roles) if like.match(r)]
                return Result.of(_text("name", "owner", "comment"), named)
            case "STAGES":
                rows = [r for r in _stages(statement, database, schema) if like.match(r[1])]
                return Result.of(_STAGES, rows)
            case "INTEGRATIONS":
                rows = [
                    [i.name, "EXTERNAL_STAGE", "STORAGE", str(i.enabled).lower(), i.comment]
                    for i in statement.catalog.integrations.values()
                    if like.match(i.name) and grants.sees(statement, i.access)
                ]
                return Result.of(_INTEGRATIONS, rows)
            case "WAREHOUSES":
                named = [[n, "STARTED", "STANDARD", s or "X-Small"] for n, s in
                         statement.catalog.warehouses.items() if like.match(n)]  # fmt: skip
                return Result.of(_text("name", "state", "type", "size"), named)
            case _:
                rows = [r for r in _containers(statement, kind, database) if like.match(r[1])]
                return Result.of(_CONTAINERS, rows)


def _like(pattern: str) -> re.Pattern[str]:
    """SHOW … LIKE ignores case."""
    parts = [{"%": ".*", "_": "."}.get(char, re.escape(char)) for char in pattern.replace("\\", "")]
    return re.compile("".join(parts) + r"\Z", re.IGNORECASE | re.DOTALL)


def _scope(statement: Statement, parser: Parser) -> tuple[str | None, str | None]:
    """The database and schema to look in; None for all."""
    context = statement.session.context
    if not parser.accept("IN"):
        return context.database, context.schema if context.database else None
    if parser.accept("ACCOUNT"):
        return None, None
    kind = parser.accept_any("DATABASE", "SCHEMA")
    if parser.at_end:
        return context.database, context.schema if kind == "SCHEMA" else None
    parts = parser.name()
    with statement.catalog.lock:
        if kind == "DATABASE" or (kind is None and len(parts) == 1 and parts[0] in statement.catalog.databases):
            return statement.catalog.database(parts[-1]).name, None
        database = parts[-2] if len(parts) > 1 else context.database
        if database is None:
            raise errors.no_current("database", "SHOW")
        return database, statement.catalog.schema(database, parts[-1]).name


def _within(statement: Statement, database: str | None, schema: str | None, *, views: bool) -> list[tuple[Name, Table]]:
    return [
        (name, table)
        for name, table in visible(statement)
        if database in (None, name.database) and schema in (None, name.schema)
        and (table.query is not None) == views
    ]  # fmt: skip


def _tables(statement: Statement, database: str | None, schema: str | None) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for name, table in _within(statement, database, schema, views=False):
        count = row_count(statement, table)
        rows.append(
            [table.created, name.object, name.database, name.schema, table.kind, table.comment or "",
             table.cluster_by or "", count, count * 64, table.access.owner, "1",
             "ON" if table.auto_clustering else "OFF", "OFF", "N", "ROLE", _letter(table.special == "HYBRID"),
             _letter(table.special == "ICEBERG"), "N"]
        )  # fmt: skip
    return rows


def _views(statement: Statement, database: str | None, schema: str | None) -> list[list[Any]]:
    return [
        [view.created, name.object, "", name.database, name.schema, view.access.owner, view.comment or "",
         view.query, "false", "false", "ROLE"]
        for name, view in _within(statement, database, schema, views=True)
    ]  # fmt: skip


def _letter(holds: bool) -> str:
    return "Y" if holds else "N"


def _stages(statement: Statement, database: str | None, schema: str | None) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for home in statement.catalog.databases.values():
        for inner in home.schemas.values():
            if database not in (None, home.name) or schema not in (None, inner.name):
                continue
            for stage in inner.stages.values():
                if not grants.sees(statement, stage.access):
                    continue
                cloud = {"s3": "AWS", "gcs": "GCP"}.get(stage.url.partition("://")[0])
                rows.append(
                    [stage.created, stage.name, home.name, inner.name, stage.url, _letter(bool(stage.key_id)), "N",
                     stage.access.owner, stage.comment or "", "local" if cloud == "AWS" else None, "EXTERNAL", cloud,
                     None, stage.integration, stage.endpoint, "ROLE", "N"]
                )  # fmt: skip
    return rows


def _containers(statement: Statement, kind: str, database: str | None) -> list[list[Any]]:
    context = statement.session.context
    homes = [h for h in statement.catalog.databases.values() if grants.sees(statement, h.access)]
    if kind == "DATABASES":
        return [
            [h.created, h.name, "N", _letter(h.name == context.database), "", h.access.owner, h.comment or "", ""]
            for h in homes
        ]
    return [
        [s.created, s.name, "N", _letter((h.name, s.name) == (context.database, context.schema)),
         h.name, s.access.owner, s.comment or "", ""]
        for h in homes if database in (None, h.name) for s in h.schemas.values() if grants.sees(statement, s.access)
    ]  # fmt: skip


def _parameters(statement: Statement, like: re.Pattern[str]) -> Result:
    rows = [
        [key, _shown(value), _shown(value), "SESSION", "", type(value).__name__.upper()]
        for key, value in sorted(statement.session.parameters.items())
        if like.match(key)
    ]
    return Result.of(_PARAMETERS, rows)


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
