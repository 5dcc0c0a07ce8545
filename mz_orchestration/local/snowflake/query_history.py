"""Queries seen from SQL: RESULT_SCAN, QUERY_HISTORY and its relatives, and cancelling by query id."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mz_orchestration.local.snowflake import errors, grants
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.system_functions import system_function
from mz_orchestration.local.snowflake.table_functions import table_function
from mz_orchestration.local.snowflake.types import NUMBER, TEXT, TIMESTAMP_LTZ, SfType
from mz_orchestration.local.statement_log import mask

if TYPE_CHECKING:
    from mz_orchestration.local.snowflake.running import Query

_COLUMNS: list[tuple[str, SfType]] = [
    ("QUERY_ID", TEXT), ("QUERY_TEXT", TEXT), ("DATABASE_NAME", TEXT), ("SCHEMA_NAME", TEXT), ("QUERY_TYPE", TEXT),
    ("SESSION_ID", NUMBER), ("USER_NAME", TEXT), ("ROLE_NAME", TEXT), ("WAREHOUSE_NAME", TEXT), ("QUERY_TAG", TEXT),
    ("EXECUTION_STATUS", TEXT), ("ERROR_CODE", TEXT), ("ERROR_MESSAGE", TEXT), ("START_TIME", TIMESTAMP_LTZ),
    ("END_TIME", TIMESTAMP_LTZ), ("TOTAL_ELAPSED_TIME", NUMBER), ("ROWS_PRODUCED", NUMBER),
]  # fmt: skip
_RANGE = ("END_TIME_RANGE_START", "END_TIME_RANGE_END", "RESULT_LIMIT", "INCLUDE_CLIENT_GENERATED_STATEMENT")
_DEFAULT_LIMIT = 100
_LONGEST_LIMIT = 10_000
_TYPES = {
    "WITH": "SELECT", "BEGIN": "BEGIN_TRANSACTION", "START": "BEGIN_TRANSACTION", "DESC": "DESCRIBE",
    "TRUNCATE": "TRUNCATE_TABLE", "LS": "LIST_FILES", "LIST": "LIST_FILES",
}  # fmt: skip
_TWO_WORDS = {"CREATE", "ALTER", "DROP"}


@table_function("RESULT_SCAN", "QUERY_ID")
def result_scan(statement: Statement, database: str | None, arguments: dict[str, Any]) -> Result:
    """RESULT_SCAN('id'): the answer of an earlier query of the same user, from whichever session."""
    return statement.account.result(str(arguments.get("QUERY_ID")), statement.session.user)


@table_function("QUERY_HISTORY", *_RANGE)
def query_history(statement: Statement, database: str | None, arguments: dict[str, Any]) -> Result:
    """QUERY_HISTORY(): the newest queries that the role may see."""
    return _history(statement, arguments, lambda query: True)


@table_function("QUERY_HISTORY_BY_SESSION", "SESSION_ID", *_RANGE)
def by_session(statement: Statement, database: str | None, arguments: dict[str, Any]) -> Result:
    """QUERY_HISTORY_BY_SESSION(SESSION_ID => n): of one session, by default this one."""
    session_id = int(arguments.get("SESSION_ID") or statement.session.id)
    return _history(statement, arguments, lambda query: query.statement.session.id == session_id)


@table_function("QUERY_HISTORY_BY_USER", "USER_NAME", *_RANGE)
def by_user(statement: Statement, database: str | None, arguments: dict[str, Any]) -> Result:
    """QUERY_HISTORY_BY_USER(USER_NAME => 'U'): of one user, by default this one."""
    user = str(arguments.get("USER_NAME") or statement.session.user)
    return _history(statement, arguments, lambda query: query.user == user)


def _history(statement: Statement, arguments: dict[str, Any], wanted: Callable[[Query], bool]) -> Result:
    admin = grants.is_admin(statement)
    limit = int(arguments.get("RESULT_LIMIT") or _DEFAULT_LIMIT)
    if not 1 <= limit <= _LONGEST_LIMIT:
        raise errors.invalid_value("RESULT_LIMIT", limit)
    since, until = _moment(arguments.get("END_TIME_RANGE_START")), _moment(arguments.get("END_TIME_RANGE_END"))
    rows: list[list[Any]] = []
    for query in reversed(statement.account.queries.all()):
        if not (admin or query.user == statement.session.user) or not wanted(query):
            continue
        ended = query.ended if query.done.is_set() else None
        if (since is not None and ended is not None and ended < since) or (until is not None and (ended or 0) > until):
            continue
        rows.append(_row(query))
        if len(rows) == limit:
            break
    return Result.of(_COLUMNS, rows)


def _row(query: Query) -> list[Any]:
    text = mask(query.statement.sent)
    error = query.error if query.done.is_set() else None
    ended = query.ended if query.done.is_set() else None
    # The message of an error may repeat what was masked in the text.
    message = error.message if error is not None and text == query.statement.sent else None
    return [
        query.id, text, query.database, query.schema, _type(text), query.statement.session.id, query.user, query.role,
        query.warehouse, query.tag, query.status, error.code if error is not None else None, message,
        datetime.fromtimestamp(query.started, UTC), None if ended is None else datetime.fromtimestamp(ended, UTC),
        None if ended is None else int((ended - query.started) * 1000), query.rows_produced,
    ]  # fmt: skip


def _type(text: str) -> str:
    words = text.upper().split(None, 2)
    if not words:
        return "UNKNOWN"
    if words[0] in _TWO_WORDS and len(words) > 1:
        return f"{words[0]}_{words[1]}"
    return _TYPES.get(words[0], words[0])


def _moment(value: Any) -> float | None:
    if value is None:
        return None
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment.timestamp()


@system_function("SYSTEM$CANCEL_QUERY")
def cancel_query(statement: Statement, arguments: list[str]) -> str:
    """SYSTEM$CANCEL_QUERY('id'): the user's own queries, or anybody's for ACCOUNTADMIN."""
    found = {query.id: query for query in statement.account.queries.all()}.get(arguments[0] if arguments else "")
    allowed = found is not None and (found.user == statement.session.user or grants.is_admin(statement))
    if found is None or not allowed or found.done.is_set():
        return "Identified SQL statement is not currently executing."
    found.statement.abort()
    return f"query [{found.id}] terminated."


@system_function("SYSTEM$CANCEL_ALL_QUERIES")
def cancel_all_queries(statement: Statement, arguments: list[str]) -> str:
    """SYSTEM$CANCEL_ALL_QUERIES(session id)."""
    found = statement.account.session_by_id(int(arguments[0])) if arguments and arguments[0].isdecimal() else None
    if found is None or not (found.user == statement.session.user or grants.is_admin(statement)):
        raise errors.invalid_value("SESSION_ID", ", ".join(arguments))
    return f"{found.abort_statements()} cancelled."
