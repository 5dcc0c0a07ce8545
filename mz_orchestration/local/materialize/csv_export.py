"""Writing the rows of an export as CSV files.

PostgreSQL's own CSV is Materialize's, byte for byte, but for JSON, which Materialize writes without blanks. Each row
arrives as one message, so rows can be spread over batches and files without parsing them.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import psycopg

from mz_orchestration.local.materialize.arrow_types import JSON_ARRAY_OID, JSON_OID
from mz_orchestration.local.materialize.errors import StatementError
from mz_orchestration.local.materialize.job import CsvOptions, ExportJob, subquery
from mz_orchestration.local.materialize.tokens import literal

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from mz_orchestration.local.materialize.store import MultipartFile

_JSON_WITHOUT_BLANKS = r"""regexp_replace({}::text, '("(?:[^"\\]|\\.)*")|([:,]) ', '\1\2', 'g')"""
# Of arrays of one dimension; others stay as PostgreSQL writes them.
_JSONS_WITHOUT_BLANKS = (
    "CASE WHEN {0} IS NULL OR array_ndims({0}) > 1 THEN {0}::text[]"
    " ELSE ARRAY(SELECT <element> FROM unnest({0}) AS u (e)) END"
).replace("<element>", _JSON_WITHOUT_BLANKS.format("e"))
_ROWS_BETWEEN_CHECKS = 8192
_WRITE_BYTES = 1 << 18


def write_csv(job: ExportJob, client: S3Client, options: CsvOptions) -> int:
    """Read the query and write its rows; returns their number."""
    plan = job.plan
    header = _header([column.name for column in plan.columns], options) if options.header else b""
    chains = [_Chain(job, client, batch, header) for batch in range(plan.batches)]
    # Batch 0 has a file also when there is no row.
    chains[0].open()
    rows = 0
    try:
        with psycopg.connect(plan.conninfo, autocommit=True) as connection:
            for statement in plan.snapshot.statements():
                connection.execute(statement.encode())
            with job.interruptible(connection.cancel), connection.cursor().copy(_statement(job, options)) as copy:
                for row in copy:
                    rows += 1
                    if rows % _ROWS_BETWEEN_CHECKS == 0:
                        job.check()
                    chains[zlib.crc32(row) % len(chains)].write(row)
    except psycopg.Error as error:
        job.check()
        message = error.diag.message_primary or str(error)
        raise StatementError(f"Evaluation error: {message}") from None
    for chain in chains:
        job.check()
        chain.close()
    return rows


def _statement(job: ExportJob, options: CsvOptions) -> bytes:
    plan = job.plan
    shown = {JSON_OID: _JSON_WITHOUT_BLANKS, JSON_ARRAY_OID: _JSONS_WITHOUT_BLANKS}
    values = ", ".join(shown.get(column.oid, "{}").format(f"q.c{i}") for i, column in enumerate(plan.columns))
    query = f"SELECT {values} FROM {subquery(plan)}"  # noqa: S608
    how = (
        f"FORMAT csv, ENCODING 'UTF8', DELIMITER {literal(options.delimiter)}, QUOTE {literal(options.quote)}, "
        f"ESCAPE {literal(options.escape)}, NULL {literal(options.null)}"
    )
    return f"COPY ({query}) TO STDOUT ({how})".encode()


def _header(names: list[str], options: CsvOptions) -> bytes:
    return (options.delimiter.join(_field(name, options, len(names)) for name in names) + "\n").encode()


def _field(text: str, options: CsvOptions, fields: int) -> str:
    special = (options.delimiter, options.quote, "\r", "\n")
    if not (any(c in text for c in special) or text == options.null or (fields == 1 and text == "\\.")):
        return text
    escaped = "".join(options.escape + c if c in (options.quote, options.escape) else c for c in text)
    return f"{options.quote}{escaped}{options.quote}"


class _Chain:
    """The files of one batch, one after the other."""

    def __init__(self, job: ExportJob, client: S3Client, batch: int, header: bytes) -> None:
        self._job, self._client, self._batch, self._header = job, client, batch, header
        self._limit = job.plan.max_file_size
        self._files = 0
        self._file: MultipartFile | None = None
        self._buffer = bytearray()
        self._size = 0

    def open(self) -> None:
        self._files += 1
        self._file = self._job.open(self._client, self._batch, self._files)
        self._buffer += self._header
        self._size = len(self._header)

    def write(self, row: bytes | bytearray | memoryview) -> None:
        if self._file is None:
            self.open()
        elif self._size + len(row) > self._limit and self._size > len(self._header):
            self.close()
            self.open()
        assert self._file is not None
        self._buffer += row
        self._size += len(row)
        if len(self._buffer) >= _WRITE_BYTES:
            self._file.write(self._buffer)
            self._buffer.clear()

    def close(self) -> None:
        if self._file is None:
            return
        self._file.write(self._buffer)
        self._buffer.clear()
        self._file.complete()
        self._file = None
