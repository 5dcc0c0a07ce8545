"""What a Parquet file says about itself, and whether that is true.

The footer, at the end of a file, holds its schema and the number of its rows; a file is as good as complete once it
has one, since it is written last. Only decoding every page of every column shows that the rest is whole too.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import IO, Any, cast

from mz_orchestration.errors import UnavailableError, VerificationError
from mz_orchestration.exports.verify.result import AGAIN, Counted
from mz_orchestration.materialize.sql_types import RANGE_TYPES
from mz_orchestration.materialize.types import Column
from mz_orchestration.objectstore.client import ObjectInfo, ObjectStore
from mz_orchestration.objectstore.location import Location
from mz_orchestration.objectstore.ranges import TailReader

# Footers of exports have one to five kilobytes up to twenty columns, and a quarter of a kilobyte for each further one.
FIRST_TAIL = 8 << 10
_MAX_LEARNT_TAIL = 1 << 20
_MAX_FOOTER = 64 << 20
_MAGIC = b"PAR1"
SMALLEST = 12  # magic, length and magic

_EXTENSION_NAME = b"ARROW:extension:name"
_EXTENSION_PREFIX = "materialize.v1."
# src/arrow-util/src/builder.rs, where the name differs from that in SQL.
_EXTENSIONS = {"double precision": "double", "varchar": "text", "char": "text"} | dict.fromkeys(RANGE_TYPES, "range")
_KNOWN_EXTENSIONS = frozenset(
    [
        *("boolean", "smallint", "integer", "bigint", "uint2", "uint4", "uint8", "oid", "real", "double", "numeric"),
        *("date", "time", "timestamp", "timestamptz", "bytea", "text", "uuid", "jsonb", "mz_timestamp"),
        *("array", "list", "map", "record", "range"),
    ]
)

CHUNK = 1 << 20
_BUFFER = 64 << 10
_BATCH_BYTES = 8 << 20
_BATCH_ROWS = 1024


class FooterReader:
    """Reads the footers of the files of one export; for many threads at once.

    A footer is read by one request of `FIRST_TAIL` bytes; one that is larger takes a second request, and the files
    behind it begin with what it took.

    Args:
        tails: Reads the ends of the files.
        folder: Any location in their bucket.
        columns: What each file must hold.
    """

    def __init__(self, tails: TailReader, folder: Location, columns: Sequence[Column]) -> None:
        self._tails = tails
        self._folder = folder
        self._columns = columns
        self._length = FIRST_TAIL
        self._checked: tuple[Any, Any, Counted] | None = None

    def read(self, file: ObjectInfo) -> Counted:
        """Rows and types by the footer.

        Raises:
            VerificationError: It is not Parquet, is damaged, has other columns, or another object lies there by now.
        """
        at = Location(self._folder.bucket, file.key, self._folder.scheme)
        tail = self._tails.read(file, self._length)
        length = _footer_length(tail, file.size, at)
        if length > len(tail):
            self._length = max(self._length, min(-(-length // 4096) * 4096, _MAX_LEARNT_TAIL))
            tail = self._tails.read(file, length)
        return self._parse(tail, at)

    def _parse(self, tail: bytes, at: Location) -> Counted:
        import pyarrow
        import pyarrow.parquet

        try:
            metadata = pyarrow.parquet.read_metadata(pyarrow.BufferReader(tail))
            groups = (metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))
            if metadata.num_rows != sum(groups):
                raise VerificationError(
                    f"{at} has a damaged Parquet footer: {metadata.num_rows} is not the rows of its row groups.",
                    hint=AGAIN,
                )
            # All files of an export have one schema; to compare is a tenth of the work of checking again.
            schema, arrow = metadata.schema, (metadata.metadata or {}).get(b"ARROW:schema")
            known = self._checked
            if known is not None and known[1] == arrow and known[0].equals(schema):
                return Counted(metadata.num_rows, known[2].source_types)
            found = Counted(metadata.num_rows, _checked_types(schema.to_arrow_schema(), self._columns, at))
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise VerificationError(f"{at} has a damaged Parquet footer: {error}.", hint=AGAIN) from error
        self._checked = schema, arrow, found
        return found


def decode(store: ObjectStore, at: Location, file: ObjectInfo, columns: Sequence[Column]) -> Counted:
    """Read every byte of a Parquet file and decode every value.

    The file is kept in the temporary folder meanwhile: its columns lie one behind the other, and memory must not grow
    with them.

    Raises:
        VerificationError: It is damaged, has other columns, or another object lies there by now.
        UnavailableError: There is no room for it in the temporary folder.
    """
    with open_parquet(store.stream(at, file.etag, CHUNK), at, file.size, columns) as (parquet, types):
        rows = sum(_decoded_rows(parquet, number, at) for number in range(parquet.num_row_groups))
        claimed = parquet.metadata.num_rows
    if rows != claimed:
        raise VerificationError(f"{at} holds {rows} rows where its footer says {claimed}.", hint=AGAIN)
    return Counted(rows, types)


@contextmanager
def open_parquet(
    chunks: Iterator[bytes], at: Location, size: int, columns: Sequence[Column]
) -> Iterator[tuple[Any, dict[str, str]]]:
    """A ``ParquetFile`` over all bytes of a file, kept in the temporary folder, and the types its columns have.

    Raises:
        VerificationError: It is damaged, or has other columns; also where the damage shows within the context.
        UnavailableError: There is no room for it in the temporary folder.
    """
    import pyarrow
    import pyarrow.parquet

    with _kept(chunks, at) as (copy, tail):
        found = copy.tell()
        if found != size:
            raise VerificationError(f"{at} ended after {found} bytes where the listing says {size}.", hint=AGAIN)
        _footer_length(tail, size, at)
        try:
            parquet = pyarrow.parquet.ParquetFile(copy, buffer_size=_BUFFER, page_checksum_verification=True)
            yield parquet, _checked_types(parquet.schema_arrow, columns, at)
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise VerificationError(f"{at} is a damaged Parquet file: {error}.", hint=AGAIN) from error


def column_batches(parquet: Any, number: int, name: str) -> Iterator[Any]:
    """One column of a row group, in pieces small enough for memory.

    One column after the other: the pages of a thousand columns at once fill a gigabyte.
    """
    group = parquet.metadata.row_group(number)
    width = max(1, group.total_byte_size // max(1, group.num_rows))
    size = max(1, min(_BATCH_ROWS, _BATCH_BYTES // width))
    yield from parquet.iter_batches(size, row_groups=[number], columns=[name], use_threads=False)


def prepare_reader() -> None:
    """Begin to import the Parquet reader, which takes a fifth of a second, while something else is waited for."""
    # No daemon: the interpreter must not end in the middle of loading a library.
    threading.Thread(target=import_module, args=("pyarrow.parquet",), name="import-pyarrow").start()


def _footer_length(tail: bytes, size: int, at: Location) -> int:
    """How many bytes the footer and what frames it take, by the last eight of the file."""
    length = int.from_bytes(tail[-8:-4], "little") + 8 if tail[-4:] == _MAGIC else 0
    if not SMALLEST - 4 < length <= size - 4:
        raise VerificationError(f"{at} is not a complete Parquet file: its last bytes are no footer.", hint=AGAIN)
    if length > _MAX_FOOTER:
        raise VerificationError(f"{at} has a damaged Parquet footer: it claims to take {length} bytes.", hint=AGAIN)
    return length


def _checked_types(schema: Any, columns: Sequence[Column], at: Location) -> dict[str, str]:
    """Materialize's name of each column's type.

    Raises:
        VerificationError: The columns are not those that were exported, or one has another type.
    """
    names, expected = list(schema.names), [column.name for column in columns]
    if names != expected:
        raise VerificationError(f"{at} has {_differing(names, expected)}.", hint=AGAIN)
    types = {
        field.name: (field.metadata or {}).get(_EXTENSION_NAME, b"").decode().removeprefix(_EXTENSION_PREFIX)
        for field in schema
    }
    for column in columns:
        written = column.exported
        wanted = "array" if written.array else _EXTENSIONS.get(written.type, written.type)
        found = types[column.name]
        # A later version may know types, and call them by names, that are unknown here.
        if found != wanted and {found, wanted} <= _KNOWN_EXTENSIONS:
            raise VerificationError(
                f"{at} holds {found} in the column {column.name}, where {written.text} was exported.", hint=AGAIN
            )
    return {name: found for name, found in types.items() if found}


def _differing(found: list[str], expected: list[str]) -> str:
    if len(found) + len(expected) <= 40:
        return f"the columns {', '.join(found)} where {', '.join(expected)} were exported"
    pairs = zip([*found, None], [*expected, None], strict=False)
    number, (have, want) = next((n, pair) for n, pair in enumerate(pairs, 1) if pair[0] != pair[1])
    return f"{len(found)} columns where {len(expected)} were exported, number {number} being {have} and not {want}"


@contextmanager
def _kept(chunks: Iterator[bytes], at: Location) -> Iterator[tuple[IO[bytes], bytes]]:
    """The chunks in a temporary file without a name, so that a kill leaves none behind; and the last bytes of them."""
    with ExitStack() as stack:
        try:
            copy = cast("IO[bytes]", stack.enter_context(tempfile.TemporaryFile(buffering=0)))
        except OSError as error:
            raise _no_room(at, error) from error
        tail = b""
        for chunk in chunks:
            tail = (tail + chunk)[-8:]
            rest = memoryview(chunk)
            try:
                while rest:
                    rest = rest[copy.write(rest) :]
            except OSError as error:
                raise _no_room(at, error) from error
        yield copy, tail


def _no_room(at: Location, error: OSError) -> UnavailableError:
    return UnavailableError(
        f"{at} cannot be kept in {tempfile.gettempdir()} while it is read: {error.strerror}.",
        hint="Set TMPDIR to a folder with room for four files of the export.",
    )


def _decoded_rows(parquet: Any, number: int, at: Location) -> int:
    """Rows of a row group, each of its columns decoded and as long as the footer says."""
    group = parquet.metadata.row_group(number)
    for name in parquet.schema_arrow.names:
        rows = 0
        for batch in column_batches(parquet, number, name):
            batch.validate(full=True)
            rows += batch.num_rows if batch.num_columns else 0
        if rows != group.num_rows:
            raise VerificationError(
                f"{at} holds {rows} values of the column {name} in row group {number} where its footer says "
                f"{group.num_rows}.",
                hint=AGAIN,
            )
    rows_of_group: int = group.num_rows
    return rows_of_group
