"""What a table remembers of its loads, and what COPY_HISTORY and LOAD_HISTORY show."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

MATCH = "FILE_FORMAT = (TYPE = PARQUET) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE"
CSV = "FILE_FORMAT = (TYPE = CSV)"
SINCE = "START_TIME => DATEADD(hours, -1, CURRENT_TIMESTAMP())"


def history(cursor: Any, columns: str, table: str = "T") -> list[Any]:
    return list(
        cursor.execute(
            f"SELECT {columns} FROM TABLE(INFORMATION_SCHEMA.COPY_HISTORY(TABLE_NAME => '{table}', {SINCE})) "
            "ORDER BY FILE_NAME, LAST_LOAD_TIME"
        ).fetchall()
    )


@pytest.fixture
def table(cursor: Any) -> None:
    cursor.execute("CREATE TABLE T (ID NUMBER)")


def test_the_log_tells_what_became_of_each_file(cursor: Any, connection: Any, bucket: Any, table: None) -> None:
    bucket.put("a.csv", b"1\n2\n")
    bucket.put("b.csv", b"3\nx\n")
    cursor.execute(f"COPY INTO T FROM {bucket.stage} {CSV} ON_ERROR = CONTINUE")
    bucket.put("c.csv", b"y\n")
    cursor.execute(f"COPY INTO T FROM {bucket.stage} {CSV} ON_ERROR = SKIP_FILE")
    found = history(
        cursor,
        "FILE_NAME, STAGE_LOCATION, ROW_COUNT, ROW_PARSED, FILE_SIZE, FIRST_ERROR_MESSAGE, FIRST_ERROR_LINE_NUMBER, "
        "FIRST_ERROR_CHARACTER_POS, FIRST_ERROR_COLUMN_NAME, ERROR_COUNT, ERROR_LIMIT, STATUS, TABLE_CATALOG_NAME, "
        "TABLE_SCHEMA_NAME, TABLE_NAME, PIPE_NAME, LAST_LOAD_TIME <= CURRENT_TIMESTAMP()",
    )
    rest = ("DEMO", connection.schema, "T", None, True)
    bad = "Numeric value '{}' is not recognized"
    assert found == [
        (bucket.prefix + "a.csv", "s3://mz-exports/", 2, 2, 4, None, None, None, None, 0, 2, "Loaded", *rest),
        (bucket.prefix + "b.csv", "s3://mz-exports/", 1, 2, 4, bad.format("x"), 2, 1, '"T"["ID":1]', 1, 2,
         "Partially loaded", *rest),
        (bucket.prefix + "c.csv", "s3://mz-exports/", 0, 1, 2, bad.format("y"), 1, 1, '"T"["ID":1]', 1, 1,
         "Load failed", *rest),
    ]  # fmt: skip
    view = cursor.execute(
        "SELECT FILE_NAME, STATUS, ROW_COUNT, ERROR_COUNT FROM INFORMATION_SCHEMA.LOAD_HISTORY "
        f"WHERE SCHEMA_NAME = '{connection.schema}' AND TABLE_NAME = 'T' ORDER BY 1"
    ).fetchall()
    at = f"s3://mz-exports/{bucket.prefix}"
    assert view == [
        (at + "a.csv", "LOADED", 2, 0),
        (at + "b.csv", "PARTIALLY LOADED", 1, 1),
        (at + "c.csv", "LOAD FAILED", 0, 1),
    ]


def test_the_log_outlives_truncate_and_not_the_table(cursor: Any, bucket: Any, table: None) -> None:
    bucket.parquet("a.parquet", pa.table({"id": [1]}))
    copy = f"COPY INTO T FROM {bucket.stage} {MATCH}"
    cursor.execute(copy)
    cursor.execute("TRUNCATE TABLE T")
    assert len(history(cursor, "FILE_NAME")) == 1
    cursor.execute(copy)
    assert len(history(cursor, "FILE_NAME")) == 2
    cursor.execute("CREATE OR REPLACE TABLE T (ID NUMBER)")
    assert history(cursor, "FILE_NAME") == []


def test_the_log_has_committed_loads_only(cursor: Any, bucket: Any, table: None) -> None:
    bucket.parquet("a.parquet", pa.table({"id": [1]}))
    for ending, count in (("ROLLBACK", 0), ("COMMIT", 1)):
        cursor.execute("BEGIN")
        cursor.execute(f"COPY INTO T FROM {bucket.stage} {MATCH}")
        assert history(cursor, "FILE_NAME") == []
        cursor.execute(ending)
        assert len(history(cursor, "FILE_NAME")) == count


def test_truncate_forgets_only_if_committed(cursor: Any, bucket: Any, table: None) -> None:
    bucket.parquet("a.parquet", pa.table({"id": [1]}))
    copy = f"COPY INTO T FROM {bucket.stage} FILES = ('a.parquet') {MATCH}"
    cursor.execute(copy)
    cursor.execute("BEGIN")
    cursor.execute("TRUNCATE TABLE T")
    assert cursor.execute(copy).fetchall()[0][1] == "LOADED"
    cursor.execute("ROLLBACK")
    assert cursor.execute(copy).fetchall()[0][1] == "LOAD_SKIPPED"
    cursor.execute("BEGIN")
    cursor.execute("TRUNCATE TABLE T")
    cursor.execute("COMMIT")
    assert cursor.execute(copy).fetchall()[0][1] == "LOADED"
    assert cursor.execute("SELECT COUNT(*) FROM T").fetchone() == (1,)


def test_a_clone_starts_without_a_history(cursor: Any, bucket: Any, table: None) -> None:
    bucket.parquet("a.parquet", pa.table({"id": [1]}))
    cursor.execute(f"COPY INTO T FROM {bucket.stage} {MATCH}")
    cursor.execute("CREATE TABLE C CLONE T")
    assert history(cursor, "FILE_NAME", "C") == []
    assert cursor.execute(f"COPY INTO C FROM {bucket.stage} {MATCH}").fetchall()[0][1] == "LOADED"
    assert cursor.execute("SELECT COUNT(*) FROM C").fetchone() == (2,)
    cursor.execute("CREATE TABLE OTHER (ID NUMBER)")
    cursor.execute("ALTER TABLE C SWAP WITH OTHER")
    assert len(history(cursor, "FILE_NAME", "OTHER")) == 1
    assert history(cursor, "FILE_NAME", "C") == []


def test_a_rewritten_file_is_loaded_again(cursor: Any, bucket: Any, table: None) -> None:
    bucket.put("a.csv", b"1\n")
    copy = f"COPY INTO T FROM {bucket.stage} FILES = ('a.csv') {CSV}"
    assert [cursor.execute(copy).fetchall()[0][1] for _ in range(2)] == ["LOADED", "LOAD_SKIPPED"]
    bucket.put("a.csv", b"2\n")
    assert [cursor.execute(copy).fetchall()[0][1] for _ in range(2)] == ["LOADED", "LOAD_SKIPPED"]
    assert cursor.execute("SELECT ID FROM T ORDER BY 1").fetchall() == [(1,), (2,)]
