"""Masking and row access policies, and tags: kept, shown, and carried along with the tables they are set on.

They mask and filter nothing here. What they are for is to show what a way of refreshing a table does to them.
"""

from __future__ import annotations

from mz_orchestration.local.snowflake import errors, grants
from mz_orchestration.local.snowflake.catalog import Name, Policy, Schema, Table
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.names import display
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.statement import Statement

_MASKING = "MASKING POLICY"
_ROW_ACCESS = "ROW ACCESS POLICY"


def accept_kind(parser: Parser) -> str | None:
    """Take MASKING POLICY or ROW ACCESS POLICY if it comes next."""
    return next((kind for kind in (_MASKING, _ROW_ACCESS) if parser.accept(*kind.split())), None)


def create_policy(statement: Statement, parser: Parser, kind: str, or_replace: bool) -> Result:
    """CREATE MASKING POLICY or ROW ACCESS POLICY … AS (…) RETURNS type -> body."""
    if_not_exists = parser.accept("IF", "NOT", "EXISTS")
    name = statement.name(parser.name(), f"CREATE {kind}")
    parser.expect("AS")
    parser.expect("(")
    start, end = parser.token.start, parser.token.start
    while not parser.looking_at("RETURNS"):
        end = parser.take().end
    signature = parser.sql[start:end].rstrip(")")
    parser.expect("RETURNS")
    while not parser.accept("->"):
        parser.take()
    start = parser.token.start
    comment = None
    while not parser.at_end:
        if parser.accept("COMMENT", "="):
            comment = parser.string()
            break
        end = parser.take().end
    grants.enter(statement, name, f"CREATE {kind}")
    with statement.catalog.lock:
        policies = statement.catalog.schema_of(name).policies
        if name.object in policies:
            if if_not_exists:
                return Result.status(f"{display(name.object)} already exists, statement succeeded.")
            if not or_replace:
                raise errors.already_exists(str(name))
            _refuse_used(statement, name, "replaced")
        policies[name.object] = Policy(kind, signature, parser.sql[start:end], comment)
    return Result.status(f"{kind.capitalize()} {display(name.object)} successfully created.")


def create_tag(statement: Statement, parser: Parser, or_replace: bool) -> Result:
    """CREATE TAG [ALLOWED_VALUES 'a', 'b']."""
    if_not_exists = parser.accept("IF", "NOT", "EXISTS")
    name = statement.name(parser.name(), "CREATE TAG")
    allowed: list[str] = []
    if parser.accept("ALLOWED_VALUES"):
        allowed.append(parser.string())
        while parser.accept(","):
            allowed.append(parser.string())
    parser.options()
    parser.end()
    grants.enter(statement, name, "CREATE TAG")
    with statement.catalog.lock:
        tags = statement.catalog.schema_of(name).tags
        if name.object in tags and not or_replace:
            if not if_not_exists:
                raise errors.already_exists(str(name))
            return Result.status(f"{display(name.object)} already exists, statement succeeded.")
        tags[name.object] = tuple(allowed)
    return Result.status(f"Tag {display(name.object)} successfully created.")


def drop(statement: Statement, kind: str, name: Name) -> None:
    """Drop a policy or a tag. The caller holds the catalog's lock."""
    schema = statement.catalog.schema_of(name)
    if kind == "TAG":
        tag_of(statement, name)
        del schema.tags[name.object]
        for _, table in statement.catalog.tables():
            table.governance.tags.pop(name, None)
            for tags in table.governance.column_tags.values():
                tags.pop(name, None)
        return
    _policy(schema, name, kind)
    _refuse_used(statement, name, "dropped")
    del schema.policies[name.object]


def _refuse_used(statement: Statement, name: Name, done: str) -> None:
    for _, table in statement.catalog.tables():
        if name in table.governance.masking.values() or name in table.governance.row_access:
            raise errors.compilation(
                "003539",
                "23001",
                f"Policy {display(name.object)} cannot be dropped/replaced as it is associated with one or more "
                f"entities (it was to be {done}).",
            )


def _policy(schema: Schema, name: Name, kind: str) -> Policy:
    policy = schema.policies.get(name.object)
    if policy is None or policy.kind != kind:
        raise errors.does_not_exist(kind.capitalize(), str(name))
    return policy


def tag_of(statement: Statement, name: Name) -> tuple[str, ...]:
    """The values a tag allows (none listed: any), if there is such a tag."""
    tags = statement.catalog.schema_of(name).tags
    if name.object not in tags:
        raise errors.does_not_exist("Tag", str(name))
    return tags[name.object]


def masking_policy(statement: Statement, parser: Parser) -> Name:
    """The policy behind ``SET MASKING POLICY`` or a column's ``WITH MASKING POLICY``."""
    name = statement.name(parser.name())
    if parser.accept("USING"):
        parser.value()
    parser.accept("FORCE")
    with statement.catalog.lock:
        _policy(statement.catalog.schema_of(name), name, _MASKING)
    return name


def row_access_policy(statement: Statement, parser: Parser) -> tuple[Name, tuple[str, ...]]:
    """``policy ON (columns)`` behind ROW ACCESS POLICY."""
    name = statement.name(parser.name())
    parser.expect("ON")
    parser.expect("(")
    columns = [parser.identifier()]
    while parser.accept(","):
        columns.append(parser.identifier())
    parser.expect(")")
    with statement.catalog.lock:
        _policy(statement.catalog.schema_of(name), name, _ROW_ACCESS)
    return name, tuple(columns)


def tag_values(statement: Statement, parser: Parser) -> dict[Name, str]:
    """``tag = 'value', …``."""
    found: dict[Name, str] = {}
    while True:
        name = statement.name(parser.name())
        parser.expect("=")
        value = parser.string()
        with statement.catalog.lock:
            allowed = tag_of(statement, name)
        if allowed and value not in allowed:
            raise errors.compilation(
                "002301", "42601", f"Tag value '{value}' is not an allowed value of tag {display(name.object)}."
            )
        found[name] = value
        if not parser.accept(","):
            return found


def alter_table(statement: Statement, parser: Parser, table: Table) -> bool:
    """Do what ALTER TABLE says about policies and tags of the table; False if it says nothing about them."""
    governance = table.governance
    if parser.accept("ADD", "ROW", "ACCESS", "POLICY"):
        name, columns = row_access_policy(statement, parser)
        if governance.row_access:
            raise errors.compilation("003550", "23001", f"Object already has a ROW_ACCESS_POLICY: {name}.")
        for column in columns:
            _existing(table, column)
        governance.row_access[name] = columns
    elif parser.accept("DROP", "ROW", "ACCESS", "POLICY"):
        name = statement.name(parser.name())
        if governance.row_access.pop(name, None) is None:
            raise errors.does_not_exist("Row access policy", str(name))
    elif parser.accept("DROP", "ALL", "ROW", "ACCESS", "POLICIES"):
        governance.row_access.clear()
    elif parser.accept("SET", "TAG"):
        governance.tags.update(tag_values(statement, parser))
    elif parser.accept("UNSET", "TAG"):
        for name in _names(statement, parser):
            governance.tags.pop(name, None)
    else:
        return False
    parser.end()
    return True


def alter_column(statement: Statement, parser: Parser, table: Table, column: str) -> bool:
    """Do what ALTER TABLE … MODIFY COLUMN says about policy and tags of a column."""
    governance = table.governance
    if parser.accept("SET", "MASKING", "POLICY"):
        forced = parser.tokens[-1].upper == "FORCE"
        name = masking_policy(statement, parser)
        if column in governance.masking and not forced:
            raise errors.compilation(
                "003540", "23001", f"Specified column already attached to another masking policy: {column}."
            )
        governance.masking[column] = name
    elif parser.accept("UNSET", "MASKING", "POLICY"):
        governance.masking.pop(column, None)
    elif parser.accept("SET", "TAG"):
        governance.column_tags.setdefault(column, {}).update(tag_values(statement, parser))
    elif parser.accept("UNSET", "TAG"):
        for name in _names(statement, parser):
            governance.column_tags.get(column, {}).pop(name, None)
    else:
        return False
    return True


def _names(statement: Statement, parser: Parser) -> list[Name]:
    found = [statement.name(parser.name())]
    while parser.accept(","):
        found.append(statement.name(parser.name()))
    return found


def _existing(table: Table, column: str) -> None:
    if table.column(column) is None:
        raise errors.invalid_identifier(display(column))
