from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mz_orchestration.exports.spec import CsvOptions, export_spec
from mz_orchestration.exports.statistics import (
    ColumnStatistics,
    Kind,
    Source,
    Statistics,
    described,
    kind_of,
    read_described,
)
from mz_orchestration.exports.statistics.csv import csv_batches
from mz_orchestration.exports.statistics.materialize import read_statistics, statistics_statement
from mz_orchestration.exports.statistics.model import canonical, float_text, moment_text, number_text
from mz_orchestration.exports.statistics.tally import Tally
from mz_orchestration.materialize.types import Column


def column(type: str, **fields: Any) -> Column:
    return Column(name="c", type=type, **fields)


AMOUNT = column("numeric", scale=2)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (column("integer"), Kind.NUMBER),
        (column("uint8", cast="numeric(20,0)"), Kind.NUMBER),
        (AMOUNT, Kind.NUMBER),
        # What counts is what is written.
        (column("numeric", cast="text"), Kind.TEXT),
        (column("uuid", cast="text"), Kind.TEXT),
        # Parquet and CSV hold different digits of it.
        (column("numeric"), Kind.OTHER),
        (column("integer", array=True), Kind.OTHER),
        # Padded in some places only.
        (column("char", length=3), Kind.OTHER),
        (column("jsonb"), Kind.OTHER),
        (column("real"), Kind.FLOAT),
    ],
)
def test_what_can_be_said_of_a_type(given: Column, kind: Kind) -> None:
    assert kind_of(given) is kind


@pytest.mark.parametrize(
    ("type", "text", "expected"),
    [
        ("numeric", "-0.50", "-0.5"),
        ("numeric", "-0.00", "0"),
        ("bigint", "100", "100"),
        ("numeric", "NaN", None),
        ("double precision", "1e-05", "1e-05"),
        ("double precision", "-0", "0.0"),
        ("double precision", "Infinity", "Infinity"),
        ("double precision", "NaN", "NaN"),
        # The double that four bytes hold, and not the one that the text would be.
        ("real", "0.1", "0.10000000149011612"),
        ("date", "2026-11-22", "2026-11-22"),
        ("date", "0044-03-15 BC", None),
        ("date", "10000-01-01", None),
        ("time", "10:10:10.5", "10:10:10.500000"),
        ("time", "24:00:00", None),
        ("timestamp", "2026-11-22 10:10:10", "2026-11-22T10:10:10.000000"),
        ("timestamptz", "2026-11-22 10:10:10.123+00", "2026-11-22T10:10:10.123000Z"),
        ("timestamptz", "20260-11-22 10:10:10+00", None),
        ("text", "ä" * 128, "ä" * 128),
        ("text", "ä" * 129, None),
    ],
)
def test_canonical_texts(type: str, text: str, expected: str | None) -> None:
    assert canonical(text, column(type, scale=2 if type == "numeric" else None)) == expected


def counted(of: Column, *pieces: pa.Array) -> ColumnStatistics:
    total = Tally(of)
    for piece in pieces:
        tally = Tally(of)
        tally.add(piece)
        total.merge(tally)
    return total.statistics()


DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**35), max_value=10**35)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.none() | DECIMALS, max_size=8), max_size=3))
def test_numbers_are_added_exactly(pieces: list[list[Decimal | None]]) -> None:
    values = [value for piece in pieces for value in piece if value is not None]
    found = counted(AMOUNT, *(pa.array(piece, pa.decimal128(38, 2)) for piece in pieces))
    assert found.nulls == sum(len(piece) for piece in pieces) - len(values)
    if not values:
        assert (found.minimum, found.maximum, found.total) == (None, None, None)
        return
    assert (found.minimum, found.maximum) == (number_text(min(values)), number_text(max(values)))
    assert found.total is not None
    assert Fraction(found.total) == sum(Fraction(value) for value in values)
    text = [pa.array([None if value is None else str(value) for value in piece], pa.large_string()) for piece in pieces]
    assert counted(AMOUNT, *text) == found


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.none() | st.floats(), max_size=8), max_size=3))
def test_nan_is_larger_than_any_other_number(pieces: list[list[float | None]]) -> None:
    of = column("double precision")
    values = [value for piece in pieces for value in piece if value is not None]
    # Arrow must not take NaN for NULL.
    found = counted(of, *(pa.array(piece, pa.float64(), from_pandas=False) for piece in pieces))
    if not values:
        assert found.minimum is None
        return
    ordered = sorted(values, key=lambda value: (math.isnan(value), value))
    assert (found.minimum, found.maximum) == (float_text(ordered[0], of), float_text(ordered[-1], of))
    if found.total is None:
        assert not math.isfinite(sum(values)) or not all(map(math.isfinite, values))
    else:
        largest = max(abs(value) for value in values)
        assert abs(float(found.total) - math.fsum(values)) <= 1e-14 * len(values) * largest


MOMENTS = st.datetimes(timezones=st.just(UTC))


@settings(deadline=None, max_examples=50)
@given(st.lists(MOMENTS, min_size=1, max_size=8))
def test_moments(moments: list[datetime]) -> None:
    local = [moment.replace(tzinfo=None) for moment in moments]
    for of, type, values in (
        (column("timestamptz"), pa.timestamp("us", "+00:00"), moments),
        (column("timestamp"), pa.timestamp("us"), local),
        (column("date"), pa.date32(), [moment.date() for moment in local]),
        (column("time"), pa.time64("us"), [moment.time() for moment in local]),
    ):
        low: date | time | datetime = min(values)
        high: date | time | datetime = max(values)
        expected = (moment_text(low), moment_text(high))
        found = counted(of, pa.array(values, type))
        assert (found.minimum, found.maximum) == expected
        # As Materialize writes CSV: a fraction only where there is one.
        texts = [str(value) for value in values]
        found = counted(of, pa.array(texts, pa.large_string()))
        assert (found.minimum, found.maximum) == expected


def test_years_that_only_materialize_knows_are_not_compared() -> None:
    days = pa.array([-1_000_000, 4_000_000], pa.int32()).cast(pa.date32())
    assert counted(column("date"), days) == ColumnStatistics(name="c", nulls=0)
    beyond = (datetime.max - datetime(1970, 1, 1)) // timedelta(microseconds=1) + 1
    instants = pa.array([0, beyond], pa.int64()).cast(pa.timestamp("us", "+00:00"))
    found = counted(column("timestamptz"), instants)
    assert (found.minimum, found.maximum) == ("1970-01-01T00:00:00.000000Z", None)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(max_size=5), min_size=1, max_size=8))
def test_texts_are_compared_by_their_bytes(values: list[str]) -> None:
    values = [value for value in values if value.isprintable()] or [""]
    found = counted(column("text"), pa.array(values, pa.large_string()))
    assert found.minimum == min(values, key=str.encode)
    assert found.maximum == max(values, key=str.encode)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([True, True, None], (1, "true", "true", "2")),
        ([False, True], (0, "false", "true", "1")),
        ([False], (0, "false", "false", "0")),
        ([None], (1, None, None, None)),
        ([], (0, None, None, None)),
    ],
)
def test_booleans(values: list[bool | None], expected: tuple[int, str | None, str | None, str | None]) -> None:
    for piece in (
        pa.array(values, pa.bool_()),
        pa.array([None if value is None else "ft"[value] for value in values], pa.large_string()),
    ):
        found = counted(column("boolean"), piece)
        assert (found.nulls, found.minimum, found.maximum, found.total) == expected


def records(body: bytes, width: int, csv: CsvOptions | None = None, block: int = 1 << 20) -> list[list[str | None]]:
    pieces = (body[at : at + 7] for at in range(0, len(body), 7))
    batches = csv_batches(pieces, width, csv or CsvOptions(), block)
    return [list(row.values()) for batch in batches for row in batch.to_pylist()]


@pytest.mark.parametrize(
    ("body", "width", "csv", "expected"),
    [
        (b'a,""\n,"x\r\ny""z"\n', 2, CsvOptions(), [["a", ""], [None, 'x\r\ny"z']]),
        # One column: an empty line is a NULL.
        (b'\n""\n\n', 1, CsvOptions(), [[None], [""], [None]]),
        (b'"h\n1",h1\n1,2\n', 2, CsvOptions(header=True), [["1", "2"]]),
        (b"h1,h2\n", 2, CsvOptions(header=True), []),
        (b"a;'N;'\nN;'N'\n", 2, CsvOptions(delimiter=";", quote="'", null="N"), [["a", "N;"], [None, "N"]]),
        (b'"a\\"b",c\n', 2, CsvOptions(escape="\\"), [['a"b', "c"]]),
        ("ä,NULL\n".encode(), 2, CsvOptions(), [["ä", "NULL"]]),
    ],
)
def test_records(body: bytes, width: int, csv: CsvOptions, expected: list[list[str | None]]) -> None:
    assert records(body, width, csv) == expected


def test_a_record_longer_than_a_block_says_so() -> None:
    body = b'"' + b"x" * 100_000 + b'"\n'
    with pytest.raises(pa.ArrowInvalid, match="straddl"):
        records(body, 1, block=10_000)
    assert records(body, 1) == [["x" * 100_000]]


SPEC = export_spec(object="shop.orders", to="s3://bucket/exports/", connection="c")


def test_the_statement() -> None:
    columns = [
        Column(name="Id", type="integer"),
        Column(name="n", type="numeric", cast="text"),
        Column(name="ok", type="boolean"),
        Column(name="at", type="time"),
        Column(name="raw", type="bytea"),
        Column(name="u", type="uint8", cast="numeric(20,0)"),
    ]
    assert statistics_statement(SPEC, columns).as_string(None) == (
        "SELECT count(*)::text, "
        'count("c1")::text, min("c1"::bigint)::text, max("c1"::bigint)::text, sum("c1"::bigint)::text, '
        'count("c2")::text, left(min("c2"::text), 257), left(max("c2"::text), 257), '
        'count("c3")::text, count(CASE WHEN "c3" THEN 1 END)::text, '
        'count("c4")::text, min("c4"::text)::text, max("c4"::text)::text, '
        'count("c5")::text, '
        'count("c6")::text, min("c6")::text, max("c6")::text, sum("c6")::text '
        'FROM (SELECT "Id", "n"::text AS "n", "ok", "at", "raw", "u"::numeric(20,0) AS "u" FROM "shop"."orders") '
        'AS q ("c1", "c2", "c3", "c4", "c5", "c6")'
    )
    assert (
        statistics_statement(SPEC, []).as_string(None)
        == 'SELECT count(*)::text FROM (SELECT * FROM "shop"."orders") AS q'
    )


def test_columns_that_share_a_name_are_told_by_their_position() -> None:
    from mz_orchestration.materialize.types import with_casts

    columns = with_casts([column("text"), column("text")], "parquet", safe=False)
    assert [each.name for each in columns] == ["c", "c2"]
    text = statistics_statement(SPEC, columns).as_string(None)
    assert text.endswith('FROM (SELECT * FROM "shop"."orders") AS q ("c1", "c2")')


def test_the_answer() -> None:
    columns = [column("bigint"), column("text"), column("boolean"), column("jsonb"), AMOUNT]
    row = ["5", "4", "-7", "8", "2", "5", "", "x" * 257, "3", "0", "1", "5", "0.10", "1.00", "9" * 39]
    rows, statistics = read_statistics(row, columns)
    assert (rows, statistics.source) == (5, Source.MATERIALIZE)
    assert [(c.nulls, c.minimum, c.maximum, c.total) for c in statistics.columns] == [
        (1, "-7", "8", "2"),
        (0, "", None, None),
        (2, "false", "false", "0"),
        (4, None, None, None),
        # A sum of 39 digits may have been rounded to them.
        (0, "0.1", "1", None),
    ]
    assert read_described(described(columns, statistics)) == (columns, statistics)
    assert read_described(described(columns)) == (columns, None)


def test_of_no_columns() -> None:
    assert read_statistics(["3"], []) == (3, Statistics(source=Source.MATERIALIZE, columns=()))
    assert read_described(described([])) == ([], None)
