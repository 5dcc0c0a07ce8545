"""Statements that outlive the request, the session and the client that sent them, and their results by query id."""

from __future__ import annotations

import decimal
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import snowflake.connector

ProgrammingError = snowflake.connector.errors.ProgrammingError


def wait_for(condition: Callable[[], Any], seconds: float = 10) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("condition never held")


def status(connection: Any, query_id: str) -> str:
    return str(connection.get_query_status(query_id).name)


def logged(server: Any, sql: str) -> list[str]:
    return [line["outcome"] for line in server.logged() if line["sql"] == sql]


@pytest.fixture
def raw(server: Any) -> Any:
    """A session without a connector, which retries nothing and logs out of nothing."""
    login = {"data": {"LOGIN_NAME": "LOCAL", "PASSWORD": server.password}}
    with httpx.Client(base_url=server.url(""), timeout=30) as client:
        token = client.post("/session/v1/login-request", json=login).json()["data"]["token"]
        client.headers["Authorization"] = f'Snowflake Token="{token}"'
        yield client


def test_another_session_follows_it_to_its_end(server: Any, connection: Any, other: Any) -> None:
    cursor = connection.cursor()
    cursor.execute_async("SELECT SYSTEM$WAIT(1)")
    query_id = cursor.sfqid
    assert status(other.connection, query_id) in {"QUEUED", "RUNNING"}
    wait_for(lambda: status(other.connection, query_id) == "SUCCESS")
    other.get_results_from_sfqid(query_id)
    assert other.fetchall() == [("waited 1 seconds",)]
    assert other.execute(f"SELECT * FROM TABLE(RESULT_SCAN('{query_id}'))").fetchall() == [("waited 1 seconds",)]


def test_its_result_outlives_the_session(server: Any, other: Any) -> None:
    with server.connect(database="DEMO") as first:
        cursor = first.cursor()
        cursor.execute_async("SELECT 1.50::NUMBER(5,2) A, PARSE_JSON('{\"k\": 1}') V")
        query_id = cursor.sfqid
        wait_for(lambda: status(first, query_id) == "SUCCESS")
    assert status(other.connection, query_id) == "SUCCESS"
    other.get_results_from_sfqid(query_id)
    assert other.fetchone()[0] == decimal.Decimal("1.50")
    assert [d[0] for d in other.description] == ["A", "V"]
    sql = f"SELECT R.A * 2 AS TWICE, R.V:k::NUMBER AS K FROM TABLE(RESULT_SCAN('{query_id}')) R WHERE R.A > 1"
    assert [int(v) for v in other.execute(sql).fetchone()] == [3, 1]


def test_a_scanned_variant_is_a_variant(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT PARSE_JSON('{\"k\": 1}') V")
    cursor.execute("SELECT * FROM TABLE(RESULT_SCAN(LAST_QUERY_ID()))")
    assert cursor.description[0][1] == 5
    cursor.execute("CREATE TABLE KEPT AS SELECT * FROM TABLE(RESULT_SCAN(LAST_QUERY_ID()))")
    assert cursor.execute("SELECT V:k::NUMBER FROM KEPT").fetchone() == (1,)


def test_results_are_scanned_inside_larger_queries(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE T (A NUMBER)")
    cursor.execute("INSERT INTO T VALUES (1), (2), (3)")
    inserted = cursor.sfqid
    cursor.execute("SELECT A FROM T")
    sql = (
        "WITH N AS (SELECT MAX(A) AS M FROM TABLE(RESULT_SCAN(LAST_QUERY_ID()))) "
        f"SELECT N.M, R.\"number of rows inserted\" FROM N JOIN TABLE(RESULT_SCAN('{inserted}')) AS R ON TRUE"
    )
    assert cursor.execute(sql).fetchall() == [(3, 3)]
    ids = [cursor.execute(f"SELECT {n}").sfqid for n in range(3)]
    assert cursor.execute("SELECT LAST_QUERY_ID(-2), LAST_QUERY_ID()").fetchone() == (ids[1], ids[2])
    cursor.execute("INSERT INTO T SELECT * FROM TABLE(RESULT_SCAN(LAST_QUERY_ID(-2)))")
    assert cursor.execute("SELECT COUNT(*) FROM T WHERE A = 2").fetchone() == (2,)


def test_results_belong_to_their_user(server: Any, connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("CREATE OR REPLACE USER STRANGER PASSWORD = 'stranger'")
    query_id = cursor.execute("SELECT 'mine'").sfqid
    with server.connect(user="STRANGER", password="stranger") as strange:
        with pytest.raises(ProgrammingError, match="not found"):
            strange.cursor().execute(f"SELECT * FROM TABLE(RESULT_SCAN('{query_id}'))")
        assert status(strange, query_id) == "NO_DATA"


def test_it_waits_for_a_lock_and_says_so(connection: Any, other: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE T (A NUMBER)")
    cursor.execute("BEGIN")
    cursor.execute("INSERT INTO T VALUES (1)")
    other.execute_async("INSERT INTO T VALUES (2)")
    query_id = other.sfqid
    wait_for(lambda: status(connection, query_id) == "BLOCKED")
    assert connection.is_still_running(connection.get_query_status(query_id))
    cursor.execute("COMMIT")
    wait_for(lambda: status(connection, query_id) == "SUCCESS")
    assert cursor.execute("SELECT COUNT(*) FROM T").fetchone() == (2,)


@pytest.mark.parametrize("how", ["endpoint", "function", "call", "session"])
def test_aborted_from_another_session(server: Any, connection: Any, other: Any, how: str) -> None:
    cursor = connection.cursor()
    sql = f"CALL SYSTEM$WAIT(60) /* {how} {uuid.uuid4()} */"
    cursor.execute_async(sql)
    query_id = cursor.sfqid
    wait_for(lambda: status(connection, query_id) == "RUNNING")
    if how == "endpoint":
        assert other.abort_query(query_id)
    elif how == "session":
        session = cursor.execute("SELECT CURRENT_SESSION()").fetchone()[0]
        assert other.execute(f"SELECT SYSTEM$CANCEL_ALL_QUERIES({session})").fetchone() == ("1 cancelled.",)
    else:
        verb = "CALL" if how == "call" else "SELECT"
        answered = other.execute(f"{verb} SYSTEM$CANCEL_QUERY('{query_id}')").fetchone()
        assert answered == (f"query [{query_id}] terminated.",)
    wait_for(lambda: status(connection, query_id) == "FAILED_WITH_ERROR")
    with pytest.raises(ProgrammingError, match="canceled") as caught:
        connection.get_query_status_throw_if_error(query_id)
    assert caught.value.errno == 604
    assert logged(server, sql) == ["cancelled"]
    again = other.execute(f"SELECT SYSTEM$CANCEL_QUERY('{query_id}')").fetchone()
    assert again == ("Identified SQL statement is not currently executing.",)


def test_a_logout_aborts_what_runs(server: Any, raw: httpx.Client, connection: Any) -> None:
    connection.cursor().execute("CREATE TABLE T (A NUMBER)")
    sql = f"CALL SYSTEM$WAIT(60) /* {uuid.uuid4()} */"
    answer = raw.post("/queries/v1/query-request", json={"sqlText": sql, "asyncExec": True}).json()
    query_id = answer["data"]["queryId"]
    wait_for(lambda: status(connection, query_id) == "RUNNING")
    raw.post("/session", params={"delete": "true"})
    wait_for(lambda: status(connection, query_id) == "FAILED_WITH_ERROR")
    assert logged(server, sql) == ["cancelled"]


def test_a_client_that_is_gone_changes_nothing(server: Any, raw: httpx.Client, connection: Any) -> None:
    connection.cursor().execute("CREATE TABLE T (A NUMBER)")
    sql = f"CALL SYSTEM$WAIT(1) /* {uuid.uuid4()} */"
    # Synchronous: the client hangs up while it waits for the answer.
    with pytest.raises(httpx.ReadTimeout):
        raw.post("/queries/v1/query-request", json={"sqlText": sql}, timeout=0.3)
    wait_for(lambda: logged(server, sql) == ["ok"])


def test_what_a_killed_process_submitted_goes_on(server: Any, connection: Any) -> None:
    script = (
        "import os, signal, sys, snowflake.connector as s\n"
        f"c = s.connect(account='local', user='LOCAL', password={server.password!r}, host='127.0.0.1', "
        f"port={server.port}, protocol='http').cursor()\n"
        "c.execute_async('CALL SYSTEM$WAIT(1)')\n"
        "print(c.sfqid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=os.environ, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    query_id = done.stdout.strip()
    fetched = connection.cursor()
    fetched.get_results_from_sfqid(query_id)
    assert fetched.fetchall() == [("waited 1 seconds",)]


def test_a_request_sent_again_while_it_runs_gets_the_same_query(raw: httpx.Client, connection: Any) -> None:
    connection.cursor().execute("CREATE TABLE T (A NUMBER)")
    connection.cursor().execute("BEGIN")
    connection.cursor().execute("INSERT INTO T VALUES (0)")
    request = {"requestId": str(uuid.uuid4())}
    body = {"sqlText": f"INSERT INTO DEMO.{connection.schema}.T VALUES (1)", "asyncExec": True}
    # The table is locked, so the first one is still there when the second comes.
    found = {
        raw.post("/queries/v1/query-request", params=request, json=body).json()["data"]["queryId"] for _ in range(3)
    }
    connection.cursor().execute("COMMIT")
    assert len(found) == 1
    wait_for(lambda: status(connection, next(iter(found))) == "SUCCESS")
    assert connection.cursor().execute("SELECT COUNT(*) FROM T").fetchone() == (2,)


def test_an_asynchronous_statement_takes_part_in_the_transaction(connection: Any, other: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE T (A NUMBER)")
    cursor.execute("BEGIN")
    cursor.execute_async("INSERT INTO T VALUES (1)")
    query_id = cursor.sfqid
    wait_for(lambda: status(connection, query_id) == "SUCCESS")
    assert cursor.execute("SELECT COUNT(*) FROM T").fetchone() == (1,)
    assert other.execute("SELECT COUNT(*) FROM T").fetchone() == (0,)
    cursor.execute("ROLLBACK")
    assert cursor.execute("SELECT COUNT(*) FROM T").fetchone() == (0,)
