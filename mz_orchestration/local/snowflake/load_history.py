"""Load history: which files a table has taken, and the log of loads that COPY_HISTORY and LOAD_HISTORY show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.catalog import LoadedFile, Name, Table, Version
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.store import StoredFile
from mz_orchestration.local.snowflake.table_functions import table_function
from mz_orchestration.local.snowflake.types import NUMBER, TEXT, TIMESTAMP_LTZ, SfType

LOADED = "LOADED"
PARTIALLY_LOADED = "PARTIALLY_LOADED"
LOAD_FAILED = "LOAD_FAILED"
LOAD_SKIPPED = "LOAD_SKIPPED"
KEPT = timedelta(days=64)
_LOGGED = timedelta(days=14)
_VIEW_ROWS = 10_000
_SHOWN = {LOADED: "Loaded", PARTIALLY_LOADED: "Partially loaded", LOAD_FAILED: "Load failed"}
_COPY_HISTORY: list[tuple[str, SfType]] = [
    ("FILE_NAME", TEXT), ("STAGE_LOCATION", TEXT), ("LAST_LOAD_TIME", TIMESTAMP_LTZ), ("ROW_COUNT", NUMBER),
    ("ROW_PARSED", NUMBER), ("FILE_SIZE", NUMBER), ("FIRST_ERROR_MESSAGE", TEXT),
    ("FIRST_ERROR_LINE_NUMBER", NUMBER), ("FIRST_ERROR_CHARACTER_POS", NUMBER), ("FIRST_ERROR_COLUMN_NAME", TEXT),
    ("ERROR_COUNT", NUMBER), ("ERROR_LIMIT", NUMBER), ("STATUS", TEXT), ("TABLE_CATALOG_NAME", TEXT),
    ("TABLE_SCHEMA_NAME", TEXT), ("TABLE_NAME", TEXT), ("PIPE_CATALOG_NAME", TEXT), ("PIPE_SCHEMA_NAME", TEXT),
    ("PIPE_NAME", TEXT), ("PIPE_RECEIVED_TIME", TIMESTAMP_LTZ), ("FIRST_COMMIT_TIME", TIMESTAMP_LTZ),
]  # fmt: skip
_LOAD_HISTORY: list[tuple[str, SfType]] = [
    ("SCHEMA_NAME", TEXT), ("FILE_NAME", TEXT), ("TABLE_NAME", TEXT), ("LAST_LOAD_TIME", TIMESTAMP_LTZ),
    ("STATUS", TEXT), ("ROW_COUNT", NUMBER), ("ROW_PARSED", NUMBER), ("FIRST_ERROR_MESSAGE", TEXT),
    ("FIRST_ERROR_LINE_NUMBER", NUMBER), ("FIRST_ERROR_CHARACTER_POSITION", NUMBER),
    ("FIRST_ERROR_COL_NAME", TEXT), ("ERROR_COUNT", NUMBER), ("ERROR_LIMIT", NUMBER),
]  # fmt: skip


def skips(version: Version, file: StoredFile, now: datetime, *, uncertain: bool) -> bool:
    """Whether COPY INTO passes over a file.

    A file is known by its name and content for 64 days after it was loaded, wholly or in part; a failed one is
    tried again. Older than that, both the file and the first load of the table, nobody knows: such a file is
    passed over too, unless LOAD_UNCERTAIN_FILES says otherwise.
    """
    entry = version.history.get(file.url)
    if entry is not None and entry.status in {LOADED, PARTIALLY_LOADED} and now - entry.at < KEPT:
        return entry.etag == file.etag
    oldest = min((f.at for f in version.history.values()), default=now)
    return not uncertain and now - oldest > KEPT and now - file.modified > KEPT


def entries(files: list[LoadedFile], version: Version) -> dict[str, LoadedFile]:
    """What a load adds to the history: a failed try does not replace the record of a load."""
    return {f.url: f for f in files if f.status != LOAD_FAILED or not _is_loaded(version.history.get(f.url))}


def _is_loaded(entry: LoadedFile | None) -> bool:
    return entry is not None and entry.status != LOAD_FAILED


@table_function("COPY_HISTORY", "TABLE_NAME", "START_TIME", "END_TIME")
def copy_history(statement: Statement, database: str | None, arguments: dict[str, Any]) -> Result:
    """The loads of one table. Only committed ones: by documentation, those that ran to completion."""
    for needed in ("TABLE_NAME", "START_TIME"):
        if needed not in arguments:
            raise errors.compilation("001015", "42P13", f"Missing argument '{needed}' of function 'COPY_HISTORY'.")
    parts = Parser(str(arguments["TABLE_NAME"])).name()
    if len(parts) == 2 and database is not None:
        parts = [database, *parts]
    name = statement.name(parts)
    table = statement.session.find(name)
    start = max(_instant(arguments["START_TIME"]), datetime.now(UTC) - _LOGGED)
    end = _instant(arguments["END_TIME"]) if arguments.get("END_TIME") is not None else datetime.now(UTC)
    rows = [_copy_row(name, file) for file in table.loads if start <= file.at <= end]
    return Result.of(_COPY_HISTORY, sorted(rows, key=lambda row: row[2], reverse=True))


def load_history(statement: Statement, database: str) -> Result:
    """The view INFORMATION_SCHEMA.LOAD_HISTORY of a database: the newest 10,000 files."""
    with statement.catalog.lock:
        found = [(n, f) for n, t in statement.catalog.tables() if n.database == database for f in _recent(t)]
    found.sort(key=lambda pair: pair[1].at, reverse=True)
    return Result.of(_LOAD_HISTORY, [_view_row(name, file) for name, file in found[:_VIEW_ROWS]])


def _recent(table: Table) -> list[LoadedFile]:
    since = datetime.now(UTC) - _LOGGED
    return [file for file in table.loads if file.at >= since]


def _instant(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise errors.SnowflakeError("100035", "22007", f"Timestamp '{value}' is not recognized") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _copy_row(name: Name, file: LoadedFile) -> list[Any]:
    return [
        file.url.removeprefix(file.stage_url).lstrip("/"), file.stage_url, file.at, file.loaded, file.parsed, file.size,
        *_error(file), file.errors, file.error_limit, _SHOWN[file.status],
        name.database, name.schema, name.object, None, None, None, None, file.at,
    ]  # fmt: skip


def _view_row(name: Name, file: LoadedFile) -> list[Any]:
    return [
        name.schema, file.url, name.object, file.at, file.status.replace("LOAD_FAILED", "LOAD FAILED")
        .replace("PARTIALLY_LOADED", "PARTIALLY LOADED"), file.loaded, file.parsed, *_error(file), file.errors,
        file.error_limit,
    ]  # fmt: skip


def _error(file: LoadedFile) -> list[Any]:
    first = file.first_error
    if first is None:
        return [None, None, None, None]
    return [first.message, first.line, first.character, first.column]
