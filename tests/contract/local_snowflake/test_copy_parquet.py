"""COPY INTO of Parquet files."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import json
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import snowflake.connector

TEN_COLUMNS = [
    "file",
    "status",
    "rows_parsed",
    "rows_loaded",
    "error_limit",
    "errors_seen",
    "first_error",
    "first_error_line",
    "first_error_character",
    "first_error_column_name",
]
PARQUET = "FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE BINARY_AS_TEXT = FALSE USE_VECTORIZED_SCANNER = TRUE)"
MATCH = f"{PARQUET} MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE ON_ERROR = ABORT_STATEMENT"


def rows(values: list[Any], name: str = "id", kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({name: pa.array(values, kind or pa.int64())})


def fails(cursor: Any, sql: str, errno: int, text: str) -> Any:
    with pytest.raises(snowflake.connector.errors.DatabaseError) as caught:
        cursor.execute(sql)
    assert caught.value.errno == errno
    assert text in str(caught.value)
    return caught.value


def values(cursor: Any, sql: str) -> list[Any]:
    return list(cursor.execute(sql).fetchall())


def test_files_by_name_answer_ten_columns(cursor: Any, bucket: Any) -> None:
    first = bucket.parquet("mz-t1-batch-0000-0000.parquet", rows([1, 2]))
    second = bucket.parquet("mz-t1-batch-0001-0000.parquet", rows([3]))
    bucket.parquet("stray.parquet", rows([99]))
    cursor.execute('CREATE TABLE "T" (ID NUMBER(38,0))')
    cursor.execute(
        f"COPY INTO T FROM {bucket.stage} "
        f"FILES = ('mz-t1-batch-0000-0000.parquet', 'mz-t1-batch-0001-0000.parquet') {MATCH}"
    )
    assert [d[0] for d in cursor.description] == TEN_COLUMNS
    assert cursor.fetchall() == [
        (first, "LOADED", 2, 2, 1, 0, None, None, None, None),
        (second, "LOADED", 1, 1, 1, 0, None, None, None, None),
    ]
    assert values(cursor, "SELECT ID FROM T ORDER BY 1") == [(1,), (2,), (3,)]


def test_every_type_arrives_as_python_value(cursor: Any, bucket: Any) -> None:
    moment = dt.datetime(2026, 11, 22, 8, 22, 55, 123456)
    table = pa.table(
        {
            "flag": pa.array([True, None]),
            "small": pa.array([-7, None], pa.int16()),
            "big": pa.array([2**63 - 1, None], pa.int64()),
            "u8": pa.array([2**63 - 1, None], pa.uint64()),
            "real": pa.array([1.5, None], pa.float32()),
            "double": pa.array([0.1, None]),
            "amount": pa.array([decimal.Decimal("-12345678901234567890.12"), None], pa.decimal128(38, 2)),
            "day": pa.array([dt.date(2026, 11, 22), None]),
            "clock": pa.array([dt.time(23, 59, 59, 999999), None], pa.time64("us")),
            "ntz": pa.array([moment, None], pa.timestamp("us")),
            "ltz": pa.array([moment.replace(tzinfo=dt.UTC), None], pa.timestamp("us", "+00:00")),
            "raw": pa.array([b"\x00\xff", None], pa.large_binary()),
            "name": pa.array(["Zoë 'quoted' \n\t\"x\" 🚀", None], pa.large_string()),
        }
    )
    bucket.parquet("a.parquet", table)
    cursor.execute(
        "CREATE TABLE T (FLAG BOOLEAN, SMALL NUMBER(38,0), BIG NUMBER(38,0), U8 NUMBER(20,0), REAL FLOAT, "
        "DOUBLE FLOAT, AMOUNT NUMBER(38,2), DAY DATE, CLOCK TIME(9), NTZ TIMESTAMP_NTZ, LTZ TIMESTAMP_LTZ, "
        "RAW BINARY, NAME VARCHAR)"
    )
    cursor.execute(f"COPY INTO T FROM {bucket.stage} FILES = ('a.parquet') {MATCH}")
    loaded, empty = values(cursor, "SELECT * FROM T ORDER BY FLAG NULLS LAST")
    ltz = loaded[10]
    assert loaded[:10] == (
        True,
        -7,
        2**63 - 1,
        2**63 - 1,
        1.5,
        0.1,
        decimal.Decimal("-12345678901234567890.12"),
        dt.date(2026, 11, 22),
        dt.time(23, 59, 59, 999999),
        moment,
    )
    assert ltz == moment.replace(tzinfo=dt.UTC)
    assert ltz.utcoffset() == dt.timedelta(0)
    assert (bytes(loaded[11]), loaded[12]) == (b"\x00\xff", "Zoë 'quoted' \n\t\"x\" 🚀")
    assert empty == (None,) * 13


def test_a_select_projects_casts_and_parses(cursor: Any, bucket: Any) -> None:
    items = pa.struct([("items", pa.list_(pa.string())), ("dimensions", pa.uint8())])
    table = pa.table(
        {
            "id": pa.array([1], pa.int64()),
            "Mixed Case": pa.array(["12.345"]),
            "body": pa.array(['{"a": {"b": [1, "two"]}}'], pa.large_string()),
            "tags": pa.array([{"items": ["x", None], "dimensions": 1}], items),
            "note": pa.array([None], pa.string()),
        }
    )
    url = bucket.parquet("a.parquet", table)
    cursor.execute(
        'CREATE TABLE T (ID NUMBER(38,0), "mixed" NUMBER(10,2), BODY VARIANT, PLAIN VARIANT, TAGS ARRAY, '
        "NOTE VARCHAR, GONE VARCHAR, SOURCE VARCHAR, ROW_NO NUMBER(38,0))"
    )
    cursor.execute(
        'COPY INTO T (ID, "mixed", BODY, PLAIN, TAGS, NOTE, GONE, SOURCE, ROW_NO) FROM (SELECT '
        '$1:id::NUMBER(38,0), $1:"Mixed Case"::NUMBER(10,2), PARSE_JSON($1:body::string), t.$1:body, '
        "$1:tags:items, $1:note::VARCHAR, $1:missing::VARCHAR, METADATA$FILENAME, METADATA$FILE_ROW_NUMBER "
        f"FROM {bucket.stage} t) FILES = ('a.parquet') {PARQUET} ON_ERROR = ABORT_STATEMENT"
    )
    row = values(cursor, "SELECT * FROM T")[0]
    assert row[:2] == (1, decimal.Decimal("12.35"))
    assert json.loads(row[2]) == {"a": {"b": [1, "two"]}}
    assert json.loads(row[3]) == '{"a": {"b": [1, "two"]}}'
    assert json.loads(row[4]) == ["x", None]
    assert row[5:] == (None, None, url.split("/", 3)[3], 1)
    assert values(cursor, "SELECT BODY:a.b[1]::string, PLAIN:a, TYPEOF(PLAIN), ARRAY_SIZE(TAGS) FROM T") == [
        ("two", None, "VARCHAR", 2)
    ]


def test_one_variant_column_takes_the_whole_row(cursor: Any, bucket: Any) -> None:
    bucket.parquet("a.parquet", pa.table({"id": [1], "body": ['{"k": 1}'], "n": pa.array([None], pa.int32())}))
    cursor.execute("CREATE TABLE T (COL VARIANT)")
    cursor.execute(f"COPY INTO T FROM {bucket.stage} FILE_FORMAT = (TYPE = 'PARQUET')")
    row = values(cursor, "SELECT COL:id::int, COL:body::string, COL:body:k, COL:n::int FROM T")
    assert row == [(1, '{"k": 1}', None, None)]


def test_several_columns_need_matching_or_a_select(cursor: Any, bucket: Any) -> None:
    bucket.parquet("a.parquet", rows([1]))
    cursor.execute("CREATE TABLE T (A NUMBER, B NUMBER)")
    fails(cursor, f"COPY INTO T FROM {bucket.stage} {PARQUET}", 2019, "one and only one column of type variant")


def test_matching_by_case(cursor: Any, bucket: Any) -> None:
    bucket.parquet("a.parquet", pa.table({"id": [1], "extra": ["ignored"]}))
    cursor.execute("CREATE TABLE T (ID NUMBER, \"id\" NUMBER, ABSENT VARCHAR DEFAULT 'd')")
    sensitive = MATCH.replace("CASE_INSENSITIVE", "CASE_SENSITIVE")
    cursor.execute(f"COPY INTO T FROM {bucket.stage} {sensitive}")
    assert values(cursor, 'SELECT ID, "id", ABSENT FROM T') == [(None, 1, "d")]


def test_logical_types_off_spoils_timestamps(cursor: Any, bucket: Any) -> None:
    moment = dt.datetime(2026, 11, 22)
    bucket.parquet("a.parquet", pa.table({"at": pa.array([moment], pa.timestamp("us"))}))
    cursor.execute("CREATE TABLE T (AT TIMESTAMP_NTZ)")
    cursor.execute(f"COPY INTO T FROM {bucket.stage} FILE_FORMAT = (TYPE = PARQUET) "
                   "MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE")  # fmt: skip
    assert values(cursor, "SELECT YEAR(AT) > 9999 FROM T") == [(True,)]


def test_binary_as_text_is_the_default_and_refuses_bytes(cursor: Any, bucket: Any) -> None:
    bucket.parquet("a.parquet", pa.table({"raw": pa.array([b"\xff\xfe" * 8], pa.binary(16))}))
    cursor.execute("CREATE TABLE T (RAW VARCHAR)")
    by_name = "MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE"
    fails(cursor, f"COPY INTO T FROM {bucket.stage} FILE_FORMAT = (TYPE = PARQUET) {by_name}", 100144, "UTF8")
    cursor.execute(f"COPY INTO T FROM {bucket.stage} {MATCH}")
    assert values(cursor, "SELECT RAW FROM T") == [("FFFE" * 8,)]


def test_an_instant_takes_the_session_time_zone_in_ntz_and_tz(server: Any, cursor: Any, bucket: Any) -> None:
    moment = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
    bucket.parquet("a.parquet", pa.table({"n": pa.array([moment]), "l": pa.array([moment]), "z": pa.array([moment])}))
    cursor.execute("CREATE TABLE T (N TIMESTAMP_NTZ, L TIMESTAMP_LTZ, Z TIMESTAMP_TZ)")
    cursor.execute("ALTER SESSION UNSET TIMEZONE")
    cursor.execute(f"COPY INTO T FROM {bucket.stage} {MATCH}")
    ntz, ltz, tz = values(cursor, "SELECT * FROM T")[0]
    assert ntz == dt.datetime(2026, 7, 1, 5)
    assert (ltz, tz) == (moment, moment)
    assert ltz.utcoffset() == tz.utcoffset() == dt.timedelta(hours=-7)


def test_history_skips_what_was_loaded(cursor: Any, bucket: Any) -> None:
    url = bucket.parquet("a.parquet", rows([1]))
    cursor.execute("CREATE TABLE T (ID NUMBER)")
    copy = f"COPY INTO T FROM {bucket.stage} FILES = ('a.parquet') {MATCH}"
    cursor.execute(copy)
    assert values(cursor, copy) == [(url, "LOAD_SKIPPED", 0, 0, 0, 1, "File was loaded before.", None, None, None)]
    cursor.execute(f"COPY INTO T FROM {bucket.stage} {MATCH}")
    assert [d[0] for d in cursor.description] == ["status"]
    assert cursor.fetchall() == [("Copy executed with 0 files processed.",)]
    cursor.execute("DELETE FROM T")
    assert values(cursor, copy)[0][1] == "LOAD_SKIPPED"
    assert values(cursor, copy + " FORCE = TRUE")[0][1:4] == ("LOADED", 1, 1)
    cursor.execute("TRUNCATE TABLE T")
    assert values(cursor, copy)[0][1] == "LOADED"
    bucket.parquet("a.parquet", rows([2]))
    assert values(cursor, copy)[0][1] == "LOADED"
    cursor.execute("CREATE OR REPLACE TABLE T (ID NUMBER)")
    assert values(cursor, copy)[0][1] == "LOADED"
    assert values(cursor, "SELECT ID FROM T") == [(2,)]


def test_history_travels_with_a_swap_and_not_with_like(cursor: Any, bucket: Any) -> None:
    bucket.parquet("a.parquet", rows([1]))
    cursor.execute("CREATE TABLE LIVE (ID NUMBER)")
    cursor.execute(f"COPY INTO LIVE FROM {bucket.stage} {MATCH}")
    cursor.execute("CREATE TABLE NEXT LIKE LIVE")
    assert len(values(cursor, f"COPY INTO NEXT FROM {bucket.stage} {MATCH}")[0]) == 10
    cursor.execute("CREATE TABLE EMPTY LIKE LIVE")
    cursor.execute("ALTER TABLE LIVE SWAP WITH EMPTY")
    assert values(cursor, f"COPY INTO EMPTY FROM {bucket.stage} {MATCH}") == [
        ("Copy executed with 0 files processed.",)
    ]
    assert values(cursor, f"COPY INTO LIVE FROM {bucket.stage} {MATCH}")[0][1] == "LOADED"


def test_a_rolled_back_load_is_not_in_the_history(cursor: Any, bucket: Any) -> None:
    bucket.parquet("a.parquet", rows([1]))
    cursor.execute("CREATE TABLE T (ID NUMBER)")
    for ending, expected in (("ROLLBACK", 0), ("COMMIT", 1)):
        cursor.execute("BEGIN")
        assert values(cursor, f"COPY INTO T FROM {bucket.stage} {MATCH}")[0][1] == "LOADED"
        cursor.execute(ending)
        assert values(cursor, "SELECT COUNT(*) FROM T") == [(expected,)]
    assert values(cursor, f"COPY INTO T FROM {bucket.stage} {MATCH}") == [("Copy executed with 0 files processed.",)]


def test_a_bad_file_loads_nothing_of_any(cursor: Any, bucket: Any) -> None:
    bucket.parquet("a.parquet", rows([1]))
    bucket.put("b.parquet", b"")
    bucket.put("c.parquet", b"PAR1 this is no parquet PAR1")
    cursor.execute("CREATE TABLE T (ID NUMBER)")
    for name in ("b.parquet", "c.parquet"):
        error = fails(cursor, f"COPY INTO T FROM {bucket.stage} FILES = ('a.parquet', '{name}') {MATCH}", 100069, name)
        assert error.sqlstate == "22P02"
    assert values(cursor, "SELECT COUNT(*) FROM T") == [(0,)]
    assert values(cursor, f"COPY INTO T FROM {bucket.stage} FILES = ('a.parquet') {MATCH}")[0][1] == "LOADED"


def test_an_empty_file_is_loaded_with_no_rows(cursor: Any, bucket: Any) -> None:
    url = bucket.parquet("a.parquet", rows([]))
    cursor.execute("CREATE TABLE T (ID NUMBER NOT NULL)")
    assert values(cursor, f"COPY INTO T FROM {bucket.stage} {MATCH}")[0][:4] == (url, "LOADED", 0, 0)


@pytest.mark.parametrize(
    ("column", "data", "errno", "text"),
    [
        ("NUMBER(38,0)", pa.array(["1", "x y"]), 100038, "Numeric value 'x y' is not recognized"),
        ("NUMBER(5,2)", pa.array([decimal.Decimal("1.00"), decimal.Decimal("1000.00")]), 100039, "is out of range"),
        ("VARCHAR(3)", pa.array(["abc", "abcd"]), 100078, "String 'abcd' is too long and would be truncated"),
        ("NUMBER NOT NULL", pa.array([1, None]), 100072, "NULL result in a non-nullable column"),
        ("TIMESTAMP_NTZ", pa.array(["2026-01-01", "soon"]), 100035, "Timestamp 'soon' is not recognized"),
        ("NUMBER(20,0)", pa.array([1, 2**63], pa.uint64()), 100039, "'9223372036854775808' is out of range"),
        ("BOOLEAN", pa.array(["yes", "perhaps"]), 100037, "Boolean value 'perhaps' is not recognized"),
        ("DATE", pa.array(["2026-01-01", "today"]), 100040, "Date 'today' is not recognized"),
    ],
)
def test_a_bad_value_names_file_row_and_column(
    cursor: Any, bucket: Any, column: str, data: pa.Array, errno: int, text: str
) -> None:
    bucket.parquet("a.parquet", pa.table({"c": data}))
    cursor.execute(f"CREATE TABLE T (C {column})")
    error = fails(cursor, f"COPY INTO T FROM {bucket.stage} {MATCH}", errno, text)
    assert f"File '{bucket.prefix}a.parquet', line 2" in str(error)
    assert 'Row 2, column "T"["C":1]' in str(error)
    assert values(cursor, "SELECT COUNT(*) FROM T") == [(0,)]


def test_a_missing_file_is_named(cursor: Any, bucket: Any) -> None:
    bucket.parquet("a.parquet", rows([1]))
    cursor.execute("CREATE TABLE T (ID NUMBER)")
    few = "'a.parquet', 'gone.parquet'"
    many = ", ".join(["'a.parquet'", *(f"'gone-{i}.parquet'" for i in range(12))])
    fails(cursor, f"COPY INTO T FROM {bucket.stage} FILES = ({few}) {MATCH}", 91016, f"{bucket.prefix}gone.parquet")
    fails(cursor, f"COPY INTO T FROM {bucket.stage} FILES = ({many}) {MATCH}", 91016, f"{bucket.prefix}gone-0.parquet")
    too_many = ", ".join(f"'{i}'" for i in range(1001))
    fails(cursor, f"COPY INTO T FROM {bucket.stage} FILES = ({too_many}) {MATCH}", 1008, "1001 files")


def test_a_path_is_a_bare_prefix(cursor: Any, bucket: Any) -> None:
    bucket.parquet("run=1/a.parquet", rows([1]))
    bucket.parquet("run=10/a.parquet", rows([10]))
    bucket.put("run=1/mz-t1-INCOMPLETE", b"")
    cursor.execute("CREATE TABLE T (ID NUMBER)")
    cursor.execute(f"COPY INTO T FROM {bucket.stage}run=1 PATTERN = '.*[.]parquet' {MATCH}")
    assert values(cursor, "SELECT ID FROM T ORDER BY 1") == [(1,), (10,)]
    fails(cursor, f"COPY INTO T FROM {bucket.stage}run=1/ {MATCH}", 100069, "INCOMPLETE")
    fails(cursor, f"COPY INTO T FROM {bucket.stage} PATTERN = '(' {MATCH}", 91003, "pattern")


def test_a_file_without_row_groups_is_loaded_with_no_rows(cursor: Any, bucket: Any) -> None:
    out = io.BytesIO()
    pq.ParquetWriter(out, pa.schema([("id", pa.int64())])).close()
    assert pq.ParquetFile(out).metadata.num_row_groups == 0
    url = bucket.put("a.parquet", out.getvalue())
    cursor.execute("CREATE TABLE T (ID NUMBER)")
    assert values(cursor, f"COPY INTO T FROM {bucket.stage} {MATCH}")[0][:4] == (url, "LOADED", 0, 0)


def test_columns_named_as_the_reader_names_its_own(cursor: Any, bucket: Any) -> None:
    names = ["filename", "file_row_number", "rn", "p0", "c0"]
    bucket.parquet("a.parquet", pa.table({name: [i] for i, name in enumerate(names)}))
    cursor.execute(f"CREATE TABLE T ({', '.join(f'{n} NUMBER' for n in names)})")
    cursor.execute(f"COPY INTO T FROM {bucket.stage} {MATCH}")
    assert values(cursor, "SELECT * FROM T") == [(0, 1, 2, 3, 4)]


@pytest.mark.parametrize("option", ["ENFORCE = TRUE", "LOAD_MODE = ADD_FILES_COPY", "FILE_PROCESSOR = (SCANNER = x)"])
def test_an_option_without_meaning_here_is_refused_by_name(cursor: Any, bucket: Any, option: str) -> None:
    cursor.execute("CREATE TABLE T (ID NUMBER)")
    error = fails(cursor, f"COPY INTO T FROM {bucket.stage} {PARQUET} {option}", 2, option.split()[0])
    assert f"COPY INTO T FROM {bucket.stage}" in str(error)


def test_a_wrong_answer_on_demand(cursor: Any, bucket: Any, faults: httpx.Client) -> None:
    bucket.parquet("a.parquet", rows([1, 2, 3]))
    cursor.execute("CREATE TABLE T (ID NUMBER)")
    faults.post("/local/faults", json={"copy_rows_loaded_delta": -1, "times": 1}).raise_for_status()
    assert values(cursor, f"COPY INTO T FROM {bucket.stage} {MATCH}")[0][1:4] == ("LOADED", 3, 2)
    cursor.execute("TRUNCATE TABLE T")
    assert values(cursor, f"COPY INTO T FROM {bucket.stage} {MATCH}")[0][1:4] == ("LOADED", 3, 3)


def test_a_million_rows(cursor: Any, bucket: Any) -> None:
    count = 1_000_000
    ids = pa.array(range(count), pa.int64())
    table = pa.table({f"c{i}": ids for i in range(7)} | {"name": ids.cast(pa.string())})
    bucket.parquet("a.parquet", table)
    cursor.execute(f"CREATE TABLE T ({', '.join(f'C{i} NUMBER(38,0)' for i in range(7))}, NAME VARCHAR)")
    assert values(cursor, f"COPY INTO T FROM {bucket.stage} {MATCH}")[0][2:4] == (count, count)
    assert values(cursor, "SELECT COUNT(*), SUM(C0), MAX(LENGTH(NAME)) FROM T") == [(count, 499999500000, 6)]
