"""Counting what the files really hold: Parquet by footers, CSV by records.

A footer costs one ranged GET of at most 64 KiB, conditional on the ETag of the listing; files are read by a few
threads, since each request is mostly waiting. CSV has no footer: its records are counted by streaming every byte.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module

from mz_orchestration.errors import VerificationError
from mz_orchestration.exports.spec import CsvOptions
from mz_orchestration.materialize.types import Column
from mz_orchestration.objectstore.client import ObjectInfo, ObjectStore
from mz_orchestration.objectstore.location import Location

AGAIN = "Do not load these files. Run the export again with the same run key: it starts in a fresh path."

_TAIL = 64 << 10
_THREADS = 16
_EXTENSION_NAME = b"ARROW:extension:name"
_EXTENSION_PREFIX = "materialize.v1."


@dataclass(frozen=True, slots=True)
class Footer:
    """What a Parquet footer says: number of rows, and each column's name with Materialize's name of its type."""

    rows: int
    columns: tuple[tuple[str, str], ...]


def count_rows(
    store: ObjectStore,
    bucket: Location,
    files: Iterable[ObjectInfo],
    columns: Iterable[Column],
    csv: CsvOptions | None,
) -> list[int]:
    """Rows of each file, in order.

    Args:
        store: Where they lie.
        bucket: Any location in their bucket.
        files: The files as listed.
        columns: The columns each file must have, with casts.
        csv: How CSV is written; None for Parquet.

    Raises:
        VerificationError: A file changed since it was listed, is damaged, or has other columns.
    """

    def rows(file: ObjectInfo) -> int:
        at = Location(bucket.bucket, file.key, bucket.scheme)
        if csv is not None:
            return count_records(store.stream(at, file.etag), csv)
        footer = read_footer(store, at, file)
        found = [name for name, _ in footer.columns]
        if found != expected:
            raise VerificationError(
                f"{at} has the columns {', '.join(found)} where {', '.join(expected)} were exported.",
                hint=AGAIN,
            )
        return footer.rows

    listed = list(files)
    expected = [column.name for column in columns]
    with ThreadPoolExecutor(max_workers=max(1, min(_THREADS, len(listed)))) as pool:
        return list(pool.map(rows, listed))


def prepare_reader() -> None:
    """Begin to import the Parquet reader, which takes a fifth of a second, while something else is waited for."""
    # No daemon: the interpreter must not end in the middle of loading a library.
    threading.Thread(target=import_module, args=("pyarrow.parquet",), name="import-pyarrow").start()


def read_footer(store: ObjectStore, at: Location, file: ObjectInfo) -> Footer:
    """Read one Parquet footer; one request, or two when it is larger than 64 KiB.

    Raises:
        VerificationError: The file is not Parquet, or changed since it was listed.
    """
    tail = store.get_tail(at, file.size, _TAIL, file.etag)
    length = int.from_bytes(tail[-8:-4], "little") + 8 if tail[-4:] == b"PAR1" else 0
    if not 8 < length <= file.size:
        raise VerificationError(
            f"{at} is not a complete Parquet file: its last bytes are no footer.",
            hint=AGAIN,
        )
    if length > len(tail):
        tail = store.get_tail(at, file.size, length, file.etag)
    return _parse_footer(tail, at)


def count_records(chunks: Iterable[bytes], csv: CsvOptions) -> int:
    """Data records in the bytes of one CSV file as Materialize writes it, without the header line.

    Every byte is looked at once and none is kept, however long a field is.

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
        raise VerificationError("A CSV file ends in the middle of a record or lacks its header.", hint=AGAIN)
    return records - csv.header


def _inside_field(quote: bytes, escape: bytes) -> re.Pattern[bytes]:
    """Everything up to a field's closing quote."""
    q, e = re.escape(quote), re.escape(escape)
    if quote == escape:
        # A doubled quote closes one field and opens another as far as counting goes.
        return re.compile(b"[^" + q + b"]*")
    return re.compile(b"(?:[^" + q + e + rb"]+|" + e + rb"[\s\S])*+")


def _parse_footer(tail: bytes, at: Location) -> Footer:
    import pyarrow
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_metadata(pyarrow.BufferReader(tail))
        schema = metadata.schema.to_arrow_schema()
    except (pyarrow.ArrowException, OSError) as error:
        raise VerificationError(f"{at} has a damaged Parquet footer: {error}.", hint=AGAIN) from error
    columns = tuple(
        (
            field.name,
            (field.metadata or {}).get(_EXTENSION_NAME, b"").decode().removeprefix(_EXTENSION_PREFIX),
        )
        for field in schema
    )
    return Footer(metadata.num_rows, columns)
