# ruff: noqa: S608 (the SQL is put together from names and types made here)
"""MERGE, in steps: what matches and what does not is found first, then the target is changed.

DuckDB has a MERGE of its own, which refuses a target row that several source rows match. Snowflake refuses it
only where the answer would depend on their order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake import casts, errors, results
from mz_orchestration.local.snowflake.names import display, duck
from mz_orchestration.local.snowflake.queries import describe, insert_source, refuse_text, translate_error
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.storage import scalar
from mz_orchestration.local.snowflake.translate import Translator

if TYPE_CHECKING:
    from sqlglot import exp

    from mz_orchestration.local.snowflake.catalog import Column, Name, Table
    from mz_orchestration.local.snowflake.statement import Statement

_CHANGES = "merge_changes"
_NEW = "merge_new"


@dataclass(frozen=True)
class _Update:
    """An UPDATE branch: its number among the matched ones, and what it puts into which column."""

    number: int
    assigned: list[tuple[Column, exp.Expression]]


@dataclass(frozen=True)
class _Merge:
    """A MERGE about to run."""

    statement: Statement
    tree: exp.Expression
    name: Name
    table: Table
    physical: str


def actions(tree: exp.Expression) -> set[str]:
    """What the branches do: INSERT, UPDATE, DELETE."""
    return {_action(branch) for branch in tree.args["whens"].expressions}


def merge(statement: Statement, tree: exp.Expression, name: Name) -> Result:
    """Run a MERGE whose role may do to the target what its branches do."""
    branches = tree.args["whens"].expressions
    if any(branch.args.get("source") for branch in branches):
        raise errors.syntax(statement.sql, statement.sql.upper().find("BY SOURCE"), "BY")
    matched = [branch for branch in branches if branch.args.get("matched")]
    unmatched = [branch for branch in branches if not branch.args.get("matched")]
    counts = {"INSERT": 0, "UPDATE": 0, "DELETE": 0}
    with statement.session.writing(name, statement.cursor, statement.cancel) as (table, work):
        job = _Merge(statement, tree, name, table, work.versions[table].physical)
        updates = _find_changes(job, matched) if matched else []
        inserts = [_find_new(job, unmatched, number) for number in range(len(unmatched))]
        with _all_or_nothing(statement):
            deleting = [str(i) for i, branch in enumerate(matched) if _action(branch) == "DELETE"]
            if deleting:
                gone = f"SELECT rid FROM {_CHANGES} WHERE branch IN ({', '.join(deleting)})"
                counts["DELETE"] = _run(job, f"DELETE FROM {job.physical} WHERE rowid IN ({gone})")
            for update in updates:
                counts["UPDATE"] += _run(job, _update(job, update))
            for number, columns in enumerate(inserts):
                names = ", ".join(duck(c.name) for c in columns)
                source = f"SELECT * FROM {_NEW}_{number}"
                counts["INSERT"] += _run(job, f"INSERT INTO {job.physical} ({names}) {source}")
    done = actions(tree)
    labels = (("INSERT", "inserted"), ("UPDATE", "updated"), ("DELETE", "deleted"))
    return Result.counts(results.MERGE, {f"rows {label}": counts[a] for a, label in labels if a in done})


@contextlib.contextmanager
def _all_or_nothing(statement: Statement) -> Iterator[None]:
    statement.cursor.begin()
    try:
        yield
        statement.cursor.commit()
    except BaseException:
        with contextlib.suppress(Exception):
            # An error may already have ended the transaction.
            statement.cursor.rollback()
        raise


def _find_changes(job: _Merge, matched: list[exp.Expression]) -> list[_Update]:
    """Keep row, branch and new values of every matched pair that a branch takes."""
    from sqlglot import exp

    branch = _branch(matched)
    updates = [_Update(i, _assigned(job, when)) for i, when in enumerate(matched) if _action(when) == "UPDATE"]
    values = [(u.number, j, column, value) for u in updates for j, (column, value) in enumerate(u.assigned)]
    select = exp.select(_aliased(_row(job), "rid"), _aliased(branch, "branch"))
    for number, j, _, value in values:
        wanted = exp.EQ(this=branch.copy(), expression=exp.Literal.number(number))
        # Evaluated for the rows of its branch only.
        taken = exp.Case(ifs=[exp.If(this=wanted, true=value.copy())])
        select = select.select(_aliased(taken, f"u{number}_{j}"))
    select = select.from_(job.tree.this.copy()).join(job.tree.args["using"].copy(), on=job.tree.args["on"].copy())
    sql = Translator(job.statement, job.name).generate(select)
    _, types = describe(job.statement, sql)
    refuse_text([column for _, _, column, _ in values], types[2:])
    converted = [
        f"{casts.cast(f'u{number}_{j}', kind, column.type)} AS u{number}_{j}"
        for (number, j, column, _), kind in zip(values, types[2:], strict=True)
    ]
    listed = ", ".join(["rid", "branch", *converted])
    _run(job, f"CREATE TEMP TABLE {_CHANGES} AS SELECT {listed} FROM ({sql}) WHERE branch IS NOT NULL")
    if job.statement.session.parameters["ERROR_ON_NONDETERMINISTIC_MERGE"] and updates:
        updating = ", ".join(str(u.number) for u in updates)
        conflict = (
            f"SELECT 1 FROM {_CHANGES} GROUP BY rid "
            f"HAVING count(*) > 1 AND count(*) FILTER (branch IN ({updating})) > 0 LIMIT 1"
        )
        if _run(job, conflict):
            raise errors.SnowflakeError("100090", "42P18", "Duplicate row detected during DML action")
    return updates


def _find_new(job: _Merge, unmatched: list[exp.Expression], number: int) -> list[Column]:
    """Keep the rows that one NOT MATCHED branch inserts, and return the columns they are for."""
    from sqlglot import exp

    then = unmatched[number].args["then"]
    if not isinstance(then, exp.Insert) or not isinstance(then.expression, exp.Tuple):
        raise errors.unsupported("INSERT ALL BY NAME", job.statement.sql)
    listed = then.this.expressions if isinstance(then.this, exp.Tuple) else None
    columns = [_column(job, c) for c in listed] if listed is not None else list(job.table.columns)
    values = then.expression.expressions
    if len(values) != len(columns):
        raise errors.compilation(
            "002020",
            "21S01",
            f"Insert value list does not match column list expecting {len(columns)} but got {len(values)}",
        )
    select = (
        exp.select(*(_aliased(v.copy(), f"n{i}") for i, v in enumerate(values)))
        .from_(job.tree.args["using"].copy())
        .join(job.tree.this.copy(), on=job.tree.args["on"].copy(), join_type="LEFT")
        .where(exp.Is(this=_row(job), expression=exp.Null()))
        .where(exp.EQ(this=_branch(unmatched), expression=exp.Literal.number(number)))
    )
    sql = Translator(job.statement, job.name).generate(select)
    _, types = describe(job.statement, sql)
    refuse_text(columns, types)
    _run(job, f"CREATE TEMP TABLE {_NEW}_{number} AS {insert_source(sql, types, [c.type for c in columns])}")
    return columns


def _update(job: _Merge, update: _Update) -> str:
    assigned = ", ".join(f"{duck(c.name)} = m.u{update.number}_{j}" for j, (c, _) in enumerate(update.assigned))
    return (
        f"UPDATE {job.physical} AS t SET {assigned} FROM {_CHANGES} AS m "
        f"WHERE t.rowid = m.rid AND m.branch = {update.number}"
    )


def _run(job: _Merge, sql: str) -> int:
    try:
        return scalar(job.statement.cursor, sql)
    except Exception as error:
        raise translate_error(error, job.statement) from error


def _action(branch: exp.Expression) -> str:
    from sqlglot import exp

    then = branch.args["then"]
    if isinstance(then, exp.Insert):
        return "INSERT"
    return "UPDATE" if isinstance(then, exp.Update) else "DELETE"


def _assigned(job: _Merge, branch: exp.Expression) -> list[tuple[Column, exp.Expression]]:
    from sqlglot import exp

    assignments = branch.args["then"].expressions
    if any(not isinstance(a, exp.EQ) for a in assignments):
        raise errors.unsupported("UPDATE ALL BY NAME", job.statement.sql)
    return [(_column(job, a.this), a.expression) for a in assignments]


def _branch(branches: list[exp.Expression]) -> exp.Expression:
    """The number of the first branch whose condition holds."""
    from sqlglot import exp

    return exp.Case(
        ifs=[
            exp.If(
                this=branch.args["condition"].copy() if branch.args.get("condition") else exp.true(),
                true=exp.Literal.number(i),
            )
            for i, branch in enumerate(branches)
        ]
    )


def _row(job: _Merge) -> exp.Expression:
    """The row number of the target inside DuckDB."""
    from sqlglot import exp

    target = job.tree.this
    alias = target.args.get("alias")
    quoted = bool((alias.this if alias else target.this).args.get("quoted"))
    return exp.Column(this=_own("rowid"), table=exp.to_identifier(target.alias_or_name, quoted=quoted))


def _aliased(expression: exp.Expression, name: str) -> exp.Expression:
    from sqlglot import exp

    return exp.Alias(this=expression, alias=_own(name))


def _own(name: str) -> exp.Identifier:
    """A name of DuckDB's or of this module, which is none of the statement's."""
    from sqlglot import exp

    identifier = exp.to_identifier(name)
    identifier.set("physical", True)
    return identifier


def _column(job: _Merge, node: exp.Expression) -> Column:
    identifier = node.this
    name = str(identifier.this) if identifier.args.get("quoted") else str(identifier.this).upper()
    column = job.table.column(name)
    if column is None:
        raise errors.invalid_identifier(display(name))
    return column
