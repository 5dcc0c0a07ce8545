# ruff: noqa: S608 (the SQL is put together from names and types made here)
"""Tables: CREATE by columns, LIKE, CLONE or AS a query; ALTER with RENAME TO, SWAP WITH and columns."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.catalog import Column, Name, Table, Version
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.names import display, duck
from mz_orchestration.local.snowflake.queries import source_columns, translate_error
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.translate import Translator, parse
from mz_orchestration.local.snowflake.types import parse_type

_TABLE_OPTIONS = {
    "COMMENT", "DATA_RETENTION_TIME_IN_DAYS", "MAX_DATA_EXTENSION_TIME_IN_DAYS", "CHANGE_TRACKING",
    "ENABLE_SCHEMA_EVOLUTION", "DEFAULT_DDL_COLLATION",
}  # fmt: skip


def create_table(statement: Statement, parser: Parser, kind: str, or_replace: bool) -> Result:
    """CREATE TABLE: by columns, LIKE, CLONE or AS a query."""
    if_not_exists = parser.accept("IF", "NOT", "EXISTS")
    name = statement.name(parser.name(), "CREATE TABLE")
    with statement.catalog.lock:
        statement.catalog.schema_of(name)
    taken = statement.session.exists(name)
    if taken and if_not_exists:
        return Result.status(f"{display(name.object)} already exists, statement succeeded.")
    if taken and not or_replace and not (kind == "TEMPORARY" and name not in statement.session.temporary):
        raise errors.already_exists(str(name))
    storage, cursor = statement.storage, statement.cursor
    columns: list[Column] = []
    physical: str | None = None
    if word := parser.accept_any("LIKE", "CLONE"):
        parts = parser.name()
        source = statement.session.find(statement.name(parts), display(*parts))
        comment = _table_options(statement, parser)
        columns, comment = list(source.columns), comment or source.comment
        if word == "CLONE":
            physical = storage.copy(cursor, statement.session.version(source).physical, columns)
    else:
        if parser.accept("("):
            columns = _column_definitions(statement, parser)
        comment = _table_options(statement, parser)
        if parser.accept("AS"):
            columns, physical = _as_query(statement, parser, columns)
        elif not columns:
            raise parser.unexpected()
    parser.end()
    table = Table(columns, Version(physical or storage.create(cursor, columns)), kind, comment)
    _bind(statement, name, table)
    return Result.status(f"Table {display(name.object)} successfully created.")


def _bind(statement: Statement, name: Name, table: Table) -> None:
    with statement.catalog.lock:
        home = statement.session.temporary if table.kind == "TEMPORARY" else None
        if home is not None:
            old = home.pop(name, None)
            home[name] = table
        else:
            tables = statement.catalog.schema_of(name).tables
            old = tables.get(name.object)
            tables[name.object] = table
    if old is not None:
        statement.storage.retire(old.version.physical)


def _column_definitions(statement: Statement, parser: Parser) -> list[Column]:
    columns: list[Column] = []
    while True:
        if parser.looking_at("PRIMARY", "KEY") or parser.accept_any("CONSTRAINT", "UNIQUE", "FOREIGN"):
            _skip_constraint(parser)
        else:
            columns.append(_column(statement, parser))
        if parser.accept(")"):
            break
        parser.expect(",")
    seen: set[str] = set()
    for column in columns:
        if column.name in seen:
            raise errors.compilation("002025", "42S21", f"duplicate column name '{column.name}'")
        seen.add(column.name)
    return columns


def _skip_constraint(parser: Parser) -> None:
    """Table constraints are recorded by Snowflake and not enforced; here they are read over."""
    depth = 0
    while depth or not (parser.looking_at(",") or parser.looking_at(")")):
        token = parser.take()
        depth += {"(": 1, ")": -1}.get(token.upper, 0)


def _column(statement: Statement, parser: Parser) -> Column:
    column = Column(parser.identifier(), parse_type(parser))
    while not (parser.at_end or parser.looking_at(",") or parser.looking_at(")")):
        if parser.accept("NOT", "NULL"):
            column = replace(column, nullable=False)
        elif parser.accept("NULL") or parser.accept("UNIQUE"):
            continue
        elif parser.accept("PRIMARY", "KEY"):
            column = replace(column, nullable=False)
        elif parser.accept("COMMENT"):
            column = replace(column, comment=parser.string())
        elif parser.accept("DEFAULT"):
            column = replace(column, default=_default(statement, parser))
        else:
            raise errors.unsupported(f"column option {parser.token.text}", statement.sql)
    return column


def _default(statement: Statement, parser: Parser) -> str:
    start, depth = parser.token.start, 0
    end = start
    while not parser.at_end:
        if depth == 0 and (parser.token.upper in {",", ")", "NOT", "COMMENT"}):
            break
        token = parser.take()
        depth += {"(": 1, ")": -1}.get(token.upper, 0)
        end = token.end
    tree = parse(f"SELECT {parser.sql[start:end]}").expressions[0]
    return Translator(statement).generate(tree)


def _table_options(statement: Statement, parser: Parser) -> str | None:
    comment: str | None = None
    while True:
        if parser.accept("CLUSTER", "BY"):
            parser.value()
        elif parser.accept("COPY", "GRANTS"):
            continue
        else:
            options = parser.options()
            if not options:
                return comment
            unknown = set(options) - _TABLE_OPTIONS
            if unknown:
                raise errors.unsupported(f"table option {sorted(unknown)[0]}", statement.sql)
            if isinstance(options.get("COMMENT"), str):
                comment = str(options["COMMENT"])


def _as_query(statement: Statement, parser: Parser, listed: list[Column]) -> tuple[list[Column], str]:
    sql, columns = source_columns(statement, parse(parser.rest()))
    parser.index = len(parser.tokens)
    if listed:
        if len(listed) != len(columns):
            raise errors.compilation(
                "002026", "42601", f"Invalid column definition list: {len(listed)} and {len(columns)} columns"
            )
        columns = listed
    physical = statement.storage.create(statement.cursor, columns)
    try:
        statement.cursor.execute(f"INSERT INTO {physical} {sql}")
    except Exception as error:
        statement.storage.retire(physical)
        raise translate_error(error, statement) from error
    return columns, physical


def alter_table(statement: Statement, parser: Parser) -> Result:
    """ALTER TABLE: RENAME TO, SWAP WITH, SET COMMENT, and columns added, dropped or renamed."""
    if_exists = parser.accept("IF", "EXISTS")
    name = statement.name(parser.name(), "ALTER")
    if if_exists and not statement.session.exists(name):
        return Result.status("Statement executed successfully.")
    if parser.accept("SWAP", "WITH"):
        other = statement.name(parser.name(), "ALTER")
        parser.end()
        _swap(statement, name, other)
    elif parser.accept("RENAME", "TO"):
        other = statement.name(parser.name(), "ALTER")
        parser.end()
        _rename(statement, name, other)
    elif parser.accept("SET"):
        comment = _table_options(statement, parser)
        parser.end()
        with statement.session.locked(name, cancel=statement.cancel) as (table,):
            table.comment = comment if comment is not None else table.comment
    else:
        _alter_columns(statement, parser, name)
    return Result.status("Statement executed successfully.")


def _swap(statement: Statement, name: Name, other: Name) -> None:
    """Exchange what two names are bound to, in one step."""
    session, catalog = statement.session, statement.catalog
    if name in session.temporary or other in session.temporary:
        raise errors.unsupported("SWAP WITH of temporary tables", statement.sql)
    first, second = sorted((name, other), key=str)
    with session.locked(first, second, cancel=statement.cancel), catalog.lock:
        here, there = catalog.schema_of(name).tables, catalog.schema_of(other).tables
        here[name.object], there[other.object] = there[other.object], here[name.object]


def _rename(statement: Statement, name: Name, other: Name) -> None:
    session, catalog = statement.session, statement.catalog
    with session.locked(name, cancel=statement.cancel) as (table,), catalog.lock:
        if session.exists(other):
            raise errors.already_exists(str(other))
        if session.temporary.pop(name, None) is not None:
            session.temporary[other] = table
        else:
            target = catalog.schema_of(other).tables
            del catalog.schema_of(name).tables[name.object]
            target[other.object] = table


def _alter_columns(statement: Statement, parser: Parser, name: Name) -> None:
    """Rebuild the table with other columns; rows keep their values by column."""
    with statement.session.locked(name, cancel=statement.cancel) as (table,):
        old = list(table.columns)
        kept = {c.name: c.name for c in old}
        if parser.accept("ADD"):
            parser.accept("COLUMN")
            if_not_exists = parser.accept("IF", "NOT", "EXISTS")
            added = _column(statement, parser)
            parser.end()
            if table.column(added.name) is None:
                _rebuild(statement, table, [*old, added], kept)
            elif not if_not_exists:
                raise errors.compilation("001430", "42601", f"column '{added.name}' already exists")
        elif parser.accept("DROP"):
            parser.accept("COLUMN")
            dropped = _existing(table, parser.identifier())
            parser.end()
            del kept[dropped.name]
            _rebuild(statement, table, [c for c in old if c is not dropped], kept)
        elif parser.accept("RENAME", "COLUMN"):
            renamed = _existing(table, parser.identifier())
            parser.expect("TO")
            new_name = parser.identifier()
            parser.end()
            if table.column(new_name) is not None:
                raise errors.compilation("001430", "42601", f"column '{new_name}' already exists")
            del kept[renamed.name]
            new = [replace(c, name=new_name) if c is renamed else c for c in old]
            _rebuild(statement, table, new, {**kept, new_name: renamed.name})
        else:
            raise errors.unsupported("ALTER TABLE action", statement.sql)


def _existing(table: Table, name: str) -> Column:
    column = table.column(name)
    if column is None:
        raise errors.compilation("000904", "42000", f"invalid identifier '{display(name)}'")
    return column


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
        table.altered = datetime.now(UTC)
