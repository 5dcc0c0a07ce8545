"""What goes wrong on purpose: each switch of the stand-in's COPY does what it says."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest

from mz_orchestration.local.errors import LocalStackError
from mz_orchestration.local.materialize.faults import Faults, clear_faults, copy_faults, get_faults, set_faults

from .conftest import BUCKET, Bucket, Copy, Refusal, StandIn, end, launch, prepare, wait_for
from .test_cancel import running

CANCELLED = ("57014", "canceling statement due to user request")
FORMS = pytest.mark.parametrize("form", ["parquet", "csv"])

SetFaults = Callable[..., AbstractContextManager[Faults]]


@pytest.fixture
def faults(server: StandIn, bucket: Bucket) -> Iterator[SetFaults]:
    """Sets faults for the COPYs of this test."""
    with server.connect() as admin:
        yield lambda **settings: copy_faults(admin, target=f"{BUCKET}/{bucket.prefix}", **settings)


def _rows(bucket: Bucket, form: str) -> int:
    names = [name for name in bucket.names() if "-batch-" in name]
    if form == "csv":
        return sum(bucket.read(name).count(b"\n") for name in names)
    return sum(pq.ParquetFile(io.BytesIO(bucket.read(name))).metadata.num_rows for name in names)


def _uploads(bucket: Bucket) -> list[str]:
    found = bucket.client.list_multipart_uploads(Bucket=BUCKET, Prefix=bucket.prefix).get("Uploads", [])
    return [item["Key"].removeprefix(bucket.prefix) for item in found]


def _numbers(bucket: Bucket, form: str) -> str:
    return f"COPY numbers TO '{bucket.uri}' (FORMAT {form}, AWS CONNECTION local_s3)"


@FORMS
def test_the_sentinel_goes_although_the_statement_failed(
    faults: SetFaults, bucket: Bucket, refused: Callable[[str], Refusal], form: str
) -> None:
    with faults(sentinel_deleted_though_failed=True):
        error = refused(_numbers(bucket, form))
    assert error.code == "XX000"
    assert (error.message or "").startswith("service error: unhandled error (InternalError)")
    assert not bucket.sentinel()
    assert len(bucket.names()) == 1
    assert 0 < _rows(bucket, form) < 500


@FORMS
@pytest.mark.parametrize("files", [0, 1, 2])
def test_some_files_are_there(
    faults: SetFaults, bucket: Bucket, refused: Callable[[str], Refusal], form: str, files: int
) -> None:
    with faults(partial_files=files, fail_with="as told"):
        error = refused(_numbers(bucket, form))
    assert (error.code, error.message) == ("XX000", "as told")
    assert bucket.sentinel()
    assert len(bucket.names()) == files + 1
    assert set(_uploads(bucket)) - set(bucket.names())


def test_a_failure_before_the_first_file(faults: SetFaults, bucket: Bucket, refused: Callable[[str], Refusal]) -> None:
    with faults(fail_with="as told"):
        error = refused(_numbers(bucket, "csv"))
    assert (error.code, error.message) == ("XX000", "as told")
    assert [name.endswith("-INCOMPLETE") for name in bucket.names()] == [True]


@FORMS
def test_the_replica_restarts(faults: SetFaults, bucket: Bucket, copy: Copy, form: str) -> None:
    with faults(restart_same_id=True):
        assert copy("numbers", f"FORMAT {form}") == "COPY 500"
    assert not bucket.sentinel()
    assert len({name.split("-batch-")[0] for name in bucket.names()}) == 1
    assert _rows(bucket, form) == 500
    # The files of the first turn that had been begun are neither completed nor aborted.
    assert _uploads(bucket)


def test_slow_rows_and_their_cancel(server: StandIn, faults: SetFaults, bucket: Bucket) -> None:
    with faults(slow_rows=0.001), server.connect() as client:
        assert client.execute(_numbers(bucket, "csv")).statusmessage == "COPY 500"
    inner = Bucket(bucket.client, f"{bucket.prefix}second/")
    with faults(slow_rows=30), server.connect() as client:
        with running(client, _numbers(inner, "parquet")) as errors:
            wait_for(inner.sentinel, "the sentinel")
            client.cancel_safe(timeout=10)
        assert [(e.sqlstate, e.diag.message_primary) for e in errors] == [CANCELLED]
    assert inner.sentinel()


@FORMS
def test_another_replica_writes_the_files_again(faults: SetFaults, bucket: Bucket, copy: Copy, form: str) -> None:
    with faults(second_replica=0.2):
        assert copy("numbers", f"FORMAT {form}") == "COPY 500"
    before = _tags(bucket)
    bodies = {name: bucket.read(name) for name in before}
    wait_for(lambda: all(tag != before[name] for name, tag in _tags(bucket).items()), "the second replica")
    assert set(_tags(bucket)) == set(before)
    assert _rows(bucket, form) == 500
    assert all(bucket.read(name) != body for name, body in bodies.items())
    if form == "csv":
        assert {n: sorted(bucket.read(n).splitlines()) for n in bodies} == {
            n: sorted(body.splitlines()) for n, body in bodies.items()
        }


def _tags(bucket: Bucket) -> dict[str, str]:
    found = bucket.client.list_objects_v2(Bucket=BUCKET, Prefix=bucket.prefix)["Contents"]
    return {item["Key"].removeprefix(bucket.prefix): item["ETag"] for item in found}


def test_the_second_replica_reads_what_the_first_did(
    server: StandIn, faults: SetFaults, bucket: Bucket, copy: Copy
) -> None:
    with server.connect() as other:
        other.execute("CREATE TABLE changing AS SELECT generate_series(1, 3) AS n")
        with faults(second_replica=0.2):
            assert copy("changing", "FORMAT csv") == "COPY 3"
            before = _tags(bucket)
            other.execute("DELETE FROM changing")
        wait_for(lambda: all(tag != before[name] for name, tag in _tags(bucket).items()), "the second replica")
    assert sorted(bucket.csv().split()) == [b"1", b"2", b"3"]


def test_a_cancel_in_the_preflight_is_lost_and_a_later_one_is_not(
    server: StandIn, faults: SetFaults, bucket: Bucket
) -> None:
    sql = f"COPY (SELECT 1 AS x FROM pg_sleep(60)) TO '{bucket.uri}' (FORMAT csv, AWS CONNECTION local_s3)"
    with faults(cancel_lost_in_preflight=0.5), server.connect() as client, server.connect() as other:
        with running(client, sql) as errors:
            wait_for(lambda: _waits(other, client.info.backend_pid), "the preflight")
            assert not bucket.names()
            client.cancel_safe(timeout=10)
            other.execute("SELECT pg_cancel_backend(%s)", [client.info.backend_pid])
            wait_for(bucket.sentinel, "the sentinel")
            assert not errors
            # The session hears again a moment after the sentinel is there: as with Materialize, it takes repeating.
            wait_for(lambda: errors or client.cancel_safe(timeout=10), "the end of the statement")
        assert [(e.sqlstate, e.diag.message_primary) for e in errors] == [CANCELLED]
        assert client.execute("SELECT 1").fetchone() == (1,)
    assert bucket.sentinel()


def _waits(connection: psycopg.Connection[Any], pid: int) -> bool:
    row = connection.execute("SELECT wait_event = 'advisory' FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
    return row == (True,)


def test_a_refused_preflight_ends_at_once(
    faults: SetFaults, bucket: Bucket, copy: Copy, refused: Callable[[str], Refusal]
) -> None:
    copy("numbers")
    with faults(cancel_lost_in_preflight=600):
        assert "not empty" in (refused(_numbers(bucket, "parquet")).message or "")


def test_a_slow_preflight_can_be_cancelled(server: StandIn, faults: SetFaults, bucket: Bucket) -> None:
    with faults(preflight_delay=600), server.connect() as client, server.connect() as other:
        with running(client, _numbers(bucket, "csv")) as errors:
            wait_for(lambda: _waits(other, client.info.backend_pid), "the preflight")
            client.cancel_safe(timeout=10)
        assert [e.sqlstate for e in errors] == ["57014"]
    assert not bucket.names()


def test_the_sentinel_stays_for_a_while(server: StandIn, faults: SetFaults, bucket: Bucket) -> None:
    with faults(sentinel_delay=0.5), server.connect() as client, running(client, _numbers(bucket, "parquet")) as errors:
        wait_for(lambda: bucket.sentinel() and len(bucket.names()) == 3, "the files")
    assert not errors
    assert not bucket.sentinel()


@pytest.mark.parametrize("how", ["cancel", "run_on"])
def test_the_client_is_lost(server: StandIn, faults: SetFaults, bucket: Bucket, how: str) -> None:
    with faults(slow_rows=0.002) as slow, server.connect() as other:
        client = server.connect()
        pid = client.info.backend_pid
        client.pgconn.send_query(_numbers(bucket, "csv").encode())
        client.pgconn.flush()
        wait_for(bucket.sentinel, "the sentinel")
        # Read when it matters, not when the COPY began.
        set_faults(other, slow.model_copy(update={"on_disconnect": how}))
        client.pgconn.finish()
        session = "SELECT count(*) FROM mz_internal.mz_sessions WHERE connection_id = %s"
        if how == "run_on":
            assert other.execute(session, [pid]).fetchone() == (1,)
            wait_for(lambda: not bucket.sentinel(), "the end of the copy")
            assert _rows(bucket, "csv") == 500
        wait_for(lambda: other.execute(session, [pid]).fetchone() == (0,), "the end of the session")
        assert bucket.sentinel() is (how == "cancel")


def test_a_client_that_only_stops_sending_is_answered(faults: SetFaults, server: StandIn, bucket: Bucket) -> None:
    with faults(sentinel_delay=0.3), server.connect() as client:
        client.pgconn.send_query(_numbers(bucket, "csv").encode())
        client.pgconn.flush()
        wait_for(bucket.sentinel, "the sentinel")
        with socket.socket(fileno=os.dup(client.fileno())) as line:
            line.shutdown(socket.SHUT_WR)
        wait_for(lambda: client.pgconn.consume_input() or not client.pgconn.is_busy(), "the answer")
        result = client.pgconn.get_result()
        assert result is not None
        assert result.command_status == b"COPY 500"
        client.pgconn.finish()


def test_only_so_many_times_and_only_below_a_target(
    connection: psycopg.Connection[Any], bucket: Bucket, refused: Callable[[str], Refusal]
) -> None:
    with copy_faults(connection, fail_with="as told", times=1, target="/first/"):
        inner = Bucket(bucket.client, f"{bucket.prefix}second/")
        assert connection.execute(_numbers(inner, "csv")).rowcount == 500
        assert refused(_numbers(Bucket(bucket.client, f"{bucket.prefix}first/"), "csv")).message == "as told"
        again = Bucket(bucket.client, f"{bucket.prefix}first/again/")
        assert connection.execute(_numbers(again, "csv")).rowcount == 500


def test_what_is_set_can_be_read_and_comes_back(server: StandIn) -> None:
    with server.connect() as connection:
        where = psycopg.conninfo.make_conninfo(connection.info.dsn, password=connection.info.password)
    assert get_faults(where) == Faults()
    set_faults(where, Faults(slow_rows=0.5, target="nowhere"))
    with copy_faults(where, partial_files=1, target="nowhere"):
        assert get_faults(where) == Faults(partial_files=1, target="nowhere")
    assert get_faults(where).set_ones() == {"slow_rows": 0.5, "target": "nowhere"}
    clear_faults(where)
    assert get_faults(where) == Faults()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"slow_row": 1}, "there is no fault 'slow_row' of Materialize. Known are: on_disconnect, "),
        ({"slow_rows": "much"}, "slow_rows=much: input should be a valid number"),
        ({"on_disconnect": "stop"}, "on_disconnect=stop: input should be 'run_on' or 'cancel'"),
        ({"partial_files": "-1"}, "partial_files=-1: input should be greater than or equal to 0"),
    ],
)
def test_wrong_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(LocalStackError) as caught:
        Faults.parse(settings)
    assert str(caught.value).startswith(message)


def test_rubbish_in_the_table_is_said(
    connection: psycopg.Connection[Any], bucket: Bucket, refused: Callable[[str], Refusal]
) -> None:
    with copy_faults(connection):
        connection.execute("INSERT INTO mz_local.faults (settings) VALUES ('{\"slow\": 1}')")
        error = refused(_numbers(bucket, "csv"))
    assert error.message == "there is no fault 'slow' of Materialize."


def test_a_server_stops_whatever_goes_wrong(tmp_path: Path, endpoint: str, bucket: Bucket) -> None:
    server = launch(tmp_path / "state")
    deaf, late = Bucket(bucket.client, f"{bucket.prefix}deaf/"), Bucket(bucket.client, f"{bucket.prefix}late/")
    with server.connect() as client:
        prepare(client, endpoint)
        set_faults(client, Faults(second_replica=600))
        assert client.execute(_numbers(late, "csv")).rowcount == 500
        set_faults(client, Faults(cancel_lost_in_preflight=600))
        client.pgconn.send_query(_numbers(deaf, "csv").encode())
        client.pgconn.flush()
        with server.connect() as other:
            wait_for(lambda: _waits(other, client.info.backend_pid), "the preflight")
        client.pgconn.finish()
    # Within the seconds it is given.
    end(server)
    assert server.process.returncode == 0
    # Another one begins with the ids of the first.
    server = launch(tmp_path / "state")
    again = Bucket(bucket.client, f"{bucket.prefix}again/")
    with server.connect() as client:
        prepare(client, endpoint)
        assert client.execute(_numbers(again, "csv")).rowcount == 500
    end(server)
    assert {name.split("-batch-")[0] for name in late.names() + again.names()} == {"mz-t1"}
