"""Counting the records of CSV files: a stream of bytes in, a number out."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mz_orchestration.errors import VerificationError
from mz_orchestration.exports.spec import CsvOptions
from mz_orchestration.exports.verify.result import AGAIN


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


def _inside_field(quote: bytes, escape: bytes) -> re.Pattern[bytes]:
    """Everything up to a field's closing quote."""
    q, e = re.escape(quote), re.escape(escape)
    if quote == escape:
        # A doubled quote closes one field and opens another as far as counting goes.
        return re.compile(b"[^" + q + b"]*")
    return re.compile(b"(?:[^" + q + e + rb"]+|" + e + rb"[\s\S])*+")
