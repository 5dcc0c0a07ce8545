"""Real clients in all the ways they talk: psycopg's protocols and cursors, psql, SQLAlchemy."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from mz_orchestration.local.materialize.postgres import binaries_directory

from .conftest import PASSWORD, Bucket, StandIn


def _copy(bucket: Bucket, name: str = "x", what: str = "numbers") -> str:
    return f"COPY {what} TO '{bucket.uri}{name}/' WITH (FORMAT csv, AWS CONNECTION = local_s3)"


def test_the_extended_protocol(connection: psycopg.Connection[Any], bucket: Bucket) -> None:
    cursor = connection.execute(_copy(bucket))
    assert (cursor.statusmessage, cursor.rowcount, cursor.description) == ("COPY 500", 500, None)
    assert connection.execute("SELECT %s::int + 1", [41]).fetchone() == (42,)


def test_prepared_statements_run_each_time(connection: psycopg.Connection[Any], bucket: Bucket) -> None:
    sql = (
        "COPY numbers TO '"
        + bucket.uri
        + "' || clock_timestamp()::text::bytea::text || '/' (FORMAT csv, AWS CONNECTION local_s3)"
    )
    for _ in range(3):
        assert connection.execute(sql, prepare=True).rowcount == 500
    assert len({name.split("/")[0] for name in bucket.names()}) == 3


def test_the_simple_protocol(connection: psycopg.Connection[Any], bucket: Bucket) -> None:
    cursor = psycopg.ClientCursor(connection)
    cursor.execute(_copy(bucket))
    assert (cursor.statusmessage, cursor.rowcount) == ("COPY 500", 500)


def test_several_statements_in_one_query(connection: psycopg.Connection[Any], bucket: Bucket) -> None:
    cursor = psycopg.ClientCursor(connection)
    cursor.execute(
        f"SET cluster = 'quickstart'; SELECT ';' AS a /* ; /* nested ; */ */; {_copy(bucket)}; ;"
        " SHOW cluster; SELECT 2;"
    )
    seen = []
    while True:
        seen.append((cursor.statusmessage, cursor.fetchall() if cursor.description else None))
        if not cursor.nextset():
            break
    assert seen == [
        ("SET", None),
        ("SELECT 1", [(";",)]),
        ("COPY 500", None),
        ("SHOW", [("quickstart",)]),
        ("SELECT 1", [(2,)]),
    ]


def test_several_statements_are_one_transaction(server: StandIn, bucket: Bucket) -> None:
    with server.connect() as connection:
        connection.execute("CREATE TABLE together (i int)")
        with pytest.raises(psycopg.errors.InternalError_, match="nowhere"):
            psycopg.ClientCursor(connection).execute(
                f"INSERT INTO together VALUES (1); {_copy(bucket, what='nowhere')}; SELECT 1"
            )
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        assert connection.execute("SELECT count(*) FROM together").fetchone() == (0,)
        psycopg.ClientCursor(connection).execute(
            f"INSERT INTO together VALUES (1); {_copy(bucket, what='numbers')}; INSERT INTO together VALUES (2)"
        )
        assert connection.execute("SELECT count(*) FROM together").fetchone() == (2,)


def test_a_failed_copy_in_a_transaction(server: StandIn, bucket: Bucket) -> None:
    with server.connect(autocommit=False) as connection:
        connection.execute("SELECT 1")
        with pytest.raises(psycopg.errors.InternalError_, match="unknown catalog item"):
            connection.execute(_copy(bucket, what="nowhere"))
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        connection.rollback()
        assert connection.execute(_copy(bucket)).rowcount == 500


def test_pipeline_mode(connection: psycopg.Connection[Any], bucket: Bucket) -> None:
    with connection.pipeline():
        first = connection.execute("SELECT 1")
        exported = connection.execute(_copy(bucket))
        shown = connection.execute("SHOW cluster")
        last = connection.execute("SELECT 2")
    assert (first.fetchone(), exported.rowcount, shown.fetchone(), last.fetchone()) == (
        (1,),
        500,
        ("quickstart",),
        (2,),
    )


def _in_a_pipeline(connection: psycopg.Connection[Any], *statements: str) -> None:
    with connection.pipeline():
        for statement in statements:
            connection.execute(statement)


def test_an_error_in_a_pipeline_skips_the_copy(connection: psycopg.Connection[Any], bucket: Bucket) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        _in_a_pipeline(connection, "SELECT 1 / 0", _copy(bucket))
    assert bucket.names() == []
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_failing_copy_in_a_pipeline_skips_the_rest(connection: psycopg.Connection[Any], bucket: Bucket) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS skipped (i int)")
    with pytest.raises(psycopg.errors.InternalError_, match="unknown catalog item"):
        _in_a_pipeline(connection, _copy(bucket, what="nowhere"), "INSERT INTO skipped VALUES (1)")
    assert connection.execute("SELECT count(*) FROM skipped").fetchone() == (0,)


def test_named_cursors(server: StandIn) -> None:
    with server.connect(autocommit=False) as connection, connection.cursor("big") as cursor:
        cursor.execute("SELECT n FROM numbers ORDER BY n")
        cursor.itersize = 100
        assert [row[0] for row in cursor] == list(range(1, 501))


def test_binary_results_and_streams(connection: psycopg.Connection[Any]) -> None:
    with connection.cursor(binary=True) as cursor:
        assert cursor.execute("SELECT 1.5::numeric, now()::date").fetchone() is not None
        assert sum(row[0] for row in cursor.stream("SELECT n FROM numbers")) == 125250


def test_copy_in_and_out(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE TABLE copied (i int, t text)")
    with connection.cursor() as cursor:
        with cursor.copy("COPY copied FROM STDIN") as rows:
            for i in range(20000):
                rows.write_row((i, "x" * 50))
        assert cursor.rowcount == 20000
        with cursor.copy("COPY (SELECT i FROM copied ORDER BY i) TO STDOUT") as rows:
            assert sum(int(row[0]) for row in rows.rows()) == sum(range(20000))
        with cursor.copy("COPY (SELECT * FROM copied) TO STDOUT (FORMAT csv)") as rows:
            assert len(b"".join(rows).splitlines()) == 20000


def test_copy_in_that_fails(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS broken (i int)")
    with (
        pytest.raises(psycopg.errors.InvalidTextRepresentation),
        connection.cursor().copy("COPY broken FROM STDIN") as rows,
    ):
        rows.write(b"not a number\n")
    assert connection.execute("SELECT 1").fetchone() == (1,)


def _result(pg: psycopg.pq.abc.PGconn) -> psycopg.pq.abc.PGresult | None:
    # libpq's own wait would hold the interpreter, in which the S3 server of the tests runs.
    pg.flush()
    while pg.is_busy():
        select.select([pg.socket], [], [], 10)
        pg.consume_input()
    return pg.get_result()


def test_copy_in_beside_an_export_in_one_query(server: StandIn, bucket: Bucket) -> None:
    with server.connect() as connection:
        connection.execute("CREATE TABLE mixed (i int)")
        pg = connection.pgconn
        pg.send_query(f"COPY mixed FROM STDIN; {_copy(bucket)}; SELECT 3".encode())
        states = []
        while (result := _result(pg)) is not None:
            if result.status == psycopg.pq.ExecStatus.COPY_IN:
                pg.put_copy_data(b"1\n2\n")
                pg.put_copy_end()
                continue
            states.append(result.command_status)
        assert states == [b"COPY 2", b"COPY 500", b"SELECT 1"]
        assert connection.execute("SELECT count(*) FROM mixed").fetchone() == (2,)


def test_an_asynchronous_client(server: StandIn, bucket: Bucket) -> None:
    async def run() -> list[int]:
        connections = [
            await psycopg.AsyncConnection.connect(
                host="127.0.0.1",
                port=server.port,
                user="materialize",
                password=PASSWORD,
                dbname="materialize",
                autocommit=True,
            )
            for _ in range(3)
        ]
        try:
            cursors = await asyncio.gather(*(c.execute(_copy(bucket, str(i))) for i, c in enumerate(connections)))
            return [cursor.rowcount for cursor in cursors]
        finally:
            for connection in connections:
                await connection.close()

    assert asyncio.run(run()) == [500, 500, 500]


def test_large_messages(connection: psycopg.Connection[Any]) -> None:
    text = "ü" * 3_000_000
    assert connection.execute("SELECT length(%s::text), %s::text", [text, text]).fetchone() == (3_000_000, text)


def test_notifications_and_notices(connection: psycopg.Connection[Any]) -> None:
    notices: list[str | None] = []
    connection.add_notice_handler(lambda diag: notices.append(diag.message_primary))
    connection.execute("DROP TABLE IF EXISTS never_there")
    connection.execute("LISTEN here")
    connection.execute("NOTIFY here, 'hello'")
    received = next(connection.notifies(timeout=5, stop_after=1))
    assert received.payload == "hello"
    assert notices == ['table "never_there" does not exist, skipping']


def test_a_wrong_password(server: StandIn) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        server.connect(password="wrong")
    raw = psycopg.pq.PGconn.connect(
        f"host=127.0.0.1 port={server.port} user=materialize password=wrong dbname=materialize".encode()
    )
    assert b"28P01" in raw.error_message or b"password authentication failed" in raw.error_message


@pytest.mark.parametrize("mode", ["disable", "prefer"])
def test_encryption_is_not_offered(server: StandIn, mode: str) -> None:
    with server.connect(sslmode=mode) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("materialize",)


def test_encryption_that_is_required_is_refused_by_the_client(server: StandIn) -> None:
    with pytest.raises(psycopg.OperationalError, match="does not support SSL"):
        server.connect(sslmode="require")


def _psql(server: StandIn, *arguments: str) -> str:
    done = subprocess.run(
        [binaries_directory() / "psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", *arguments],
        env={
            "PATH": os.environ["PATH"],
            "PGHOST": "127.0.0.1",
            "PGPORT": str(server.port),
            "PGUSER": "materialize",
            "PGPASSWORD": PASSWORD,
            "PGDATABASE": "materialize",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_psql(server: StandIn, connection: psycopg.Connection[Any], bucket: Bucket) -> None:
    connection.execute("CREATE SCHEMA catalogued")
    connection.execute("CREATE TABLE catalogued.t (id int PRIMARY KEY, name text)")
    connection.execute("CREATE MATERIALIZED VIEW catalogued.m AS SELECT count(*) AS n FROM catalogued.t")
    assert _psql(server, "-c", _copy(bucket)) == "COPY 500\n"
    assert "id|integer||not null|" in _psql(server, "-c", r"\d catalogued.t")
    assert "n|bigint|||" in _psql(server, "-c", r"\d catalogued.m")
    listed = _psql(server, "-c", r"\d")
    assert "numbers" in listed
    assert "mz_" not in listed
    assert _psql(server, "-c", "SET cluster = other", "-c", "SHOW cluster").splitlines()[-1] == "other"


def test_reflection_of_sqlalchemy(server: StandIn, connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE SCHEMA reflected")
    connection.execute("CREATE TABLE reflected.t (id int PRIMARY KEY, price numeric(10, 2) NOT NULL, j jsonb)")
    connection.execute("CREATE MATERIALIZED VIEW reflected.m AS SELECT sum(price) AS total FROM reflected.t")
    url = sa.URL.create("postgresql+psycopg", "materialize", PASSWORD, "127.0.0.1", server.port, "materialize")
    engine = sa.create_engine(url)
    try:
        inspector = sa.inspect(engine)
        assert inspector.get_table_names(schema="reflected") == ["t"]
        assert inspector.get_view_names(schema="reflected") == ["m"]
        columns = {c["name"]: c for c in inspector.get_columns("t", schema="reflected")}
        assert str(columns["price"]["type"]) == "NUMERIC(10, 2)"
        assert columns["price"]["nullable"] is False
        assert inspector.get_pk_constraint("t", schema="reflected")["constrained_columns"] == ["id"]
        assert inspector.has_table("numbers")
        table = sa.Table("m", sa.MetaData(), autoload_with=engine, schema="reflected")
        with engine.connect() as opened:
            assert opened.execute(sa.select(table.c.total)).all() == [(None,)]
    finally:
        engine.dispose()
