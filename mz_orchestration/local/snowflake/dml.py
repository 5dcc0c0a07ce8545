"""INSERT, UPDATE, DELETE, MERGE and TRUNCATE."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake import errors, grants, results
from mz_orchestration.local.snowflake.catalog import Column, Name, Table, Version
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.merge import actions, merge
from mz_orchestration.local.snowflake.names import display, duck
from mz_orchestration.local.snowflake.queries import describe, insert_source, refuse_text, translate_error
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.storage import scalar
from mz_orchestration.local.snowflake.translate import Translator, parse

if TYPE_CHECKING:
    from sqlglot import exp


def dml(statement: Statement) -> Result:
    """Run one DML statement."""
    from sqlglot import exp

    tree = parse(statement.sql)
    handlers: list[tuple[type[exp.Expression], Callable[[Statement, exp.Expression], Result]]] = [
        (exp.Insert, _insert),
        (exp.Update, _update),
        (exp.Delete, _delete),
        (exp.Merge, _merge),
    ]
    for kind, handler in handlers:
        if isinstance(tree, kind):
            return handler(statement, tree)
    raise errors.unsupported(statement.sql.split()[0].upper(), statement.sql)


def truncate(statement: Statement, parser: Parser) -> Result:
    """TRUNCATE: transactional in Snowflake, and it forgets the load history."""
    parser.accept("TABLE")
    if_exists = parser.accept("IF", "EXISTS")
    name = statement.name(parser.name(), "TRUNCATE")
    parser.end()
    if if_exists and not statement.session.exists(name):
        return Result.status("Statement executed successfully.", results.TRANSACTION)
    _allowed(statement, name, "TRUNCATE")
    with statement.session.writing(name, statement.cursor, statement.cancel) as (table, work):
        empty = Version(statement.storage.create(statement.cursor, table.columns))
        _replace(statement, table, work.versions, empty)
    return Result.status("Statement executed successfully.", results.TRANSACTION)


def _replace(statement: Statement, table: Table, versions: dict[Table, Version], new: Version) -> None:
    old = versions[table]
    versions[table] = new
    if old.physical != table.version.physical:
        statement.storage.retire(old.physical)


def _target(statement: Statement, node: exp.Expression) -> tuple[Name, list[str]]:
    """The table a statement writes to: resolved, and as spelled."""
    from sqlglot import exp

    table = node if isinstance(node, exp.Table) else node.find(exp.Table)
    if table is None or not isinstance(table.this, exp.Identifier):
        raise errors.unsupported("target", statement.sql)
    identifiers = [i for i in (table.args.get("catalog"), table.args.get("db"), table.this) if i]
    parts = [str(i.this) if i.args.get("quoted") else str(i.this).upper() for i in identifiers]
    name = statement.name(parts)
    if statement.session.find(name, display(*parts)).query is not None:
        raise errors.compilation("002037", "42601", f"Target '{display(*parts)}' is a view and cannot be changed.")
    return name, parts


def _allowed(statement: Statement, name: Name, *privileges: str) -> None:
    """Insist on every one of these privileges on the target, and on a warehouse."""
    for privilege in privileges:
        grants.on_table(statement, name, privilege)
    grants.warehouse(statement)


def _execute(statement: Statement, sql: str) -> int:
    try:
        return scalar(statement.cursor, sql)
    except Exception as error:
        raise translate_error(error, statement) from error


def _insert(statement: Statement, tree: exp.Expression) -> Result:
    from sqlglot import exp

    assert isinstance(tree, exp.Insert)
    schema = tree.this
    name, _ = _target(statement, schema)
    listed = schema.expressions if isinstance(schema, exp.Schema) else []
    source = tree.expression
    values = source if isinstance(source, exp.Values) else None
    if values is not None and values.find(exp.ParseJSON, exp.Anonymous, exp.Subquery):
        first = values.find(exp.ParseJSON, exp.Anonymous, exp.Subquery)
        shown = first.sql(dialect="snowflake") if first is not None else ""
        raise errors.compilation("002014", "22000", f"Invalid expression [{shown}] in VALUES clause")
    overwrite = bool(tree.args.get("overwrite"))
    # By documentation OVERWRITE also needs DELETE.
    _allowed(statement, name, "INSERT", *(["DELETE"] if overwrite else []))
    with statement.session.writing(name, statement.cursor, statement.cancel) as (table, work):
        columns = _columns(table, listed)
        translation = Translator(statement).query(source.copy())
        _, duck_types = describe(statement, translation.sql)
        if len(duck_types) != len(columns):
            raise errors.compilation(
                "002020",
                "21S01",
                f"Insert value list does not match column list expecting {len(columns)} but got {len(duck_types)}",
            )
        refuse_text(columns, duck_types)
        converted = insert_source(translation.sql, duck_types, [c.type for c in columns])
        names = ", ".join(duck(c.name) for c in columns)
        target = work.versions[table].physical
        if overwrite:
            target = statement.storage.create(statement.cursor, table.columns)
        try:
            count = _execute(statement, f"INSERT INTO {target} ({names}) {converted}")
        except errors.SnowflakeError:
            # A statement that fails changes nothing: the rows to be replaced are still there.
            if overwrite:
                statement.storage.retire(target)
            raise
        if overwrite:
            _replace(statement, table, work.versions, Version(target))
    return Result.counts(results.INSERT, {"rows inserted": count})


def _columns(table: Table, listed: list[exp.Expression]) -> list[Column]:
    if not listed:
        return table.columns
    found: list[Column] = []
    for identifier in listed:
        name = str(identifier.this) if identifier.args.get("quoted") else str(identifier.this).upper()
        column = table.column(name)
        if column is None:
            raise errors.invalid_identifier(display(name))
        found.append(column)
    return found


def _update(statement: Statement, tree: exp.Expression) -> Result:
    name, _ = _target(statement, tree.this)
    _allowed(statement, name, "UPDATE")
    with statement.session.writing(name, statement.cursor, statement.cancel):
        for assignment in tree.expressions:
            # DuckDB takes bare column names on the left side only.
            assignment.this.set("table", None)
        count = _execute(statement, Translator(statement, name).generate(tree))
    return Result.counts(results.UPDATE, {"rows updated": count, "multi-joined rows updated": 0})


def _delete(statement: Statement, tree: exp.Expression) -> Result:
    name, _ = _target(statement, tree.this)
    _allowed(statement, name, "DELETE")
    with statement.session.writing(name, statement.cursor, statement.cancel):
        count = _execute(statement, Translator(statement, name).generate(tree))
    return Result.counts(results.DELETE, {"rows deleted": count})


def _merge(statement: Statement, tree: exp.Expression) -> Result:
    name, _ = _target(statement, tree.this)
    _allowed(statement, name, *sorted(actions(tree)))
    return merge(statement, tree, name)
