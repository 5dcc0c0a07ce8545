"""GRANT and REVOKE."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake import errors, grants
from mz_orchestration.local.snowflake.access import Access, FutureGrant, Grant, RoleGrant
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.names import display
from mz_orchestration.local.snowflake.results import DDL, Result

if TYPE_CHECKING:
    from mz_orchestration.local.snowflake.catalog import Database, Schema
    from mz_orchestration.local.snowflake.statement import Statement

_DONE = "Statement executed successfully."
_CREATE = ("TABLE", "VIEW", "STAGE", "FILE FORMAT", "MASKING POLICY", "ROW ACCESS POLICY", "TAG", "PIPE", "STREAM",
           "TASK", "SEQUENCE", "FUNCTION", "PROCEDURE", "EXTERNAL TABLE", "ICEBERG TABLE", "DYNAMIC TABLE",
           "HYBRID TABLE")  # fmt: skip
# The privileges an object can carry. ALL stands for these.
PRIVILEGES: dict[str, tuple[str, ...]] = {
    "TABLE": ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "EVOLVE SCHEMA", "REBUILD",
              "APPLYBUDGET"),
    "VIEW": ("SELECT", "REFERENCES"),
    "STAGE": ("USAGE", "READ", "WRITE"),
    "FILE FORMAT": ("USAGE",),
    "INTEGRATION": ("USAGE", "USE_ANY_ROLE"),
    "WAREHOUSE": ("USAGE", "OPERATE", "MONITOR", "MODIFY", "APPLYBUDGET"),
    "SCHEMA": ("USAGE", "MODIFY", "MONITOR", "ADD SEARCH OPTIMIZATION", "APPLYBUDGET",
               *(f"CREATE {kind}" for kind in _CREATE)),
    "DATABASE": ("USAGE", "MODIFY", "MONITOR", "CREATE SCHEMA", "CREATE DATABASE ROLE", "APPLYBUDGET"),
    "ACCOUNT": ("MANAGE GRANTS", "CREATE DATABASE", "CREATE INTEGRATION", "CREATE ROLE", "CREATE USER",
                "CREATE WAREHOUSE", "MONITOR USAGE", "MONITOR EXECUTION", "EXECUTE TASK", "APPLY MASKING POLICY",
                "APPLY ROW ACCESS POLICY", "APPLY TAG"),
}  # fmt: skip


@dataclass
class _On:
    """What GRANT … ON names: one object, all of a kind, or those to come."""

    kind: str
    objects: list[tuple[Access, str]]
    future: Schema | Database | None = None


def grant(statement: Statement, parser: Parser) -> Result:
    """GRANT privileges, OWNERSHIP or a role."""
    if parser.accept("ROLE"):
        return _role(statement, parser, granting=True)
    privileges = _privileges(parser)
    on = _on(statement, parser)
    parser.expect("TO")
    role = _grantee(statement, parser)
    option = parser.accept("WITH", "GRANT", "OPTION")
    keep = True
    if privileges == ["OWNERSHIP"] and (how := parser.accept_any("COPY", "REVOKE")):
        parser.expect("CURRENT", "GRANTS")
        keep = how == "COPY"
    parser.end()
    by = statement.role
    with statement.catalog.lock:
        wanted = _expanded(privileges, on.kind)
        if on.future is not None:
            for privilege in wanted:
                _unset_future(on.future, on.kind, privilege, role)
                on.future.future.append(FutureGrant(on.kind, privilege, role, option))
        for access, shown in on.objects:
            _may_grant(statement, access, on.kind, shown, wanted)
            if wanted == ["OWNERSHIP"]:
                if not keep:
                    access.grants = []
                access.owner = role
                continue
            for privilege in wanted:
                access.add(Grant(privilege, role, by, option))
    return Result.status(_DONE, DDL)


def revoke(statement: Statement, parser: Parser) -> Result:
    """REVOKE privileges or a role."""
    if parser.accept("ROLE"):
        return _role(statement, parser, granting=False)
    only_option = parser.accept("GRANT", "OPTION", "FOR")
    privileges = _privileges(parser)
    on = _on(statement, parser)
    parser.expect("FROM")
    role = _grantee(statement, parser)
    parser.accept_any("CASCADE", "RESTRICT")
    parser.end()
    with statement.catalog.lock:
        wanted = _expanded(privileges, on.kind)
        if on.future is not None:
            for privilege in wanted:
                _unset_future(on.future, on.kind, privilege, role)
        for access, shown in on.objects:
            _may_grant(statement, access, on.kind, shown, wanted)
            for privilege in wanted:
                held = next((g for g in access.grants if (g.privilege, g.role) == (privilege, role)), None)
                access.remove(privilege, role)
                if only_option and held is not None:
                    access.add(replace(held, option=False))
    return Result.status(_DONE, DDL)


def _role(statement: Statement, parser: Parser, *, granting: bool) -> Result:
    role = parser.identifier()
    parser.expect("TO" if granting else "FROM")
    kind = parser.accept_any("ROLE", "USER")
    if kind is None:
        raise parser.unexpected()
    to = parser.identifier()
    parser.end()
    catalog = statement.catalog
    with catalog.lock:
        for name in [role, *([to] if kind == "ROLE" else [])]:
            if name not in catalog.roles:
                raise errors.does_not_exist("Role", display(name))
        if not grants.is_admin(statement) and "MANAGE GRANTS" not in grants.on_account(statement):
            raise errors.insufficient("ROLE", role)
        if not granting:
            catalog.hierarchy.remove(role, kind, to)
        elif kind == "ROLE" and to in catalog.hierarchy.inherited(role):
            raise errors.SnowflakeError(
                "003008", "42501", f"SQL access control error:\nGrant of role '{role}' would create a cycle."
            )
        else:
            catalog.hierarchy.add(RoleGrant(role, kind, to, statement.role))
    return Result.status(_DONE, DDL)


def _privileges(parser: Parser) -> list[str]:
    found: list[str] = []
    while True:
        words = [parser.identifier()]
        while parser.token.kind == "word" and not parser.looking_at("ON"):
            words.append(parser.identifier())
        found.append(" ".join(words))
        if not parser.accept(","):
            break
    parser.expect("ON")
    return ["ALL"] if found == ["ALL PRIVILEGES"] else found


def _expanded(privileges: list[str], kind: str) -> list[str]:
    if privileges == ["ALL"]:
        # A stage over a cloud location has USAGE only; READ and WRITE belong to internal ones.
        return ["USAGE"] if kind == "STAGE" else list(PRIVILEGES[kind])
    for privilege in privileges:
        if privilege != "OWNERSHIP" and privilege not in PRIVILEGES[kind]:
            raise errors.compilation("003008", "42501", f"Invalid object type '{kind}' for privilege '{privilege}'.")
    return privileges


def object_kind(parser: Parser, *, plural: bool = False) -> str:
    """A kind of object as GRANT and SHOW GRANTS spell it."""
    ending = "S" if plural else ""
    parser.accept("STORAGE")
    for kind in PRIVILEGES:
        if parser.accept(*(kind + ending).split()):
            return kind
    raise errors.unsupported(f"privileges on {parser.token.text.upper()}", parser.sql)


def _on(statement: Statement, parser: Parser) -> _On:
    many = parser.accept_any("ALL", "FUTURE")
    kind = object_kind(parser, plural=many is not None)
    if kind == "ACCOUNT":
        return _On(kind, [(statement.catalog.account_access, "ACCOUNT")])
    if many is None:
        return _On(kind, [grants.located(statement, kind, parser.name())])
    parser.expect("IN")
    container = parser.accept_any("SCHEMA", "DATABASE")
    if container is None:
        raise parser.unexpected()
    parts = parser.name()
    catalog = statement.catalog
    with catalog.lock:
        homes: list[tuple[str, Schema]]
        if container == "DATABASE":
            database = catalog.database(parts[-1])
            place: Schema | Database = database
            homes = [(database.name, s) for s in database.schemas.values()]
        else:
            database_name = grants.database_of(statement, parts)
            place = catalog.schema(database_name, parts[-1])
            homes = [(database_name, place)]
        if many == "FUTURE":
            return _On(kind, [], place)
        found = [(access, shown) for d, s in homes for access, shown in _contained(d, s, kind)]
    return _On(kind, found)


def _contained(database: str, schema: Schema, kind: str) -> list[tuple[Access, str]]:
    match kind:
        case "TABLE" | "VIEW":
            return [(t.access, display(database, schema.name, n)) for n, t in schema.tables.items()
                    if (t.kind == "VIEW") == (kind == "VIEW")]  # fmt: skip
        case "STAGE":
            return [(s.access, display(database, schema.name, n)) for n, s in schema.stages.items()]
        case "FILE FORMAT":
            return [(f.access, display(database, schema.name, n)) for n, f in schema.file_formats.items()]
        case "SCHEMA":
            return [(schema.access, display(database, schema.name))]
        case _:
            return []


def _grantee(statement: Statement, parser: Parser) -> str:
    if parser.looking_at("DATABASE", "ROLE") or parser.looking_at("SHARE") or parser.looking_at("APPLICATION"):
        raise errors.unsupported(f"grants to {parser.token.text.upper()}", statement.sql)
    if parser.looking_at("ROLE") and len(parser.tokens) > parser.index + 1:
        parser.take()
    role = parser.identifier()
    if role not in statement.catalog.roles:
        raise errors.does_not_exist("Role", display(role))
    return role


def _unset_future(place: Schema | Database, kind: str, privilege: str, role: str) -> None:
    place.future = [g for g in place.future if (g.kind, g.privilege, g.role) != (kind, privilege, role)]


def _may_grant(statement: Statement, access: Access, kind: str, shown: str, wanted: list[str]) -> None:
    if grants.is_admin(statement) or "MANAGE GRANTS" in grants.on_account(statement):
        return
    roles = grants.active_roles(statement)
    optional = {g.privilege for g in access.grants if g.option and g.role in roles}
    if access.owner not in roles and not set(wanted) <= optional:
        grants.require(statement, access, kind, shown, "OWNERSHIP")
