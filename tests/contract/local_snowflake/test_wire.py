"""Sessions and queries as the connector drives them: login, values, parameters, asynchronous queries, aborts."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import snowflake.connector


def wait_for(condition: Any, seconds: float = 10) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("condition never held")


def test_a_wrong_password_is_the_connectors_login_error(server: Any) -> None:
    for options in ({"password": "wrong"}, {"user": "SOMEBODY"}):
        with pytest.raises(snowflake.connector.errors.DatabaseError) as caught:
            server.connect(**options)
        assert "Incorrect username or password was specified" in str(caught.value)
        assert "wrong" not in str(caught.value)


def test_the_session_knows_where_it_is(server: Any) -> None:
    with server.connect(database="demo", schema="public", role="sysadmin", warehouse="compute_wh") as connection:
        row = connection.cursor().execute(
            "SELECT CURRENT_DATABASE(), CURRENT_SCHEMA(), CURRENT_ROLE(), CURRENT_WAREHOUSE(), CURRENT_USER()"
        )
        assert row.fetchone() == ("DEMO", "PUBLIC", "SYSADMIN", "COMPUTE_WH", "LOCAL")
        assert (connection.database, connection.schema) == ("DEMO", "PUBLIC")


def test_every_type_comes_back_as_its_python_value(cursor: Any) -> None:
    cursor.execute(
        "SELECT 1::NUMBER(38,0) N, 1.50::NUMBER(10,2) D, 1.5::FLOAT F, 'é''x' T, TRUE B, '2026-11-22'::DATE DAY, "
        "'01:02:03.000004'::TIME TM, '2026-11-22 01:02:03.000004'::TIMESTAMP_NTZ NTZ, "
        "'2026-11-22 01:02:03.5+00:00'::TIMESTAMP_LTZ LTZ, '1969-12-31 23:59:59.25'::TIMESTAMP_NTZ BEFORE, "
        "PARSE_JSON('{\"a\":[1,null]}') V, TO_BINARY('00FF', 'HEX') BIN, NULL NOTHING, "
        "12345678901234567890123::NUMBER(38,0) BIG"
    )
    row = cursor.fetchone()
    assert [d[0] for d in cursor.description][:4] == ["N", "D", "F", "T"]
    assert row[:8] == (
        1,
        decimal.Decimal("1.50"),
        1.5,
        "é'x",
        True,
        dt.date(2026, 11, 22),
        dt.time(1, 2, 3, 4),
        dt.datetime(2026, 11, 22, 1, 2, 3, 4),
    )
    assert row[8] == dt.datetime(2026, 11, 22, 1, 2, 3, 500000, tzinfo=dt.UTC)
    assert row[9] == dt.datetime(1969, 12, 31, 23, 59, 59, 250000)
    assert json.loads(row[10]) == {"a": [1, None]}
    assert bytes(row[11]) == b"\x00\xff"
    assert row[12:] == (None, 12345678901234567890123)
    assert isinstance(row[0], int)


def test_client_side_parameters(cursor: Any) -> None:
    cursor.execute("CREATE TABLE T (A NUMBER, B VARCHAR, C TIMESTAMP_NTZ)")
    moment = dt.datetime(2026, 11, 22, 8, 22, 55, 123456)
    text = 'it\'s \\ 100% "q"\n'
    cursor.execute("INSERT INTO T VALUES (%s, %s, %s)", (1, text, moment))
    cursor.executemany("INSERT INTO T (A, B) VALUES (%s, %s)", [(2, "b"), (3, None)])
    assert cursor.rowcount == 2
    assert cursor.execute("SELECT * FROM T WHERE A = %(a)s", {"a": 1}).fetchall() == [(1, text, moment)]
    assert cursor.execute("SELECT A, B FROM T WHERE A > 1 ORDER BY A").fetchall() == [(2, "b"), (3, None)]


def test_server_side_parameters(server: Any) -> None:
    with server.connect(database="DEMO", paramstyle="qmark") as connection:
        cursor = connection.cursor()
        cursor.execute(
            "CREATE OR REPLACE TABLE QMARKS (A NUMBER, B VARCHAR, F FLOAT, D DATE, T TIMESTAMP_NTZ, BIN BINARY)"
        )
        moment = dt.datetime(2026, 11, 22, 8, 22, 55, 123456)
        values = (1, "it's ? \\n :1", 1.5, dt.date(2026, 1, 2), moment, b"\x00\xff")
        cursor.execute("INSERT INTO QMARKS VALUES (?, ?, ?, ?, ?, ?)", values)
        assert cursor.execute("SELECT * FROM QMARKS WHERE B = ?", (values[1],)).fetchall() == [values]
        cursor.executemany("INSERT INTO QMARKS (A, B) VALUES (?, ?)", [(2, "x"), (3, None)])
        assert cursor.execute("SELECT A, B FROM QMARKS WHERE A > ? ORDER BY A", (1,)).fetchall() == [
            (2, "x"),
            (3, None),
        ]


def test_row_counts(cursor: Any) -> None:
    cursor.execute("CREATE TABLE T (A NUMBER)")
    for sql, count in [
        ("INSERT INTO T VALUES (1), (2), (3)", 3),
        ("UPDATE T SET A = A + 1 WHERE A > 1", 2),
        ("DELETE FROM T WHERE A = 1", 1),
        ("SELECT * FROM T", 2),
    ]:
        assert cursor.execute(sql).rowcount == count


def test_a_result_of_many_rows(cursor: Any) -> None:
    cursor.execute("CREATE TABLE T (A NUMBER, B VARCHAR)")
    cursor.executemany("INSERT INTO T VALUES (%s, %s)", [(i, f"row {i}") for i in range(3000)])
    cursor.execute("SELECT A, B FROM T ORDER BY A")
    assert cursor.fetchmany(2) == [(0, "row 0"), (1, "row 1")]
    assert cursor.fetchall()[-1] == (2999, "row 2999")


@pytest.mark.parametrize(
    ("sql", "errno", "sqlstate", "text"),
    [
        ("SELEC 1", 1003, "42000", "unexpected 'SELEC'"),
        ("SELECT * FROM NOPE", 2003, "42S02", "Object 'NOPE' does not exist or not authorized."),
        ("SELECT NOPE FROM (SELECT 1 A)", 904, "42000", "invalid identifier 'NOPE'"),
        ("SELECT NOSUCH(1)", 2140, "42601", "Unknown function NOSUCH"),
        ("SELECT 'x'::NUMBER", 100038, "22018", "Numeric value 'x' is not recognized"),
        ("SELECT 1/0", 100051, "22012", "Division by zero"),
        ("CREATE PIPE P AS SELECT 1", 2, "0A000", "CREATE PIPE P AS SELECT 1"),
        ("SELECT 1; SELECT 2", 8, "0A000", "Actual statement count 2"),
        ("USE DATABASE NOPE", 2043, "02000", "'NOPE' does not exist"),
    ],
)
def test_errors_have_code_state_and_words(cursor: Any, sql: str, errno: int, sqlstate: str, text: str) -> None:
    with pytest.raises(snowflake.connector.errors.DatabaseError) as caught:
        cursor.execute(sql)
    assert (caught.value.errno, caught.value.sqlstate) == (errno, sqlstate)
    assert text in str(caught.value)
    assert cursor.execute("SELECT 1").fetchone() == (1,)


def test_an_asynchronous_query_is_polled_and_fetched(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute_async("CALL SYSTEM$WAIT(1)")
    query_id = cursor.sfqid
    assert connection.is_still_running(connection.get_query_status(query_id))
    # The session goes on meanwhile.
    assert connection.cursor().execute("SELECT 1").fetchone() == (1,)
    wait_for(lambda: not connection.is_still_running(connection.get_query_status(query_id)))
    fetched = connection.cursor()
    fetched.get_results_from_sfqid(query_id)
    assert fetched.fetchall() == [("waited 1 seconds",)]
    assert [d[0] for d in fetched.description] == ["SYSTEM$WAIT"]


def test_an_asynchronous_query_keeps_its_types(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute_async("SELECT '2026-11-22 01:02:03'::TIMESTAMP_NTZ A, 1.50::NUMBER(5,2) B")
    fetched = connection.cursor()
    fetched.get_results_from_sfqid(cursor.sfqid)
    assert fetched.fetchall() == [(dt.datetime(2026, 11, 22, 1, 2, 3), decimal.Decimal("1.50"))]


def test_a_failing_asynchronous_query_says_why(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute_async("SELECT * FROM NOPE")
    query_id = cursor.sfqid
    wait_for(lambda: connection.is_an_error(connection.get_query_status(query_id)))
    with pytest.raises(snowflake.connector.errors.ProgrammingError, match="NOPE"):
        connection.get_query_status_throw_if_error(query_id)


def test_another_session_fetches_by_query_id(connection: Any, other: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT 42 ANSWER")
    other.get_results_from_sfqid(cursor.sfqid)
    assert other.fetchall() == [(42,)]


def test_abort_by_query_id(connection: Any, server: Any) -> None:
    cursor = connection.cursor()
    cursor.execute_async("CALL SYSTEM$WAIT(60)")
    assert cursor.abort_query(cursor.sfqid)
    wait_for(lambda: not connection.is_still_running(connection.get_query_status(cursor.sfqid)))
    # Whoever asks may learn of it before it is written down.
    wait_for(lambda: any(line["sql"] == "CALL SYSTEM$WAIT(60)" for line in server.logged()))
    assert [line["outcome"] for line in server.logged() if line["sql"] == "CALL SYSTEM$WAIT(60)"] == ["cancelled"]


@pytest.fixture
def raw(server: Any) -> Iterator[httpx.Client]:
    """A session without a connector."""
    with httpx.Client(base_url=server.url(""), timeout=20) as client:
        login = {"data": {"LOGIN_NAME": "LOCAL", "PASSWORD": server.password}}
        token = client.post("/session/v1/login-request", json=login).json()["data"]["token"]
        client.headers["Authorization"] = f'Snowflake Token="{token}"'
        yield client
        client.post("/session", params={"delete": "true"})


def test_abort_by_request(raw: httpx.Client, server: Any) -> None:
    request = {"requestId": str(uuid.uuid4())}
    sql = "CALL SYSTEM$WAIT(50)"
    answers: list[Any] = []
    sender = threading.Thread(
        target=lambda: answers.append(raw.post("/queries/v1/query-request", params=request, json={"sqlText": sql}))
    )
    sender.start()
    wait_for(lambda: raw.post("/queries/v1/abort-request", json={**request, "sqlText": sql}).json()["success"])
    sender.join(20)
    assert [answer.json()["code"] for answer in answers] == ["000604"]
    wait_for(lambda: any(x["sql"] == sql for x in server.logged()))
    assert [x["outcome"] for x in server.logged() if x["sql"] == sql] == ["cancelled"]


def test_a_running_query_is_interrupted(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE T AS SELECT COLUMN1 A FROM VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10)")
    joins = " CROSS JOIN ".join(f"T T{i}" for i in range(11))
    cursor.execute_async(f"SELECT SUM(T0.A * T1.A * T2.A) FROM {joins}")
    time.sleep(0.2)
    assert cursor.abort_query(cursor.sfqid)
    wait_for(lambda: not connection.is_still_running(connection.get_query_status(cursor.sfqid)))


def test_describing_runs_nothing(raw: httpx.Client, connection: Any) -> None:
    connection.cursor().execute("CREATE TABLE T (A NUMBER(5,2))")
    for sql, column in [
        (f"INSERT INTO DEMO.{connection.schema}.T VALUES (1)", "number of rows inserted"),
        (f"SELECT A FROM DEMO.{connection.schema}.T WHERE A = ?", "A"),
        (f"DROP TABLE DEMO.{connection.schema}.T", "status"),
    ]:
        answer = raw.post("/queries/v1/query-request", json={"sqlText": sql, "describeOnly": True}).json()
        assert ([c["name"] for c in answer["data"]["rowtype"]], answer["data"]["rowset"]) == ([column], [])
    assert connection.cursor().execute("SELECT COUNT(*) FROM T").fetchone() == (0,)


def test_a_request_sent_again_runs_once(raw: httpx.Client, connection: Any) -> None:
    connection.cursor().execute("CREATE TABLE T (A NUMBER)")
    body = {"sqlText": f"INSERT INTO DEMO.{connection.schema}.T VALUES (1)", "asyncExec": False}
    request = {"requestId": str(uuid.uuid4())}
    answers = [raw.post("/queries/v1/query-request", params=request, json=body).json() for _ in range(2)]
    assert answers[0]["data"]["queryId"] == answers[1]["data"]["queryId"]
    assert connection.cursor().execute("SELECT COUNT(*) FROM T").fetchone() == (1,)


def test_an_unknown_endpoint_and_a_lost_session_are_answers_not_500(server: Any) -> None:
    with httpx.Client(base_url=server.url("")) as client:
        unknown = client.post("/queries/v2/nothing", json={})
        lost = client.post("/queries/v1/query-request", json={"sqlText": "SELECT 1"})
    assert (unknown.status_code, unknown.json()["success"]) == (200, False)
    assert (lost.status_code, lost.json()["code"]) == (200, "390112")


def test_the_log_has_every_statement_and_no_secret(server: Any, connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute('ALTER SESSION SET QUERY_TAG = \'{"run":"r1"}\'')
    cursor.execute("SELECT 'logged once'")
    with pytest.raises(snowflake.connector.errors.ProgrammingError):
        cursor.execute("SELECT 'logged failing' FROM NOPE")
    cursor.execute("CREATE STAGE S URL = 's3://b/x/' CREDENTIALS = (AWS_KEY_ID = 'AK' AWS_SECRET_KEY = 'sEcReT')")
    lines = server.logged()
    ok = [line for line in lines if line["sql"] == "SELECT 'logged once'"]
    failed = [line for line in lines if line["sql"] == "SELECT 'logged failing' FROM NOPE"]
    assert [(line["outcome"], line["tag"], line["server"]) for line in ok] == [("ok", '{"run":"r1"}', "snowflake")]
    assert [(line["outcome"], line["code"]) for line in failed] == [("error", "002003")]
    assert "sEcReT" not in server.statements.read_text()
    assert server.password not in server.statements.read_text()


def test_bound_values_are_in_no_error_of_the_log(server: Any) -> None:
    with server.connect(database="DEMO", paramstyle="qmark") as connection, connection.cursor() as cursor:
        with pytest.raises(snowflake.connector.errors.ProgrammingError, match="bound-secret"):
            cursor.execute("SELECT TO_NUMBER(?)", ("bound-secret",))
        query = cursor.sfqid
    assert query
    assert "bound-secret" not in server.statements.read_text()


def test_a_statement_ends_at_the_sessions_time_limit(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("ALTER SESSION SET STATEMENT_TIMEOUT_IN_SECONDS = 1")
    with pytest.raises(snowflake.connector.errors.ProgrammingError, match="timeout of 1 second") as caught:
        cursor.execute("CALL SYSTEM$WAIT(300)")
    assert (caught.value.errno, caught.value.sqlstate) == (630, "57014")
    assert cursor.execute("SELECT 1").fetchone() == (1,)


def test_sessions_at_the_same_time(server: Any, connection: Any) -> None:
    connection.cursor().execute("CREATE TABLE T (A NUMBER)")
    failures: list[BaseException] = []

    def work(start: int) -> None:
        try:
            with server.connect(database="DEMO", schema=connection.schema) as own:
                for i in range(10):
                    own.cursor().execute(f"INSERT INTO T VALUES ({start + i})")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n * 100,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert connection.cursor().execute("SELECT COUNT(DISTINCT A) FROM T").fetchone() == (40,)


@pytest.mark.parametrize("ending", ["SIGTERM", "SIGINT", "stdin"])
def test_the_process_ends_when_told(own_server: Any, tmp_path: Path, ending: str) -> None:
    # There will be nobody left to log out from.
    connection = own_server.connect(server_session_keep_alive=True)
    connection.cursor().execute_async("CALL SYSTEM$WAIT(300)")
    assert (tmp_path / "snowflake" / "working").exists()
    if ending == "stdin":
        own_server.process.stdin.close()
    else:
        own_server.process.send_signal(getattr(signal, ending))
    assert own_server.process.wait(20) == 0
    connection.close()
    assert not (tmp_path / "snowflake" / "working").exists()
