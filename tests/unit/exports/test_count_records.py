"""Counting CSV records, and the fields of the first, against a writer that follows Materialize's rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mz_orchestration.errors import VerificationError
from mz_orchestration.exports.spec import CsvOptions
from mz_orchestration.exports.verify.csv import count_records, with_columns


def encode(rows: list[list[str | None]], csv: CsvOptions, names: list[str | None] | None = None) -> bytes:
    quote, escape = csv.quote, csv.escape or csv.quote

    def field(value: str | None) -> str:
        if value is None:
            return csv.null
        if any(sign in value for sign in (csv.delimiter, quote, "\r", "\n")) or value == csv.null:
            inner = "".join(escape + sign if sign in (quote, escape) else sign for sign in value)
            return quote + inner + quote
        return value

    header = [names or ["h"]] if csv.header else []
    return "".join(csv.delimiter.join(field(value) for value in row) + "\n" for row in header + rows).encode()


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


def checked(data: bytes, names: list[str], csv: CsvOptions, size: int = 1 << 18) -> bytes:
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(with_columns(chunks, names, csv, source="s3://b/f.csv"))


@given(tables.filter(bool), dialects, st.integers(1, 99), st.data())
def test_any_table_has_its_columns(
    rows: list[list[str | None]], csv: CsvOptions, size: int, data: st.DataObject
) -> None:
    texts = st.text(alphabet="a\"'\\\\,;\n|é", max_size=8)
    names = data.draw(st.lists(texts, min_size=len(rows[0]), max_size=len(rows[0]), unique=True))
    body = encode(rows, csv, [*names])
    assert checked(body, names, csv) == body
    assert checked(body, names, csv, size) == body
    with pytest.raises(VerificationError, match=rf"{len(rows[0])} field.* in its .*, not the {len(rows[0]) + 1} that"):
        checked(body, [*names, "other"], csv)
    if csv.header:
        with pytest.raises(VerificationError, match=f"calls column {len(names)} .* was exported"):
            checked(body, [*names[:-1], "other"], csv)


@pytest.mark.parametrize(
    ("data", "csv", "said"),
    [
        (b"onlyonefield\n", CsvOptions(), "1 field in its first record, not the 2 that were exported"),
        (b"1,a,\n", CsvOptions(), "3 fields in its first record, not the 2 that were exported"),
        (b"\n", CsvOptions(), "1 field in its first record"),
        (b'"1,a"\n', CsvOptions(), "1 field in its first record"),
        (b"1,a\n", CsvOptions(delimiter=";"), "1 field in its first record"),
        (b"1,a\n", CsvOptions(header=True), "calls column 1 '1' in its header line, where 'id' was exported"),
        (b"name,id\n", CsvOptions(header=True), "calls column 1 'name' in its header line, where 'id'"),
        (b"id,name\r\n", CsvOptions(header=True), r"calls column 2 'name\\r' in its header line, where 'name'"),
        (b"id,\xff\n", CsvOptions(header=True), r"calls column 2 '\\udcff' in"),
        (b"id\n1,a\n", CsvOptions(header=True), "1 field in its header line, not the 2 that were exported"),
        (b"id,name\n1\n", CsvOptions(header=True), "1 field in its first record, not the 2 that were exported"),
    ],
)
def test_other_columns(data: bytes, csv: CsvOptions, said: str) -> None:
    with pytest.raises(VerificationError, match=f"^s3://b/f.csv .*{said}"):
        checked(data, ["id", "name"], csv)


@pytest.mark.parametrize(
    ("data", "names", "csv"),
    [
        (b"", ["id", "name"], CsvOptions()),
        (b"\n", ["id"], CsvOptions()),
        (b"\n\n", [], CsvOptions(header=True)),
        (b"a,a,b,a\n", ["a", "a2", "b", "a3"], CsvOptions(header=True)),
        (b"a,a2\n", ["a", "a2"], CsvOptions(header=True)),
        # An escape that is not within quotes is a byte like any other.
        (b"a\\,b\n", ["id", "name"], CsvOptions(escape="\\")),
        (b'"a\\",","b"\n', ["id", "name"], CsvOptions(escape="\\")),
    ],
)
def test_unusual_columns(data: bytes, names: list[str], csv: CsvOptions) -> None:
    assert checked(data, names, csv) == data


def test_a_record_longer_than_a_chunk_is_not_checked() -> None:
    assert checked(b"onlyonefield\n", ["id", "name"], CsvOptions(), size=12) == b"onlyonefield\n"
    with pytest.raises(VerificationError, match="1 field "):
        checked(b"onlyonefield\n", ["id", "name"], CsvOptions(), size=13)
