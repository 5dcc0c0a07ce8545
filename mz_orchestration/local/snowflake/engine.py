"""One statement in, one result out: which part of the stand-in answers what."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from mz_orchestration.local.snowflake import (
    ddl,
    describing,
    dml,
    errors,
    file_formats,
    grant_statements,
    integrations,
    policies,
    policy_references,
    queries,
    query_history,
    settings,
    show,
    stages,
    tables,
    transaction_statements,
    user_statements,
    views,
)
from mz_orchestration.local.snowflake.alter_table import alter_table
from mz_orchestration.local.snowflake.copy_into import copy_into
from mz_orchestration.local.snowflake.lexer import Parser, split
from mz_orchestration.local.snowflake.results import DELETE, INSERT, UPDATE, Result
from mz_orchestration.local.snowflake.statement import Statement

_Handler: TypeAlias = Callable[[Statement, Parser], Result]

# Modules that are here for the functions they register.
_REGISTERED = (policy_references, query_history)

# What Snowflake knows and this stand-in does not: an honest "unsupported" instead of a syntax error.
_KNOWN_VERBS = {
    "ALTER", "CALL", "COMMENT", "COPY", "CREATE", "DECLARE", "DROP", "EXECUTE", "EXPLAIN", "GET", "PUT", "REMOVE",
    "RM", "SET", "UNDROP", "UNSET", "SHOW", "DESC", "DESCRIBE", "USE", "GRANT", "REVOKE", "TRUNCATE", "BEGIN",
    "START", "COMMIT", "ROLLBACK", "LIST", "LS", "FOR", "IF",
}  # fmt: skip
_HANDLERS: list[tuple[tuple[str, ...], _Handler]] = [
    (("COPY", "INTO"), copy_into),
    (("LIST",), stages.list_files),
    (("LS",), stages.list_files),
    (("SHOW", "FILE", "FORMATS"), file_formats.show),
    (("DESC", "FILE", "FORMAT"), file_formats.describe),
    (("DESCRIBE", "FILE", "FORMAT"), file_formats.describe),
    (("SHOW", "TRANSACTIONS"), transaction_statements.show_transactions),
    (("SHOW", "LOCKS"), transaction_statements.show_locks),
    (("SHOW", "USER", "PROGRAMMATIC", "ACCESS", "TOKENS"), user_statements.show_tokens),
    (("SHOW",), show.show),
    (("DESC", "USER"), user_statements.describe_user),
    (("DESCRIBE", "USER"), user_statements.describe_user),
    (("DESC",), describing.describe),
    (("DESCRIBE",), describing.describe),
    (("USE",), settings.use),
    (("ALTER", "SESSION"), settings.alter_session),
    (("BEGIN",), transaction_statements.begin),
    (("START", "TRANSACTION"), transaction_statements.begin),
    (("COMMIT",), transaction_statements.commit),
    (("ROLLBACK",), transaction_statements.rollback),
    (("TRUNCATE",), dml.truncate),
    (("CALL", "SYSTEM$WAIT"), settings.wait),
    (("SELECT", "SYSTEM$WAIT"), settings.wait),
    (("CALL",), lambda statement, parser: _call(statement, parser)),
]
_DDL_HANDLERS: list[tuple[tuple[str, ...], _Handler]] = [
    (("ALTER", "TABLE"), alter_table),
    (("ALTER", "STAGE"), stages.alter_stage),
    (("ALTER", "STORAGE", "INTEGRATION"), integrations.alter_integration),
    (("ALTER", "INTEGRATION"), integrations.alter_integration),
    (("ALTER", "WAREHOUSE"), settings.alter_warehouse),
    (("ALTER", "USER"), user_statements.alter_user),
    (("DROP", "USER"), user_statements.drop_user),
    (("COMMENT",), ddl.comment),
    (("GRANT",), grant_statements.grant),
    (("REVOKE",), grant_statements.revoke),
    (("CREATE",), lambda statement, parser: _create(statement, parser)),
    (("DROP",), lambda statement, parser: _drop(statement, parser)),
]


def execute(statement: Statement) -> Result:
    """Run one statement in its session."""
    parts = split(statement.sql)
    if not parts:
        raise errors.compilation("000900", "42601", "Empty SQL statement.")
    if len(parts) > 1:
        raise errors.SnowflakeError(
            "000008",
            "0A000",
            f"Actual statement count {len(parts)} did not match the desired statement count 1.",
        )
    statement.sql = parts[0]
    parser = Parser(statement.sql)
    with statement.connected():
        statement.check()
        return _dispatch(statement, parser)


def describe(statement: Statement) -> Result:
    """The columns a statement would answer with; nothing is run."""
    first = Parser(statement.sql).token.upper
    with statement.connected():
        if first in {"SELECT", "WITH", "VALUES"}:
            return queries.describe_query(statement)
    kinds = {"INSERT": (INSERT, "inserted"), "UPDATE": (UPDATE, "updated"), "DELETE": (DELETE, "deleted")}
    if first in kinds:
        kind, done = kinds[first]
        return Result.counts(kind, {f"rows {done}": 0}).without_rows()
    return Result.status("").without_rows()


def _dispatch(statement: Statement, parser: Parser) -> Result:
    first = parser.token.upper
    if first in {"INSERT", "UPDATE", "DELETE", "MERGE"}:
        return dml.dml(statement)
    for words, handler in _HANDLERS:
        if parser.accept(*words):
            return handler(statement, parser)
    if first in {"SELECT", "WITH", "VALUES"} or parser.looking_at("("):
        return queries.select(statement)
    for words, handler in _DDL_HANDLERS:
        if parser.accept(*words):
            # DDL ends the open transaction, and is none itself.
            statement.session.commit()
            return handler(statement, parser)
    if first in _KNOWN_VERBS:
        words_shown = " ".join(t.text.upper() for t in parser.tokens[:2])
        raise errors.unsupported(words_shown, statement.sql)
    raise parser.unexpected()


def _call(statement: Statement, parser: Parser) -> Result:
    """CALL of a system function, which is a query of it."""
    if not parser.token.upper.startswith("SYSTEM$"):
        raise errors.unsupported("CALL of a procedure", statement.sql)
    statement.sql = f"SELECT {parser.rest()}"
    return queries.select(statement)


def _create(statement: Statement, parser: Parser) -> Result:
    or_replace = parser.accept("OR", "REPLACE")
    kind = "TABLE"
    modifier = parser.accept_any("TRANSIENT", "TEMPORARY", "TEMP", "LOCAL", "GLOBAL", "VOLATILE")
    if modifier in {"LOCAL", "GLOBAL"}:
        modifier = parser.accept_any("TEMPORARY", "TEMP")
    if modifier is not None:
        kind = "TRANSIENT" if modifier == "TRANSIENT" else "TEMPORARY"
    special = parser.accept_any("ICEBERG", "HYBRID") if modifier is None else None
    if parser.accept("TABLE"):
        return tables.create_table(statement, parser, kind, or_replace, special)
    if kind != "TEMPORARY" and (container := parser.accept_any("DATABASE", "SCHEMA")):
        return ddl.create_container(statement, parser, container, or_replace)
    if modifier is None:
        if parser.accept("VIEW"):
            return views.create_view(statement, parser, or_replace)
        if parser.accept("TAG"):
            return policies.create_tag(statement, parser, or_replace)
        if policy := policies.accept_kind(parser):
            return policies.create_policy(statement, parser, policy, or_replace)
        if parser.accept("STAGE"):
            return stages.create_stage(statement, parser, or_replace)
        if parser.accept("STORAGE", "INTEGRATION"):
            return integrations.create_integration(statement, parser, or_replace)
        if parser.accept("FILE", "FORMAT"):
            return file_formats.create(statement, parser, or_replace)
        if parser.accept("WAREHOUSE"):
            return settings.create_warehouse(statement, parser)
        if parser.accept("ROLE"):
            return settings.create_role(statement, parser)
        if parser.accept("USER"):
            return user_statements.create_user(statement, parser, or_replace)
    raise errors.unsupported(f"CREATE {parser.token.text.upper()}", statement.sql)


def _drop(statement: Statement, parser: Parser) -> Result:
    if parser.accept("FILE", "FORMAT"):
        return file_formats.drop(statement, parser)
    parser.accept("STORAGE")
    kind = policies.accept_kind(parser) or parser.accept_any(
        "TABLE", "VIEW", "STAGE", "INTEGRATION", "SCHEMA", "DATABASE", "WAREHOUSE", "TAG", "ROLE"
    )
    if kind is None:
        raise errors.unsupported(f"DROP {parser.token.text.upper()}", statement.sql)
    return ddl.drop(statement, parser, kind)
