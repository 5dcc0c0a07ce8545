"""The types of Parquet files and the bytes of CSV files."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from .conftest import Bucket, Copy

_UTC = dt.UTC

TYPES = [
    ("true", pa.bool_(), "boolean", True),
    ("7::smallint", pa.int16(), "smallint", 7),
    ("7", pa.int32(), "integer", 7),
    ("7::bigint", pa.int64(), "bigint", 7),
    ("4294967295::oid", pa.uint32(), "oid", 4294967295),
    ("1.5::real", pa.float32(), "real", 1.5),
    ("1.5::double precision", pa.float64(), "double", 1.5),
    ("1.5::numeric", pa.decimal128(38, 10), "numeric", Decimal("1.5")),
    ("1.5::numeric(20, 3)", pa.decimal128(38, 3), "numeric", Decimal("1.500")),
    ("15::numeric(20)", pa.decimal128(38, 0), "numeric", Decimal("15")),
    ("date '2020-02-29'", pa.date32(), "date", dt.date(2020, 2, 29)),
    ("time '10:11:12.000013'", pa.time64("us"), "time", dt.time(10, 11, 12, 13)),
    (
        "timestamp '2020-01-02 03:04:05.000006'",
        pa.timestamp("us"),
        "timestamp",
        dt.datetime(2020, 1, 2, 3, 4, 5, 6),
    ),
    (
        "timestamptz '2020-01-02 03:04:05+02'",
        pa.timestamp("us", "+00:00"),
        "timestamptz",
        dt.datetime(2020, 1, 2, 1, 4, 5, tzinfo=_UTC),
    ),
    ("'\\x00ff'::bytea", pa.large_binary(), "bytea", b"\x00\xff"),
    ("'това е'::text", pa.large_utf8(), "text", "това е"),
    ("'abc'::varchar(5)", pa.utf8(), "text", "abc"),
    ("'abc'::varchar", pa.large_utf8(), "text", "abc"),
    ("'abc'::char(3)", pa.utf8(), "text", "abc"),
    (
        "'12345678-1234-1234-1234-123456789abc'::uuid",
        pa.binary(16),
        "uuid",
        uuid.UUID("12345678-1234-1234-1234-123456789abc").bytes,
    ),
    (
        '\'{"s": "a: b, c", "q\\"": [1, 2.50, null], "e": {}}\'::jsonb',
        pa.large_utf8(),
        "jsonb",
        '{"e":{},"s":"a: b, c","q\\"":[1,2.50,null]}',
    ),
]


@pytest.mark.parametrize(("expression", "arrow", "extension", "value"), TYPES)
def test_a_type_in_parquet(
    copy: Copy, bucket: Bucket, expression: str, arrow: pa.DataType, extension: str, value: object
) -> None:
    copy(f"(SELECT s.c FROM (SELECT {expression} AS c) s RIGHT JOIN (VALUES (1), (2)) v (i) ON i = 1)")
    table = bucket.table()
    field = table.schema.field("c")
    assert field.type == arrow
    assert field.metadata == {b"ARROW:extension:name": f"materialize.v1.{extension}".encode()}
    assert sorted(table["c"].to_pylist(), key=lambda v: v is None) == [value, None]


ARRAYS = [
    ("'{1,NULL,3}'::int[]", pa.int32(), "integer", [1, None, 3], 1),
    ("'{{1,2},{3,4}}'::int[]", pa.int32(), "integer", [1, 2, 3, 4], 2),
    ("'{}'::text[]", pa.large_utf8(), "text", [], 0),
    ("'{a,\"b,c\"}'::text[]", pa.large_utf8(), "text", ["a", "b,c"], 1),
    ("'{1.50,2}'::numeric(8,2)[]", pa.decimal128(38, 2), "numeric", [Decimal("1.50"), Decimal("2.00")], 1),
    ("'{00000000-0000-0000-0000-000000000001}'::uuid[]", pa.binary(16), "uuid", [b"\0" * 15 + b"\1"], 1),
    ("ARRAY['{\"a\": [1, 2]}'::jsonb]", pa.large_utf8(), "jsonb", ['{"a":[1,2]}'], 1),
    ("'{2020-01-01}'::date[]", pa.date32(), "date", [dt.date(2020, 1, 1)], 1),
    ("'{4294967295}'::oid[]", pa.uint32(), "oid", [4294967295], 1),
]


@pytest.mark.parametrize(("expression", "item", "extension", "items", "dimensions"), ARRAYS)
def test_an_array_in_parquet(
    copy: Copy,
    bucket: Bucket,
    expression: str,
    item: pa.DataType,
    extension: str,
    items: list[object],
    dimensions: int,
) -> None:
    copy(f"(SELECT s.c FROM (SELECT {expression} AS c) s RIGHT JOIN (VALUES (1), (2)) v (i) ON i = 1)")
    table = bucket.table()
    field = table.schema.field("c")
    assert field.metadata == {b"ARROW:extension:name": b"materialize.v1.array"}
    assert field.type.field("items").type.value_type == item
    assert field.type.field("items").type.value_field.name == "item"
    assert field.type.field("items").type.value_field.metadata == {
        b"ARROW:extension:name": f"materialize.v1.{extension}".encode()
    }
    assert field.type.field("dimensions").type == pa.uint8()
    values = [v for v in table["c"].to_pylist() if v is not None]
    assert values == [{"items": items, "dimensions": dimensions}]
    assert table["c"].null_count == 1


def test_nullability_follows_the_table(connection: psycopg.Connection[Any], copy: Copy, bucket: Bucket) -> None:
    connection.execute("CREATE TABLE strict (id int NOT NULL, note text)")
    connection.execute("INSERT INTO strict VALUES (1, NULL)")
    copy("strict")
    schema = bucket.table().schema
    assert (schema.field("id").nullable, schema.field("note").nullable) == (False, True)


def test_how_parquet_files_are_written(copy: Copy, bucket: Bucket) -> None:
    copy("numbers")
    metadata = bucket.parquet()[0].metadata
    column = metadata.row_group(0).column(0)
    assert metadata.format_version == "1.0"
    assert column.compression == "SNAPPY"
    assert column.statistics is None
    assert "RLE_DICTIONARY" in column.encodings or "PLAIN_DICTIONARY" in column.encodings
    assert b"ARROW:schema" in metadata.metadata


def test_names_that_occur_twice(copy: Copy, bucket: Bucket) -> None:
    copy("(SELECT 1 AS a, 2 AS a, 3 AS a, 4, 'x' || 'y')")
    assert bucket.table().schema.names == ["a", "a2", "a3", "?column?", "?column?2"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("'NaN'::numeric", "Cannot represent special numeric value NaN in parquet"),
        ("'Infinity'::numeric", "Cannot represent special numeric value Infinity in parquet"),
        ("1e30", "Decimal value 1000000000000000000000000000000 out of range for column with precision 38"),
        ("0.12345678901", "cannot represent decimal value 0.12345678901 in column with scale 10"),
    ],
)
def test_numbers_parquet_cannot_hold_fail_the_running_copy(
    copy: Copy, bucket: Bucket, value: str, message: str
) -> None:
    with pytest.raises(psycopg.errors.InternalError_) as caught:
        copy(f"(SELECT 1.5::numeric AS n UNION ALL SELECT {value})")
    assert caught.value.diag.message_primary == message
    assert bucket.sentinel()


def test_the_reference_row_of_csv(copy: Copy, bucket: Bucket) -> None:
    copy(
        "(SELECT '{1,2}'::int[], false, 'Infinity'::double precision, '{\"s\": \"abc\"}'::jsonb, 1, 32767::smallint,"
        " 2147483647, 9223372036854775807, 12345678901234567890123.4567890123456789::numeric, date '2010-10-10',"
        " time '10:10:10', timestamp '2010-10-10 10:10:10', timestamptz '2010-10-10 10:10:10+02', interval '0',"
        " 'aaaa', '\\x5c7841414141'::bytea, 'това е', convert_to('това е', 'UTF8'))",
        "FORMAT csv",
    )
    expected = (
        '"{1,2}",f,Infinity,"{""s"":""abc""}",1,32767,2147483647,9223372036854775807,'
        "12345678901234567890123.4567890123456789,2010-10-10,10:10:10,2010-10-10 10:10:10,"
        "2010-10-10 08:10:10+00,00:00:00,aaaa,\\x5c7841414141,това е,\\xd182d0bed0b2d0b020d0b5\n"
    )
    assert bucket.csv().decode() == expected


CSV = [
    ("SELECT NULL::text, ''", "FORMAT csv", b',""\n'),
    ("SELECT NULL::text", "FORMAT csv", b"\n"),
    ("SELECT '\\.'", "FORMAT csv", b'"\\."\n'),
    ("SELECT '\\.', 1", "FORMAT csv", b"\\.,1\n"),
    ("SELECT 'a,b', 'c\"d', E'e\\nf', E'g\\rh', ' i '", "FORMAT csv", b'"a,b","c""d","e\nf","g\rh", i \n'),
    ("SELECT 'NULL', NULL, 'a;b'", "FORMAT csv, NULL 'NULL', DELIMITER ';'", b'"NULL";NULL;"a;b"\n'),
    ("SELECT 'a''b', 'c\\d'", "FORMAT csv, QUOTE '''', ESCAPE '\\'", b"'a\\'b',c\\d\n"),
    ("SELECT 'a,\\b'", "FORMAT csv, ESCAPE '\\'", b'"a,\\\\b"\n'),
    ("SELECT true, false", "FORMAT csv", b"t,f\n"),
    ('SELECT 1 AS "a,b", 2 AS c', "FORMAT csv, HEADER", b'"a,b",c\n1,2\n'),
    ("SELECT interval '1 day 2 hours'", "FORMAT csv", b"1 day 02:00:00\n"),
    ("SELECT 'NaN'::numeric, '-Infinity'::real", "FORMAT csv", b"NaN,-Infinity\n"),
]


@pytest.mark.parametrize(("query", "options", "expected"), CSV)
def test_bytes_of_csv(copy: Copy, bucket: Bucket, query: str, options: str, expected: bytes) -> None:
    copy(f"({query})", f"{options}, MAX FILE SIZE '16MB'")
    found = bucket.csv()
    # The header stands in each file, also in the empty one of the other batch.
    header = expected.split(b"\n")[0] + b"\n" if "HEADER" in options else b""
    assert (
        found.replace(header, b"", 1) in (expected, expected.replace(header, b"", 1)) if header else (found == expected)
    )


def test_options_of_csv_mean_nothing_for_parquet(copy: Copy) -> None:
    assert copy("numbers", "FORMAT parquet, DELIMITER 'many', HEADER, QUOTE ''") == "COPY 500"


def test_a_wide_table_arrives_in_both_formats(connection: psycopg.Connection[Any], server: Any, bucket: Bucket) -> None:
    connection.execute(
        "CREATE TABLE wide AS SELECT i::bigint AS id, 'name ' || i AS name, (i * 1.25)::numeric(12,2) AS price,"
        " CASE WHEN i % 3 = 0 THEN NULL ELSE i % 7 END AS q, timestamptz '2024-01-01' + i * interval '1 s' AS at"
        " FROM generate_series(1, 200000) i"
    )
    for form in ("parquet", "csv"):
        connection.execute(f"COPY wide TO '{bucket.uri}{form}/' (FORMAT {form}, AWS CONNECTION local_s3)")
    table = bucket.table().sort_by("id")
    assert table["id"].to_pylist() == list(range(1, 200001))
    assert table["price"][3].as_py() == Decimal("5.00")
    assert table["q"].null_count == 66666
    lines = sorted(bucket.csv().splitlines(), key=lambda line: int(line.split(b",")[0]))
    assert lines[2] == b"3,name 3,3.75,,2024-01-01 00:00:03+00"
    assert len(lines) == 200000
