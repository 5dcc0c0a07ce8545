"""BEGIN, COMMIT, ROLLBACK, SHOW TRANSACTIONS and SHOW LOCKS."""

from __future__ import annotations

from typing import Any

from mz_orchestration.local.snowflake import errors, grants
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.results import TRANSACTION, Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.transactions import Transaction
from mz_orchestration.local.snowflake.types import NUMBER, TEXT, TIMESTAMP_LTZ, SfType

_DONE = "Statement executed successfully."
_TRANSACTIONS: list[tuple[str, SfType]] = [
    ("id", NUMBER), ("user", TEXT), ("session", NUMBER), ("name", TEXT), ("started_on", TIMESTAMP_LTZ),
    ("state", TEXT), ("scope", NUMBER),
]  # fmt: skip
_LOCKS: list[tuple[str, SfType]] = [
    ("resource", TEXT), ("type", TEXT), ("transaction", NUMBER), ("transaction_started_on", TIMESTAMP_LTZ),
    ("status", TEXT), ("acquired_on", TIMESTAMP_LTZ), ("query_id", TEXT), ("session", NUMBER),
]  # fmt: skip


def begin(statement: Statement, parser: Parser) -> Result:
    """BEGIN [WORK | TRANSACTION] [NAME n]."""
    parser.accept_any("WORK", "TRANSACTION")
    name = parser.identifier() if parser.accept("NAME") else None
    if not parser.at_end:
        raise errors.unsupported("BEGIN … END blocks", statement.sql)
    statement.session.begin(name)
    return Result.status(_DONE, TRANSACTION)


def commit(statement: Statement, parser: Parser) -> Result:
    """COMMIT [WORK]."""
    parser.accept("WORK")
    parser.end()
    statement.session.commit()
    return Result.status(_DONE, TRANSACTION)


def rollback(statement: Statement, parser: Parser) -> Result:
    """ROLLBACK [WORK]."""
    parser.accept("WORK")
    parser.end()
    statement.session.rollback()
    return Result.status(_DONE, TRANSACTION)


def show_transactions(statement: Statement, parser: Parser) -> Result:
    """SHOW TRANSACTIONS [IN ACCOUNT]: those opened by BEGIN that have not ended."""
    visible = _visible(statement, parser)
    return Result.of(
        _TRANSACTIONS,
        [[t.id, t.session.user, t.session.id, t.name, t.started, "running", 0] for t in visible if t.explicit],
    )


def show_locks(statement: Statement, parser: Parser) -> Result:
    """SHOW LOCKS [IN ACCOUNT]: who holds a table and who waits for one."""
    visible = _visible(statement, parser)
    with statement.catalog.lock:
        rows: list[list[Any]] = [
            [str(lock.name), "PARTITIONS", t.id, t.started, "HOLDING", lock.acquired, lock.query_id, t.session.id]
            for t in visible
            for lock in t.locks.values()
        ]
    for wait in statement.account.transactions.waits():
        t = wait.transaction
        if t in visible:
            rows.append([str(wait.name), "PARTITIONS", t.id, t.started, "WAITING", None, wait.query_id, t.session.id])
    # The session is for account administrators only.
    shown = len(_LOCKS) if grants.is_admin(statement) else len(_LOCKS) - 1
    return Result.of(_LOCKS[:shown], [row[:shown] for row in rows])


def _visible(statement: Statement, parser: Parser) -> list[Transaction]:
    whole_account = parser.accept("IN", "ACCOUNT")
    parser.end()
    if whole_account and not grants.is_admin(statement):
        raise errors.insufficient("ACCOUNT", "LOCAL")
    found = statement.account.transactions.all()
    return [t for t in found if whole_account or t.session.user == statement.session.user]
