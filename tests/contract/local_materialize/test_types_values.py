"""The values of every type at its limits, read back from both formats and compared with values written down here."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from .conftest import Bucket, Copy, Refusal, StandIn

_RANGE = {"lower": 1, "upper": 5, "lower_inclusive": True, "upper_inclusive": False, "empty": False}
_DAY = 86_400_000_000
# For each type: how SQL writes a value, what Parquet holds (dates and times as days or microseconds since 1970), and
# the field in CSV.
VALUES: dict[str, list[tuple[str, object, str]]] = {
    "boolean": [("true", True, "t"), ("false", False, "f")],
    "smallint": [("'-32768'", -32768, "-32768"), ("32767", 32767, "32767")],
    "integer": [("'-2147483648'", -2147483648, "-2147483648"), ("2147483647", 2147483647, "2147483647")],
    "bigint": [
        ("'-9223372036854775808'", -9223372036854775808, "-9223372036854775808"),
        ("9223372036854775807", 9223372036854775807, "9223372036854775807"),
    ],
    "oid": [("0", 0, "0"), ("2147483648", 2147483648, "2147483648"), ("4294967295", 4294967295, "4294967295")],
    "real": [
        ("'3.4028235e38'", 3.4028234663852886e38, "3.4028235e+38"),
        ("'-1e-45'", -1.401298464324817e-45, "-1e-45"),
        ("'Infinity'", float("inf"), "Infinity"),
        ("'-Infinity'", float("-inf"), "-Infinity"),
        ("0.1", 0.10000000149011612, "0.1"),
    ],
    "double precision": [
        ("'1.7976931348623157e308'", 1.7976931348623157e308, "1.7976931348623157e+308"),
        ("'5e-324'", 5e-324, "5e-324"),
        ("'-Infinity'", float("-inf"), "-Infinity"),
        ("0.1", 0.1, "0.1"),
    ],
    "numeric": [
        (
            "9999999999999999999999999999.9999999999",
            Decimal("9999999999999999999999999999.9999999999"),
            "9999999999999999999999999999.9999999999",
        ),
        ("'-0.0000000001'", Decimal("-0.0000000001"), "-0.0000000001"),
        ("0", Decimal(0), "0"),
        ("10.50", Decimal("10.5"), "10.50"),
    ],
    "numeric(38, 0)": [("9" * 38, Decimal("9" * 38), "9" * 38), ("'-1'", Decimal(-1), "-1")],
    "numeric(38, 38)": [("0." + "9" * 38, Decimal("0." + "9" * 38), "0." + "9" * 38)],
    "numeric(12, 2)": [("'-1234567890.125'", Decimal("-1234567890.13"), "-1234567890.13"), ("7", Decimal(7), "7.00")],
    "date": [
        ("'4714-11-24 BC'", -2440588, "4714-11-24 BC"),
        ("'0001-01-01'", -719162, "0001-01-01"),
        ("'1969-12-31'", -1, "1969-12-31"),
        ("'2000-02-29'", 11016, "2000-02-29"),
        ("'9999-12-31'", 2932896, "9999-12-31"),
    ],
    "time": [
        ("'00:00'", 0, "00:00:00"),
        ("'23:59:59.999999'", _DAY - 1, "23:59:59.999999"),
        ("'04:05:06.7'", 14706700000, "04:05:06.7"),
    ],
    "timestamp": [
        ("'4714-11-24 00:00 BC'", -2440588 * _DAY, "4714-11-24 00:00:00 BC"),
        ("'1969-12-31 23:59:59.999999'", -1, "1969-12-31 23:59:59.999999"),
        ("'9999-12-31 23:59:59.999999'", 2932897 * _DAY - 1, "9999-12-31 23:59:59.999999"),
        ("'2000-02-29 12:00'", 11016 * _DAY + _DAY // 2, "2000-02-29 12:00:00"),
    ],
    "timestamptz": [
        ("'1970-01-01 00:00+05:30'", -19_800_000_000, "1969-12-31 18:30:00+00"),
        ("'9999-12-31 23:59:59.999999Z'", 2932897 * _DAY - 1, "9999-12-31 23:59:59.999999+00"),
        ("'2000-02-29 12:00-12'", 11017 * _DAY, "2000-03-01 00:00:00+00"),
    ],
    "bytea": [
        ("''", b"", "\\x"),
        ("'\\x00ff0a0d22'", b'\x00\xff\n\r"', "\\x00ff0a0d22"),
        ("decode(repeat('ab', 70000), 'hex')", b"\xab" * 70000, "\\x" + "ab" * 70000),
    ],
    "text": [
        ("''", "", '""'),
        ("'NULL'", "NULL", "NULL"),
        ("'a,b'", "a,b", '"a,b"'),
        ("'say \"hi\"'", 'say "hi"', '"say ""hi"""'),
        ("E'line\\r\\nbreak'", "line\r\nbreak", '"line\r\nbreak"'),
        ("' blanks '", " blanks ", " blanks "),
        ("'е́ 🛒 ي \u200b'", "е́ 🛒 ي \u200b", "е́ 🛒 ي \u200b"),
        ("repeat('long', 50000)", "long" * 50000, "long" * 50000),
    ],
    "varchar(5)": [("'ab,de'", "ab,de", '"ab,de"'), ("'日本語日本'", "日本語日本", "日本語日本"), ("''", "", '""')],
    "char(3)": [("'abc'", "abc", "abc")],
    "uuid": [
        ("'00000000-0000-0000-0000-000000000000'", bytes(16), "00000000-0000-0000-0000-000000000000"),
        ("'FFFFFFFF-ffff-FFFF-ffff-FFFFFFFFFFFF'", b"\xff" * 16, "ffffffff-ffff-ffff-ffff-ffffffffffff"),
        (
            "'01234567-89ab-cdef-fedc-ba9876543210'",
            bytes.fromhex("0123456789abcdeffedcba9876543210"),
            "01234567-89ab-cdef-fedc-ba9876543210",
        ),
    ],
    "jsonb": [
        ("'null'", "null", "null"),
        ("'{}'", "{}", "{}"),
        ('\'"a: b, \\" c"\'', '"a: b, \\" c"', '"""a: b, \\"" c"""'),
        (
            '\'[1, {"k": [true, null, 1.50]}, "\\u00e4"]\'',
            '[1,{"k":[true,null,1.50]},"ä"]',
            '"[1,{""k"":[true,null,1.50]},""ä""]"',
        ),
        ("'12345678901234567890.123'", "12345678901234567890.123", "12345678901234567890.123"),
    ],
    "int[]": [
        ("'{}'", {"items": [], "dimensions": 0}, "{}"),
        ("'{1,NULL,-3}'", {"items": [1, None, -3], "dimensions": 1}, '"{1,NULL,-3}"'),
        ("'{{1,2},{3,4}}'", {"items": [1, 2, 3, 4], "dimensions": 2}, '"{{1,2},{3,4}}"'),
    ],
    "text[]": [
        (
            "ARRAY['', NULL, 'a,b', '\"']",
            {"items": ["", None, "a,b", '"'], "dimensions": 1},
            '"{"""",NULL,""a,b"",""\\""""}"',
        ),
    ],
    "jsonb[]": [
        ("'{}'", {"items": [], "dimensions": 0}, "{}"),
        (
            "ARRAY['{\"a\": [1, 2]}'::jsonb, NULL]",
            {"items": ['{"a":[1,2]}', None], "dimensions": 1},
            '"{""{\\""a\\"":[1,2]}"",NULL}"',
        ),
    ],
    "numeric(8, 2)[]": [
        ("'{1.005,NULL}'", {"items": [Decimal("1.01"), None], "dimensions": 1}, '"{1.01,NULL}"'),
    ],
    "timestamptz[]": [
        (
            "'{2000-01-01 00:00+01}'",
            {"items": [dt.datetime(1999, 12, 31, 23, tzinfo=dt.UTC)], "dimensions": 1},
            '"{""1999-12-31 23:00:00+00""}"',
        ),
    ],
    "bytea[]": [("ARRAY['\\x00'::bytea]", {"items": [b"\0"], "dimensions": 1}, '"{""\\\\x00""}"')],
    "boolean[]": [("'{t,f,NULL}'", {"items": [True, False, None], "dimensions": 1}, '"{t,f,NULL}"')],
    "int4range": [
        ("'[1,5)'", _RANGE, '"[1,5)"'),
        ("'(1,5]'", {**_RANGE, "lower": 2, "upper": 6}, '"[2,6)"'),
        ("'(,)'", {**_RANGE, "lower": None, "upper": None, "lower_inclusive": False}, '"(,)"'),
        ("'empty'", {**_RANGE, "lower": None, "upper": None, "lower_inclusive": False, "empty": True}, "empty"),
    ],
    "int8range": [
        (
            "'[-9223372036854775808,9223372036854775807)'",
            {**_RANGE, "lower": -(2**63), "upper": 2**63 - 1},
            '"[-9223372036854775808,9223372036854775807)"',
        ),
    ],
    "numrange": [
        (
            "'(1.5,2.25]'",
            {
                "lower": Decimal("1.5"),
                "upper": Decimal("2.25"),
                "lower_inclusive": False,
                "upper_inclusive": True,
                "empty": False,
            },
            '"(1.5,2.25]"',
        ),
    ],
    "daterange": [
        (
            "'[2000-02-28,2000-02-29]'",
            {**_RANGE, "lower": dt.date(2000, 2, 28), "upper": dt.date(2000, 3, 1)},
            '"[2000-02-28,2000-03-01)"',
        ),
    ],
    "tsrange": [
        (
            "'[2000-02-28 00:00,)'",
            {**_RANGE, "lower": dt.datetime(2000, 2, 28), "upper": None},
            '"[""2000-02-28 00:00:00"",)"',
        ),
    ],
    "tstzrange": [
        (
            "'[2000-02-28 00:00+02,2000-02-28 00:00Z)'",
            {
                **_RANGE,
                "lower": dt.datetime(2000, 2, 27, 22, tzinfo=dt.UTC),
                "upper": dt.datetime(2000, 2, 28, tzinfo=dt.UTC),
            },
            '"[""2000-02-27 22:00:00+00"",""2000-02-28 00:00:00+00"")"',
        ),
    ],
}
# What only CSV can hold.
TEXT_ONLY = {
    "interval": [
        ("'0'", "00:00:00"),
        ("'1 year 2 months -3 days 04:05:06.000007'", "1 year 2 mons -3 days +04:05:06.000007"),
        ("'-1 second'", "-00:00:01"),
    ],
    "numeric": [("'NaN'", "NaN"), ("1e38", "1" + "0" * 38), ("0.123456789012345", "0.123456789012345")],
    "real": [("'NaN'", "NaN")],
    "time": [("'24:00'", "24:00:00")],
}


_ROWS = max(len(cases) for cases in VALUES.values()) + 1


@pytest.fixture(scope="module")
def everything(server: StandIn, s3: Any) -> Bucket:
    """All values of all types, one type a column and in the last row NULL, exported to ``parquet/`` and ``csv/``."""
    rows = []
    for i in range(_ROWS):
        literals = [f"{cases[i][0] if i < len(cases) else 'NULL'}::{type}" for type, cases in VALUES.items()]
        rows.append(f"({i}, {', '.join(literals)})")
    query = f"SELECT * FROM (VALUES {', '.join(rows)}) AS v (i)"
    found = Bucket(s3, "values/")
    with server.connect() as connection:
        for form in ("parquet", "csv"):
            text = f"COPY ({query}) TO '{found.uri}{form}/' (FORMAT {form}, AWS CONNECTION local_s3)"
            assert connection.execute(text).statusmessage == f"COPY {_ROWS}"
    return found


@pytest.fixture(scope="module")
def table(everything: Bucket) -> pa.Table:
    return everything.table().sort_by("i")


@pytest.fixture(scope="module")
def fields(everything: Bucket) -> list[list[str]]:
    """The fields of the CSV as they stand there, with their quotes."""
    text = everything.csv().decode()
    rows = [[match[1] for match in _FIELD.finditer(record[0])] for record in _RECORD.finditer(text)]
    return sorted(rows, key=lambda row: int(row[0]))


_FIELD = re.compile(r'("(?:[^"]|"")*"|[^,"\n]*)(?:,|\n)')
_RECORD = re.compile(r'(?:"(?:[^"]|"")*"|[^"\n])*\n')


def _plain(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type
    if pa.types.is_date32(kind):
        column = column.cast(pa.int32())
    elif pa.types.is_time64(kind) or pa.types.is_timestamp(kind):
        column = column.cast(pa.int64())
    return column.to_pylist()


@pytest.mark.parametrize("type", VALUES)
def test_values_in_parquet(table: pa.Table, type: str) -> None:
    expected = [value for _, value, _ in VALUES[type]]
    assert _plain(table[1 + list(VALUES).index(type)]) == expected + [None] * (_ROWS - len(expected))


@pytest.mark.parametrize("type", VALUES)
def test_values_in_csv(fields: list[list[str]], type: str) -> None:
    expected = [text for _, _, text in VALUES[type]]
    at = 1 + list(VALUES).index(type)
    assert [row[at] for row in fields] == expected + [""] * (_ROWS - len(expected))


def test_values_only_csv_can_hold(copy: Copy, bucket: Bucket) -> None:
    values = [f"{literal}::{type}" for type, cases in TEXT_ONLY.items() for literal, _ in cases]
    copy(f"(SELECT {', '.join(values)})", "FORMAT csv")
    assert bucket.csv().decode() == ",".join(text for cases in TEXT_ONLY.values() for _, text in cases) + "\n"


def test_nan_in_parquet_is_nan(copy: Copy, bucket: Bucket) -> None:
    copy("(SELECT 'NaN'::real AS r, 'NaN'::double precision AS d)")
    table = bucket.table()
    assert pc.is_nan(table["r"]).to_pylist() == pc.is_nan(table["d"]).to_pylist() == [True]


def test_fields_of_a_range(copy: Copy, bucket: Bucket) -> None:
    copy("(SELECT numrange(1, 2) AS n)")
    field = bucket.table().schema.field("n")
    assert field.metadata == {b"ARROW:extension:name": b"materialize.v1.range"}
    parts = [(part.name, part.type, part.nullable, part.metadata[b"ARROW:extension:name"]) for part in field.type]
    number, flag = b"materialize.v1.numeric", b"materialize.v1.boolean"
    assert parts == [
        ("lower", pa.decimal128(38, 10), True, number),
        ("upper", pa.decimal128(38, 10), True, number),
        ("lower_inclusive", pa.bool_(), False, flag),
        ("upper_inclusive", pa.bool_(), False, flag),
        ("empty", pa.bool_(), False, flag),
    ]


@pytest.mark.parametrize(
    ("value", "type"),
    [
        ("'infinity'::date", "date"),
        ("'-infinity'::date", "date"),
        ("'infinity'::timestamp", "timestamp"),
        ("'-infinity'::timestamptz", "timestamp"),
        ("'24:00'::time", "time"),
        ("daterange('2000-01-01', 'infinity')", "date"),
        ("ARRAY['infinity'::timestamp]", "timestamp"),
    ],
)
def test_what_materialize_has_not_is_no_wrong_number(copy: Copy, bucket: Bucket, value: str, type: str) -> None:
    with pytest.raises(psycopg.errors.InternalError_) as caught:
        copy(f"(SELECT {value} AS c)")
    assert caught.value.diag.message_primary == f"Evaluation error: {type} out of range"
    assert bucket.sentinel()


@pytest.mark.parametrize(
    ("columns", "listed"),
    [
        ("interval '1 s' AS i, 1 AS n, regtype 'int' AS r", '"i: Interval (unsupported arrow datatype)", "r: RegType"'),
        ("ROW(1, 'a') AS r", '"r: record"'),
        ("ARRAY[int4range(1, 2)] AS r", '"r: int4range[]"'),
        ("'a'::name AS n, '\\x41'::\"char\" AS c", '"n: PgLegacyName", "c: PgLegacyChar"'),
    ],
)
def test_types_parquet_has_not_are_refused_before_anything_is_written(
    refused: Callable[[str], Refusal], bucket: Bucket, columns: str, listed: str
) -> None:
    found = refused(f"COPY (SELECT {columns}) TO '{bucket.uri}' (FORMAT parquet, AWS CONNECTION local_s3)")
    assert found.message == f"Cannot encode the following columns/types: [{listed}]"
    assert bucket.names() == []


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_an_empty_result_of_every_type_is_one_file(copy: Copy, bucket: Bucket, form: str) -> None:
    columns = ", ".join(f'NULL::{type} AS "{type}"' for type in VALUES)
    assert copy(f"(SELECT * FROM (SELECT {columns}) AS q WHERE false)", f"FORMAT {form}") == "COPY 0"
    assert len(bucket.names()) == 1
    if form == "csv":
        assert bucket.csv() == b""
    else:
        table = bucket.table()
        assert (table.num_rows, table.schema.names) == (0, list(VALUES))
