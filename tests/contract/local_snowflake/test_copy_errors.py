"""COPY INTO with ON_ERROR: faulty rows and files, and what the answer says of them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import snowflake.connector

CSV = "FILE_FORMAT = (TYPE = CSV FIELD_OPTIONALLY_ENCLOSED_BY = '\"' NULL_IF = () SKIP_HEADER = 1)"
PARQUET = "FILE_FORMAT = (TYPE = PARQUET) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE"
# Six records: the second does not convert, the fourth has too few fields, the fifth is NULL where that may not be.
BODY = b'id,name\n1,"two\nlines"\nx,b\n3,c\n4\n,e\n6,f\n'


def error(cursor: Any, sql: str) -> Any:
    with pytest.raises(snowflake.connector.errors.DatabaseError) as caught:
        cursor.execute(sql)
    return caught.value


def ids(cursor: Any) -> list[int]:
    return [row[0] for row in cursor.execute("SELECT ID FROM T ORDER BY ID").fetchall()]


@pytest.fixture
def table(cursor: Any) -> None:
    cursor.execute("CREATE TABLE T (ID NUMBER(5,0) NOT NULL, NAME VARCHAR(20))")


@pytest.fixture
def files(bucket: Any) -> Any:
    bucket.put("a.csv", b"id,name\n10,a\n")
    bucket.put("b.csv", BODY)
    return bucket


def test_continue_loads_the_good_rows(cursor: Any, files: Any, table: None) -> None:
    good, mixed = cursor.execute(f"COPY INTO T FROM {files.stage} {CSV} ON_ERROR = CONTINUE").fetchall()
    assert good[1:] == ("LOADED", 1, 1, 1, 0, None, None, None, None)
    assert mixed[1:] == (
        "PARTIALLY_LOADED", 6, 3, 6, 3, "Numeric value 'x' is not recognized", 4, 1, '"T"["ID":1]',
    )  # fmt: skip
    assert ids(cursor) == [1, 3, 6, 10]
    assert cursor.execute("SELECT NAME FROM T WHERE ID = 1").fetchone() == ("two\nlines",)


@pytest.mark.parametrize(
    ("option", "limit", "loaded"),
    [
        ("SKIP_FILE", 1, 0),
        ("SKIP_FILE_3", 3, 0),
        ("SKIP_FILE_4", 4, 3),
        ("'SKIP_FILE_49%'", 3, 0),
        ("'SKIP_FILE_50%'", 4, 3),
    ],
)
def test_a_file_is_skipped_at_its_limit(
    cursor: Any, files: Any, table: None, option: str, limit: int, loaded: int
) -> None:
    good, mixed = cursor.execute(f"COPY INTO T FROM {files.stage} {CSV} ON_ERROR = {option}").fetchall()
    assert good[1:4] == ("LOADED", 1, 1)
    assert mixed[1:6] == ("PARTIALLY_LOADED" if loaded else "LOAD_FAILED", 6, loaded, limit, 3)
    assert len(ids(cursor)) == 1 + loaded


def test_a_skipped_file_is_tried_again_and_a_partial_one_is_not(cursor: Any, files: Any, table: None) -> None:
    copy = f"COPY INTO T FROM {files.stage} FILES = ('b.csv') {CSV} ON_ERROR ="
    assert cursor.execute(f"{copy} SKIP_FILE").fetchall()[0][1] == "LOAD_FAILED"
    assert cursor.execute(f"{copy} CONTINUE").fetchall()[0][1] == "PARTIALLY_LOADED"
    assert cursor.execute(f"{copy} CONTINUE").fetchall()[0][1] == "LOAD_SKIPPED"
    assert cursor.execute(f"{copy} SKIP_FILE FORCE = TRUE").fetchall()[0][1] == "LOAD_FAILED"
    assert cursor.execute(f"{copy} CONTINUE").fetchall()[0][1] == "LOAD_SKIPPED"
    assert ids(cursor) == [1, 3, 6]


def test_the_default_aborts_and_says_where(cursor: Any, files: Any, table: None) -> None:
    cursor.execute("BEGIN")
    cursor.execute("INSERT INTO T VALUES (7, 'own')")
    for option in ("", "ON_ERROR = ABORT_STATEMENT", "ON_ERROR = 'abort_statement'"):
        failed = error(cursor, f"COPY INTO T FROM {files.stage} {CSV} {option}")
        assert failed.errno == 100038
        assert f"File '{files.prefix}b.csv', line 4, character 1" in str(failed)
        assert 'Row 2, column "T"["ID":1]' in str(failed)
        assert ids(cursor) == [7]
    cursor.execute(f"COPY INTO T FROM {files.stage} {CSV} ON_ERROR = CONTINUE")
    cursor.execute("ROLLBACK")
    assert ids(cursor) == []
    assert cursor.execute(f"COPY INTO T FROM {files.stage} {CSV} ON_ERROR = CONTINUE").fetchall()[1][3] == 3


@pytest.mark.parametrize(
    ("body", "code", "place"),
    [
        (b"id,name\n1,a\n2,b,c\n", 100080, ("line 3, character 1", 'Row 2, column "T"[3]')),
        (b'id,name\n1,a\n2,"b"x\n', 100016, ("line 3, character 3", "")),
        (b'id,name\n1,a\n2,"b\n3,c\n', 100066, ("line 3, character 3", "")),
        (b"id,name\n1,a\n2,\xff\n", 100144, ("line 3, character 1", "")),
        (b"id,name\n1,a\n2," + b"x" * 21 + b"\n", 100078, ("line 3, character 3", 'Row 2, column "T"["NAME":2]')),
    ],
)
def test_every_kind_of_faulty_record(
    cursor: Any, bucket: Any, table: None, body: bytes, code: int, place: tuple[str, str]
) -> None:
    bucket.put("a.csv", body)
    failed = error(cursor, f"COPY INTO T FROM {bucket.stage} {CSV}")
    assert failed.errno == code
    assert all(part in str(failed) for part in place), str(failed)
    row = cursor.execute(f"COPY INTO T FROM {bucket.stage} {CSV} ON_ERROR = CONTINUE").fetchall()[0]
    assert row[1:6] == ("PARTIALLY_LOADED", 2, 1, 2, 1)
    assert ids(cursor) == [1]


def test_a_select_loses_only_the_rows_that_fail(cursor: Any, bucket: Any, table: None) -> None:
    bucket.put("a.csv", b"id,name\n1,\nx,b\n3,c\n0,d\n")
    answer = cursor.execute(
        f"COPY INTO T FROM (SELECT 6 / $1::NUMBER, NULLIF($2, 'c') FROM {bucket.stage}) {CSV} ON_ERROR = CONTINUE"
    ).fetchall()
    assert answer[0][1:7] == ("PARTIALLY_LOADED", 4, 2, 4, 2, "Numeric value 'x' is not recognized")
    assert cursor.execute("SELECT ID, NAME FROM T ORDER BY ID").fetchall() == [(2, None), (6, None)]


def test_of_parquet_only_whole_files_are_skipped(cursor: Any, bucket: Any, table: None) -> None:
    bucket.parquet("a.parquet", pa.table({"id": [1]}))
    bucket.parquet("b.parquet", pa.table({"id": ["2", "x", "y"]}))
    bucket.put("c.parquet", b"PAR1 torn")
    copy = f"COPY INTO T FROM {bucket.stage} {PARQUET} ON_ERROR ="
    for option in ("CONTINUE", "SKIP_FILE_9", "'SKIP_FILE_90%'"):
        failed = error(cursor, f"{copy} {option}")
        assert failed.errno == 100038
        assert "b.parquet', line 2" in str(failed)
    answer = cursor.execute(f"{copy} SKIP_FILE").fetchall()
    assert [row[1:6] for row in answer] == [
        ("LOADED", 1, 1, 1, 0),
        ("LOAD_FAILED", 3, 0, 1, 2),
        ("LOAD_FAILED", 0, 0, 1, 1),
    ]
    assert answer[1][6:] == ("Numeric value 'x' is not recognized", 2, 1, '"T"["ID":1]')
    assert "Error parsing the parquet file" in answer[2][6]
    cursor.execute("TRUNCATE TABLE T")
    answer = cursor.execute(f"{copy} CONTINUE PATTERN = '.*/[ac][.].*'").fetchall()
    assert [row[1] for row in answer] == ["LOADED", "LOAD_FAILED"]
    assert ids(cursor) == [1]


def test_the_vectorized_scanner_knows_two_policies(cursor: Any, bucket: Any, table: None) -> None:
    bucket.parquet("a.parquet", pa.table({"id": [1]}))
    vectorized = PARQUET.replace("PARQUET)", "PARQUET USE_VECTORIZED_SCANNER = TRUE)")
    assert error(cursor, f"COPY INTO T FROM {bucket.stage} {vectorized} ON_ERROR = CONTINUE").errno == 2301
    cursor.execute(f"COPY INTO T FROM {bucket.stage} {vectorized} ON_ERROR = SKIP_FILE")
    assert ids(cursor) == [1]


@pytest.mark.parametrize("value", ["SKIP_FILE_0", "'SKIP_FILE_101%'", "IGNORE", "1"])
def test_a_policy_that_is_none(cursor: Any, bucket: Any, table: None, value: str) -> None:
    assert error(cursor, f"COPY INTO T FROM {bucket.stage} {CSV} ON_ERROR = {value}").errno == 1008


def test_many_faulty_rows(cursor: Any, bucket: Any, table: None) -> None:
    lines = "".join(f"{'x' if i % 100 == 0 else i},n\n" for i in range(20_000))
    bucket.put("a.csv", b"id,name\n" + lines.encode())
    row = cursor.execute(f"COPY INTO T FROM {bucket.stage} {CSV} ON_ERROR = CONTINUE").fetchall()[0]
    assert row[1:6] == ("PARTIALLY_LOADED", 20_000, 19_800, 20_000, 200)


@pytest.mark.parametrize("megabytes", [12, 21])
def test_a_very_long_field(cursor: Any, bucket: Any, megabytes: int) -> None:
    cursor.execute("CREATE TABLE T (ID NUMBER, BODY VARCHAR)")
    field = b'say ""x"",\n' * (megabytes * (1 << 20) // 11)
    bucket.put("a.csv", b'id,body\n1,"' + field + b'"\n')
    copy = f"COPY INTO T FROM {bucket.stage} {CSV}"
    if megabytes == 12:
        cursor.execute(copy)
        size = len(field.replace(b'""', b'"'))
        assert cursor.execute("SELECT LENGTH(BODY), RIGHT(BODY, 5) FROM T").fetchone() == (size, '"x",\n')
    else:
        failed = error(cursor, copy)
        assert failed.errno == 100082
        assert "Max LOB size (16777216) exceeded, actual size of parsed column is" in str(failed)
