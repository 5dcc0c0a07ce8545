"""Transactions: a failing statement does not end one, DDL does, and other sessions see what is committed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
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
        "MERGE INTO T USING (SELECT 1 ID UNION ALL SELECT 1) S ON T.ID = S.ID WHEN MATCHED THEN UPDATE SET NAME = 'c'",
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


def rows(cursor: Any, sql: str) -> list[dict[str, Any]]:
    cursor.execute(sql)
    return [dict(zip([d[0] for d in cursor.description], row, strict=True)) for row in cursor.fetchall()]


def wait_for(condition: Callable[[], Any], seconds: float = 10) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("condition never held")


def named(cursor: Any, name: str) -> list[dict[str, Any]]:
    return [row for row in rows(cursor, "SHOW TRANSACTIONS") if row["name"] == name]


def test_an_open_transaction_is_shown_by_name_and_number(connection: Any, cursor: Any, other: Any, table: None) -> None:
    assert cursor.execute("SELECT CURRENT_TRANSACTION()").fetchone() == (None,)
    cursor.execute('BEGIN NAME "mz_0a1b"')
    (shown,) = named(other, "mz_0a1b")
    assert list(shown) == ["id", "user", "session", "name", "started_on", "state", "scope"]
    session = cursor.execute("SELECT CURRENT_SESSION()").fetchone()[0]
    assert (shown["user"], str(shown["session"]), shown["state"], shown["scope"]) == ("LOCAL", session, "running", 0)
    assert cursor.execute("SELECT CURRENT_TRANSACTION()").fetchone() == (str(shown["id"]),)
    # Nested: the second BEGIN does nothing.
    cursor.execute("BEGIN TRANSACTION NAME again")
    assert named(other, "AGAIN") == []
    cursor.execute("COMMIT")
    assert named(other, "mz_0a1b") == []


def test_locks_show_who_holds_and_who_waits(connection: Any, cursor: Any, other: Any, table: None) -> None:
    cursor.execute("BEGIN NAME holder")
    cursor.execute("INSERT INTO T VALUES (2, 'b')")
    inserted = cursor.sfqid
    other.execute_async("UPDATE T SET NAME = 'x'")
    waiting = other.sfqid
    resource = f"DEMO.{connection.schema}.T"

    def locks() -> list[dict[str, Any]]:
        return [row for row in rows(cursor, "SHOW LOCKS IN ACCOUNT") if row["resource"] == resource]

    found = wait_for(lambda: found if len(found := locks()) == 2 else None)
    assert [(row["status"], row["type"], row["query_id"]) for row in found] == [
        ("HOLDING", "PARTITIONS", inserted),
        ("WAITING", "PARTITIONS", waiting),
    ]
    assert found[0]["transaction"] == named(cursor, "HOLDER")[0]["id"]
    assert found[0]["acquired_on"] is not None
    assert found[1]["acquired_on"] is None
    cursor.execute("COMMIT")
    wait_for(lambda: not other.connection.is_still_running(other.connection.get_query_status(waiting)))
    assert locks() == []


@pytest.mark.parametrize("verb", ["SELECT", "CALL"])
def test_another_session_aborts_a_transaction(cursor: Any, other: Any, table: None, verb: str) -> None:
    cursor.execute("BEGIN NAME doomed")
    cursor.execute("INSERT INTO T VALUES (2, 'b')")
    number = named(other, "DOOMED")[0]["id"]
    abort = f"{verb} SYSTEM$ABORT_TRANSACTION({number})"
    assert other.execute(abort).fetchone() == (f"Aborted transaction id: {number}",)
    assert named(other, "DOOMED") == []
    other.execute("UPDATE T SET NAME = 'y'")
    # The session is told nothing: it is outside a transaction, and what it does now commits by itself.
    assert cursor.execute("SELECT CURRENT_TRANSACTION()").fetchone() == (None,)
    assert ids(cursor) == [1]
    cursor.execute("INSERT INTO T VALUES (3, 'c')")
    assert ids(other) == [1, 3]
    cursor.execute("COMMIT")
    assert other.execute(abort).fetchone() == (f"Transaction id: {number} is not running",)
    assert ids(other) == [1, 3]


def test_what_runs_in_an_aborted_transaction_is_cancelled(cursor: Any, other: Any, server: Any, table: None) -> None:
    other.execute("BEGIN")
    other.execute("INSERT INTO T VALUES (2, 'b')")
    cursor.execute("CREATE TABLE U (ID NUMBER)")
    cursor.execute("BEGIN NAME waiting")
    cursor.execute("INSERT INTO U VALUES (1)")
    cursor.execute_async("INSERT INTO T VALUES (3, 'c')")
    query_id = cursor.sfqid
    wait_for(lambda: cursor.connection.get_query_status(query_id).name == "BLOCKED")
    number = named(other, "WAITING")[0]["id"]
    other.execute(f"SELECT SYSTEM$ABORT_TRANSACTION({number})")
    wait_for(lambda: cursor.connection.get_query_status(query_id).name == "FAILED_WITH_ERROR")
    with pytest.raises(snowflake.connector.errors.ProgrammingError, match=f"'{number}' was aborted") as caught:
        cursor.connection.get_query_status_throw_if_error(query_id)
    assert caught.value.errno == 615
    other.execute("COMMIT")
    assert (ids(other), ids(other, "U")) == ([1, 2], [])


def test_strangers_abort_nothing(server: Any, cursor: Any, table: None) -> None:
    cursor.execute("CREATE OR REPLACE USER STRANGER PASSWORD = 'stranger'")
    cursor.execute("BEGIN NAME mine")
    cursor.execute("INSERT INTO T VALUES (2, 'b')")
    number = named(cursor, "MINE")[0]["id"]
    with server.connect(user="STRANGER", password="stranger") as strange:
        asking = strange.cursor()
        assert named(asking, "MINE") == []
        for sql in (f"SELECT SYSTEM$ABORT_TRANSACTION({number})", "SHOW TRANSACTIONS IN ACCOUNT"):
            with pytest.raises(snowflake.connector.errors.ProgrammingError, match="Insufficient privileges"):
                asking.execute(sql)
    cursor.execute("COMMIT")
    assert ids(cursor) == [1, 2]


@pytest.fixture
def orphan(server: Any, connection: Any, table: None) -> int:
    """A transaction whose process was killed, with a lock on the table."""
    script = (
        "import os, signal, snowflake.connector as s\n"
        f"c = s.connect(account='local', user='LOCAL', password={server.password!r}, host='127.0.0.1', "
        f"port={server.port}, protocol='http', database='DEMO', schema={connection.schema!r}).cursor()\n"
        "c.execute('BEGIN NAME orphan')\n"
        "c.execute('DELETE FROM T')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=os.environ, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    found = connection.cursor().execute("SHOW TRANSACTIONS").fetchall()
    return max(int(row[0]) for row in found if row[3] == "ORPHAN")


def test_a_killed_client_leaves_its_transaction_open(cursor: Any, orphan: int) -> None:
    assert ids(cursor) == [1]
    cursor.execute("ALTER SESSION SET LOCK_TIMEOUT = 1")
    with pytest.raises(snowflake.connector.errors.ProgrammingError, match=f"held by transaction {orphan}") as caught:
        cursor.execute("UPDATE T SET NAME = 'x'")
    assert caught.value.errno == 625
    cursor.execute(f"SELECT SYSTEM$ABORT_TRANSACTION({orphan})")
    cursor.execute("UPDATE T SET NAME = 'x'")
    assert ids(cursor) == [1]


def test_an_idle_transaction_makes_way_for_another(cursor: Any, faults: httpx.Client, orphan: int) -> None:
    faults.post("/local/faults", json={"idle_transaction_seconds": 0.5}).raise_for_status()
    cursor.execute("UPDATE T SET NAME = 'x'")
    assert [row for row in rows(cursor, "SHOW TRANSACTIONS") if row["id"] == orphan] == []
    assert ids(cursor) == [1]


def test_an_idle_transaction_that_blocks_nobody_stays(
    cursor: Any, other: Any, faults: httpx.Client, table: None
) -> None:
    faults.post("/local/faults", json={"idle_transaction_seconds": 0}).raise_for_status()
    cursor.execute("BEGIN")
    cursor.execute("INSERT INTO T VALUES (2, 'b')")
    time.sleep(0.3)
    other.execute("CREATE TABLE U AS SELECT * FROM T")
    cursor.execute("COMMIT")
    assert ids(other) == [1, 2]


def test_commit_waits_for_what_still_runs_in_the_transaction(
    cursor: Any, other: Any, faults: httpx.Client, table: None
) -> None:
    cursor.execute("BEGIN")
    other.execute("BEGIN")
    other.execute("UPDATE T SET NAME = 'z'")
    cursor.execute_async("INSERT INTO T VALUES (2, 'b')")
    query_id = cursor.sfqid
    wait_for(lambda: cursor.connection.get_query_status(query_id).name == "BLOCKED")
    committing = threading.Thread(target=cursor.execute, args=("COMMIT",))
    committing.start()
    other.execute("COMMIT")
    committing.join(20)
    assert not committing.is_alive()
    assert ids(other) == [1, 2]
