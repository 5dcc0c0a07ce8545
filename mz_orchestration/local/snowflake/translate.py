"""Snowflake's SQL into DuckDB's: names resolved, types and functions replaced, result columns named."""

from __future__ import annotations

import contextlib
import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mz_orchestration.local.snowflake import errors, functions, grants, metadata, table_functions
from mz_orchestration.local.snowflake.catalog import Name, Table
from mz_orchestration.local.snowflake.names import decode, display, encode
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.types import SfType

if TYPE_CHECKING:
    from sqlglot import exp

# sqlglot logs what it cannot translate; here that is either answered as an error or harmless.
logging.getLogger("sqlglot").setLevel(logging.CRITICAL)


def parse(sql: str) -> exp.Expression:
    """The syntax tree of one statement."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import ParseError, TokenError

    try:
        tree = sqlglot.parse_one(sql, read="snowflake")
    except ParseError as error:
        detail = error.errors[0] if error.errors else {}
        found = str(detail.get("highlight") or "")
        position = max(sql.find(found), 0) if found else len(sql)
        raise errors.syntax(sql, position, found) from error
    except TokenError as error:
        raise errors.syntax(sql, 0, sql.split()[0]) from error
    if isinstance(tree, exp.Command):
        raise errors.unsupported(str(tree.this).upper(), sql)
    assert isinstance(tree, exp.Expression)
    return tree


@dataclass
class Translation:
    """A query in DuckDB's SQL, with the types of the columns that DuckDB cannot tell apart."""

    sql: str
    hints: dict[str, SfType] = field(default_factory=dict)


class Translator:
    """Translates the trees of one statement; the tables it meets are those its session sees.

    The ``target`` of a DML statement is the one table it need not have the right to read.
    """

    def __init__(self, statement: Statement, target: Name | None = None) -> None:
        self._statement = statement
        self._target = target
        self.sources: list[Table] = []
        self._answered: dict[str, SfType] = {}

    def query(self, tree: exp.Expression) -> Translation:
        """A SELECT (or UNION, VALUES, WITH …) as DuckDB's SQL."""
        from sqlglot import exp

        hints = self._hints(tree)
        select = tree
        while isinstance(select, exp.SetOperation):
            select = select.this
        if isinstance(select, exp.Select):
            _name_projections(select)
        sql = self.generate(tree)
        return Translation(sql, {**self._answered, **hints})

    def generate(self, tree: exp.Expression) -> str:
        """Any tree as DuckDB's SQL."""
        functions.flatten(tree)
        functions.name_values(tree)
        self.resolve(tree)
        tree = functions.replace(tree, self._statement)
        encode_names(tree)
        return tree.sql(dialect="duckdb")

    def resolve(self, tree: exp.Expression) -> None:
        """Put physical names in the place of table names, keeping the old name as alias."""
        from sqlglot import exp

        self._call_table_functions(tree)
        local = {_upper(cte.args["alias"].this) for cte in tree.find_all(exp.CTE)}
        for table in list(tree.find_all(exp.Table)):
            if table.args.get("physical"):
                continue
            if not isinstance(table.this, exp.Identifier):
                raise errors.unsupported("table function", self._statement.sql)
            parts = [_upper(p) for p in (table.args.get("catalog"), table.args.get("db"), table.this) if p]
            if len(parts) == 1 and parts[0] in local:
                continue
            self._rename(table, self.physical(parts), parts[-1])
        for column in tree.find_all(exp.Column):
            for part in ("db", "catalog"):
                column.set(part, None)

    def _call_table_functions(self, tree: exp.Expression) -> None:
        """Put the answer of each registered table function in its place, as a table of this statement."""
        from sqlglot import exp

        for source in list(tree.find_all(exp.TableFromRows)):
            call = table_functions.called(source.this)
            if call is None:
                continue
            answer = table_functions.answer(self._statement, *call, self._value)
            self._answered |= dict(answer.columns)
            table = exp.Table(this=exp.to_identifier("t"), alias=source.args.get("alias"))
            for part in ("joins", "laterals", "pivots"):
                table.set(part, source.args.get(part))
            self._rename(table, metadata.register(self._statement, answer), call[1].name.upper())
            table.set("physical", True)
            source.replace(table)

    def _value(self, expression: exp.Expression) -> Any:
        """The value of an argument of a table function."""
        from sqlglot import exp

        if isinstance(expression, exp.Literal):
            text = str(expression.this)
            return text if expression.is_string or not text.isdigit() else int(text)
        # Fetched to the end: a connection with an unfinished result takes no other work.
        rows = self._statement.cursor.execute(self.query(exp.select(expression.copy())).sql).fetchall()
        return rows[0][0] if rows else None

    def physical(self, parts: list[str]) -> str:
        """What to read for a table name: a physical table or a view of metadata."""
        statement = self._statement
        if len(parts) > 1 and parts[-2] == "INFORMATION_SCHEMA":
            name = statement.name(parts)
            return metadata.register(statement, metadata.information_schema(statement, name))
        name = statement.name(parts)
        table = statement.session.find(name, display(*parts), "Object")
        if name != self._target:
            grants.on_table(statement, name, "SELECT", missing="Object")
            grants.warehouse(statement)
        self.sources.append(table)
        if table.query is not None:
            # Views are made of queries, which are translated here.
            from mz_orchestration.local.snowflake.views import materialise

            return materialise(statement, table)
        return statement.session.version(table).physical

    def _rename(self, table: exp.Table, physical: str, shown: str) -> None:
        from sqlglot import exp

        table.set("this", exp.to_identifier(physical, quoted=False))
        table.this.set("physical", True)
        table.set("db", None)
        table.set("catalog", None)
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(shown, quoted=True)))

    def _hints(self, tree: exp.Expression) -> dict[str, SfType]:
        """Types by output name, for plain columns and casts: JSON and instants look alike in DuckDB."""
        from sqlglot import exp

        found: dict[str, SfType] = {}
        for table in tree.find_all(exp.Table):
            if isinstance(table.this, exp.Identifier):
                parts = [_upper(p) for p in (table.args.get("catalog"), table.args.get("db"), table.this) if p]
                with contextlib.suppress(errors.SnowflakeError):
                    for column in self._statement.session.find(self._statement.name(parts)).columns:
                        found.setdefault(column.name, column.type)
        for select in tree.find_all(exp.Select):
            for projection in select.expressions:
                if not isinstance(projection, exp.Alias):
                    continue
                name = _upper(projection.args["alias"])
                if isinstance(projection.this, exp.Column) and projection.this.name:
                    source = found.get(_upper(projection.this.this))
                    if source is not None:
                        found[name] = source
                else:
                    known = functions.result_type(projection.this)
                    if known is not None:
                        found[name] = known
                    else:
                        found.pop(name, None)
        return found


def _upper(identifier: Any) -> str:
    """The name an identifier stands for."""
    return str(identifier.this) if identifier.args.get("quoted") else str(identifier.this).upper()


def _name_projections(select: exp.Select) -> None:
    """Give unnamed expressions the names Snowflake gives them: their own text in capitals."""
    from sqlglot import exp

    for i, projection in enumerate(list(select.expressions)):
        if isinstance(projection, exp.Alias | exp.Column | exp.Star | exp.Aliases):
            continue
        text = projection.sql(dialect="snowflake")
        shown = re.sub(r"'(?:[^']|'')*'|[^']+", lambda m: m[0] if m[0].startswith("'") else m[0].upper(), text)
        alias = exp.Alias(this=projection.copy(), alias=exp.to_identifier(shown, quoted=True))
        select.expressions[i].replace(alias)


def encode_names(tree: exp.Expression) -> None:
    """Make every name exact: case decides in Snowflake and does not in DuckDB."""
    from sqlglot import exp

    for identifier in tree.find_all(exp.Identifier):
        if identifier.args.get("physical"):
            continue
        identifier.set("this", encode(_upper(identifier)))
        identifier.set("quoted", True)


def output_name(duck_name: str) -> str:
    """A result column's name as Snowflake shows it."""
    return decode(duck_name)
