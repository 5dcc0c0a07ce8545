"""Ending statements from outside: two ways to cancel, and a client that goes away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from .conftest import Bucket, StandIn, wait_for

_SLOW = {
    "parquet": "(SELECT 1 AS x FROM pg_sleep(60))",
    "csv": "(SELECT i FROM generate_series(1, 1000000000) i)",
}


@contextmanager
def running(client: psycopg.Connection[Any], sql: str) -> Iterator[list[psycopg.Error]]:
    """Executes the statement in a thread; the list gets the error it ends with."""
    errors: list[psycopg.Error] = []

    def work() -> None:
        try:
            client.execute(sql)
        except psycopg.Error as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield errors
    finally:
        thread.join(30)
        assert not thread.is_alive()


def _by_request(_server: StandIn, client: psycopg.Connection[Any]) -> None:
    client.cancel_safe(timeout=10)


def _by_function(server: StandIn, client: psycopg.Connection[Any]) -> None:
    with server.connect() as other:
        assert other.execute("SELECT pg_cancel_backend(%s)", [client.info.backend_pid]).fetchone() == (True,)


CANCELS = pytest.mark.parametrize("cancel", [_by_request, _by_function], ids=["request", "function"])
Cancel = Callable[[StandIn, psycopg.Connection[Any]], None]


@CANCELS
@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_running_copy_is_cancelled_and_leaves_the_sentinel(
    server: StandIn, bucket: Bucket, cancel: Cancel, form: str
) -> None:
    sql = f"COPY {_SLOW[form]} TO '{bucket.uri}' (FORMAT {form}, AWS CONNECTION local_s3)"
    with server.connect() as client:
        with running(client, sql) as errors:
            wait_for(bucket.sentinel, "the sentinel")
            cancel(server, client)
        assert [(e.sqlstate, e.diag.message_primary) for e in errors] == [
            ("57014", "canceling statement due to user request")
        ]
        assert client.execute("SELECT 1").fetchone() == (1,)
    assert bucket.sentinel()
    # The export's own connection is gone too: nothing goes on in the dark.
    with server.connect() as other:
        wait_for(lambda: _readers(other) == 0, "the end of the reading connection")
    assert bucket.sentinel()
    assert server.logged()[-1]["sql"] != sql
    assert [line["outcome"] for line in server.logged() if line["sql"] == sql] == ["cancelled"]


def _readers(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'mz_admin' AND backend_type = 'client backend'"
        " AND query NOT LIKE '%advisory%' AND application_name = 'mz_local'"
    ).fetchone()
    assert row is not None
    return int(row[0])


@CANCELS
def test_an_ordinary_query_is_cancelled(server: StandIn, cancel: Cancel) -> None:
    with server.connect() as client, server.connect() as other:
        with running(client, "SELECT pg_sleep(60)") as errors:
            wait_for(lambda: _state(other, client.info.backend_pid) == "active", "the query")
            cancel(server, client)
        assert [e.sqlstate for e in errors] == ["57014"]


def _state(connection: psycopg.Connection[Any], pid: int) -> str | None:
    row = connection.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
    return None if row is None else str(row[0])


def test_a_cancel_in_a_transaction_aborts_it(server: StandIn, bucket: Bucket) -> None:
    sql = f"COPY {_SLOW['parquet']} TO '{bucket.uri}' (FORMAT parquet, AWS CONNECTION local_s3)"
    with server.connect(autocommit=False) as client:
        with running(client, sql) as errors:
            wait_for(bucket.sentinel, "the sentinel")
            client.cancel_safe(timeout=10)
        assert len(errors) == 1
        assert client.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            client.execute(sql)
        client.rollback()
        assert client.execute("SELECT 1").fetchone() == (1,)


def test_a_copy_runs_on_without_its_client(server: StandIn, bucket: Bucket) -> None:
    query = "(SELECT i FROM generate_series(1, 1000) i, pg_sleep(2))"
    client = server.connect()
    pid = client.info.backend_pid
    client.pgconn.send_query(f"COPY {query} TO '{bucket.uri}' (FORMAT parquet, AWS CONNECTION local_s3)".encode())
    client.pgconn.flush()
    wait_for(bucket.sentinel, "the sentinel")
    client.pgconn.finish()
    with server.connect() as other:
        sessions = other.execute("SELECT connection_id FROM mz_internal.mz_sessions").fetchall()
        assert (pid,) in sessions
        assert bucket.sentinel()
        wait_for(lambda: bucket.names() and not bucket.sentinel(), "the end of the copy")
        assert bucket.table().num_rows == 1000
        wait_for(lambda: _state(other, pid) is None, "the end of the session")


def test_a_copy_without_its_client_can_be_cancelled(server: StandIn, bucket: Bucket) -> None:
    client = server.connect()
    pid = client.info.backend_pid
    client.pgconn.send_query(
        f"COPY {_SLOW['parquet']} TO '{bucket.uri}' (FORMAT parquet, AWS CONNECTION local_s3)".encode()
    )
    client.pgconn.flush()
    wait_for(bucket.sentinel, "the sentinel")
    client.pgconn.finish()
    with server.connect() as other:
        other.execute("SELECT pg_cancel_backend(%s)", [pid])
        wait_for(lambda: _state(other, pid) is None, "the end of the session")
    assert bucket.sentinel()


def test_queries_are_answered_while_copies_run(server: StandIn, bucket: Bucket) -> None:
    clients = [server.connect() for _ in range(4)]
    forms = ("parquet", "csv", "parquet", "csv")
    for number, (client, form) in enumerate(zip(clients, forms, strict=True)):
        query = "(SELECT i, md5(i::text) AS m FROM generate_series(1, 150000) i)"
        sql = f"COPY {query} TO '{bucket.uri}{number}/' (FORMAT {form}, AWS CONNECTION local_s3)"
        client.pgconn.send_query(sql.encode())
        client.pgconn.flush()
    answered = 0
    with server.connect() as other:
        for client in clients:
            while True:
                client.pgconn.consume_input()
                if not client.pgconn.is_busy():
                    break
                assert other.execute("SELECT 1").fetchone() == (1,)
                answered += 1
            result = client.pgconn.get_result()
            assert result is not None
            assert result.command_status == b"COPY 150000"
            client.pgconn.finish()
    # Some while they run: the event loop is never taken by an export.
    assert answered > 20
