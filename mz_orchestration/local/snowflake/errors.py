"""Snowflake's errors: code, SQLSTATE and wording, one function for each kind this stand-in raises."""

from __future__ import annotations

import re

from mz_orchestration.local.statement_log import mask


class SnowflakeError(Exception):
    """An error as the server answers it: ``code`` and ``sqlstate`` are what clients switch on."""

    def __init__(self, code: str, sqlstate: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.sqlstate = sqlstate
        self.message = message


def compilation(code: str, sqlstate: str, text: str) -> SnowflakeError:
    """An error found before anything ran."""
    return SnowflakeError(code, sqlstate, f"SQL compilation error:\n{text}")


def does_not_exist(kind: str, name: str) -> SnowflakeError:
    """A missing object, or one the role may not see: Snowflake does not tell them apart."""
    sqlstate = "42S02" if kind in {"Object", "Table"} else "02000"
    return compilation("002003", sqlstate, f"{kind} '{name}' does not exist or not authorized.")


def insufficient(kind: str, name: str) -> SnowflakeError:
    """An object the role sees and may not use in this way."""
    return SnowflakeError(
        "003001",
        "42501",
        f"SQL access control error:\nInsufficient privileges to operate on {kind.lower()} '{name}'.",
    )


def no_warehouse() -> SnowflakeError:
    """A statement that needs compute, without a warehouse the role may use."""
    return SnowflakeError(
        "000606",
        "57P03",
        "No active warehouse selected in the current session.  Select an active warehouse with the 'use warehouse' "
        "command.",
    )


def cannot_use(name: str) -> SnowflakeError:
    """USE of something that is not there."""
    return compilation("002043", "02000", f"Object '{name}' does not exist, or operation cannot be performed.")


def already_exists(name: str) -> SnowflakeError:
    """CREATE or RENAME onto a taken name."""
    return compilation("002002", "42710", f"Object '{name}' already exists.")


def syntax(sql: str, position: int, unexpected: str) -> SnowflakeError:
    """A statement that does not parse; Snowflake counts lines from 1 and positions from 0."""
    before = sql[:position]
    line = before.count("\n") + 1
    column = position - (before.rfind("\n") + 1)
    shown = unexpected or "<EOF>"
    return compilation("001003", "42000", f"syntax error line {line} at position {column} unexpected '{shown}'.")


def unsupported(what: str, sql: str) -> SnowflakeError:
    """A statement the real server may know and this stand-in does not; never HTTP 500, which is retried."""
    return SnowflakeError(
        "000002", "0A000", f"Unsupported feature '{what}' in the local Snowflake stand-in.\nStatement: {mask(sql)}"
    )


def invalid_identifier(name: str) -> SnowflakeError:
    """A column that no table of the query has."""
    return compilation("000904", "42000", f"error line 1 at position 0\ninvalid identifier '{name}'")


def invalid_value(parameter: str, value: object) -> SnowflakeError:
    """An option whose value is not allowed."""
    return compilation("001008", "22023", f"invalid value [{value}] for parameter '{parameter}'")


def no_current(kind: str, action: str) -> SnowflakeError:
    """A bare name in a session without a current database or schema."""
    code = "090105" if kind == "database" else "090106"
    return SnowflakeError(
        code,
        "22000",
        f"Cannot perform {action}. This session does not have a current {kind}. "
        f"Call 'USE {kind.upper()}', or use a qualified name.",
    )


def remote_file_not_found(url: str) -> SnowflakeError:
    """A file named in FILES that the store does not have."""
    return SnowflakeError(
        "091016",
        "22000",
        f"Remote file '{url}' was not found. There are several potential causes. The file might not exist. "
        "The required credentials may be missing or invalid. If you are running a copy command, please make "
        "sure files are not deleted when they are being loaded or files are not being loaded into two "
        "different tables concurrently with auto purge option.",
    )


def cancelled() -> SnowflakeError:
    """The answer to a statement that was aborted."""
    return SnowflakeError("000604", "57014", "SQL execution canceled")


def timed_out(seconds: int) -> SnowflakeError:
    """The answer to a statement that ran longer than STATEMENT_TIMEOUT_IN_SECONDS allows."""
    return SnowflakeError(
        "000630",
        "57014",
        f"Statement reached its statement or warehouse timeout of {seconds} second(s) and was canceled.",
    )


def lock_timeout(table: str, holder: int | None, seconds: object) -> SnowflakeError:
    """The answer to a statement that waited for a lock for LOCK_TIMEOUT seconds."""
    return SnowflakeError(
        "000625",
        "57014",
        f"Statement has waited {seconds} seconds (LOCK_TIMEOUT) for the lock on table '{table}' held by transaction "
        f"{holder} and was aborted.",
    )


def transaction_aborted(transaction_id: int) -> SnowflakeError:
    """The answer to a statement that ran in a transaction when another session aborted it."""
    return SnowflakeError("000615", "57014", f"Transaction '{transaction_id}' was aborted, SQL execution canceled.")


def storage(detail: str) -> SnowflakeError:
    """The store refused: bucket, rights or reachability."""
    return SnowflakeError("091003", "22000", f"Failure using stage area. Cause: [{detail}]")


def sql_raise(code: str, sqlstate: str, prefix: str, value_sql: str, suffix: str = "") -> str:
    """A DuckDB expression that raises this error with a value of the row in its text."""

    def quoted(text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    head = quoted(f"SF|{code}|{sqlstate}|{prefix}")
    return f"/*raise*/error({head} || CAST({value_sql} AS VARCHAR) || {quoted(suffix + '|FS')})/*end*/"


def without_raise(sql: str) -> str:
    """The expression with NULL in the place of every raise: DuckDB's TRY refuses ``error()``."""
    return re.sub(r"/\*raise\*/.*?/\*end\*/", "NULL", sql, flags=re.DOTALL)


_RAISED = re.compile(r"SF\|(\d{6})\|(\w{5})\|(.*?)\|FS", re.DOTALL)
_MARK = re.compile("\u2060[0-9a-f]+")
_STRING_TO = re.compile(r"Could not convert string ['\"](.*)['\"] to ([A-Z]+)", re.DOTALL)
_FIELD = re.compile(r'(?:invalid )?(date|timestamp|time) field[^"]*"(.*?)", expected', re.DOTALL)
_RANGE = re.compile(r'(?:Could not cast value (\S+) to DECIMAL|Casting value "(.+?)" to type DECIMAL)')
_VALUE_KINDS = {
    "BOOL": ("100037", "22018", "Boolean value"),
    "date": ("100040", "22007", "Date"),
    "time": ("100108", "22007", "Time"),
    "timestamp": ("100035", "22007", "Timestamp"),
}
_PATTERNS: list[tuple[re.Pattern[str], str, str, str]] = [
    (re.compile(r"NOT NULL constraint failed: \S+?\.(.+)"), "100072", "22000",
     "NULL result in a non-nullable column"),
    (re.compile(r"Malformed JSON[^:]*:(.*)", re.DOTALL), "100069", "22P02", "Error parsing JSON:{0}"),
    (re.compile(r"Failed to cast value to \w+: (.*)"), "100071", "22000", "Failed to cast variant value {0}"),
    (re.compile(r"Invalid string encoding found.*", re.DOTALL), "100144", "22000",
     "Invalid UTF8 detected in string"),
    (re.compile(r'Referenced column "(.+?)" '), "000904", "42000",
     "SQL compilation error: error line 1 at position 0\ninvalid identifier '{0}'"),
    (re.compile(r'(?:Table|Values list) "(.+?)" does not have a column named "(.+?)"'), "000904", "42000",
     "SQL compilation error: error line 1 at position 0\ninvalid identifier '{0}.{1}'"),
    (re.compile(r"Referenced update column (\S+) not found"), "000904", "42000",
     "SQL compilation error: error line 1 at position 0\ninvalid identifier '{0}'"),
    (re.compile(r'Referenced table "(.+?)" not found'), "000904", "42000",
     "SQL compilation error: error line 1 at position 0\ninvalid identifier '{0}'"),
    (re.compile(r'Ambiguous reference to column name "(.+?)"'), "000904", "42000",
     "SQL compilation error:\nambiguous column name '{0}'"),
    (re.compile(r"Function with name (\S+) does not exist"), "002140", "42601",
     "SQL compilation error:\nUnknown function {0}"),
    (re.compile(r"column (.+?) must appear in the GROUP BY clause"), "000979", "42601",
     "SQL compilation error:\n{0} is not a valid group by expression"),
]  # fmt: skip


def from_duckdb(error: Exception, sql: str) -> SnowflakeError:
    """Translate what DuckDB said into what Snowflake says; the unknown rest keeps DuckDB's first line."""
    text = _MARK.sub("", str(error))
    if raised := _RAISED.findall(text):
        # A failed CHECK repeats its own expression before the error that the expression raised.
        return SnowflakeError(*raised[-1])
    if "INTERRUPT" in text.upper() and type(error).__name__ == "InterruptException":
        return cancelled()
    if string := _STRING_TO.search(text):
        code, state, kind = _VALUE_KINDS.get(string[2], ("100038", "22018", "Numeric value"))
        return SnowflakeError(code, state, f"{kind} '{string[1]}' is not recognized")
    if field := _FIELD.search(text):
        code, state, kind = _VALUE_KINDS[field[1]]
        return SnowflakeError(code, state, f"{kind} '{field[2]}' is not recognized")
    if out_of_range := _RANGE.search(text):
        value = out_of_range[1] or out_of_range[2]
        return SnowflakeError("100039", "22003", f"Numeric value '{value}' is out of range")
    for pattern, code, state, message in _PATTERNS:
        if found := pattern.search(text):
            # Function names come back as DuckDB folds them.
            groups = [g.upper() if code == "002140" else g for g in found.groups()]
            return SnowflakeError(code, state, message.format(*groups))
    first_line = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return SnowflakeError("000002", "0A000", f"{first_line}\nStatement: {mask(sql)}")
