"""CSV files as streams of bytes: how many records they hold, and whether they begin with the columns exported."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from mz_orchestration.errors import VerificationError
from mz_orchestration.exports.spec import CsvOptions
from mz_orchestration.exports.verify.result import AGAIN

_SHOWN = 60


def count_records(chunks: Iterable[bytes], csv: CsvOptions, *, source: str = "A CSV file") -> int:
    """Data records in the bytes of one CSV file as Materialize writes it, without the header line.

    Every byte is looked at once and none is kept, however long a field is.

    Args:
        chunks: The file, in pieces of any size.
        csv: How it is written.
        source: Where it came from, named in errors.

    Raises:
        VerificationError: The file ends inside quotes or in the middle of a record.
    """
    quote = csv.quote.encode()
    inside_field = _inside_field(quote, (csv.escape or csv.quote).encode())
    quoted_field = re.compile(re.escape(quote) + inside_field.pattern + re.escape(quote))
    records, last = 0, b"\n"
    inside = escaping = False  # whether the chunk before ended within quotes, and right behind an escape byte

    def leave(text: bytes) -> bytes:
        """What stands behind the field that ``text`` begins in, or nothing if it does not end here."""
        nonlocal inside, escaping
        end = inside_field.match(text, 1 if escaping and text else 0).end()  # type: ignore[union-attr]
        inside = text[end : end + 1] != quote
        escaping = inside and end < len(text)
        return b"" if inside else b"_" + text[end + 1 :]

    for chunk in chunks:
        text = leave(chunk) if inside else chunk
        text, opening, rest = quoted_field.sub(b"_", text).partition(quote)
        if opening:
            escaping = False
            leave(rest)
        records += text.count(b"\n")
        last = text[-1:] or last
    if inside or last != b"\n" or (csv.header and records == 0):
        raise VerificationError(f"{source} ends in the middle of a record or lacks its header.", hint=AGAIN)
    return records - csv.header


def with_columns(
    chunks: Iterable[bytes], names: Sequence[str], csv: CsvOptions, *, source: str = "A CSV file"
) -> Iterator[bytes]:
    """The chunks as they come, the first looked at on its way.

    The header line, where there is one, must name the columns, and the first record must have a field for each. Either
    is left alone where it does not end within the first chunk.

    Args:
        chunks: The file, in pieces.
        names: The columns that were exported.
        csv: How the file is written.
        source: Where it came from, named in errors.

    Raises:
        VerificationError: It has other columns.
    """
    rest = iter(chunks)
    first = next(rest, b"")
    # No columns make an empty line, and so does one that is NULL.
    expected = list(names) or [""]
    records = _records(first, csv)
    for header in (True, False) if csv.header else (False,):
        fields = next(records, None)
        if fields is None:
            break
        if len(fields) != len(expected):
            where = "header line" if header else "first record"
            raise VerificationError(
                f"{source} has {len(fields)} {'field' if len(fields) == 1 else 'fields'} in its {where}, not the "
                f"{len(expected)} that were exported.",
                hint=AGAIN,
            )
        if header:
            _check_names(fields, expected, source)
    yield first
    yield from rest


def _check_names(fields: list[bytes], expected: list[str], source: str) -> None:
    counts: Counter[str] = Counter()
    for number, (field, name) in enumerate(zip(fields, expected, strict=True), 1):
        found = field.decode(errors="surrogateescape")
        counts[found] += 1
        # Columns that share a name are numbered everywhere but in the header line.
        if name != (found if counts[found] == 1 else f"{found}{counts[found]}"):
            raise VerificationError(
                f"{source} calls column {number} {found[:_SHOWN]!r} in its header line, where {name!r} was exported.",
                hint=AGAIN,
            )


def _records(text: bytes, csv: CsvOptions) -> Iterator[list[bytes]]:
    """The fields of each record that ends within the text.

    The standard library's reader heeds an escape outside quotes too, where Materialize writes it as it is.
    """
    quote, escape = csv.quote.encode(), (csv.escape or csv.quote).encode()
    q, e, d = re.escape(quote), re.escape(escape), re.escape(csv.delimiter.encode())
    inside = b"(?:[^" + q + b"]+|" + q + q + b")*+" if quote == escape else _inside_field(quote, escape).pattern
    field = re.compile(b"(?:" + q + b"(" + inside + b")" + q + b"|(?!" + q + b"))([^" + d + rb"\n]*)(" + d + rb"|\n)")
    escaped = re.compile(e + rb"([\s\S])")
    fields: list[bytes] = []
    position = 0
    while match := field.match(text, position):
        position = match.end()
        quoted, plain, end = match.groups()
        fields.append(escaped.sub(rb"\1", quoted or b"") + plain)
        if end == b"\n":
            yield fields
            fields = []


def _inside_field(quote: bytes, escape: bytes) -> re.Pattern[bytes]:
    """Everything up to a field's closing quote."""
    q, e = re.escape(quote), re.escape(escape)
    if quote == escape:
        # A doubled quote closes one field and opens another as far as counting goes.
        return re.compile(b"[^" + q + b"]*")
    return re.compile(b"(?:[^" + q + e + rb"]+|" + e + rb"[\s\S])*+")
