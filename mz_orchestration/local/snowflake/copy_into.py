# ruff: noqa: S608 (the SQL is put together from names made here)
"""COPY INTO <table>: files chosen, skipped by load history, loaded, and accounted for."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mz_orchestration.local.snowflake import errors, file_formats, grants
from mz_orchestration.local.snowflake.catalog import LoadedFile, LoadError, Stage, Table
from mz_orchestration.local.snowflake.copy_plan import plan
from mz_orchestration.local.snowflake.copy_rows import Examined, data_error, examine, told
from mz_orchestration.local.snowflake.copy_spec import CopySpec, check_format, parse_copy
from mz_orchestration.local.snowflake.copy_validation import validate
from mz_orchestration.local.snowflake.file_formats import Format, ParquetFormat
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.load_history import (
    LOAD_FAILED,
    LOAD_SKIPPED,
    LOADED,
    PARTIALLY_LOADED,
    entries,
    skips,
)
from mz_orchestration.local.snowflake.names import display, duck
from mz_orchestration.local.snowflake.queries import translate_error
from mz_orchestration.local.snowflake.results import COPY, Result
from mz_orchestration.local.snowflake.stages import compile_pattern, stage_path
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.storage import scalar
from mz_orchestration.local.snowflake.store import FetchedFile, StoredFile
from mz_orchestration.local.snowflake.types import NUMBER, TEXT

_COLUMNS = [
    ("file", TEXT), ("status", TEXT), ("rows_parsed", NUMBER), ("rows_loaded", NUMBER), ("error_limit", NUMBER),
    ("errors_seen", NUMBER), ("first_error", TEXT), ("first_error_line", NUMBER),
    ("first_error_character", NUMBER), ("first_error_column_name", TEXT),
]  # fmt: skip
# Files of the same columns are read by one query: so many of them, and so many bytes.
_BATCH_FILES = 250
_BATCH_BYTES = 64 << 20


@dataclass(frozen=True)
class _Load:
    """One COPY INTO under way."""

    statement: Statement
    spec: CopySpec
    format: Format
    stage: Stage
    table: Table
    physical: str


def copy_into(statement: Statement, parser: Parser) -> Result:
    """Run a COPY INTO statement."""
    spec = parse_copy(statement, parser)
    name = statement.name(spec.table, "COPY")
    statement.session.find(name, display(*spec.table))
    target = grants.on_table(statement, name, "INSERT")
    grants.warehouse(statement)
    stage, path = stage_path(statement, spec.stage)
    fmt = file_formats.resolve(statement, stage.file_format if spec.format is None else spec.format)
    check_format(spec, fmt)
    files = statement.account.store.files(statement.catalog, stage, path, spec.files)
    if spec.pattern is not None:
        # Matched against the whole key, from the bucket on: unlike a pipe, COPY INTO does not leave out the path of
        # the stage. Whether the scheme and the bucket are part of it is not documented; patterns begin with '.*'.
        matcher = compile_pattern(spec.pattern)
        files = [file for file in files if matcher.fullmatch(file.key)]
    if spec.validation is not None:
        with _fetched(statement, stage, files) as fetched:
            return validate(statement, spec, fmt, target, fetched)
    with statement.session.writing(name, statement.cursor, statement.cancel) as (table, work):
        version = work.versions[table]
        now = datetime.now(UTC)
        fresh = [f for f in files if spec.force or not skips(version, f, now, uncertain=spec.uncertain)]
        load = _Load(statement, spec, fmt, stage, table, version.physical)
        with _fetched(statement, stage, _limited(spec, fresh)) as fetched:
            if spec.on_error.action == "ABORT_STATEMENT":
                loaded = _all_or_nothing(load, fetched)
            else:
                loaded = _file_by_file(load, fetched)
        work.versions[table] = version.with_files(entries(loaded, version))
    if spec.purge:
        # At once, also in a transaction that may yet be rolled back: the store has no part in it. By documentation what
        # was loaded successfully; a file loaded in part stays.
        done = {f.url for f in loaded if f.status == LOADED}
        statement.account.store.purge(stage, [f for f in fresh if f.url in done])
    return _answer(load, files, {f.url: f for f in loaded})


@contextlib.contextmanager
def _fetched(statement: Statement, stage: Stage, files: list[StoredFile]) -> Iterator[Iterator[FetchedFile]]:
    """Local copies of the files, each read once and in order."""
    folder = statement.storage.folder / f"load-{uuid.uuid4().hex}"
    folder.mkdir(mode=0o700)
    try:
        with contextlib.closing(statement.account.store.fetch_all(stage, files, folder)) as fetched:
            yield fetched
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _limited(spec: CopySpec, files: list[StoredFile]) -> list[StoredFile]:
    """SIZE_LIMIT: no further file once the sum has exceeded it, and always a first one."""
    if spec.size_limit is None:
        return files
    taken: list[StoredFile] = []
    size = 0
    for file in files:
        if size > spec.size_limit:
            break
        taken.append(file)
        size += file.size
    return taken


def _all_or_nothing(load: _Load, fetched: Iterable[FetchedFile]) -> list[LoadedFile]:
    cursor, loaded = load.statement.cursor, list[LoadedFile]()
    cursor.begin()
    try:
        for batch in _batches(load.format, fetched):
            load.statement.check()
            try:
                loaded += _insert(load, batch)
            except Exception as error:
                # The failed statement aborted DuckDB's transaction; the search for the row runs outside it.
                cursor.rollback()
                raise _located(load, [file for file, _ in batch], error) from error
            for file, _ in batch:
                file.path.unlink(missing_ok=True)
        cursor.commit()
    except BaseException:
        with contextlib.suppress(Exception):
            cursor.rollback()
        raise
    return loaded


def _batches(fmt: Format, fetched: Iterable[FetchedFile]) -> Iterator[list[tuple[FetchedFile, int | None]]]:
    """Files that one query reads, with their numbers of rows where the files themselves tell them."""
    batch: list[tuple[FetchedFile, int | None]] = []
    size, schema = 0, None
    for file in fetched:
        found, rows = _footer(file) if isinstance(fmt, ParquetFormat) else (None, None)
        full = len(batch) >= _BATCH_FILES or size + file.stored.size > _BATCH_BYTES
        if batch and (full or found is None or not found.equals(schema)):
            yield batch
            batch, size = [], 0
        batch.append((file, rows))
        size, schema = size + file.stored.size, found
    if batch:
        yield batch


def _footer(file: FetchedFile) -> tuple[Any, int | None]:
    """Schema and number of rows of a Parquet file; nothing of one that cannot be read, which then fails alone."""
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(file.path)
        return metadata.schema.to_arrow_schema(), metadata.num_rows
    except Exception:
        # pyarrow answers a file that is no Parquet with errors of several classes.
        return None, None


def _insert(load: _Load, batch: list[tuple[FetchedFile, int | None]]) -> list[LoadedFile]:
    statement = load.statement
    reading = plan(statement, load.spec, load.format, load.table, [file for file, _ in batch])
    names = ", ".join(duck(c.name) for c in reading.columns)
    count = scalar(statement.cursor, f"INSERT INTO {load.physical} ({names}) {reading.rows()}")
    if len(batch) == 1:
        return [_loaded(load, batch[0][0], count)]
    rows = [n or 0 for _, n in batch]
    if sum(rows) != count:
        raise errors.SnowflakeError(
            "000603", "XX000", f"{count} rows were read from files whose footers say {sum(rows)}"
        )
    return [_loaded(load, file, n) for (file, _), n in zip(batch, rows, strict=True)]


def _loaded(load: _Load, file: FetchedFile, rows: int) -> LoadedFile:
    stored = file.stored
    limit = load.spec.on_error.error_limit(rows)
    return LoadedFile(stored.url, stored.etag, stored.size, stored.modified, load.stage.url, LOADED, rows, rows, limit)


def _located(load: _Load, files: list[FetchedFile], error: Exception) -> errors.SnowflakeError:
    """The error with the file, row and column it comes from, as Snowflake tells them."""
    translated = translate_error(error, load.statement)
    if isinstance(error, errors.SnowflakeError) or load.statement.cancel.is_set():
        # Not found by DuckDB: it is about the statement, or about a single file that tells more when examined.
        data_error(translated, load.statement)
    for file in files:
        examined = examine(load.statement, load.spec, load.format, load.table, file)
        if examined.good is not None:
            load.statement.storage.retire(examined.good)
        if examined.errors:
            return told(file, examined.errors[0])
    return translated


def _file_by_file(load: _Load, fetched: Iterable[FetchedFile]) -> list[LoadedFile]:
    """ON_ERROR other than ABORT_STATEMENT: every file is judged by itself; then all that is good goes in at once."""
    statement, loaded, tables = load.statement, list[LoadedFile](), list[str]()
    cursor = statement.cursor
    try:
        for file in fetched:
            statement.check()
            examined = examine(statement, load.spec, load.format, load.table, file)
            if examined.good is not None:
                tables.append(examined.good)
            if examined.errors and not examined.broken and load.spec.on_error.by_row:
                _insist_on_delimited(load, file, examined)
            outcome = _judged(load, file, examined)
            loaded.append(outcome)
            if not outcome.loaded and examined.good is not None:
                statement.storage.retire(tables.pop())
            file.path.unlink(missing_ok=True)
        cursor.begin()
        for good in tables:
            cursor.execute(f"INSERT INTO {load.physical} SELECT * FROM {good}")
        cursor.commit()
    finally:
        for good in tables:
            statement.storage.retire(good)
    return loaded


def _insist_on_delimited(load: _Load, file: FetchedFile, examined: Examined) -> None:
    """Of Parquet only whole files are skipped: by documentation CONTINUE and SKIP_FILE_n abort at a bad value."""
    if isinstance(load.format, ParquetFormat):
        raise told(file, examined.errors[0])


def _judged(load: _Load, file: FetchedFile, examined: Examined) -> LoadedFile:
    policy, seen = load.spec.on_error, len(examined.errors)
    kept = 0 if examined.broken or policy.skips(seen, examined.parsed) else examined.parsed - seen
    status = LOADED if not seen else PARTIALLY_LOADED if kept else LOAD_FAILED
    first = examined.errors[0] if seen else None
    stored = file.stored
    return LoadedFile(
        stored.url,
        stored.etag,
        stored.size,
        stored.modified,
        load.stage.url,
        status,
        examined.parsed,
        kept,
        policy.error_limit(examined.parsed),
        seen,
        LoadError(first.error.message, first.line, first.character, first.column) if first is not None else None,
    )


def _answer(load: _Load, files: list[StoredFile], loaded: dict[str, LoadedFile]) -> Result:
    spec, rows = load.spec, list[list[object]]()
    delta = load.statement.account.faults.take() if loaded else 0
    for file in files:
        if (found := loaded.get(file.url)) is not None:
            first = found.first_error or LoadError("")
            row = [
                file.url, found.status, found.parsed, found.loaded + delta, found.error_limit, found.errors,
                first.message or None, first.line, first.character, first.column,
            ]  # fmt: skip
            delta = 0
            if not spec.failed_only or found.status != LOADED:
                rows.append(row)
        elif spec.files is not None and not spec.failed_only:
            # A file asked for by name is accounted for; one that merely lies under the path is passed over.
            rows.append([file.url, LOAD_SKIPPED, 0, 0, 0, 1, "File was loaded before.", None, None, None])
    if not rows and not loaded:
        return Result.status("Copy executed with 0 files processed.", COPY)
    return Result.of(_COLUMNS, rows, COPY)
