"""Databases and schemas, and DROP and COMMENT of every kind of object."""

from __future__ import annotations

from mz_orchestration.local.snowflake import errors, grants, policies
from mz_orchestration.local.snowflake.access import SYSTEM_ROLES
from mz_orchestration.local.snowflake.catalog import Database, Schema
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.names import display
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.statement import Statement


def create_container(statement: Statement, parser: Parser, kind: str, or_replace: bool) -> Result:
    """CREATE DATABASE or SCHEMA; the new one becomes current."""
    if_not_exists = parser.accept("IF", "NOT", "EXISTS")
    parts = parser.name()
    options = parser.options()
    parser.end()
    comment = options.get("COMMENT")
    catalog, context = statement.catalog, statement.session.context
    with catalog.lock:
        if kind == "DATABASE":
            siblings: dict[str, Database] | dict[str, Schema] = catalog.databases
        else:
            database = parts[-2] if len(parts) > 1 else context.database
            if database is None:
                raise errors.no_current("database", "CREATE SCHEMA")
            siblings = catalog.database(database).schemas
        if parts[-1] in siblings and not or_replace:
            if not if_not_exists:
                raise errors.already_exists(display(*parts))
            return Result.status(f"{display(parts[-1])} already exists, statement succeeded.")
        text = comment if isinstance(comment, str) else None
        owned = grants.created(statement, kind)
        if kind == "DATABASE":
            grants.require(statement, catalog.account_access, "ACCOUNT", "LOCAL", "CREATE DATABASE")
            made = Database(parts[-1], comment=text, access=owned)
            made.schemas["PUBLIC"].access.owner = owned.owner
            catalog.databases[parts[-1]] = made
            context.database, context.schema = parts[-1], "PUBLIC"
        else:
            assert database is not None
            home = catalog.database(database)
            grants.require(statement, home.access, "DATABASE", display(database), "CREATE SCHEMA")
            home.schemas[parts[-1]] = Schema(parts[-1], comment=text, access=owned)
            context.database, context.schema = database, parts[-1]
    return Result.status(f"{kind.title()} {display(parts[-1])} successfully created.")


def drop(statement: Statement, parser: Parser, kind: str) -> Result:
    """DROP DATABASE, SCHEMA, TABLE, VIEW, STAGE, INTEGRATION, WAREHOUSE, ROLE, TAG or a policy."""
    if_exists = parser.accept("IF", "EXISTS")
    parts = parser.name()
    parser.accept_any("CASCADE", "RESTRICT")
    parser.end()
    shown = display(parts[-1])
    try:
        _drop(statement, kind, parts)
    except errors.SnowflakeError as error:
        if not if_exists or error.code != "002003":
            raise
        return Result.status(f"Drop statement executed successfully ({shown} already dropped).")
    return Result.status(f"{shown} successfully dropped.")


def _drop(statement: Statement, kind: str, parts: list[str]) -> None:
    catalog, session = statement.catalog, statement.session
    if kind in {"TABLE", "VIEW"}:
        name = statement.name(parts, "DROP")
        found = grants.on_table(statement, name, "OWNERSHIP", missing=kind.title())
        if (found.query is not None) != (kind == "VIEW"):
            there = "VIEW" if kind == "TABLE" else "TABLE"
            raise errors.compilation(
                "002203", "02000", f"Object found is of type '{there}', not specified type '{kind}'."
            )
        with session.locked(name, cancel=statement.cancel) as (table,), catalog.lock:
            if session.temporary.pop(name, None) is None:
                del catalog.schema_of(name).tables[name.object]
            if table.version.physical:
                statement.storage.retire(table.version.physical)
        return
    with catalog.lock:
        if kind in {"TAG", "MASKING POLICY", "ROW ACCESS POLICY"}:
            policies.drop(statement, kind, statement.name(parts, "DROP"))
            return
        if kind != "ROLE":
            access, full = grants.located(statement, kind, parts)
            grants.require(statement, access, kind, full, "OWNERSHIP")
        match kind:
            case "ROLE":
                if parts[-1] not in catalog.roles or parts[-1] in SYSTEM_ROLES:
                    raise errors.does_not_exist("Role", display(parts[-1]))
                catalog.roles.discard(parts[-1])
                catalog.hierarchy.forget(parts[-1])
            case "STAGE":
                name = statement.name(parts, "DROP")
                del catalog.schema_of(name).stages[name.object]
            case "INTEGRATION":
                del catalog.integrations[parts[-1]]
            case "WAREHOUSE":
                del catalog.warehouses[parts[-1]]
                catalog.warehouse_access.pop(parts[-1], None)
            case "SCHEMA":
                database = parts[-2] if len(parts) > 1 else session.context.database
                if database is None:
                    raise errors.no_current("database", "DROP SCHEMA")
                catalog.schema(database, parts[-1])
                dropped = [catalog.database(database).schemas.pop(parts[-1])]
                _retire(statement, dropped)
                if (session.context.database, session.context.schema) == (database, parts[-1]):
                    session.context.schema = None
            case _:
                _retire(statement, list(catalog.database(parts[-1]).schemas.values()))
                del catalog.databases[parts[-1]]
                if session.context.database == parts[-1]:
                    session.context.database = session.context.schema = None


def _retire(statement: Statement, schemas: list[Schema]) -> None:
    for schema in schemas:
        for table in schema.tables.values():
            if table.version.physical:
                statement.storage.retire(table.version.physical)


def comment(statement: Statement, parser: Parser) -> Result:
    """COMMENT ON TABLE, SCHEMA or DATABASE."""
    if_exists = parser.accept("IF", "EXISTS")
    parser.expect("ON")
    kind = parser.accept_any("TABLE", "SCHEMA", "DATABASE", "COLUMN")
    if kind is None:
        raise errors.unsupported("COMMENT ON this kind of object", statement.sql)
    if kind == "COLUMN":
        raise errors.unsupported("COMMENT ON COLUMN", statement.sql)
    parts = parser.name()
    parser.expect("IS")
    text = parser.string()
    parser.end()
    catalog = statement.catalog
    if kind == "TABLE":
        name = statement.name(parts, "COMMENT")
        if not (if_exists and not statement.session.exists(name)):
            grants.on_table(statement, name, "OWNERSHIP")
            with statement.session.locked(name, cancel=statement.cancel) as (table,):
                table.comment = text
    else:
        with catalog.lock:
            if kind == "DATABASE":
                catalog.database(parts[-1]).comment = text
            else:
                database = parts[-2] if len(parts) > 1 else statement.session.context.database
                if database is None:
                    raise errors.no_current("database", "COMMENT")
                catalog.schema(database, parts[-1]).comment = text
    return Result.status("Statement executed successfully.")
