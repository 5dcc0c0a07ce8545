"""Statements about the session and the account: USE, ALTER SESSION, warehouses, roles."""

from __future__ import annotations

import time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.lexer import Parser, Value
from mz_orchestration.local.snowflake.names import display
from mz_orchestration.local.snowflake.results import SELECT, SESSION, Result
from mz_orchestration.local.snowflake.session import DEFAULT_PARAMETERS, Session
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.types import TEXT

_DONE = "Statement executed successfully."
_LONGEST_WAIT = 3600


def use(statement: Statement, parser: Parser) -> Result:
    """USE DATABASE, SCHEMA, WAREHOUSE or ROLE."""
    session, catalog = statement.session, statement.catalog
    kind = parser.accept_any("DATABASE", "SCHEMA", "WAREHOUSE", "ROLE", "SECONDARY")
    if kind == "SECONDARY":
        parser.expect("ROLES")
        parser.take()
        return Result.status(_DONE, SESSION)
    parts = parser.name()
    parser.end()
    with catalog.lock:
        match kind:
            case "WAREHOUSE":
                if parts[-1] not in catalog.warehouses:
                    raise errors.cannot_use(display(*parts))
                session.warehouse = parts[-1]
            case "ROLE":
                if parts[-1] not in catalog.roles:
                    raise errors.cannot_use(display(*parts))
                session.role = parts[-1]
            case "SCHEMA":
                database = parts[-2] if len(parts) > 1 else session.context.database
                _use_schema(statement, database, parts)
            case _ if len(parts) > 1:
                _use_schema(statement, parts[-2], parts)
            case _:
                if parts[-1] not in catalog.databases:
                    raise errors.cannot_use(display(*parts))
                session.context.database = parts[-1]
                public = "PUBLIC" in catalog.databases[parts[-1]].schemas
                session.context.schema = "PUBLIC" if public else None
    return Result.status(_DONE, SESSION)


def _use_schema(statement: Statement, database: str | None, parts: list[str]) -> None:
    if database is None:
        raise errors.no_current("database", "USE SCHEMA")
    found = statement.catalog.databases.get(database)
    if found is None or parts[-1] not in found.schemas:
        raise errors.cannot_use(display(*parts))
    statement.session.context.database = database
    statement.session.context.schema = parts[-1]


def alter_session(statement: Statement, parser: Parser) -> Result:
    """ALTER SESSION SET or UNSET."""
    if parser.accept("UNSET"):
        names = [parser.identifier()]
        while parser.accept(","):
            names.append(parser.identifier())
        parser.end()
        for name in names:
            set_parameter(statement.session, name, DEFAULT_PARAMETERS.get(name, ""))
        return Result.status(_DONE, SESSION)
    parser.expect("SET")
    options = parser.options()
    parser.end()
    if not options:
        raise parser.unexpected()
    for name, value in options.items():
        set_parameter(statement.session, name, value)
    return Result.status(_DONE, SESSION)


def set_parameter(session: Session, name: str, value: Value) -> None:
    """Set a session parameter; one this stand-in gives no meaning is kept and shown."""
    if isinstance(value, list | dict | float) or value is None:
        raise errors.invalid_value(name, value)
    default = DEFAULT_PARAMETERS.get(name)
    if isinstance(default, bool) and isinstance(value, str):
        value = value.lower() == "true"
    elif isinstance(default, int) and not isinstance(default, bool) and not isinstance(value, int):
        # Connector 5 sends every session parameter as text.
        if not value.isdecimal():
            raise errors.invalid_value(name, value)
        value = int(value)
    if name == "TIMEZONE":
        try:
            ZoneInfo(str(value))
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise errors.invalid_value(name, value) from error
    if name == "AUTOCOMMIT" and value != session.parameters[name]:
        # By documentation either change commits what is open.
        session.commit()
    session.parameters[name] = value


def create_warehouse(statement: Statement, parser: Parser) -> Result:
    """CREATE WAREHOUSE: a name to use; nothing runs on it."""
    if_not_exists = parser.accept("IF", "NOT", "EXISTS")
    name = parser.identifier()
    parser.accept("WITH")
    options = parser.options()
    parser.end()
    size = options.get("WAREHOUSE_SIZE")
    with statement.catalog.lock:
        if name in statement.catalog.warehouses and if_not_exists:
            return Result.status(f"{display(name)} already exists, statement succeeded.")
        statement.catalog.warehouses[name] = size if isinstance(size, str) else None
    statement.session.warehouse = name
    return Result.status(f"Warehouse {display(name)} successfully created.")


def alter_warehouse(statement: Statement, parser: Parser) -> Result:
    """ALTER WAREHOUSE: accepted without effect."""
    parser.accept("IF", "EXISTS")
    name = parser.identifier()
    with statement.catalog.lock:
        if name not in statement.catalog.warehouses:
            raise errors.does_not_exist("Warehouse", display(name))
    return Result.status(_DONE)


def create_role(statement: Statement, parser: Parser) -> Result:
    """CREATE ROLE: a name to use, and to grant rights to."""
    if_not_exists = parser.accept("IF", "NOT", "EXISTS")
    name = parser.identifier()
    parser.options()
    parser.end()
    with statement.catalog.lock:
        if name in statement.catalog.roles and not if_not_exists:
            raise errors.already_exists(display(name))
        statement.catalog.roles.add(name)
    return Result.status(f"Role {display(name)} successfully created.")


def wait(statement: Statement, parser: Parser) -> Result:
    """SYSTEM$WAIT(seconds): the one statement that takes a known time, for those who poll and cancel."""
    parser.expect("(")
    seconds = parser.integer()
    parser.expect(")")
    parser.end()
    deadline = time.monotonic() + min(seconds, _LONGEST_WAIT)
    while (left := deadline - time.monotonic()) > 0:
        statement.cancel.wait(left)
        statement.check()
    return Result.of([("SYSTEM$WAIT", TEXT)], [[f"waited {seconds} seconds"]], SELECT)
