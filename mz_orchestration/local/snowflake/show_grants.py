"""SHOW GRANTS and SHOW FUTURE GRANTS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mz_orchestration.local.snowflake import errors, grants
from mz_orchestration.local.snowflake.access import Access
from mz_orchestration.local.snowflake.catalog import Catalog
from mz_orchestration.local.snowflake.grant_statements import object_kind
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.names import display
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.types import TEXT, TIMESTAMP_LTZ

_ON = [
    ("created_on", TIMESTAMP_LTZ),
    *((name, TEXT) for name in ("privilege", "granted_on", "name", "granted_to", "grantee_name", "grant_option",
                                "granted_by")),
]  # fmt: skip
_ROLES = [
    ("created_on", TIMESTAMP_LTZ),
    *((name, TEXT) for name in ("role", "granted_to", "grantee_name", "granted_by")),
]
_FUTURE = [
    ("created_on", TIMESTAMP_LTZ),
    *((name, TEXT) for name in ("privilege", "grant_on", "name", "grant_to", "grantee_name", "grant_option")),
]


def show_grants(statement: Statement, parser: Parser) -> Result:
    """SHOW GRANTS [ON object | TO ROLE r | TO USER u | OF ROLE r]."""
    catalog = statement.catalog
    with catalog.lock:
        if parser.accept("ON"):
            return _on(statement, parser)
        if parser.accept("OF"):
            parser.expect("ROLE")
            role = parser.identifier()
            parser.end()
            of = [g for g in catalog.hierarchy.grants if g.role == role]
            return Result.of(_ROLES, [[g.created, g.role, g.to_kind, g.to, g.granted_by] for g in of])
        if parser.accept("TO"):
            kind = parser.accept_any("ROLE", "USER")
            if kind is None:
                raise errors.unsupported(f"SHOW GRANTS TO {parser.token.text.upper()}", statement.sql)
            to = parser.identifier()
        else:
            kind, to = "USER", statement.session.user
        parser.end()
        if kind == "ROLE":
            if to not in catalog.roles:
                raise errors.does_not_exist("Role", display(to))
            return Result.of(_ON, list(_to_role(catalog, to)))
        mine = [g for g in catalog.hierarchy.grants if (g.to_kind, g.to) == ("USER", to)]
        return Result.of(_ROLES, [[g.created, g.role, g.to_kind, g.to, g.granted_by] for g in mine])


def _on(statement: Statement, parser: Parser) -> Result:
    kind = object_kind(parser)
    parts = [] if kind == "ACCOUNT" else parser.name()
    parser.end()
    if kind == "ACCOUNT":
        access, shown = statement.catalog.account_access, "LOCAL"
    else:
        access, shown = grants.located(statement, kind, parts)
    if not grants.sees(statement, access):
        raise errors.does_not_exist(kind.title(), shown)
    return Result.of(_ON, _rows(access, kind, shown))


def _rows(access: Access, kind: str, shown: str) -> list[list[Any]]:
    return [
        [g.created, g.privilege, kind.replace(" ", "_"), shown, "ROLE", g.role, str(g.option).lower(), g.granted_by]
        for g in access.rows()
    ]


def _to_role(catalog: Catalog, role: str) -> Iterator[list[Any]]:
    for access, kind, shown in _objects(catalog):
        yield from (row for row in _rows(access, kind, shown) if row[5] == role)
    for g in catalog.hierarchy.grants:
        if (g.to_kind, g.to) == ("ROLE", role):
            yield [g.created, "USAGE", "ROLE", g.role, "ROLE", role, "false", g.granted_by]


def _objects(catalog: Catalog) -> Iterator[tuple[Access, str, str]]:
    yield catalog.account_access, "ACCOUNT", "LOCAL"
    for name, access in catalog.warehouse_access.items():
        yield access, "WAREHOUSE", display(name)
    for integration in catalog.integrations.values():
        yield integration.access, "INTEGRATION", display(integration.name)
    for database in catalog.databases.values():
        yield database.access, "DATABASE", display(database.name)
        for schema in database.schemas.values():
            yield schema.access, "SCHEMA", display(database.name, schema.name)
            for stage in schema.stages.values():
                yield stage.access, "STAGE", display(database.name, schema.name, stage.name)
            for file_format in schema.file_formats.values():
                yield file_format.access, "FILE FORMAT", display(database.name, schema.name, file_format.name)
    for full, table in catalog.tables():
        yield table.access, "VIEW" if table.query is not None else "TABLE", str(full)


def show_future_grants(statement: Statement, parser: Parser) -> Result:
    """SHOW FUTURE GRANTS IN SCHEMA s | IN DATABASE d | TO ROLE r."""
    if parser.accept("TO", "ROLE"):
        role = parser.identifier()
        parser.end()
        return Result.of(_FUTURE, [row for row in _future(statement) if row[5] == role])
    parser.expect("IN")
    container = parser.accept_any("SCHEMA", "DATABASE")
    if container is None:
        raise parser.unexpected()
    _, shown = grants.located(statement, container, parser.name())
    parser.end()
    return Result.of(
        _FUTURE, [row for row in _future(statement) if row[3].rpartition(".")[0] == shown]
    )  # fmt: skip


def _future(statement: Statement) -> Iterator[list[Any]]:
    with statement.catalog.lock:
        for database in statement.catalog.databases.values():
            places = [(display(database.name), database.future)]
            places += [(display(database.name, s.name), s.future) for s in database.schemas.values()]
            for shown, promises in places:
                for g in promises:
                    yield [g.created, g.privilege, g.kind.replace(" ", "_"), f"{shown}.<{g.kind}>", "ROLE", g.role,
                           str(g.option).lower()]  # fmt: skip
