"""Counting CSV records against a writer that follows Materialize's rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mz_orchestration.errors import VerificationError
from mz_orchestration.exports.spec import CsvOptions
from mz_orchestration.exports.verify.csv import count_records


def encode(rows: list[list[str | None]], csv: CsvOptions) -> bytes:
    quote, escape = csv.quote, csv.escape or csv.quote

    def field(value: str | None) -> str:
        if value is None:
            return csv.null
        if any(sign in value for sign in (csv.delimiter, quote, "\r", "\n")) or value == csv.null:
            inner = "".join(escape + sign if sign in (quote, escape) else sign for sign in value)
            return quote + inner + quote
        return value

    lines = [csv.delimiter.join(field(value) for value in row) + "\n" for row in rows]
    header = ["h\n"] if csv.header else []
    return "".join(header + lines).encode()


values = st.none() | st.text(alphabet="a\"'\\,;\n\r|é", max_size=8)
tables = st.integers(1, 3).flatmap(lambda width: st.lists(st.lists(values, min_size=width, max_size=width)))
dialects = st.sampled_from(
    [
        CsvOptions(),
        CsvOptions(header=True),
        CsvOptions(delimiter=";", quote="'"),
        CsvOptions(escape="\\"),
        CsvOptions(quote="'", escape="|", null="a", header=True),
    ]
)


@given(tables, dialects, st.integers(1, 7))
def test_any_table_in_any_chunks(rows: list[list[str | None]], csv: CsvOptions, size: int) -> None:
    data = encode(rows, csv)
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    assert count_records(chunks, csv) == len(rows)


@pytest.mark.parametrize("data", [b"a,b", b'"a\n', b'a\n"b\n'])
def test_a_file_that_ends_in_mid_record(data: bytes) -> None:
    with pytest.raises(VerificationError, match="middle of a record"):
        count_records([data], CsvOptions())


def test_a_header_that_is_missing() -> None:
    with pytest.raises(VerificationError, match="header"):
        count_records([], CsvOptions(header=True))
