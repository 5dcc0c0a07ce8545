"""Logical timestamps: one per transaction, its timedomain, and ``AS OF`` what another transaction holds."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from mz_orchestration.local.materialize.faults import copy_faults

from .conftest import Bucket, Refusal, StandIn, wait_for
from .test_cancel import running

Connection = psycopg.Connection[Any]
_NOT_VALID = "could not find a valid timestamp for the query"
_OUTSIDE = (
    "Transactions can only reference objects in the same timedomain. "
    "See https://materialize.com/docs/sql/begin/#same-timedomain-error"
)
_UNMATERIALIZABLE = "unmaterializable function (except `mz_now`) in an AS OF query not yet supported"
_numbers = itertools.count(1)


@pytest.fixture
def schemas(connection: Connection) -> Iterator[tuple[str, str]]:
    """Two schemas, each with a table ``t`` and a view ``v`` on it; in the second a view ``across`` on both."""
    number = next(_numbers)
    names = (f"here_{number}", f"there_{number}")
    for name in names:
        connection.execute(f"CREATE SCHEMA {name}")
        connection.execute(f"CREATE TABLE {name}.t AS SELECT generate_series(1, 3) AS n")
        connection.execute(f"CREATE VIEW {name}.v AS SELECT n FROM {name}.t")
    connection.execute(
        f"CREATE VIEW {names[1]}.across AS SELECT * FROM {names[0]}.v UNION ALL SELECT * FROM {names[1]}.t"
    )
    yield names
    connection.execute(f"DROP SCHEMA {names[0]}, {names[1]} CASCADE")


def _copy(query: str, bucket: Bucket, folder: str = "") -> str:
    return f"COPY {query} TO '{bucket.uri}{folder}' (FORMAT csv, AWS CONNECTION local_s3)"


def _hold(connection: Connection, *relations: str) -> int:
    """Begin a transaction that touches the relations; returns its timestamp."""
    parts = " UNION ALL ".join(f"SELECT 1 FROM {relation} WHERE false" for relation in relations)
    row = connection.execute(f"SELECT mz_now()::text FROM ({parts} UNION ALL SELECT 1) AS x").fetchone()
    assert row is not None
    return int(row[0])


def _error(caught: pytest.ExceptionInfo[psycopg.Error]) -> tuple[str | None, str | None]:
    return caught.value.sqlstate, caught.value.diag.message_primary


@pytest.mark.parametrize(
    "level",
    ["", "ISOLATION LEVEL STRICT SERIALIZABLE", "ISOLATION LEVEL SERIALIZABLE", "ISOLATION LEVEL READ COMMITTED"],
)
def test_a_transaction_reads_at_the_time_of_its_first_query(
    server: StandIn, schemas: tuple[str, str], bucket: Bucket, level: str
) -> None:
    table = f"{schemas[0]}.t"
    with server.connect() as reader, server.connect() as other:
        reader.execute(f"BEGIN {level}")
        begun = time.time_ns() // 1_000_000
        other.execute(f"INSERT INTO {table} VALUES (4)")
        time.sleep(0.002)
        timestamp = _hold(reader, table)
        assert begun < timestamp <= time.time_ns() // 1_000_000
        other.execute(f"INSERT INTO {table} VALUES (5)")
        assert reader.execute(_copy(table, bucket, "a/")).rowcount == 4
        assert reader.execute(_copy(f"(SELECT mz_now()::text AS t FROM {table})", bucket, "b/")).rowcount == 4
        assert reader.execute("SELECT mz_now()::text").fetchone() == (str(timestamp),)
        reader.execute("COMMIT")
        assert reader.execute(_copy(table, bucket, "c/")).rowcount == 5
    written = Bucket(bucket.client, f"{bucket.prefix}b/").csv()
    assert set(written.split()) == {str(timestamp).encode()}


def test_timestamps_are_given_once(server: StandIn) -> None:
    with server.connect() as first, server.connect() as second:
        found = []
        for _ in range(20):
            for connection in (first, second):
                connection.execute("BEGIN")
                found.append(connection.execute("SELECT mz_now()::text").fetchone())
                connection.execute("COMMIT")
    assert len(set(found)) == 40


@pytest.mark.parametrize("cursor", [psycopg.Cursor, psycopg.ClientCursor], ids=["extended", "simple"])
@pytest.mark.parametrize("name", ["t", "v", "across"])
def test_the_first_query_chooses_the_schemas(
    server: StandIn, schemas: tuple[str, str], bucket: Bucket, name: str, cursor: type[psycopg.Cursor[Any]]
) -> None:
    here, there = schemas
    with server.connect(autocommit=False, cursor_factory=cursor, prepare_threshold=0) as reader:
        reader.execute(f"SELECT count(*) FROM {here}.v WHERE n > %s", [0])
        # Every object of that schema, whether it was named or not.
        assert reader.execute(f"SELECT count(*) FROM {here}.t WHERE n < %s", [3]).fetchone() == (2,)
        with pytest.raises(psycopg.errors.InvalidTransactionState) as caught:
            reader.execute(f"SELECT count(*) FROM {there}.{name} WHERE n > %s", [0])
        assert _error(caught) == ("25000", _OUTSIDE)
        assert caught.value.diag.message_detail == (
            "The following relations in the query are outside the transaction's time domain:\n"
            f'"materialize.{there}.t"\nOnly the following relations are available:\n"materialize.{here}.t"'
        )
        assert reader.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        reader.rollback()
        assert reader.execute(f"SELECT count(*) FROM {there}.{name}").fetchone() is not None
        with pytest.raises(psycopg.errors.InvalidTransactionState):
            reader.execute(_copy("numbers", bucket))
        reader.rollback()
        assert not bucket.names()


def test_what_a_view_of_the_schema_is_made_of_is_in_its_timedomain(
    server: StandIn, schemas: tuple[str, str], bucket: Bucket
) -> None:
    here, there = schemas
    with server.connect(autocommit=False) as reader:
        _hold(reader, f"{there}.t")
        assert reader.execute(_copy(f"{here}.v", bucket)).rowcount == 3
    with server.connect(autocommit=False) as reader:
        _hold(reader, f"{here}.t", f"{there}.t")
        reader.execute(f"SELECT * FROM {there}.across")
        with pytest.raises(psycopg.errors.InvalidTransactionState):
            reader.execute("SELECT * FROM numbers")


def test_the_catalog_is_a_timedomain_of_its_own(server: StandIn, schemas: tuple[str, str]) -> None:
    with server.connect(autocommit=False) as reader:
        reader.execute("SELECT * FROM mz_clusters")
        reader.execute("SELECT * FROM pg_catalog.pg_class, information_schema.tables LIMIT 1")
        with pytest.raises(psycopg.errors.InvalidTransactionState):
            reader.execute(f"SELECT * FROM {schemas[0]}.t")


def test_queries_of_nothing_choose_nothing(server: StandIn, schemas: tuple[str, str]) -> None:
    with server.connect(autocommit=False) as reader:
        reader.execute("SELECT 1")
        reader.execute("SHOW cluster")
        reader.execute(f"SELECT * FROM {schemas[0]}.t")
        reader.execute("SELECT 1")
        reader.rollback()
        # The time alone chooses, and nothing is available then.
        reader.execute("SELECT mz_now()")
        with pytest.raises(psycopg.errors.InvalidTransactionState) as caught:
            reader.execute(f"SELECT * FROM {schemas[0]}.t")
        assert (caught.value.diag.message_detail or "").endswith("No relations are available.")


def test_timedomains_in_a_pipeline(server: StandIn, schemas: tuple[str, str]) -> None:
    with server.connect() as client:

        def pipelined() -> None:
            with client.pipeline():
                client.execute("BEGIN")
                client.execute(f"SELECT * FROM {schemas[0]}.t")
                client.execute(f"SELECT * FROM {schemas[1]}.t")

        with pytest.raises(psycopg.errors.InvalidTransactionState):
            pipelined()
        client.execute("ROLLBACK")


def test_timedomains_in_queries_of_several_statements(
    server: StandIn, schemas: tuple[str, str], bucket: Bucket
) -> None:
    here, there = schemas
    with server.connect() as client:
        with pytest.raises(psycopg.errors.InvalidTransactionState):
            client.execute(f"BEGIN; SELECT * FROM {here}.t; SELECT * FROM {there}.t")
        client.execute("ROLLBACK")
        client.execute(f"BEGIN; SELECT * FROM {here}.t; {_copy(f'{here}.t', bucket)}; COMMIT")
    assert bucket.csv().count(b"\n") == 3


def test_timedomains_of_cursors_and_copies_to_the_client(server: StandIn, schemas: tuple[str, str]) -> None:
    here, there = schemas
    with server.connect(autocommit=False) as client:
        with client.cursor("named") as cursor:
            cursor.execute(f"SELECT * FROM {here}.t ORDER BY n")
            assert cursor.fetchall() == [(1,), (2,), (3,)]
        with client.cursor().copy(f"COPY (SELECT * FROM {here}.t ORDER BY n) TO STDOUT") as rows:
            assert b"".join(rows) == b"1\n2\n3\n"
        with pytest.raises(psycopg.errors.InvalidTransactionState):
            client.execute(f"COPY (SELECT * FROM {there}.t) TO STDOUT")
        client.rollback()
        client.execute(f"DECLARE c CURSOR FOR SELECT * FROM {here}.t")
        with pytest.raises(psycopg.errors.InvalidTransactionState):
            client.execute(f"DECLARE d CURSOR WITHOUT HOLD FOR SELECT * FROM {there}.t")


def test_savepoints_and_own_objects_do_no_harm(server: StandIn, schemas: tuple[str, str]) -> None:
    table = f"{schemas[0]}.t"
    with server.connect() as client, client.transaction():
        with client.transaction():
            first = _hold(client, table)
        with client.transaction(force_rollback=True):
            client.execute(f"SELECT * FROM {table}")
        assert _hold(client, table) == first
        client.execute("CREATE TEMP TABLE own AS SELECT 1 AS n")
        assert client.execute("SELECT n FROM own").fetchone() == (1,)


# AS OF


def test_exports_in_many_sessions_at_a_held_time(server: StandIn, schemas: tuple[str, str], bucket: Bucket) -> None:
    here, there = schemas
    with server.connect(autocommit=False) as holder, server.connect() as other:
        timestamp = _hold(holder, f"{here}.t", f"{there}.t")
        other.execute(f"INSERT INTO {here}.t VALUES (4)")
        other.execute(f"DELETE FROM {there}.t")
        for number, (relation, form) in enumerate(itertools.product((f"{here}.v", f"{there}.t"), ("csv", "parquet"))):
            query = f"(SELECT n, mz_now()::text AS t FROM {relation} AS OF {timestamp})"
            text = f"COPY {query} TO '{bucket.uri}{number}/' (FORMAT {form}, AWS CONNECTION local_s3)"
            with server.connect() as exporter:
                assert exporter.execute(text).rowcount == 3
        written = Bucket(bucket.client, f"{bucket.prefix}0/").csv()
        assert sorted(written.splitlines()) == [f"{n},{timestamp}".encode() for n in (1, 2, 3)]
        # Also from within a transaction that reads at another time.
        with server.connect(autocommit=False) as exporter:
            assert exporter.execute(f"SELECT count(*) FROM {here}.t").fetchone() == (4,)
            assert exporter.execute(_copy(f"(SELECT * FROM {here}.t AS OF {timestamp})", bucket, "own/")).rowcount == 3
            assert exporter.execute(_copy(f"{here}.t", bucket, "other/")).rowcount == 4
        holder.commit()
        with pytest.raises(psycopg.DataError) as caught:
            other.execute(_copy(f"(SELECT * FROM {here}.t AS OF {timestamp})", bucket, "late/"))
        assert _error(caught) == ("22000", _NOT_VALID)


def test_each_holder_has_its_own_time(server: StandIn, schemas: tuple[str, str], bucket: Bucket) -> None:
    table = f"{schemas[0]}.t"
    with server.connect(autocommit=False) as first, server.connect(autocommit=False) as second:
        times = [_hold(first, table)]
        with server.connect() as other:
            other.execute(f"INSERT INTO {table} VALUES (4)")
            times.append(_hold(second, table))
            other.execute(f"INSERT INTO {table} VALUES (5)")
            rows = [other.execute(_copy(f"(SELECT * FROM {table} AS OF {t})", bucket, f"{t}/")).rowcount for t in times]
    assert rows == [3, 4]


def test_a_time_that_nobody_holds_for_the_object(
    server: StandIn, schemas: tuple[str, str], bucket: Bucket, refused: Callable[[str], Refusal]
) -> None:
    here, there = schemas
    with server.connect(autocommit=False) as holder:
        timestamp = _hold(holder, f"{here}.t")
        for relation, wanted in (
            (f"{there}.t", timestamp),
            (f"{there}.across", timestamp),
            (f"{here}.t", timestamp - 1),
        ):
            error = refused(_copy(f"(SELECT * FROM {relation} AS OF {wanted})", bucket))
            assert (error.code, error.message) == ("22000", _NOT_VALID)
            assert f"\nupper:\n  (Query's AS OF): [{wanted}]\n" in (error.detail or "")
        # A transaction that has failed holds nothing any more.
        with pytest.raises(psycopg.errors.DivisionByZero):
            holder.execute("SELECT 1 / 0")
        assert refused(_copy(f"(SELECT * FROM {here}.t AS OF {timestamp})", bucket)).code == "22000"
    assert not bucket.names()


def test_a_holder_that_is_lost_holds_nothing(
    server: StandIn, schemas: tuple[str, str], bucket: Bucket, refused: Callable[[str], Refusal]
) -> None:
    with server.connect(autocommit=False) as holder:
        timestamp = _hold(holder, f"{schemas[0]}.t")
        pid = holder.info.backend_pid
        holder.pgconn.finish()
    with server.connect() as other:
        session = "SELECT count(*) FROM mz_internal.mz_sessions WHERE connection_id = %s"
        wait_for(lambda: other.execute(session, [pid]).fetchone() == (0,), "the end of the session")
    assert refused(_copy(f"(SELECT * FROM {schemas[0]}.t AS OF {timestamp})", bucket)).code == "22000"


@pytest.mark.parametrize("how", ["AS OF", "AS OF AT LEAST"])
def test_a_time_to_come_is_waited_for(
    server: StandIn, connection: Connection, schemas: tuple[str, str], bucket: Bucket, how: str
) -> None:
    table = f"{schemas[0]}.t"
    wanted = time.time_ns() // 1_000_000 + 700
    text = _copy(f"(SELECT n, mz_now()::text AS t FROM {table} {how} {wanted})", bucket)
    with server.connect() as client:
        client.execute("SET statement_timeout = '100ms'")
        with running(client, text) as errors:
            wait_for(lambda: _sleeps(connection, client.info.backend_pid), "the waiting")
            connection.execute(f"INSERT INTO {table} VALUES (4)")
    assert not errors
    assert time.time_ns() // 1_000_000 >= wanted
    assert sorted(bucket.csv().splitlines()) == [f"{n},{wanted}".encode() for n in (1, 2, 3, 4)]


def test_the_waiting_can_be_cancelled(
    server: StandIn, connection: Connection, schemas: tuple[str, str], bucket: Bucket
) -> None:
    text = _copy(f"(SELECT * FROM {schemas[0]}.t AS OF '2200-01-01')", bucket)
    with server.connect() as client:
        with running(client, text) as errors:
            wait_for(lambda: _sleeps(connection, client.info.backend_pid), "the waiting")
            client.cancel_safe(timeout=10)
        assert [e.sqlstate for e in errors] == ["57014"]
    assert not bucket.names()


def _sleeps(connection: Connection, pid: int) -> bool:
    row = connection.execute("SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
    return row == (True,)


def test_constants_are_the_same_at_any_time(connection: Connection, bucket: Bucket) -> None:
    assert connection.execute(_copy("(SELECT mz_now()::text AS OF 1712345678901)", bucket)).rowcount == 1
    assert bucket.csv() == b"1712345678901\n"


@pytest.mark.parametrize(
    "what", ["now()", "current_user", "current_timestamp", "pg_backend_pid()", "session_user || 'x'", "version()"]
)
def test_what_changes_by_itself_has_no_time(bucket: Bucket, refused: Callable[[str], Refusal], what: str) -> None:
    error = refused(_copy(f"(SELECT n, {what} AS w FROM numbers AS OF 1712345678901)", bucket))
    assert (error.code, error.message) == ("XX000", _UNMATERIALIZABLE)


def test_a_column_of_such_a_name_does_no_harm(connection: Connection, bucket: Bucket) -> None:
    names = 'now, version, "current_user"'
    query = f"(SELECT {names}, 'now()' AS x FROM (SELECT 1, 2, 3) s ({names}) AS OF 1)"
    assert connection.execute(_copy(query, bucket)).rowcount == 1


def test_a_restarting_replica_and_a_second_one_read_at_the_held_time(
    server: StandIn, connection: Connection, schemas: tuple[str, str], bucket: Bucket
) -> None:
    table = f"{schemas[0]}.t"
    with server.connect(autocommit=False) as holder:
        timestamp = _hold(holder, table)
        connection.execute(f"DELETE FROM {table}")
        with copy_faults(connection, restart_same_id=True, second_replica=0, target=bucket.prefix):
            text = _copy(f"(SELECT * FROM {table} AS OF {timestamp})", bucket)
            assert connection.execute(text).rowcount == 3
        holder.commit()
    assert bucket.csv().count(b"\n") == 3


def test_an_open_transaction_is_ended_for_idleness_only(
    server: StandIn, schemas: tuple[str, str], bucket: Bucket, connection: Connection
) -> None:
    table = f"{schemas[0]}.t"
    with server.connect(autocommit=False) as holder:
        holder.execute("SET idle_in_transaction_session_timeout = '300ms'")
        _hold(holder, table)
        with copy_faults(connection, sentinel_delay=0.8, target=bucket.prefix):
            assert holder.execute(_copy(table, bucket)).rowcount == 3
        holder.execute("SET idle_in_transaction_session_timeout = 0")
        holder.commit()
