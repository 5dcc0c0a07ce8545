"""The fast and the exact CSV reader agree wherever the fast one is used."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mz_orchestration.local.snowflake import csv_files
from mz_orchestration.local.snowflake.errors import SnowflakeError
from mz_orchestration.local.snowflake.file_formats import CsvFormat

MATERIALIZE = CsvFormat(enclosed_by='"', escape_unenclosed=None, null_if=())
FIELDS = st.one_of(st.none(), st.text(alphabet='ab ,"\n\r\\;é🚀', max_size=6))
ROWS = st.lists(st.tuples(FIELDS, FIELDS, FIELDS), min_size=1, max_size=8)


def written(rows: list[tuple[str | None, ...]]) -> bytes:
    """As Materialize writes: NULL is nothing, the empty string two quotes."""
    out = io.StringIO()
    for row in rows:
        fields = ["" if f is None else '"' + f.replace('"', '""') + '"' for f in row]
        out.write(",".join(fields) + "\n")
    return out.getvalue().encode()


def read(path: Path, data: bytes, fmt: CsvFormat, expected: int | None = 3) -> list[tuple[str | None, ...]]:
    path.write_bytes(data)
    connection = duckdb.connect()
    source = csv_files.open_csv(connection, path, fmt, expected)
    return connection.execute(f"SELECT * FROM {source.sql} AS src").fetchall()


@given(ROWS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_written_is_read(tmp_path: Path, rows: list[tuple[str | None, ...]]) -> None:
    assert read(tmp_path / "a.csv", written(rows), MATERIALIZE) == rows


@given(ROWS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_readers_agree(tmp_path: Path, rows: list[tuple[str | None, ...]]) -> None:
    data = written(rows)
    exact = [tuple(record) for record in csv_files._records(data, MATERIALIZE)]
    assert read(tmp_path / "a.csv", data, MATERIALIZE) == exact


def test_the_transaction_survives_what_the_fast_reader_cannot_take(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'"two\r\nlines",b,c\nd,e,f\n')
    connection = duckdb.connect()
    connection.begin()
    source = csv_files.open_csv(connection, path, MATERIALIZE, 3)
    rows = connection.execute(f"SELECT * FROM {source.sql} AS src").fetchall()
    assert rows == [("two\r\nlines", "b", "c"), ("d", "e", "f")]


def test_the_exact_reader_takes_what_the_standard_library_writes() -> None:
    rows = [["a", 'say "x"', "1,2"], ["line\nbreak", "", "é"]]
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    fmt = CsvFormat(enclosed_by='"', empty_as_null=False, null_if=())
    assert list(csv_files._records(out.getvalue().encode(), fmt)) == rows


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"a,b\n", "100080"), (b"a,b,c,d\n", "100080"), (b'"a"b,c,d\n', "100016"), (b'"a,b,c\n', "100066")],
)
def test_broken_records(tmp_path: Path, data: bytes, code: str) -> None:
    with pytest.raises(SnowflakeError) as caught:
        read(tmp_path / "a.csv", data, MATERIALIZE)
    assert caught.value.code == code
