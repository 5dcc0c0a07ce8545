"""INSERT, UPDATE, DELETE, MERGE and TRUNCATE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake import errors, results
from mz_orchestration.local.snowflake.catalog import Column, Name, Table, Version
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.names import display, duck
from mz_orchestration.local.snowflake.queries import describe, insert_source, translate_error
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
    statement.session.find(name, display(*parts))
    return name, parts


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
        for column, duck_type in zip(columns, duck_types, strict=True):
            if column.type.duck == "JSON" and duck_type == "VARCHAR":
                raise errors.compilation(
                    "002023",
                    "22000",
                    "Expression type does not match column data type, expecting "
                    f"{column.type.name} but got VARCHAR for column {column.name}",
                )
        if tree.args.get("overwrite"):
            empty = Version(statement.storage.create(statement.cursor, table.columns))
            _replace(statement, table, work.versions, empty)
        converted = insert_source(translation.sql, duck_types, [c.type for c in columns])
        names = ", ".join(duck(c.name) for c in columns)
        target = work.versions[table].physical
        count = _execute(statement, f"INSERT INTO {target} ({names}) {converted}")
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
    with statement.session.writing(name, statement.cursor, statement.cancel):
        for assignment in tree.expressions:
            # DuckDB takes bare column names on the left side only.
            assignment.this.set("table", None)
        count = _execute(statement, Translator(statement).generate(tree))
    return Result.counts(results.UPDATE, {"rows updated": count, "multi-joined rows updated": 0})


def _delete(statement: Statement, tree: exp.Expression) -> Result:
    name, _ = _target(statement, tree.this)
    with statement.session.writing(name, statement.cursor, statement.cancel):
        count = _execute(statement, Translator(statement).generate(tree))
    return Result.counts(results.DELETE, {"rows deleted": count})


def _merge(statement: Statement, tree: exp.Expression) -> Result:
    name, _ = _target(statement, tree.this)
    branches = tree.args["whens"].expressions
    with statement.session.writing(name, statement.cursor, statement.cancel):
        _refuse_duplicates(statement, tree, branches)
        for assignment in [e for w in branches for e in _assignments(w)]:
            assignment.this.set("table", None)
        sql = Translator(statement).generate(tree)
        try:
            rows = statement.cursor.execute(f"{sql} RETURNING merge_action").fetchall()
        except Exception as error:
            raise translate_error(error, statement) from error
    counted = Counter(str(row[0]) for row in rows)
    counts: dict[str, int] = {}
    for action, label in (("INSERT", "inserted"), ("UPDATE", "updated"), ("DELETE", "deleted")):
        if any(_action(w) == action for w in branches):
            counts[f"rows {label}"] = counted[action]
    return Result.counts(results.MERGE, counts)


def _action(when: exp.Expression) -> str:
    from sqlglot import exp

    then = when.args["then"]
    if isinstance(then, exp.Insert):
        return "INSERT"
    return "UPDATE" if isinstance(then, exp.Update) else "DELETE"


def _assignments(when: exp.Expression) -> list[exp.Expression]:
    from sqlglot import exp

    then = when.args["then"]
    return list(then.expressions) if isinstance(then, exp.Update) else []


def _refuse_duplicates(statement: Statement, tree: exp.Expression, branches: list[exp.Expression]) -> None:
    """A target row that several source rows would change has no right answer: Snowflake refuses."""
    from sqlglot import exp

    if not any(when.args.get("matched") for when in branches):
        return
    if not statement.session.parameters["ERROR_ON_NONDETERMINISTIC_MERGE"]:
        return
    target, source = tree.this.copy(), tree.args["using"].copy()
    alias = target.alias_or_name
    quoted = bool((target.args["alias"].this if target.args.get("alias") else target.this).args.get("quoted"))
    probe = (
        exp.select(exp.Count(this=exp.Star()))
        .from_(target)
        .join(source, on=tree.args["on"].copy())
        .group_by(exp.Column(this=exp.Identifier(this="rowid"), table=exp.to_identifier(alias, quoted=quoted)))
        .having("COUNT(*) > 1")
        .limit(1)
    )
    for column in probe.find_all(exp.Column):
        if column.name == "rowid":
            column.this.set("physical", True)
    sql = Translator(statement).generate(probe)
    try:
        duplicates = statement.cursor.execute(sql).fetchall()
    except Exception as error:
        raise translate_error(error, statement) from error
    if duplicates:
        raise errors.SnowflakeError("100090", "42P18", "Duplicate row detected during DML action")
