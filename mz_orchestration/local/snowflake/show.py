"""SHOW and DESCRIBE."""

from __future__ import annotations

import re
from typing import Any

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.catalog import Name
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.metadata import row_count, visible
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.types import NUMBER, TEXT, TIMESTAMP_LTZ, SfType

_Columns = list[tuple[str, SfType]]


def _text(*names: str) -> _Columns:
    return [(name, TEXT) for name in names]


_TABLES: _Columns = [
    ("created_on", TIMESTAMP_LTZ), *_text("name", "database_name", "schema_name", "kind", "comment"),
    ("cluster_by", TEXT), ("rows", NUMBER), ("bytes", NUMBER), *_text("owner", "retention_time"),
]  # fmt: skip
_STAGES: _Columns = [
    ("created_on", TIMESTAMP_LTZ),
    *_text("name", "database_name", "schema_name", "url", "has_credentials", "has_encryption_key", "owner",
           "comment", "region", "type", "cloud", "notification_channel", "storage_integration"),
]  # fmt: skip
_CONTAINERS: _Columns = [
    ("created_on", TIMESTAMP_LTZ),
    *_text("name", "is_default", "is_current", "database_name", "owner", "comment", "options"),
]
_INTEGRATIONS: _Columns = [*_text("name", "type", "category", "enabled", "comment")]
_PARAMETERS: _Columns = _text("key", "value", "default", "level", "description", "type")
_DESC_TABLE = _text(
    "name", "type", "kind", "null?", "default", "primary key", "unique key", "check", "expression", "comment",
    "policy name",
)  # fmt: skip
_DESC_STAGE = _text("parent_property", "property", "property_type", "property_value", "property_default")
_DESC_INTEGRATION = _text("property", "property_type", "property_value", "property_default")


def show(statement: Statement, parser: Parser) -> Result:
    """SHOW TABLES, STAGES, SCHEMAS, DATABASES, INTEGRATIONS, WAREHOUSES or PARAMETERS."""
    parser.accept_any("TERSE")
    storage_only = parser.accept("STORAGE")
    kind = parser.accept_any("TABLES", "STAGES", "SCHEMAS", "DATABASES", "INTEGRATIONS", "WAREHOUSES", "PARAMETERS")
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
            case "STAGES":
                rows = [r for r in _stages(statement, database, schema) if like.match(r[1])]
                return Result.of(_STAGES, rows)
            case "INTEGRATIONS":
                rows = [
                    [i.name, "EXTERNAL_STAGE", "STORAGE", str(i.enabled).lower(), i.comment]
                    for i in statement.catalog.integrations.values()
                    if like.match(i.name)
                ]
                return Result.of(_INTEGRATIONS, rows)
            case "WAREHOUSES":
                named = [[n, "STARTED", "STANDARD", s or "X-Small"] for n, s in
                         statement.catalog.warehouses.items() if like.match(n)]  # fmt: skip
                return Result.of(_text("name", "state", "type", "size"), named)
            case _:
                rows = [r for r in _containers(statement, kind, database) if like.match(r[1])]
                return Result.of(_CONTAINERS, rows)


def describe(statement: Statement, parser: Parser) -> Result:
    """DESC TABLE, STAGE or INTEGRATION."""
    parser.accept("STORAGE")
    kind = parser.accept_any("TABLE", "STAGE", "INTEGRATION")
    if kind is None:
        raise errors.unsupported(f"DESCRIBE {parser.token.text.upper()}", statement.sql)
    parts = parser.name()
    parser.end()
    if kind == "INTEGRATION":
        return _describe_integration(statement, parts[-1])
    name = statement.name(parts, "DESCRIBE")
    return _describe_table(statement, name) if kind == "TABLE" else _describe_stage(statement, name)


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


def _tables(statement: Statement, database: str | None, schema: str | None) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for name, table in visible(statement):
        if database in (None, name.database) and schema in (None, name.schema):
            count = row_count(statement, table)
            rows.append(
                [table.created, name.object, name.database, name.schema, table.kind, table.comment or "", "",
                 count, count * 64, statement.session.role, "1"]
            )  # fmt: skip
    return rows


def _stages(statement: Statement, database: str | None, schema: str | None) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for home in statement.catalog.databases.values():
        for inner in home.schemas.values():
            if database not in (None, home.name) or schema not in (None, inner.name):
                continue
            for stage in inner.stages.values():
                rows.append(
                    [stage.created, stage.name, home.name, inner.name, stage.url,
                     "Y" if stage.key_id else "N", "N", statement.session.role, stage.comment or "", "local",
                     "EXTERNAL", "AWS", None, stage.integration]
                )  # fmt: skip
    return rows


def _containers(statement: Statement, kind: str, database: str | None) -> list[list[Any]]:
    context, role = statement.session.context, statement.session.role
    homes = statement.catalog.databases.values()
    if kind == "DATABASES":
        return [
            [h.created, h.name, "N", "Y" if h.name == context.database else "N", "", role, h.comment or "", ""]
            for h in homes
        ]
    return [
        [s.created, s.name, "N", "Y" if (h.name, s.name) == (context.database, context.schema) else "N",
         h.name, role, s.comment or "", ""]
        for h in homes if database in (None, h.name) for s in h.schemas.values()
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


def _describe_table(statement: Statement, name: Name) -> Result:
    table = statement.session.find(name)
    return Result.of(
        _DESC_TABLE,
        [
            [c.name, c.type.ddl, "COLUMN", "Y" if c.nullable else "N", c.default, "N", "N", None, None,
             c.comment, None]
            for c in table.columns
        ],
    )  # fmt: skip


def _describe_stage(statement: Statement, name: Name) -> Result:
    with statement.catalog.lock:
        stage = statement.catalog.stage(name)
    url = stage.url.replace('"', '\\"')
    return Result.of(
        _DESC_STAGE,
        [
            ["STAGE_FILE_FORMAT", "TYPE", "String", "CSV", "CSV"],
            ["STAGE_COPY_OPTIONS", "ON_ERROR", "String", "ABORT_STATEMENT", "ABORT_STATEMENT"],
            ["STAGE_LOCATION", "URL", "String", f'["{url}"]', ""],
            ["STAGE_INTEGRATION", "STORAGE_INTEGRATION", "String", stage.integration or "", ""],
            ["STAGE_CREDENTIALS", "AWS_KEY_ID", "String", stage.key_id or "", ""],
            ["DIRECTORY", "ENABLE", "Boolean", "false", "false"],
        ],
    )


def _describe_integration(statement: Statement, name: str) -> Result:
    with statement.catalog.lock:
        found = statement.catalog.integration(name)
    return Result.of(
        _DESC_INTEGRATION,
        [
            ["ENABLED", "Boolean", str(found.enabled).lower(), "false"],
            ["STORAGE_PROVIDER", "String", "S3", ""],
            ["STORAGE_ALLOWED_LOCATIONS", "List", ",".join(found.allowed), "[]"],
            ["STORAGE_BLOCKED_LOCATIONS", "List", ",".join(found.blocked), "[]"],
            ["STORAGE_AWS_IAM_USER_ARN", "String", "arn:aws:iam::123456789012:user/snowflake", ""],
            ["STORAGE_AWS_ROLE_ARN", "String", found.role_arn, ""],
            ["STORAGE_AWS_EXTERNAL_ID", "String", found.external_id, ""],
            ["COMMENT", "String", found.comment or "", ""],
        ],
    )
