# ruff: noqa: S608 (the SQL is put together from names and types made here)
"""Views: a stored query, run anew by every statement that reads it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake import errors, grants
from mz_orchestration.local.snowflake.catalog import Table, Version
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.names import display, duck
from mz_orchestration.local.snowflake.queries import source_columns, translate_error
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.tables import bind
from mz_orchestration.local.snowflake.translate import parse

if TYPE_CHECKING:
    from sqlglot import exp

_names = itertools.count(1)


def create_view(statement: Statement, parser: Parser, or_replace: bool) -> Result:
    """CREATE VIEW name [(columns)] [COPY GRANTS] [COMMENT = '…'] AS query."""
    if_not_exists = parser.accept("IF", "NOT", "EXISTS")
    name = statement.name(parser.name(), "CREATE VIEW")
    listed: list[str] = []
    if parser.accept("("):
        listed.append(parser.identifier())
        while parser.accept(","):
            listed.append(parser.identifier())
        parser.expect(")")
    copy_grants = parser.accept("COPY", "GRANTS")
    comment = parser.options().get("COMMENT")
    copy_grants = parser.accept("COPY", "GRANTS") or copy_grants
    parser.expect("AS")
    grants.enter(statement, name, "CREATE VIEW")
    if statement.session.exists(name):
        if if_not_exists:
            return Result.status(f"{display(name.object)} already exists, statement succeeded.")
        if not or_replace:
            raise errors.already_exists(str(name))
        replaced = grants.on_table(statement, name, "OWNERSHIP", missing="View")
    else:
        replaced = None
    tree = parse(parser.rest())
    _qualify(statement, tree)
    query = tree.sql(dialect="snowflake")
    _, columns = source_columns(statement, tree)
    if listed and len(listed) != len(columns):
        raise errors.compilation(
            "002026", "42601", f"Invalid column definition list: {len(listed)} and {len(columns)} columns"
        )
    columns = [replace(c, name=n) for c, n in zip(columns, listed, strict=True)] if listed else columns
    view = Table(columns, Version(""), "VIEW", str(comment) if comment else None, query=query)
    copied = copy_grants and replaced is not None
    view.access = replaced.access.copied(statement.role) if copied and replaced else grants.created(
        statement, "VIEW", name
    )  # fmt: skip
    bind(statement, name, view)
    return Result.status(f"View {display(name.object)} successfully created.")


def _qualify(statement: Statement, tree: exp.Expression) -> None:
    """Put names in full: a view keeps meaning what it meant where it was made."""
    from sqlglot import exp

    local = {cte.alias for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier) or (not table.db and table.name in local):
            continue
        identifiers = [i for i in (table.args.get("catalog"), table.args.get("db"), table.this) if i]
        parts = [str(i.this) if i.args.get("quoted") else str(i.this).upper() for i in identifiers]
        name = statement.name(parts)
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(parts[-1], quoted=True)))
        for part, value in (("catalog", name.database), ("db", name.schema), ("this", name.object)):
            table.set(part, exp.to_identifier(value, quoted=True))


def materialise(statement: Statement, view: Table) -> str:
    """Run a view for one statement and return the name to read its rows by.

    The owner's rights, not the reader's, decide what the query may read.
    """
    assert view.query is not None
    reader, statement.acting_role = statement.acting_role, view.access.owner
    try:
        sql, _ = source_columns(statement, parse(view.query))
    finally:
        statement.acting_role = reader
    name = f"view_{next(_names)}"
    names = ", ".join(duck(c.name) for c in view.columns)
    try:
        statement.cursor.execute(f"CREATE TEMP TABLE {name} AS SELECT * FROM ({sql}) AS q({names})")
    except Exception as error:
        raise translate_error(error, statement) from error
    return name
