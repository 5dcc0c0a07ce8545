"""The values of CSV files as Materialize writes them, as text; NULL is told from an empty text by its quotes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from mz_orchestration.exports.spec import CsvOptions


class _Stream(io.RawIOBase):
    """Chunks as a file that can be read once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def csv_batches(chunks: Iterator[bytes], width: int, csv: CsvOptions, block: int) -> Iterator[Any]:
    """Record batches of text columns, without the header line.

    Args:
        chunks: The file, in pieces; not an empty file.
        width: How many columns it has.
        csv: How it is written. An escape that is not the quote is heeded outside quotes too, which Materialize does
            not mean; files with one cannot be loaded anyway.
        block: Bytes that are looked at together; a longer record raises ``ArrowInvalid``.
    """
    import pyarrow
    import pyarrow.csv

    names = [str(number) for number in range(width)]
    escape = None if csv.escape == csv.quote else csv.escape
    yield from pyarrow.csv.open_csv(
        io.BufferedReader(_Stream(chunks)),
        read_options=pyarrow.csv.ReadOptions(
            use_threads=False, block_size=block, column_names=names, skip_rows_after_names=int(csv.header)
        ),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=csv.delimiter,
            quote_char=csv.quote,
            double_quote=escape is None,
            escape_char=escape or False,
            newlines_in_values=True,
            ignore_empty_lines=False,
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pyarrow.large_string()),
            null_values=[csv.null],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
