"""COPY INTO with VALIDATION_MODE: reads, tells and loads nothing."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import snowflake.connector

CSV = "FILE_FORMAT = (TYPE = CSV FIELD_OPTIONALLY_ENCLOSED_BY = '\"' NULL_IF = () SKIP_HEADER = 1)"
COLUMNS = [
    "ERROR", "FILE", "LINE", "CHARACTER", "BYTE_OFFSET", "CATEGORY", "CODE", "SQL_STATE", "COLUMN_NAME",
    "ROW_NUMBER", "ROW_START_LINE",
]  # fmt: skip


@pytest.fixture
def table(cursor: Any) -> None:
    cursor.execute("CREATE TABLE T (ID NUMBER(5,0), NAME VARCHAR(3))")


@pytest.fixture
def files(bucket: Any) -> Any:
    bucket.put("a.csv", b"id,name\n1,a\n2,b\n")
    bucket.put("b.csv", b"id,name\n3,c\nx,d\n5,long\n6\n")
    return bucket


def test_errors_with_their_places(cursor: Any, files: Any, table: None) -> None:
    for mode in ("RETURN_ERRORS", "RETURN_ALL_ERRORS"):
        found = cursor.execute(f"COPY INTO T FROM {files.stage} {CSV} VALIDATION_MODE = {mode}").fetchall()
        assert [d[0] for d in cursor.description] == COLUMNS
        key = files.prefix + "b.csv"
        assert found == [
            ("Numeric value 'x' is not recognized", key, 3, 1, 12, "conversion", 100038, "22018", '"T"["ID":1]', 2, 3),
            ("String 'long' is too long and would be truncated", key, 4, 3, 18, "conversion", 100078, "22000",
             '"T"["NAME":2]', 3, 4),
            (found[2][0], key, 5, 1, 23, "parsing", 100080, "22000", '"T"[1]', 4, 5),
        ]  # fmt: skip
    assert cursor.execute("SELECT COUNT(*) FROM T").fetchone() == (0,)
    assert cursor.execute(f"COPY INTO T FROM {files.stage}a {CSV}").fetchall()[0][1] == "LOADED"


def test_files_loaded_in_part_are_told_of_only_by_all_errors(cursor: Any, files: Any, table: None) -> None:
    cursor.execute(f"COPY INTO T FROM {files.stage} {CSV} ON_ERROR = CONTINUE")
    for mode, count in (("RETURN_ERRORS", 0), ("RETURN_ALL_ERRORS", 3)):
        found = cursor.execute(f"COPY INTO T FROM {files.stage} {CSV} VALIDATION_MODE = {mode}").fetchall()
        assert len(found) == count, mode


def test_the_first_rows_or_the_first_error_among_them(cursor: Any, files: Any, table: None) -> None:
    copy = f"COPY INTO T FROM {files.stage} {CSV} VALIDATION_MODE ="
    assert cursor.execute(f"{copy} RETURN_3_ROWS").fetchall() == [(1, "a"), (2, "b"), (3, "c")]
    assert [d[0] for d in cursor.description] == ["ID", "NAME"]
    with pytest.raises(snowflake.connector.errors.DatabaseError, match=r"b[.]csv', line 3") as caught:
        cursor.execute(f"{copy} RETURN_4_ROWS")
    assert caught.value.errno == 100038
    assert cursor.execute("SELECT COUNT(*) FROM T").fetchone() == (0,)


def test_a_parquet_column_of_variants_is_validated(cursor: Any, bucket: Any) -> None:
    bucket.parquet("a.parquet", pa.table({"id": [1]}))
    bucket.put("b.parquet", b"")
    cursor.execute("CREATE TABLE T (V VARIANT)")
    copy = f"COPY INTO T FROM {bucket.stage} FILE_FORMAT = (TYPE = PARQUET) VALIDATION_MODE = RETURN_ERRORS"
    assert [(row[1], row[6]) for row in cursor.execute(copy).fetchall()] == [(bucket.prefix + "b.parquet", 100069)]


@pytest.mark.parametrize(
    "options",
    [
        "VALIDATION_MODE = RETURN_ERRORS MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE",
        "VALIDATION_MODE = RETURN_ROWS",
    ],
)
def test_what_validation_does_not_go_with(cursor: Any, files: Any, table: None, options: str) -> None:
    with pytest.raises(snowflake.connector.errors.ProgrammingError):
        cursor.execute(f"COPY INTO T FROM {files.stage} {CSV} {options}")
    with pytest.raises(snowflake.connector.errors.ProgrammingError, match="copy transform"):
        cursor.execute(f"COPY INTO T FROM (SELECT $1, $2 FROM {files.stage}) {CSV} VALIDATION_MODE = RETURN_ERRORS")
