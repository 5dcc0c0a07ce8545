"""The parenthesised part of CREATE TABLE and the columns of ALTER TABLE … ADD: columns and constraints."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mz_orchestration.local.snowflake import errors, policies
from mz_orchestration.local.snowflake.catalog import Column, Constraint, Governance
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.names import display
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.translate import Translator, parse
from mz_orchestration.local.snowflake.types import parse_type

# Written behind a constraint and without effect, as constraints of standard tables are not enforced.
_CONSTRAINT_WORDS = {
    "NOT", "ENFORCED", "DEFERRABLE", "INITIALLY", "DEFERRED", "IMMEDIATE", "ENABLE", "DISABLE", "VALIDATE",
    "NOVALIDATE", "RELY", "NORELY",
}  # fmt: skip


@dataclass
class Definitions:
    """Columns with what was said about them."""

    columns: list[Column] = field(default_factory=list)
    constraints: list[Constraint] = field(default_factory=list)
    governance: Governance = field(default_factory=Governance)


def definitions(statement: Statement, parser: Parser) -> Definitions:
    """Everything up to the closing bracket."""
    found = Definitions()
    while True:
        if at_constraint(parser):
            found.constraints.append(constraint(parser))
        else:
            column(statement, parser, found)
        if parser.accept(")"):
            break
        parser.expect(",")
    seen: set[str] = set()
    for one in found.columns:
        if one.name in seen:
            raise errors.compilation("002025", "42S21", f"duplicate column name '{one.name}'")
        seen.add(one.name)
    for key in found.constraints:
        missing = [name for name in key.columns if name not in seen]
        if missing:
            raise errors.invalid_identifier(display(missing[0]))
    keyed = {name for c in found.constraints if c.kind == "PRIMARY KEY" for name in c.columns}
    found.columns = [replace(c, nullable=False) if c.name in keyed else c for c in found.columns]
    return found


def at_constraint(parser: Parser) -> bool:
    """Whether a constraint of the table comes next, not a column."""
    return parser.looking_at("PRIMARY", "KEY") or parser.token.upper in {"CONSTRAINT", "UNIQUE", "FOREIGN"}


def constraint(parser: Parser) -> Constraint:
    """A constraint of the table."""
    name = parser.identifier() if parser.accept("CONSTRAINT") else ""
    kind = parser.accept_any("PRIMARY", "UNIQUE", "FOREIGN")
    if kind is None:
        raise parser.unexpected()
    if kind != "UNIQUE":
        parser.expect("KEY")
        kind += " KEY"
    columns = identifiers(parser)
    if kind == "FOREIGN KEY":
        _references(parser)
    _constraint_words(parser)
    return Constraint(kind, tuple(columns), name)


def identifiers(parser: Parser) -> list[str]:
    """``(a, b)``."""
    parser.expect("(")
    found = [parser.identifier()]
    while parser.accept(","):
        found.append(parser.identifier())
    parser.expect(")")
    return found


def _references(parser: Parser) -> None:
    parser.expect("REFERENCES")
    parser.name()
    if parser.looking_at("("):
        identifiers(parser)
    while parser.accept("ON"):
        if parser.accept_any("DELETE", "UPDATE") is None:
            raise parser.unexpected()
        if not parser.accept("SET", "NULL") and not parser.accept("NO", "ACTION"):
            parser.take()


def _constraint_words(parser: Parser) -> None:
    while parser.token.upper in _CONSTRAINT_WORDS and not parser.looking_at("NOT", "NULL"):
        parser.take()


def column(statement: Statement, parser: Parser, into: Definitions) -> Column:
    """One column with its type and options."""
    found = Column(parser.identifier(), parse_type(parser))
    while not (parser.at_end or parser.looking_at(",") or parser.looking_at(")")):
        if parser.accept("NOT", "NULL"):
            found = replace(found, nullable=False)
        elif parser.accept("COMMENT"):
            found = replace(found, comment=parser.string())
        elif parser.accept("DEFAULT"):
            default, shown = _default(statement, parser)
            found = replace(found, default=default, default_shown=shown)
        elif parser.token.upper in {"CONSTRAINT", "PRIMARY", "UNIQUE", "REFERENCES", "FOREIGN"}:
            key = _inline_constraint(parser, found.name)
            into.constraints.append(key)
            found = replace(found, nullable=found.nullable and key.kind != "PRIMARY KEY")
        elif parser.accept("WITH", "MASKING", "POLICY") or parser.accept("MASKING", "POLICY"):
            into.governance.masking[found.name] = policies.masking_policy(statement, parser)
        elif parser.accept("WITH", "TAG") or parser.accept("TAG"):
            parser.expect("(")
            into.governance.column_tags[found.name] = policies.tag_values(statement, parser)
            parser.expect(")")
        elif not parser.accept("NULL"):
            raise errors.unsupported(f"column option {parser.token.text}", statement.sql)
    into.columns.append(found)
    return found


def _inline_constraint(parser: Parser, column_name: str) -> Constraint:
    name = parser.identifier() if parser.accept("CONSTRAINT") else ""
    if parser.accept("PRIMARY", "KEY"):
        kind = "PRIMARY KEY"
    elif parser.accept("UNIQUE"):
        kind = "UNIQUE"
    else:
        parser.accept("FOREIGN", "KEY")
        _references(parser)
        kind = "FOREIGN KEY"
    _constraint_words(parser)
    return Constraint(kind, (column_name,), name)


def _default(statement: Statement, parser: Parser) -> tuple[str, str]:
    """A default in DuckDB's SQL and as the statement wrote it."""
    start, depth = parser.token.start, 0
    end = start
    words = {",", ")", "NOT", "NULL", "COMMENT", "PRIMARY", "UNIQUE", "CONSTRAINT", "WITH", "MASKING", "TAG"}
    while not parser.at_end:
        if depth == 0 and end != start and parser.token.upper in words:
            break
        token = parser.take()
        depth += {"(": 1, ")": -1}.get(token.upper, 0)
        end = token.end
    shown = parser.sql[start:end]
    tree = parse(f"SELECT {shown}").expressions[0]
    return Translator(statement).generate(tree), shown
