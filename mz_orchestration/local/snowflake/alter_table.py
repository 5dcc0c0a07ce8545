# ruff: noqa: S608 (the SQL is put together from names and types made here)
"""ALTER TABLE: names moved, columns changed, clustering, constraints, policies and tags."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from mz_orchestration.local.snowflake import errors, grants, policies
from mz_orchestration.local.snowflake.catalog import Column, Name, Table
from mz_orchestration.local.snowflake.column_definitions import (
    Definitions,
    at_constraint,
    column,
    constraint,
    identifiers,
)
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.names import display, duck
from mz_orchestration.local.snowflake.queries import translate_error
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.tables import TABLE_OPTIONS, clustering_key
from mz_orchestration.local.snowflake.types import SfType, parse_type

_DONE = "Statement executed successfully."


def alter_table(statement: Statement, parser: Parser) -> Result:
    """ALTER TABLE."""
    if_exists = parser.accept("IF", "EXISTS")
    name = statement.name(parser.name(), "ALTER")
    if if_exists and not statement.session.exists(name):
        return Result.status(_DONE)
    grants.on_table(statement, name, "OWNERSHIP")
    if parser.accept("SWAP", "WITH"):
        other = statement.name(parser.name(), "ALTER")
        parser.end()
        _swap(statement, name, other)
        return Result.status(_DONE)
    if parser.accept("RENAME", "TO"):
        other = statement.name(parser.name(), "ALTER")
        parser.end()
        _rename(statement, name, other)
        return Result.status(_DONE)
    with statement.session.locked(name, cancel=statement.cancel) as (table,):
        if table.query is not None:
            raise errors.compilation("002203", "02000", "Object found is of type 'VIEW', not specified type 'TABLE'.")
        if not policies.alter_table(statement, parser, table) and not _properties(statement, parser, table):
            _columns(statement, parser, table, display(name.object))
        table.altered = datetime.now(UTC)
    return Result.status(_DONE)


def _swap(statement: Statement, name: Name, other: Name) -> None:
    """Exchange what two names are bound to, in one step: all that belongs to an object goes with it."""
    session, catalog = statement.session, statement.catalog
    grants.on_table(statement, other, "OWNERSHIP")
    if name in session.temporary or other in session.temporary:
        raise errors.unsupported("SWAP WITH of temporary tables", statement.sql)
    first, second = sorted((name, other), key=str)
    with session.locked(first, second, cancel=statement.cancel) as tables, catalog.lock:
        refused = next((t for t in tables if t.query is not None or t.special is not None), None)
        if refused is not None:
            raise errors.unsupported(f"SWAP WITH of a {refused.special or refused.kind}", statement.sql)
        here, there = catalog.schema_of(name).tables, catalog.schema_of(other).tables
        here[name.object], there[other.object] = there[other.object], here[name.object]


def _rename(statement: Statement, name: Name, other: Name) -> None:
    session, catalog = statement.session, statement.catalog
    grants.enter(statement, other, *([] if name in session.temporary else ["CREATE TABLE"]))
    with session.locked(name, cancel=statement.cancel) as (table,), catalog.lock:
        if session.exists(other):
            raise errors.already_exists(str(other))
        if session.temporary.pop(name, None) is not None:
            session.temporary[other] = table
        else:
            target = catalog.schema_of(other).tables
            del catalog.schema_of(name).tables[name.object]
            target[other.object] = table


def _properties(statement: Statement, parser: Parser, table: Table) -> bool:
    """Comment, clustering and constraints; False if the statement is about something else."""
    if parser.accept("SET"):
        options = parser.options()
        if not options:
            raise parser.unexpected()
        unknown = set(options) - TABLE_OPTIONS
        if unknown:
            raise errors.unsupported(f"table option {sorted(unknown)[0]}", statement.sql)
        if isinstance(options.get("COMMENT"), str):
            table.comment = str(options["COMMENT"])
    elif parser.accept("UNSET"):
        names = [parser.identifier()]
        while parser.accept(","):
            names.append(parser.identifier())
        table.comment = None if "COMMENT" in names else table.comment
    elif parser.accept("CLUSTER", "BY"):
        table.cluster_by, table.auto_clustering = clustering_key(parser, table.columns), True
    elif parser.accept("DROP", "CLUSTERING", "KEY"):
        table.cluster_by, table.auto_clustering = None, False
    elif word := parser.accept_any("SUSPEND", "RESUME"):
        parser.expect("RECLUSTER")
        if table.cluster_by is None:
            raise errors.compilation("002301", "42601", "Table has no clustering key.")
        table.auto_clustering = word == "RESUME"
    else:
        return _constraints(parser, table)
    parser.end()
    return True


def _constraints(parser: Parser, table: Table) -> bool:
    start = parser.index
    verb = parser.accept_any("ADD", "DROP")
    if verb is None or not at_constraint(parser):
        parser.index = start
        return False
    if verb == "ADD":
        key = constraint(parser)
        for name in key.columns:
            _existing(table, name)
        table.constraints.append(key)
    else:
        named = parser.identifier() if parser.accept("CONSTRAINT") else None
        kind = "" if named else str(parser.accept_any("PRIMARY", "UNIQUE", "FOREIGN"))
        parser.accept("KEY")
        columns = tuple(identifiers(parser)) if parser.looking_at("(") else None
        kept = [
            c
            for c in table.constraints
            if not (c.name == named if named else c.kind.startswith(kind) and columns in (None, c.columns))
        ]
        if len(kept) == len(table.constraints):
            raise errors.does_not_exist("Constraint", named or kind)
        table.constraints = kept
    parser.end()
    return True


def _columns(statement: Statement, parser: Parser, table: Table, shown: str) -> None:
    """Rebuild the table with other columns; rows keep their values by column."""
    if parser.accept("ADD"):
        _add(statement, parser, table, shown)
    elif parser.accept("DROP"):
        _drop(statement, parser, table)
    elif parser.accept("RENAME", "COLUMN"):
        _rename_column(statement, parser, table)
    elif parser.accept_any("ALTER", "MODIFY"):
        _modify(statement, parser, table)
    else:
        raise errors.unsupported("ALTER TABLE action", statement.sql)


def _add(statement: Statement, parser: Parser, table: Table, shown: str) -> None:
    added = Definitions()
    while True:
        parser.accept("COLUMN")
        if_not_exists = parser.accept("IF", "NOT", "EXISTS")
        new = column(statement, parser, added)
        if if_not_exists and (new.default is not None or any(new.name in c.columns for c in added.constraints)):
            # By documentation refused; it does not tell the number.
            raise errors.compilation(
                "002301", "42601", "IF NOT EXISTS cannot be used with a column that has a default or a constraint."
            )
        if table.column(new.name) is not None or new.name in [c.name for c in added.columns[:-1]]:
            if not if_not_exists:
                raise errors.compilation("001430", "42601", f"column '{new.name}' already exists")
            added.columns.pop()
        if not parser.accept(","):
            break
    parser.end()
    rows = statement.storage.count(statement.cursor, table.version.physical)
    bare = next((c for c in added.columns if not c.nullable and c.default is None), None)
    if rows and bare is not None:
        raise errors.compilation(
            "002059",
            "42601",
            f"Non-nullable column '{bare.name}' cannot be added to non-empty table '{shown}' unless it has a "
            "non-null default value.",
        )
    if added.columns:
        kept = {c.name: c.name for c in table.columns}
        _rebuild(statement, table, [*table.columns, *added.columns], kept)
        table.constraints += added.constraints
        table.governance.masking.update(added.governance.masking)
        table.governance.column_tags.update(added.governance.column_tags)


def _drop(statement: Statement, parser: Parser, table: Table) -> None:
    parser.accept("COLUMN")
    if_exists = parser.accept("IF", "EXISTS")
    names = [parser.identifier()]
    while parser.accept(","):
        names.append(parser.identifier())
    parser.end()
    dropped = {_existing(table, name).name for name in names if table.column(name) is not None or not if_exists}
    left = [c for c in table.columns if c.name not in dropped]
    if not dropped:
        return
    if not left:
        raise errors.compilation("001441", "42601", "Cannot drop the only column of a table.")
    _rebuild(statement, table, left, {c.name: c.name for c in left})
    table.constraints = [c for c in table.constraints if not dropped & set(c.columns)]
    for name in dropped:
        table.governance.masking.pop(name, None)
        table.governance.column_tags.pop(name, None)


def _rename_column(statement: Statement, parser: Parser, table: Table) -> None:
    old = _existing(table, parser.identifier())
    parser.expect("TO")
    new = parser.identifier()
    parser.end()
    if table.column(new) is not None:
        raise errors.compilation("001430", "42601", f"column '{new}' already exists")
    columns = [replace(c, name=new) if c is old else c for c in table.columns]
    _rebuild(statement, table, columns, {n.name: o.name for n, o in zip(columns, table.columns, strict=True)})
    table.constraints = [
        replace(c, columns=tuple(new if name == old.name else name for name in c.columns)) for c in table.constraints
    ]
    for by_column in (table.governance.masking, table.governance.column_tags):
        if old.name in by_column:
            by_column[new] = by_column.pop(old.name)  # type: ignore[assignment]


def _modify(statement: Statement, parser: Parser, table: Table) -> None:
    """ALTER | MODIFY [COLUMN] c action, c action, …, with brackets or without."""
    bracket = parser.accept("(")
    columns = list(table.columns)
    while True:
        parser.accept("COLUMN")
        name = parser.identifier()
        changed = next((c for c in columns if c.name == name), None) or _existing(table, name)
        if not policies.alter_column(statement, parser, table, name):
            columns[[c.name for c in columns].index(name)] = _changed(statement, parser, changed)
        if not parser.accept(","):
            break
    if bracket:
        parser.expect(")")
    parser.end()
    if columns != table.columns:
        _rebuild(statement, table, columns, {c.name: c.name for c in columns})


def _changed(statement: Statement, parser: Parser, old: Column) -> Column:
    if parser.accept("DROP", "NOT", "NULL"):
        return replace(old, nullable=True)
    if parser.accept("SET", "NOT", "NULL"):
        return replace(old, nullable=False)
    if parser.accept("DROP", "DEFAULT"):
        return replace(old, default=None, default_shown=None)
    if parser.accept("COMMENT"):
        return replace(old, comment=parser.string())
    if parser.accept("UNSET", "COMMENT"):
        return replace(old, comment=None)
    if parser.accept("SET", "DATA", "TYPE") or parser.accept("TYPE"):
        new = parse_type(parser)
        if not _widens(old.type, new):
            raise errors.compilation(
                "002108", "22000", f"cannot change column {old.name} from type {old.type.ddl} to {new.ddl}"
            )
        return replace(old, type=new)
    raise errors.unsupported("ALTER COLUMN action", statement.sql)


def _widens(old: SfType, new: SfType) -> bool:
    """Whether a type can be changed in place: longer texts, and numbers with more digits and the same scale."""
    if old.name != new.name:
        return False
    if old.name == "NUMBER":
        return new.scale == old.scale and (new.precision or 0) >= (old.precision or 0)
    return (new.length or 0) >= (old.length or 0) and new.scale == old.scale


def _existing(table: Table, name: str) -> Column:
    found = table.column(name)
    if found is None:
        raise errors.compilation("000904", "42000", f"invalid identifier '{display(name)}'")
    return found


def _rebuild(statement: Statement, table: Table, columns: list[Column], sources: dict[str, str]) -> None:
    """Give a table other columns; ``sources`` says which old column fills a new one."""
    storage, cursor = statement.storage, statement.cursor
    physical = storage.create(cursor, columns)
    try:
        cursor.execute(
            f"INSERT INTO {physical} ({', '.join(duck(name) for name in sources)}) "
            f"SELECT {', '.join(duck(name) for name in sources.values())} FROM {table.version.physical}"
        )
    except Exception as error:
        storage.retire(physical)
        raise translate_error(error, statement) from error
    with statement.catalog.lock:
        storage.retire(table.version.physical)
        table.columns, table.version = columns, replace(table.version, physical=physical)
