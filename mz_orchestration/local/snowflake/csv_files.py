# ruff: noqa: S608 (the SQL is put together from names and types made here)
"""CSV as Snowflake reads it.

DuckDB's reader takes most files; what it reads differently (escapes outside quotes, blank lines, ragged rows)
is recognised beforehand, or by its complaint, and goes through an exact and slower reader.
"""

from __future__ import annotations

import codecs
import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.file_formats import CsvFormat
from mz_orchestration.local.snowflake.lexer import unescape
from mz_orchestration.local.snowflake.names import literal
from mz_orchestration.local.snowflake.storage import scalar
from mz_orchestration.local.snowflake.types import MAX_TEXT

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BLANK = re.compile(rb"(?:\A|\r?\n)\r?\n")


# The fast reader keeps whole lines in memory; longer ones go to the exact reader, which knows the real limit.
_LONGEST_LINE = 16 << 20
_SURROGATE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class Record:
    """One record of a file: its fields, where it and they begin, and what is wrong with it."""

    number: int
    fields: list[str | None]
    starts: list[int]
    error: errors.SnowflakeError | None = None


@dataclass(frozen=True)
class CsvSource:
    """A readable file: a DuckDB table expression with the text columns ``c1`` …, and its header if parsed.

    ``row`` is the expression for a record's number; ``faulty`` are the records that are left out.
    """

    sql: str
    width: int
    header: list[str] | None
    row: str = "row_number() OVER ()"
    faulty: tuple[Record, ...] = ()


def open_csv(cursor: DuckDBPyConnection, path: Path, fmt: CsvFormat, expected: int | None) -> CsvSource:
    """Make a CSV file readable.

    Args:
        cursor: where the source will be read.
        path: the local copy; replaced by its decompressed content if it is compressed.
        fmt: how to read it.
        expected: the number of columns every record must have; None when a SELECT picks them.
    """
    data = _decompress(path, fmt)
    names, width, empty = _shape(data, fmt, expected)
    if empty:
        nothing = ", ".join(f"CAST(NULL AS VARCHAR) AS c{i + 1}" for i in range(width))
        return CsvSource(f"(SELECT {nothing} WHERE FALSE)", width, names)
    if _plain(data, fmt):
        fast = _fast(path, fmt, width)
        try:
            # One pass over the file: a ragged row would otherwise surface in the middle of the load. Not in the load's
            # own transaction, which a complaint would abort.
            with cursor.cursor() as probe:
                lengths = [f"max(strlen(c{i + 1}))" for i in range(width)] if len(data) > MAX_TEXT else ["count(*)"]
                longest = scalar(probe, f"SELECT greatest(0, {', '.join(lengths)}) FROM {fast}")
            if len(data) <= MAX_TEXT or longest <= MAX_TEXT:
                return CsvSource(fast, width, names)
        except Exception as error:
            if "InvalidInput" not in type(error).__name__:
                raise
    source = _exact(cursor, data, fmt, width, expected)
    if source.faulty:
        raise source.faulty[0].error or mismatch(width, width)
    return CsvSource(f"(SELECT * EXCLUDE (rn) FROM {source.sql})", width, names)


def open_exactly(cursor: DuckDBPyConnection, path: Path, fmt: CsvFormat, expected: int | None) -> CsvSource:
    """Make the good records of a CSV file readable and name the faulty ones; `open_csv` fails at the first."""
    data = _decompress(path, fmt)
    names, width, _ = _shape(data, fmt, expected)
    source = _exact(cursor, data, fmt, width, expected)
    return CsvSource(source.sql, width, names, source.row, source.faulty)


def locate(path: Path, fmt: CsvFormat, number: int, column: int) -> tuple[int, int, int]:
    """Line and character (from 1) and byte (from 0) at which a field of a record begins."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    headers = 1 if fmt.parse_header else 0
    record = next((r for r in _scan(text, fmt) if r.number == number + headers), None)
    if record is None:
        return number, 1, 0
    start = record.starts[min(column, len(record.starts) - 1)]
    before = text[:start]
    line_start = max(before.rfind("\n"), before.rfind("\r")) + 1
    lines = len(re.findall(r"\r\n|\n|\r", before)) + 1
    return lines, start - line_start + 1, len(before.encode("utf-8", "surrogateescape"))


def _shape(data: bytes, fmt: CsvFormat, expected: int | None) -> tuple[list[str] | None, int, bool]:
    """Header, number of columns, and whether there is no record."""
    records = _scan(data.decode("utf-8", "surrogateescape"), fmt)
    found = next(records, None) if fmt.parse_header else None
    if found is not None and found.error is not None:
        raise found.error
    header = found.fields if found is not None else None
    first = next(records, None)
    width = len(header or (first.fields if first else [])) if expected is None or header is not None else expected
    if header is not None and expected is not None and fmt.mismatch_is_error and len(header) != expected:
        raise mismatch(len(header), expected)
    return [h or "" for h in header] if header is not None else None, max(width, 1), first is None


def mismatch(found: int, expected: int) -> errors.SnowflakeError:
    """A record with another number of fields than the table has columns."""
    return errors.SnowflakeError(
        "100080",
        "22000",
        f"Number of columns in file ({found}) does not match that of the corresponding table ({expected}), "
        "use file format option error_on_column_count_mismatch=false to ignore this error",
    )


def _decompress(path: Path, fmt: CsvFormat) -> bytes:
    stored = data = path.read_bytes()
    if data[:2] == b"\x1f\x8b" and fmt.compression in {"AUTO", "GZIP"}:
        data = gzip.decompress(data)
    elif fmt.compression not in {"AUTO", "NONE", "GZIP"}:
        raise errors.invalid_value("COMPRESSION", fmt.compression)
    data = data.removeprefix(codecs.BOM_UTF8)
    if data is not stored:
        # Whoever reads the file again finds plain text.
        path.write_bytes(data)
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
        f"allow_quoted_nulls=false, max_line_size={_LONGEST_LINE}, columns={{{columns}}})"
    )
    if not fmt.null_if:
        return raw
    nulls = ", ".join(literal(v) for v in fmt.null_if)
    shown = ", ".join(f"CASE WHEN c{i + 1} IN ({nulls}) THEN NULL ELSE c{i + 1} END AS c{i + 1}"
                      for i in range(width))  # fmt: skip
    return f"(SELECT {shown} FROM {raw})"


def _exact(cursor: DuckDBPyConnection, data: bytes, fmt: CsvFormat, width: int, expected: int | None) -> CsvSource:
    import pyarrow as pa

    columns: list[list[str | None]] = [[] for _ in range(width)]
    numbers: list[int] = []
    faulty: list[Record] = []
    headers = 1 if fmt.parse_header else 0
    for record in _scan(data.decode("utf-8", "surrogateescape"), fmt):
        if record.number <= headers:
            continue
        number, row, error = record.number - headers, record.fields, record.error
        if error is None and len(row) != width and expected is not None and fmt.mismatch_is_error:
            error = mismatch(len(row), width)
        if error is not None:
            faulty.append(Record(number, row, record.starts, error))
            continue
        numbers.append(number)
        for i, column in enumerate(columns):
            column.append(row[i] if i < len(row) else None)
    name = f"csv_{id(columns)}"
    arrays = {f"c{i + 1}": pa.array(c, pa.large_string()) for i, c in enumerate(columns)}
    cursor.register(name, pa.table({"rn": pa.array(numbers, pa.int64()), **arrays}))
    return CsvSource(name, width, None, "src.rn", tuple(faulty))


def _records(data: bytes, fmt: CsvFormat) -> Iterator[list[str | None]]:
    """The records behind SKIP_HEADER, field by field, up to the first faulty one."""
    for record in _scan(data.decode("utf-8", "surrogateescape"), fmt):
        if record.error is not None:
            raise record.error
        yield record.fields


def _scan(text: str, fmt: CsvFormat) -> Iterator[Record]:
    """Every record behind SKIP_HEADER; reading goes on in the line after a faulty one."""
    line_end = re.escape(fmt.record_delimiter) if fmt.record_delimiter is not None else r"\r\n|\n|\r"
    bare, enclosed, ends = _bare(fmt, line_end), _enclosed(fmt), re.compile(line_end)
    position = number = 0
    for _ in range(fmt.skip_header):
        found = ends.search(text, position)
        position = found.end() if found else len(text)
    while position < len(text):
        row: list[str | None] = []
        starts: list[int] = []
        start = position
        error: errors.SnowflakeError | None = None
        while True:
            starts.append(position)
            try:
                value, position = _field(text, position, fmt, bare, enclosed)
            except errors.SnowflakeError as raised:
                error, position = raised, len(text)
                break
            row.append(value)
            if text.startswith(fmt.delimiter, position):
                position += len(fmt.delimiter)
                continue
            found = ends.match(text, position)
            if found is None and position < len(text):
                error = errors.SnowflakeError(
                    "100016",
                    "22000",
                    f"Found character '{text[position]}' instead of field delimiter '{fmt.delimiter}'",
                )
                found = ends.search(text, position)
            blank = position == start
            position = found.end() if found else len(text)
            break
        if error is None and blank and fmt.skip_blank_lines:
            continue
        number += 1
        yield Record(number, row, starts, error or _unfit(row))


def _unfit(row: list[str | None]) -> errors.SnowflakeError | None:
    for value in row:
        if value is None or (value.isascii() and len(value) <= MAX_TEXT):
            continue
        if _SURROGATE.search(value):
            return errors.SnowflakeError("100144", "22000", "Invalid UTF8 detected in string")
        if (size := len(value.encode())) > MAX_TEXT:
            return errors.SnowflakeError(
                "100082", "22000", f"Max LOB size ({MAX_TEXT}) exceeded, actual size of parsed column is {size}"
            )
    return None


def _bare(fmt: CsvFormat, line_end: str) -> re.Pattern[str]:
    """A field without enclosure: up to the delimiter or the end of the record, escapes read over."""
    escape = fmt.escape or fmt.escape_unenclosed
    stops = {fmt.delimiter[0], *((fmt.record_delimiter or "\r\n")[:2]), *(escape or "")}
    plain = f"[^{''.join(re.escape(c) for c in sorted(stops))}]++"
    escaped = f"{re.escape(escape)}.|" if escape else ""
    return re.compile(rf"(?:{plain}|{escaped}(?!{re.escape(fmt.delimiter)}|{line_end}).)*+", re.DOTALL)


def _enclosed(fmt: CsvFormat) -> re.Pattern[str] | None:
    if fmt.enclosed_by is None:
        return None
    q = re.escape(fmt.enclosed_by)
    inner = re.escape(fmt.escape) if fmt.escape and fmt.escape != fmt.enclosed_by else ""
    escaped = f"{inner}.|" if inner else ""
    return re.compile(rf"{q}((?:[^{q}{inner}]++|{escaped}{q}{q})*+){q}", re.DOTALL)


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
