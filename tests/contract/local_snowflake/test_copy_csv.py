"""COPY INTO of CSV files: what is NULL, what is text, and what is an error."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import json
from typing import Any

import pytest
import snowflake.connector

# How Materialize writes CSV, told to Snowflake.
CSV = (
    "FILE_FORMAT = (TYPE = CSV FIELD_OPTIONALLY_ENCLOSED_BY = '\"' NULL_IF = () EMPTY_FIELD_AS_NULL = TRUE "
    "ESCAPE_UNENCLOSED_FIELD = NONE)"
)


def load(cursor: Any, bucket: Any, body: str | bytes, options: str = CSV, copy: str = "") -> list[Any]:
    bucket.put("a.csv", body.encode() if isinstance(body, str) else body)
    cursor.execute(f"COPY INTO T FROM {bucket.stage} FILES = ('a.csv') {options} {copy}")
    answer: list[Any] = cursor.fetchall()
    assert answer[0][1] == "LOADED"
    return list(cursor.execute("SELECT * FROM T").fetchall())


def refused(cursor: Any, bucket: Any, body: str | bytes, errno: int, options: str = CSV) -> str:
    with pytest.raises(snowflake.connector.errors.DatabaseError) as caught:
        load(cursor, bucket, body, options)
    assert caught.value.errno == errno, caught.value
    assert cursor.execute("SELECT COUNT(*) FROM T").fetchone() == (0,)
    return str(caught.value)


@pytest.fixture
def table(cursor: Any) -> None:
    cursor.execute("CREATE TABLE T (A VARCHAR, B VARCHAR, N NUMBER(10,2))")


def test_null_is_not_the_empty_string(cursor: Any, bucket: Any, table: None) -> None:
    body = 'x,"",1\ny,,2\n"say ""hi""\nand, bye",  padded  ,\n'
    assert load(cursor, bucket, body) == [
        ("x", "", decimal.Decimal(1)),
        ("y", None, decimal.Decimal(2)),
        ('say "hi"\nand, bye', "  padded  ", None),
    ]


@pytest.mark.parametrize("body", ["a,b,1\r\nc,d,2\r\n", "a,b,1\nc,d,2", "a,b,1\rc,d,2\r"])
def test_line_ends(cursor: Any, bucket: Any, table: None, body: str) -> None:
    assert load(cursor, bucket, body) == [("a", "b", 1), ("c", "d", 2)]


def test_a_backslash_is_text_only_when_escapes_are_off(cursor: Any, bucket: Any, table: None) -> None:
    assert load(cursor, bucket, "\\x41,a\\nb,1\n") == [("\\x41", "a\\nb", 1)]
    cursor.execute("TRUNCATE TABLE T")
    defaults = "FILE_FORMAT = (TYPE = CSV FIELD_OPTIONALLY_ENCLOSED_BY = '\"')"
    assert load(cursor, bucket, 'a\\nb,"c\\nd",1\n\\N,\\,,2\n', defaults) == [
        ("a\nb", "c\\nd", 1),
        (None, ",", 2),
    ]


def test_an_escape_inside_quotes(cursor: Any, bucket: Any, table: None) -> None:
    options = CSV.replace("ESCAPE_UNENCLOSED_FIELD = NONE", "ESCAPE = '\\\\' ESCAPE_UNENCLOSED_FIELD = NONE")
    assert load(cursor, bucket, '"a\\"b","c\\\\d",1\n', options) == [('a"b', "c\\d", 1)]


def test_without_enclosure_quotes_are_text(cursor: Any, bucket: Any, table: None) -> None:
    assert load(cursor, bucket, 'a"b,"",1\n', "FILE_FORMAT = (TYPE = CSV)") == [('a"b', '""', 1)]


def test_null_if_and_empty_field_as_null(cursor: Any, bucket: Any, table: None) -> None:
    options = (
        "FILE_FORMAT = (TYPE = CSV FIELD_OPTIONALLY_ENCLOSED_BY = '\"' NULL_IF = ('NULL') EMPTY_FIELD_AS_NULL = FALSE)"
    )
    assert load(cursor, bucket, 'NULL,,1\n"NULL","",2\n', options) == [(None, "", 1), (None, "", 2)]


def test_other_delimiters_and_a_skipped_header(cursor: Any, bucket: Any, table: None) -> None:
    options = CSV.replace("TYPE = CSV", "TYPE = CSV FIELD_DELIMITER = '|' SKIP_HEADER = 1")
    assert load(cursor, bucket, "a|b|n\nx,y|z|1\n", options) == [("x,y", "z", 1)]
    cursor.execute("TRUNCATE TABLE T")
    records = CSV.replace("TYPE = CSV", "TYPE = CSV RECORD_DELIMITER = ';'")
    assert load(cursor, bucket, "a,b,1;c,d,2;", records) == [("a", "b", 1), ("c", "d", 2)]


def test_a_parsed_header_matches_by_name(cursor: Any, bucket: Any, table: None) -> None:
    options = CSV.replace("TYPE = CSV", "TYPE = CSV PARSE_HEADER = TRUE ERROR_ON_COLUMN_COUNT_MISMATCH = FALSE")
    by_name = "MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE"
    assert load(cursor, bucket, 'n,"b",other\n7,x,y\n', options, by_name) == [(None, "x", 7)]
    with pytest.raises(snowflake.connector.errors.ProgrammingError, match="PARSE_HEADER"):
        load(cursor, bucket, "1,2,3\n", CSV, by_name)


def test_a_single_column_keeps_blank_lines_as_null(cursor: Any, bucket: Any) -> None:
    cursor.execute("CREATE TABLE T (A VARCHAR)")
    assert load(cursor, bucket, 'a\n\n""\nb\n') == [("a",), (None,), ("",), ("b",)]


def test_empty_and_compressed_files(cursor: Any, bucket: Any, table: None) -> None:
    assert load(cursor, bucket, "") == []
    assert load(cursor, bucket, gzip.compress(b"a,b,1\n")) == [("a", "b", 1)]


def test_materialize_text_becomes_typed_values(cursor: Any, bucket: Any) -> None:
    cursor.execute(
        "CREATE TABLE T (F BOOLEAN, D FLOAT, J VARIANT, I NUMBER(38,0), N NUMBER(38,16), DAY DATE, CLOCK TIME, "
        "NTZ TIMESTAMP_NTZ, LTZ TIMESTAMP_LTZ, U VARCHAR)"
    )
    body = (
        'f,Infinity,"{""s"":""abc""}",9223372036854775807,1234567890123456789012.4567890123456789,2010-10-10,10:10:10,'
        "2010-10-10 10:10:10,2010-10-10 08:10:10+00,това е\n"
    )
    row = load(cursor, bucket, body)[0]
    assert row[:2] == (False, float("inf"))
    assert json.loads(row[2]) == {"s": "abc"}
    assert row[3:] == (
        9223372036854775807,
        decimal.Decimal("1234567890123456789012.4567890123456789"),
        dt.date(2010, 10, 10),
        dt.time(10, 10, 10),
        dt.datetime(2010, 10, 10, 10, 10, 10),
        dt.datetime(2010, 10, 10, 8, 10, 10, tzinfo=dt.UTC),
        "това е",
    )


def test_a_select_picks_and_converts_columns(cursor: Any, bucket: Any) -> None:
    cursor.execute("CREATE TABLE T (ID NUMBER, BODY VARIANT, SRC VARCHAR)")
    copy = (
        f"COPY INTO T (ID, BODY, SRC) FROM (SELECT $3::NUMBER, PARSE_JSON(t.$1), $2 || '!' FROM {bucket.stage} t) "
        f"FILES = ('a.csv') {CSV}"
    )
    bucket.put("a.csv", b'"{""k"": 1}",x,5,ignored\n')
    cursor.execute(copy)
    assert cursor.execute("SELECT ID, BODY:k::int, SRC FROM T").fetchall() == [(5, 1, "x!")]


def test_the_wrong_number_of_fields(cursor: Any, bucket: Any, table: None) -> None:
    for body, found in (("a,b\n", 2), ("a,b,1\nc,d,2,3\n", 4), ("a,b,1\n\n", 1)):
        assert f"Number of columns in file ({found}) does not match" in refused(cursor, bucket, body, 100080)
    lenient = CSV.replace("TYPE = CSV", "TYPE = CSV ERROR_ON_COLUMN_COUNT_MISMATCH = FALSE")
    assert load(cursor, bucket, "a\nb,c,2,3\n", lenient) == [("a", None, None), ("b", "c", 2)]


def test_values_that_do_not_convert(cursor: Any, bucket: Any, table: None) -> None:
    text = refused(cursor, bucket, "a,b,1\nc,d,many\n", 100038)
    assert "Numeric value 'many' is not recognized" in text
    assert 'Row 2, column "T"["N":3]' in text
    assert "Numeric value '' is not recognized" in refused(cursor, bucket, 'a,b,""\n', 100038)
    assert "is out of range" in refused(cursor, bucket, "a,b,123456789.00\n", 100039)
    assert "Row 1" in refused(cursor, bucket, "a,\\\\b,x\n", 100038)


def test_broken_text(cursor: Any, bucket: Any, table: None) -> None:
    refused(cursor, bucket, b"\xff\xfe,b,1\n", 100144)
    assert "Found character 'x' instead of field delimiter ','" in refused(cursor, bucket, '"a"x,b,1\n', 100016)
    refused(cursor, bucket, '"never ends,b,1\n', 100066)


def test_a_hundred_thousand_rows(cursor: Any, bucket: Any, table: None) -> None:
    body = "".join(f'name {i},"x,{i}",{i}.25\n' for i in range(100_000))
    bucket.put("a.csv", body.encode())
    cursor.execute(f"COPY INTO T FROM {bucket.stage} FILES = ('a.csv') {CSV}")
    assert cursor.fetchone()[2:4] == (100_000, 100_000)
    total = decimal.Decimal(sum(range(100_000))) + decimal.Decimal("0.25") * 100_000
    assert cursor.execute("SELECT SUM(N), COUNT(DISTINCT B) FROM T").fetchone() == (total, 100_000)
