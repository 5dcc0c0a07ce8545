"""What a role needs for a statement.

ACCOUNTADMIN may do everything. Another role acts with what was granted to it and to the roles it inherits. An
object on which a role holds nothing does not exist for it (002003); one on which it holds something, but not
enough, is refused by name (003001).

By documentation a session may also use the privileges of its user's other roles (secondary roles). They are
left out: a load has to work with the role it names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.access import ADMIN, Access, Grant
from mz_orchestration.local.snowflake.names import display

if TYPE_CHECKING:
    from mz_orchestration.local.snowflake.catalog import Name, Stage, Table
    from mz_orchestration.local.snowflake.statement import Statement


def is_admin(statement: Statement) -> bool:
    """Whether the session's role is allowed everything."""
    return ADMIN in active_roles(statement)


def active_roles(statement: Statement) -> frozenset[str]:
    """The session's role and the roles it inherits."""
    return statement.catalog.hierarchy.inherited(statement.role)


def require(
    statement: Statement, access: Access, kind: str, shown: str, *privileges: str, missing: str | None = None
) -> None:
    """Insist on one of these privileges on an object; its owner has them all.

    Args:
        statement: who asks.
        access: the object's owner and grants.
        kind: the kind of object, as GRANT spells it.
        shown: the object's name.
        privileges: any of them is enough.
        missing: how the message calls an object that does not exist, where it is not the kind.
    """
    if is_admin(statement):
        return
    held = access.privileges(active_roles(statement))
    if "OWNERSHIP" in held or held & set(privileges):
        return
    if not held and kind != "ACCOUNT":
        raise errors.does_not_exist(missing or kind.title(), shown)
    raise errors.insufficient(kind, shown)


def sees(statement: Statement, access: Access) -> bool:
    """Whether SHOW and INFORMATION_SCHEMA list the object for the role: any privilege is enough."""
    return is_admin(statement) or bool(access.privileges(active_roles(statement)))


def enter(statement: Statement, name: Name, *privileges: str) -> None:
    """Insist on USAGE of the database and the schema a name lies in, and on privileges of the schema."""
    if is_admin(statement):
        return
    catalog = statement.catalog
    with catalog.lock:
        database, schema = catalog.database(name.database), catalog.schema_of(name)
        require(statement, database.access, "DATABASE", display(name.database), "USAGE")
        require(statement, schema.access, "SCHEMA", display(name.database, name.schema), "USAGE")
        if privileges:
            require(statement, schema.access, "SCHEMA", display(name.schema), *privileges)


def on_table(statement: Statement, name: Name, *privileges: str, missing: str = "Table") -> Table:
    """The table of this name, if the role may do with it what the privileges stand for."""
    with statement.catalog.lock:
        table = statement.session.find(name, str(name), missing)
        if name not in statement.session.temporary:
            enter(statement, name)
            kind = "VIEW" if table.kind == "VIEW" else "TABLE"
            require(statement, table.access, kind, str(name), *privileges, missing=missing)
        return table


def on_stage(statement: Statement, name: Name) -> Stage:
    """The stage of this name, if the role may read it."""
    with statement.catalog.lock:
        stage = statement.catalog.stage(name)
        enter(statement, name)
        require(statement, stage.access, "STAGE", str(name), "USAGE", "READ")
        return stage


def warehouse(statement: Statement) -> None:
    """Insist on a warehouse to run on."""
    name = statement.session.warehouse
    if is_admin(statement):
        return
    with statement.catalog.lock:
        if name in statement.catalog.warehouses and name is not None:
            held = _warehouse(statement, name).privileges(active_roles(statement))
            if held & {"USAGE", "OWNERSHIP"}:
                return
    raise errors.no_warehouse()


def created(statement: Statement, kind: str, name: Name | None = None) -> Access:
    """The access of a new object: the role owns it, and the future grants of its schema apply.

    Where a schema has future grants for a kind, those of its database do not count for that kind.
    """
    access = Access(statement.role)
    if name is None:
        return access
    with statement.catalog.lock:
        database, schema = statement.catalog.database(name.database), statement.catalog.schema_of(name)
        future = [g for g in schema.future if g.kind == kind] or [g for g in database.future if g.kind == kind]
    for promise in future:
        if promise.privilege == "OWNERSHIP":
            access.owner = promise.role
        else:
            access.add(Grant(promise.privilege, promise.role, "", promise.option))
    return access


def located(statement: Statement, kind: str, parts: list[str]) -> tuple[Access, str]:
    """The access of the object of this kind and name, and the name in full."""
    catalog = statement.catalog
    with catalog.lock:
        match kind:
            case "DATABASE":
                return catalog.database(parts[-1]).access, display(parts[-1])
            case "SCHEMA":
                database = database_of(statement, parts)
                return catalog.schema(database, parts[-1]).access, display(database, parts[-1])
            case "INTEGRATION":
                return catalog.integration(parts[-1]).access, display(parts[-1])
            case "WAREHOUSE":
                return _warehouse(statement, parts[-1]), display(parts[-1])
        name = statement.name(parts, "GRANT")
        match kind:
            case "TABLE" | "VIEW":
                return statement.session.find(name, display(*parts), kind.title()).access, str(name)
            case "STAGE":
                return catalog.stage(name).access, str(name)
            case _:
                return catalog.file_format(name).access, str(name)


def _warehouse(statement: Statement, name: str) -> Access:
    catalog = statement.catalog
    if name not in catalog.warehouses:
        raise errors.does_not_exist("Warehouse", display(name))
    return catalog.warehouse_access.setdefault(name, Access())


def database_of(statement: Statement, parts: list[str]) -> str:
    """The database of a schema's name."""
    database = parts[-2] if len(parts) > 1 else statement.session.context.database
    if database is None:
        raise errors.no_current("database", "GRANT")
    return database


def on_account(statement: Statement) -> set[str]:
    """The role's privileges on the account."""
    held = statement.catalog.account_access.privileges(active_roles(statement))
    return held | {"MANAGE GRANTS"} if "SECURITYADMIN" in active_roles(statement) else held
