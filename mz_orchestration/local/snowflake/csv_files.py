# ruff: noqa: S608 (the SQL is put together from names and types made here)
"""CSV as Snowflake reads it.

DuckDB's reader takes most files; what it reads differently (escapes outside quotes, blank lines, ragged rows)
is recognised beforehand, or by its complaint, and goes through an exact and slower reader.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.copy_spec import CsvFormat
from mz_orchestration.local.snowflake.lexer import unescape
from mz_orchestration.local.snowflake.names import literal
from mz_orchestration.local.snowflake.storage import scalar

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BLANK = re.compile(rb"(?:\A|\r?\n)\r?\n")


@dataclass(frozen=True)
class CsvSource:
    """A readable file: a DuckDB table expression with the text columns ``c1`` …, and its header if parsed."""

    sql: str
    width: int
    header: list[str] | None


def open_csv(cursor: DuckDBPyConnection, path: Path, fmt: CsvFormat, expected: int | None) -> CsvSource:
    """Make a CSV file readable.

    Args:
        cursor: where the source will be read.
        path: the local copy; replaced by its decompressed content if it is compressed.
        fmt: how to read it.
        expected: the number of columns every record must have; None when a SELECT picks them.
    """
    data = _decompress(path, fmt)
    records = _records(data, fmt)
    header = next(records, None) if fmt.parse_header else None
    first = next(records, None)
    width = len(header or first or []) if expected is None or header is not None else expected
    if header is not None and expected is not None and fmt.mismatch_is_error and len(header) != expected:
        raise mismatch(len(header), expected)
    width = max(width, 1)
    names = [h or "" for h in header] if header is not None else None
    if first is None:
        nothing = ", ".join(f"CAST(NULL AS VARCHAR) AS c{i + 1}" for i in range(width))
        return CsvSource(f"(SELECT {nothing} WHERE FALSE)", width, names)
    if _plain(data, fmt):
        fast = _fast(path, fmt, width)
        try:
            # One pass over the file: a ragged row would otherwise surface in the middle of the load. Not in the load's
            # own transaction, which a complaint would abort.
            with cursor.cursor() as probe:
                scalar(probe, f"SELECT count(*) FROM {fast}")
            return CsvSource(fast, width, names)
        except Exception as error:
            if "InvalidInput" not in type(error).__name__:
                raise
    return CsvSource(_slow(cursor, data, fmt, width, expected), width, names)


def mismatch(found: int, expected: int) -> errors.SnowflakeError:
    """A record with another number of fields than the table has columns."""
    return errors.SnowflakeError(
        "100080",
        "22000",
        f"Number of columns in file ({found}) does not match that of the corresponding table ({expected}), "
        "use file format option error_on_column_count_mismatch=false to ignore this error",
    )


def _decompress(path: Path, fmt: CsvFormat) -> bytes:
    data = path.read_bytes()
    if fmt.compression == "GZIP" or (fmt.compression == "AUTO" and data[:2] == b"\x1f\x8b"):
        data = gzip.decompress(data)
        path.write_bytes(data)
    elif fmt.compression not in {"AUTO", "NONE"}:
        raise errors.invalid_value("COMPRESSION", fmt.compression)
    return data


def _plain(data: bytes, fmt: CsvFormat) -> bool:
    """Whether DuckDB's reader reads these bytes as Snowflake does."""
    special = {c for c in (fmt.escape, fmt.escape_unenclosed) if c is not None and c != fmt.enclosed_by}
    return not (
        fmt.record_delimiter is not None
        or fmt.skip_blank_lines
        or fmt.trim_space
        or not fmt.mismatch_is_error
        or len(fmt.delimiter) != 1
        or any(c.encode() in data for c in special)
        or _BLANK.search(data)
        # A bare carriage return ends a record for Snowflake; DuckDB wants one kind of line end.
        or re.search(rb"\r(?!\n)", data)
    )


def _fast(path: Path, fmt: CsvFormat, width: int) -> str:
    quote = literal(fmt.enclosed_by or "")
    columns = ", ".join(f"'c{i + 1}': 'VARCHAR'" for i in range(width))
    skip = 1 if fmt.parse_header else fmt.skip_header
    # The reader's own NULL is an unquoted empty field; a quoted one stays the empty string.
    null = "''" if fmt.empty_as_null else literal("\x00")
    raw = (
        f"read_csv({literal(str(path))}, auto_detect=false, header=false, skip={skip}, "
        f"delim={literal(fmt.delimiter)}, quote={quote}, escape={quote}, nullstr={null}, "
        f"allow_quoted_nulls=false, max_line_size=16777216, columns={{{columns}}})"
    )
    if not fmt.null_if:
        return raw
    nulls = ", ".join(literal(v) for v in fmt.null_if)
    shown = ", ".join(f"CASE WHEN c{i + 1} IN ({nulls}) THEN NULL ELSE c{i + 1} END AS c{i + 1}"
                      for i in range(width))  # fmt: skip
    return f"(SELECT {shown} FROM {raw})"


def _slow(cursor: DuckDBPyConnection, data: bytes, fmt: CsvFormat, width: int, expected: int | None) -> str:
    import pyarrow as pa

    columns: list[list[str | None]] = [[] for _ in range(width)]
    records = _records(data, fmt)
    if fmt.parse_header:
        next(records, None)
    for row in records:
        if len(row) != width and expected is not None and fmt.mismatch_is_error:
            raise mismatch(len(row), width)
        for i, column in enumerate(columns):
            column.append(row[i] if i < len(row) else None)
    name = f"csv_{id(columns)}"
    table = pa.table({f"c{i + 1}": pa.array(c, pa.string()) for i, c in enumerate(columns)})
    cursor.register(name, table)
    return name


def _records(data: bytes, fmt: CsvFormat) -> Iterator[list[str | None]]:
    """The records behind SKIP_HEADER, field by field."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise errors.SnowflakeError(
            "100144", "22000", f"Invalid UTF8 detected in string at byte {error.start}"
        ) from error
    quote = fmt.enclosed_by
    line_end = re.escape(fmt.record_delimiter) if fmt.record_delimiter is not None else r"\r\n|\n|\r"
    delimiter = re.escape(fmt.delimiter)
    escape = fmt.escape or fmt.escape_unenclosed
    any_escaped = rf"{re.escape(escape)}." if escape else "(?!)"
    bare = re.compile(rf"(?:{any_escaped}|(?!{delimiter}|{line_end}).)*", re.DOTALL)
    enclosed: re.Pattern[str] | None = None
    if quote is not None:
        inner = re.escape(fmt.escape) if fmt.escape and fmt.escape != quote else None
        escaped = rf"{inner}.|" if inner else ""
        q = re.escape(quote)
        enclosed = re.compile(rf"{q}((?:{escaped}{q}{q}|(?!{q}).)*){q}", re.DOTALL)
    ends = re.compile(line_end)
    position, skipped = 0, 0
    while skipped < fmt.skip_header and position < len(text):
        found = ends.search(text, position)
        position = found.end() if found else len(text)
        skipped += 1
    while position < len(text):
        row: list[str | None] = []
        start = position
        while True:
            value, position = _field(text, position, fmt, bare, enclosed)
            row.append(value)
            if text.startswith(fmt.delimiter, position):
                position += len(fmt.delimiter)
                continue
            found = ends.match(text, position)
            if found is None and position < len(text):
                raise errors.SnowflakeError(
                    "100016",
                    "22000",
                    f"Found character '{text[position]}' instead of field delimiter '{fmt.delimiter}'",
                )
            blank = position == start
            position = found.end() if found else len(text)
            break
        if not (blank and fmt.skip_blank_lines):
            yield row


def _field(
    text: str, position: int, fmt: CsvFormat, bare: re.Pattern[str], enclosed: re.Pattern[str] | None
) -> tuple[str | None, int]:
    if enclosed is not None and (found := enclosed.match(text, position)):
        value = found[1]
        quote = fmt.enclosed_by or ""
        if fmt.escape is not None and fmt.escape != quote:
            value = _unescape(value.replace(quote * 2, quote), fmt.escape)
        else:
            value = value.replace(quote * 2, quote)
        return (None if value in fmt.null_if else value), found.end()
    if enclosed is not None and fmt.enclosed_by and text.startswith(fmt.enclosed_by, position):
        raise errors.SnowflakeError("100066", "22000", "End of record or file reached inside an enclosed field")
    plain = bare.match(text, position)
    assert plain is not None
    value = plain[0].strip() if fmt.trim_space else plain[0]
    if value in fmt.null_if or (not value and fmt.empty_as_null):
        return None, plain.end()
    escape = fmt.escape or fmt.escape_unenclosed
    return (_unescape(value, escape) if escape else value), plain.end()


def _unescape(value: str, escape: str) -> str:
    if escape == "\\":
        return unescape(value.replace("''", "\\'\\'"))
    return re.sub(re.escape(escape) + "(.)", r"\1", value, flags=re.DOTALL)
