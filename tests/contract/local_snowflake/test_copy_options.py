"""COPY INTO: which files an option chooses, and what it does with them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import snowflake.connector

PARQUET = "FILE_FORMAT = (TYPE = PARQUET) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE"
CSV = "FILE_FORMAT = (TYPE = CSV FIELD_OPTIONALLY_ENCLOSED_BY = '\"' NULL_IF = ())"


def names(cursor: Any, sql: str) -> list[str]:
    """The files an answer names, without their folder."""
    return [row[0].rpartition("/")[2] for row in cursor.execute(sql).fetchall()]


def refused(cursor: Any, sql: str, errno: int, text: str) -> None:
    with pytest.raises(snowflake.connector.errors.ProgrammingError, match=text) as caught:
        cursor.execute(sql)
    assert caught.value.errno == errno


@pytest.fixture
def table(cursor: Any) -> None:
    cursor.execute("CREATE TABLE T (ID NUMBER)")


@pytest.fixture
def three(bucket: Any) -> list[str]:
    return [bucket.parquet(f"{name}.parquet", pa.table({"id": [i]})) for i, name in enumerate("abc")]


def left(bucket: Any) -> list[str]:
    found = bucket.client.list_objects_v2(Bucket="mz-exports", Prefix=bucket.prefix).get("Contents", [])
    return [entry["Key"].removeprefix(bucket.prefix) for entry in found]


def test_a_pattern_has_to_match_the_whole_key(cursor: Any, bucket: Any, table: None, three: list[str]) -> None:
    for pattern, found in (
        (".*/[ab][.]parquet", ["a.parquet", "b.parquet"]),
        (f"{bucket.prefix}c.*", ["c.parquet"]),
        ("[ab][.]parquet", ["Copy executed with 0 files processed."]),
        (f"s3://mz-exports/{bucket.prefix}.*", ["Copy executed with 0 files processed."]),
        (".*''.*", ["Copy executed with 0 files processed."]),
    ):
        assert names(cursor, f"COPY INTO T FROM {bucket.stage} PATTERN = '{pattern}' {PARQUET}") == found, pattern
        cursor.execute("TRUNCATE TABLE T")
    refused(cursor, f"COPY INTO T FROM {bucket.stage} PATTERN = '.*' FILES = ('a') {PARQUET}", 2301, "together")


def test_force_false_is_not_force(cursor: Any, bucket: Any, table: None, three: list[str]) -> None:
    copy = f"COPY INTO T FROM {bucket.stage} {PARQUET}"
    cursor.execute(copy)
    assert len(cursor.execute(f"{copy} FORCE = FALSE").fetchall()[0]) == 1
    assert len(names(cursor, f"{copy} FORCE = TRUE")) == 3
    assert cursor.execute("SELECT COUNT(*) FROM T").fetchone() == (6,)
    refused(cursor, f"{copy} FORCE = 'perhaps'", 1008, "FORCE")


def test_purge_deletes_what_was_loaded_and_nothing_else(
    cursor: Any, bucket: Any, table: None, three: list[str]
) -> None:
    bucket.put("torn.parquet", b"PAR1")
    cursor.execute(f"COPY INTO T FROM {bucket.stage} FILES = ('a.parquet') {PARQUET}")
    copy = f"COPY INTO T FROM {bucket.stage} {PARQUET} PURGE = TRUE"
    with pytest.raises(snowflake.connector.errors.ProgrammingError):
        cursor.execute(copy)
    assert left(bucket) == ["a.parquet", "b.parquet", "c.parquet", "torn.parquet"]
    cursor.execute(f"{copy} ON_ERROR = SKIP_FILE")
    assert left(bucket) == ["a.parquet", "torn.parquet"]


def test_purge_does_not_wait_for_the_commit(cursor: Any, bucket: Any, table: None, three: list[str]) -> None:
    cursor.execute("BEGIN")
    cursor.execute(f"COPY INTO T FROM {bucket.stage} {PARQUET} PURGE = TRUE")
    cursor.execute("ROLLBACK")
    assert left(bucket) == []
    assert cursor.execute("SELECT COUNT(*) FROM T").fetchone() == (0,)


def test_a_size_limit_stops_after_it_is_exceeded(cursor: Any, bucket: Any, table: None) -> None:
    for name in "abcd":
        bucket.put(f"{name}.csv", b"1\n" * 50)
    copy = f"COPY INTO T FROM {bucket.stage} {CSV} SIZE_LIMIT ="
    assert names(cursor, f"{copy} 150") == ["a.csv", "b.csv"]
    assert names(cursor, f"{copy} 1") == ["c.csv"]
    assert names(cursor, f"{copy} 1000") == ["d.csv"]
    refused(cursor, f"{copy} 0", 1008, "SIZE_LIMIT")


def test_long_strings_are_refused_or_cut(cursor: Any, bucket: Any) -> None:
    cursor.execute("CREATE TABLE T (A VARCHAR(3), B VARCHAR)")
    bucket.put("a.csv", "ab🚀def,abcdef\n".encode())
    copy = f"COPY INTO T FROM {bucket.stage} {CSV}"
    for option in ("", "TRUNCATECOLUMNS = FALSE", "ENFORCE_LENGTH = TRUE"):
        refused(cursor, f"{copy} {option}", 100078, "is too long and would be truncated")
    for option in ("TRUNCATECOLUMNS = TRUE", "ENFORCE_LENGTH = FALSE", "ENFORCE_LENGTH=FALSE TRUNCATECOLUMNS=TRUE"):
        cursor.execute("TRUNCATE TABLE T")
        cursor.execute(f"{copy} {option}")
        assert cursor.execute("SELECT A, B FROM T").fetchall() == [("ab🚀", "abcdef")]
    refused(cursor, f"{copy} TRUNCATECOLUMNS = TRUE ENFORCE_LENGTH = TRUE", 2301, "contradict")


def test_only_failures_are_told_when_asked_for(cursor: Any, bucket: Any, table: None) -> None:
    bucket.put("bad.csv", b"x\n1\n")
    bucket.put("good.csv", b"1\n")
    copy = f"COPY INTO T FROM {bucket.stage} {CSV} RETURN_FAILED_ONLY = TRUE ON_ERROR = CONTINUE"
    assert names(cursor, copy) == ["bad.csv"]
    cursor.execute("TRUNCATE TABLE T")
    assert names(cursor, f"{copy} PATTERN = '.*good.*'") == []
    assert len(cursor.description) == 10


def test_files_in_a_stage_named_by_a_string(cursor: Any, bucket: Any, table: None, three: list[str]) -> None:
    assert len(names(cursor, f"COPY INTO T FROM '{bucket.stage}' {PARQUET} LOAD_UNCERTAIN_FILES = TRUE")) == 3


def test_the_markers_of_an_export_in_a_folder(cursor: Any, bucket: Any, table: None, three: list[str]) -> None:
    bucket.put("mz-t1-INCOMPLETE", b"")
    refused(cursor, f"COPY INTO T FROM {bucket.stage} {PARQUET}", 100069, "INCOMPLETE")
    assert cursor.execute("SELECT COUNT(*) FROM T").fetchone() == (0,)
    bucket.put("csv/mz-t1-INCOMPLETE", b"")
    answer = cursor.execute(f"COPY INTO T FROM {bucket.stage}csv/ {CSV}").fetchall()
    assert [row[1:4] for row in answer] == [("LOADED", 0, 0)]
