"""QUERY_HISTORY: what ran, under which tag, and how it ended."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
import snowflake.connector


def history(cursor: Any, source: str, tag: str) -> list[dict[str, Any]]:
    cursor.execute(
        f"SELECT * FROM TABLE(DEMO.INFORMATION_SCHEMA.{source}) WHERE QUERY_TAG = '{tag}' ORDER BY START_TIME"
    )
    return [dict(zip([d[0] for d in cursor.description], row, strict=True)) for row in cursor.fetchall()]


def test_what_a_tag_cost(connection: Any, other: Any) -> None:
    cursor, tag = connection.cursor(), json.dumps({"run": uuid.uuid4().hex})
    cursor.execute(f"ALTER SESSION SET QUERY_TAG = '{tag}'")
    cursor.execute("CREATE TABLE T (A NUMBER)")
    cursor.execute("INSERT INTO T VALUES (1), (2), (3)")
    inserted = cursor.sfqid
    cursor.execute("SELECT * FROM T WHERE A > 1")
    with pytest.raises(snowflake.connector.errors.ProgrammingError):
        cursor.execute("SELECT * FROM NOPE")
    cursor.execute("ALTER SESSION UNSET QUERY_TAG")
    session = int(cursor.execute("SELECT CURRENT_SESSION()").fetchone()[0])
    found = history(other, f"QUERY_HISTORY_BY_SESSION(SESSION_ID => {session})", tag)
    shown = ("QUERY_TYPE", "EXECUTION_STATUS", "ERROR_CODE", "ROWS_PRODUCED")
    assert [tuple(row[name] for name in shown) for row in found] == [
        ("CREATE_TABLE", "SUCCESS", None, 0),
        ("INSERT", "SUCCESS", None, 3),
        ("SELECT", "SUCCESS", None, 2),
        ("SELECT", "FAILED_WITH_ERROR", "002003", None),
        ("ALTER_SESSION", "SUCCESS", None, 0),
    ]
    insert = found[1]
    assert insert["QUERY_ID"] == inserted
    assert insert["QUERY_TEXT"] == "INSERT INTO T VALUES (1), (2), (3)"
    assert (insert["USER_NAME"], insert["ROLE_NAME"], insert["WAREHOUSE_NAME"]) == (
        "LOCAL",
        "ACCOUNTADMIN",
        "COMPUTE_WH",
    )
    assert (insert["SESSION_ID"], insert["DATABASE_NAME"], insert["SCHEMA_NAME"]) == (
        session,
        "DEMO",
        connection.schema,
    )
    assert insert["START_TIME"] <= insert["END_TIME"]
    assert "'NOPE' does not exist" in found[3]["ERROR_MESSAGE"]
    assert history(other, "QUERY_HISTORY()", tag) == found
    assert history(other, "QUERY_HISTORY_BY_USER('LOCAL', RESULT_LIMIT => 10000)", tag) == found
    assert history(other, "QUERY_HISTORY_BY_USER('SOMEBODY')", tag) == []


def test_a_copy_counts_the_rows_it_loaded(connection: Any, bucket: Any) -> None:
    import pyarrow as pa

    cursor, tag = connection.cursor(), uuid.uuid4().hex
    bucket.parquet("a.parquet", pa.table({"A": [1, 2]}))
    bucket.parquet("b.parquet", pa.table({"A": [3]}))
    cursor.execute("CREATE TABLE T (A NUMBER)")
    cursor.execute(
        f"COPY INTO T FROM {bucket.stage} FILE_FORMAT = (TYPE = PARQUET) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE",
        _statement_params={"QUERY_TAG": tag},
    )
    # A tag of one statement is no tag of the session.
    cursor.execute("SELECT 1")
    assert [(row["QUERY_TYPE"], row["ROWS_PRODUCED"]) for row in history(cursor, "QUERY_HISTORY()", tag)] == [
        ("COPY", 3)
    ]


def test_running_ones_and_limits(connection: Any, other: Any) -> None:
    cursor, tag = connection.cursor(), uuid.uuid4().hex
    cursor.execute(f"ALTER SESSION SET QUERY_TAG = '{tag}'")
    cursor.execute_async(f"CALL SYSTEM$WAIT(60) /* {tag} */")
    running = cursor.sfqid
    (found,) = [row for row in history(other, "QUERY_HISTORY()", tag) if row["QUERY_ID"] == running]
    assert found["EXECUTION_STATUS"] in {"QUEUED", "RUNNING"}
    assert (found["END_TIME"], found["ROWS_PRODUCED"]) == (None, None)
    other.abort_query(running)
    limited = "SELECT COUNT(*) FROM TABLE(DEMO.INFORMATION_SCHEMA.QUERY_HISTORY(RESULT_LIMIT => 2))"
    assert other.execute(limited).fetchone() == (2,)
    for wrong in ("RESULT_LIMIT => 10001", "NOSUCH => 1"):
        with pytest.raises(snowflake.connector.errors.ProgrammingError):
            other.execute(f"SELECT * FROM TABLE(DEMO.INFORMATION_SCHEMA.QUERY_HISTORY({wrong}))")


def test_no_secret_is_told_and_no_strangers_query(server: Any, connection: Any) -> None:
    cursor, tag = connection.cursor(), uuid.uuid4().hex
    cursor.execute(f"ALTER SESSION SET QUERY_TAG = '{tag}'")
    cursor.execute("CREATE OR REPLACE USER READER PASSWORD = 'reader-secret'")
    with pytest.raises(snowflake.connector.errors.ProgrammingError):
        cursor.execute("CREATE USER READER PASSWORD = 'reader-secret' NOSUCH = 1")
    found = history(cursor, "QUERY_HISTORY()", tag)
    assert len(found) == 4 - 1
    assert "reader-secret" not in json.dumps(found, default=str)
    with server.connect(user="READER", password="reader-secret", database="DEMO") as strange:
        sql = "SELECT DISTINCT USER_NAME FROM TABLE(DEMO.INFORMATION_SCHEMA.QUERY_HISTORY(RESULT_LIMIT => 10000))"
        assert strange.cursor().execute(sql).fetchall() == [("READER",)]
