"""Faults on request: answers that are lost or cut, statements that are slow or fail."""

from __future__ import annotations

import time
import uuid
from typing import Any

import httpx
import pytest
import snowflake.connector


def ask(faults: httpx.Client, **body: Any) -> None:
    faults.post("/local/faults", json=body).raise_for_status()


def hits(faults: httpx.Client) -> list[int]:
    return [fault["hits"] for fault in faults.get("/local/faults").json()["faults"]]


def wait_until_ended(connection: Any, query_id: str) -> str:
    deadline = time.monotonic() + 10
    while connection.get_query_status(query_id).name not in {"SUCCESS", "FAILED_WITH_ERROR"}:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return query_id


@pytest.fixture
def marked(connection: Any) -> tuple[Any, str]:
    """A cursor and a statement that is told from all others."""
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE T (A NUMBER)")
    return cursor, f"INSERT INTO T VALUES (1) /* {uuid.uuid4().hex} */"


def test_an_answer_that_got_lost_is_asked_for_again(marked: tuple[Any, str], faults: httpx.Client, server: Any) -> None:
    cursor, sql = marked
    ask(faults, answers_lost={"containing": sql[-30:], "times": 2})
    cursor.execute(sql)
    assert cursor.rowcount == 1
    assert hits(faults) == [2]
    assert cursor.execute("SELECT COUNT(*) FROM T").fetchone() == (1,)
    assert [line["outcome"] for line in server.logged() if line["sql"] == sql] == ["ok"]


def test_half_an_answer(marked: tuple[Any, str], faults: httpx.Client) -> None:
    cursor, sql = marked
    ask(faults, truncated={"containing": sql[-30:]})
    # Neither major asks again, and 4 lets the error of its HTTP library through: the caller cannot tell whether the
    # statement was run, and it was.
    with pytest.raises((snowflake.connector.errors.InternalError, OSError)):
        cursor.execute(sql)
    assert hits(faults) == [1]
    assert cursor.execute("SELECT COUNT(*) FROM T").fetchone() == (1,)


def test_a_submission_whose_answer_got_lost_is_made_once(marked: tuple[Any, str], faults: httpx.Client) -> None:
    cursor, sql = marked
    ask(faults, answers_lost={"containing": sql[-30:], "times": 1})
    cursor.execute_async(sql)
    cursor.get_results_from_sfqid(cursor.sfqid)
    assert cursor.fetchall() == [(1,)]
    assert cursor.execute("SELECT COUNT(*) FROM T").fetchone() == (1,)
    assert hits(faults) == [1]


@pytest.mark.parametrize("kind", ["answers_lost", "truncated"])
def test_answers_lost_on_the_wire(marked: tuple[Any, str], faults: httpx.Client, server: Any, kind: str) -> None:
    cursor, sql = marked
    login = {"data": {"LOGIN_NAME": "LOCAL", "PASSWORD": server.password}}
    token = faults.post("/session/v1/login-request", json=login).json()["data"]["token"]
    sql = sql.replace("INTO T", f"INTO DEMO.{cursor.connection.schema}.T")
    ask(faults, **{kind: {"containing": sql[-30:]}})
    headers = {"Authorization": f'Snowflake Token="{token}"'}
    with pytest.raises(httpx.RemoteProtocolError if kind == "truncated" else httpx.TransportError):
        faults.post("/queries/v1/query-request", json={"sqlText": sql}, headers=headers)
    # The statement has done its work by then.
    assert cursor.execute("SELECT COUNT(*) FROM T").fetchone() == (1,)
    assert faults.post("/queries/v1/query-request", json={"sqlText": sql}, headers=headers).json()["success"]


def test_a_slow_statement_is_polled_and_cancelled(marked: tuple[Any, str], faults: httpx.Client) -> None:
    cursor, sql = marked
    ask(faults, slow_statements={"containing": sql[-30:], "seconds": 60})
    cursor.execute_async(sql)
    query_id = cursor.sfqid
    assert cursor.connection.is_still_running(cursor.connection.get_query_status(query_id))
    assert cursor.abort_query(query_id)
    with pytest.raises(snowflake.connector.errors.ProgrammingError, match="canceled"):
        cursor.connection.get_query_status_throw_if_error(wait_until_ended(cursor.connection, query_id))
    assert cursor.connection.cursor().execute("SELECT COUNT(*) FROM T").fetchone() == (0,)


def test_a_slow_statement_does_its_work(marked: tuple[Any, str], faults: httpx.Client) -> None:
    cursor, sql = marked
    ask(faults, slow_statements={"containing": sql[-30:], "seconds": 0.1})
    cursor.execute(sql)
    assert hits(faults) == [1]
    assert cursor.execute("SELECT COUNT(*) FROM T").fetchone() == (1,)


def test_a_statement_that_fails_once(marked: tuple[Any, str], faults: httpx.Client) -> None:
    cursor, sql = marked
    ask(faults, fail={"containing": sql[-30:], "errno": 604, "message": "SQL execution canceled", "sqlstate": "57014"})
    cursor.execute("BEGIN")
    with pytest.raises(snowflake.connector.errors.ProgrammingError, match="SQL execution canceled") as caught:
        cursor.execute(sql)
    assert (caught.value.errno, caught.value.sqlstate) == (604, "57014")
    cursor.execute(sql)
    cursor.execute("COMMIT")
    assert cursor.execute("SELECT COUNT(*) FROM T").fetchone() == (1,)


def test_faults_end(marked: tuple[Any, str], faults: httpx.Client) -> None:
    cursor, sql = marked
    ask(faults, fail={"containing": "INSERT", "errno": 1, "times": 9}, copy_rows_loaded_delta=1)
    ask(faults, idle_transaction_seconds=5)
    assert faults.delete("/local/faults").json() == {
        "copy_rows_loaded_delta": 0,
        "times": 0,
        "faults": [],
        "idle_transaction_seconds": 300.0,
    }
    cursor.execute(sql)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "Name a fault"),
        ({"nonsense": 1}, "nonsense is no fault"),
        ({"times": 1}, "times is no fault"),
        ({"copy_rows_loaded_delta": "1"}, "copy_rows_loaded_delta must be a whole number, not '1'"),
        ({"copy_rows_loaded_delta": 1, "times": -1}, "times must be at least 0, not -1"),
        ({"answers_lost": 1}, "answers_lost must be an object"),
        ({"answers_lost": {}}, "answers_lost.containing must be a text"),
        ({"answers_lost": {"containing": ""}}, "answers_lost.containing must be a text"),
        ({"truncated": {"containing": "x", "times": 0}}, "truncated.times must be at least 1, not 0"),
        ({"truncated": {"containing": "x", "seconds": 1}}, "truncated.seconds is not known"),
        ({"slow_statements": {"containing": "x"}}, "slow_statements.seconds must be a number"),
        ({"slow_statements": {"containing": "x", "seconds": 1e9}}, "slow_statements.seconds must be a number"),
        ({"fail": {"containing": "x"}}, "fail.errno must be a whole number, not None"),
        ({"fail": {"containing": "x", "errno": 1, "message": 2}}, "fail.message and fail.sqlstate must be text"),
        ({"idle_transaction_seconds": "x"}, "idle_transaction_seconds must be a number"),
    ],
)
def test_what_cannot_be_understood_is_refused(faults: httpx.Client, body: dict[str, Any], said: str) -> None:
    answer = faults.post("/local/faults", json=body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert faults.get("/local/faults").json()["faults"] == []


def test_a_body_that_is_no_json_is_refused(faults: httpx.Client) -> None:
    assert faults.post("/local/faults", content=b"{").status_code == 400
