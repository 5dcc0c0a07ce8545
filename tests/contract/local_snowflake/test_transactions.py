"""Transactions: a failing statement does not end one, DDL does, and other sessions see what is committed."""

from __future__ import annotations

import threading
from typing import Any

import pyarrow as pa
import pytest
import snowflake.connector

PARQUET = "FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE"


def ids(cursor: Any, table: str = "T") -> list[int]:
    return [row[0] for row in cursor.execute(f"SELECT ID FROM {table} ORDER BY ID").fetchall()]


@pytest.fixture
def table(cursor: Any) -> None:
    cursor.execute("CREATE TABLE T (ID NUMBER(5,0) NOT NULL, NAME VARCHAR(3))")
    cursor.execute("INSERT INTO T VALUES (1, 'a')")


def test_failing_statements_do_not_end_a_transaction(cursor: Any, other: Any, bucket: Any, table: None) -> None:
    bucket.parquet("bad.parquet", pa.table({"id": ["x"]}))
    bucket.parquet("half.parquet", pa.table({"id": [7, None]}))
    bucket.put("torn.parquet", b"PAR1")
    cursor.execute("BEGIN")
    cursor.execute("INSERT INTO T VALUES (2, 'b')")
    for failing in [
        "SELEC 1",
        "SELECT * FROM NOPE",
        "INSERT INTO NOPE VALUES (1)",
        "INSERT INTO T VALUES ('x', 'a')",
        "INSERT INTO T VALUES (3, 'too long')",
        "INSERT INTO T VALUES (NULL, 'a')",
        "INSERT INTO T SELECT 100000, 'a'",
        "UPDATE T SET ID = 'x'",
        "UPDATE T SET NAME = 'too long' WHERE ID = 1",
        "DELETE FROM T WHERE ID = 'x'",
        "MERGE INTO T USING (SELECT 1 ID UNION ALL SELECT 1) S ON T.ID = S.ID WHEN MATCHED THEN DELETE",
        f"COPY INTO T FROM {bucket.stage}bad.parquet {PARQUET}",
        f"COPY INTO T FROM {bucket.stage}half.parquet {PARQUET}",
        f"COPY INTO T FROM {bucket.stage}torn.parquet {PARQUET}",
        f"COPY INTO T FROM {bucket.stage} FILES = ('gone.parquet') {PARQUET}",
        "COPY INTO T FROM @NOPE FILE_FORMAT = (TYPE = PARQUET)",
        "SELECT 1/0",
    ]:
        with pytest.raises(snowflake.connector.errors.DatabaseError):
            cursor.execute(failing)
        assert ids(cursor) == [1, 2], failing
    cursor.execute("INSERT INTO T VALUES (4, 'd')")
    assert ids(other) == [1]
    cursor.execute("COMMIT")
    assert ids(cursor) == ids(other) == [1, 2, 4]


def test_rollback_undoes_every_kind_of_change(cursor: Any, bucket: Any, table: None) -> None:
    bucket.parquet("a.parquet", pa.table({"id": [9]}))
    cursor.execute("BEGIN")
    cursor.execute("TRUNCATE TABLE T")
    cursor.execute("INSERT INTO T VALUES (5, 'e')")
    cursor.execute(f"COPY INTO T FROM {bucket.stage} {PARQUET}")
    cursor.execute("UPDATE T SET NAME = 'z'")
    cursor.execute("DELETE FROM T WHERE ID = 5")
    assert ids(cursor) == [9]
    cursor.execute("ROLLBACK")
    assert cursor.execute("SELECT * FROM T").fetchall() == [(1, "a")]


def test_delete_and_forced_copy_publish_together(cursor: Any, other: Any, bucket: Any) -> None:
    bucket.parquet("a.parquet", pa.table({"id": [1, 2]}))
    cursor.execute("CREATE TABLE T (ID NUMBER)")
    cursor.execute(f"COPY INTO T FROM {bucket.stage} {PARQUET}")
    cursor.execute("BEGIN")
    cursor.execute("DELETE FROM T")
    cursor.execute(f"COPY INTO T FROM {bucket.stage} {PARQUET} FORCE = TRUE")
    assert ids(other) == [1, 2]
    cursor.execute("COMMIT")
    assert ids(other) == [1, 2]


@pytest.mark.parametrize(
    "ddl",
    [
        "CREATE TABLE X AS SELECT 1 A",
        "CREATE TABLE X (A NUMBER)",
        "COMMENT ON TABLE T IS 'c'",
        "ALTER TABLE T RENAME TO T9",
    ],
)
def test_ddl_commits_the_open_transaction(cursor: Any, other: Any, table: None, ddl: str) -> None:
    cursor.execute("BEGIN")
    cursor.execute("INSERT INTO T VALUES (2, 'b')")
    cursor.execute(ddl)
    cursor.execute("ROLLBACK")
    assert ids(other, "T9" if "T9" in ddl else "T") == [1, 2]


def test_truncate_does_not_commit(cursor: Any, other: Any, table: None) -> None:
    cursor.execute("BEGIN")
    cursor.execute("TRUNCATE TABLE T")
    assert ids(cursor) == []
    assert ids(other) == [1]
    cursor.execute("ROLLBACK")
    assert ids(cursor) == [1]


def test_a_reader_in_a_transaction_sees_what_is_committed_meanwhile(cursor: Any, other: Any, table: None) -> None:
    cursor.execute("BEGIN")
    assert ids(cursor) == [1]
    other.execute("INSERT INTO T VALUES (2, 'b')")
    assert ids(cursor) == [1, 2]
    cursor.execute("COMMIT")


def test_autocommit_off_opens_a_transaction_by_itself(connection: Any, other: Any, table: None) -> None:
    connection.autocommit(False)
    cursor = connection.cursor()
    cursor.execute("INSERT INTO T VALUES (2, 'b')")
    assert ids(other) == [1]
    connection.rollback()
    assert ids(cursor) == [1]
    cursor.execute("INSERT INTO T VALUES (3, 'c')")
    connection.commit()
    assert ids(other) == [1, 3]


def test_a_writer_waits_for_the_lock_and_not_for_ever(cursor: Any, other: Any, table: None) -> None:
    cursor.execute("BEGIN")
    cursor.execute("UPDATE T SET NAME = 'x'")
    other.execute("ALTER SESSION SET LOCK_TIMEOUT = 1")
    for blocked in ("DELETE FROM T", "DROP TABLE T", "ALTER TABLE T RENAME TO T9"):
        with pytest.raises(snowflake.connector.errors.DatabaseError, match="LOCK_TIMEOUT"):
            other.execute(blocked)
    other.execute("ALTER SESSION SET LOCK_TIMEOUT = 30")
    waiting = threading.Thread(target=other.execute, args=("UPDATE T SET NAME = NAME || 'y'",))
    waiting.start()
    cursor.execute("COMMIT")
    waiting.join(30)
    assert cursor.execute("SELECT NAME FROM T").fetchall() == [("xy",)]


def test_the_end_of_a_session_rolls_back(server: Any, connection: Any, cursor: Any, table: None) -> None:
    with server.connect(database="DEMO", schema=connection.schema) as closing:
        closing.cursor().execute("BEGIN")
        closing.cursor().execute("DELETE FROM T")
    assert ids(cursor) == [1]
    cursor.execute("DELETE FROM T")
    assert ids(cursor) == []
