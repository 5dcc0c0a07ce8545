"""The server as a process: its log of statements, its secrets, and that it never leaves anything behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from mz_orchestration.local.materialize.postgres import Postgres

from .conftest import PASSWORD, Bucket, StandIn, end, launch, wait_for


def _postgres_root(server: StandIn) -> Path:
    return Path(json.loads((server.state / "postgres.json").read_text())["root"])


def _postmaster(root: Path) -> int:
    return int((root / "d" / "postmaster.pid").read_text().split()[0])


def _running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def _terminate(server: StandIn) -> None:
    server.process.send_signal(signal.SIGTERM)


def _interrupt(server: StandIn) -> None:
    server.process.send_signal(signal.SIGINT)


def _close_stdin(server: StandIn) -> None:
    assert server.process.stdin is not None
    server.process.stdin.close()


@pytest.mark.parametrize("how", [_terminate, _interrupt, _close_stdin], ids=["SIGTERM", "SIGINT", "EOF"])
def test_it_ends_cleanly(tmp_path: Path, how: Callable[[StandIn], None], bucket: Bucket, endpoint: str) -> None:
    server = launch(tmp_path / "state")
    root = _postgres_root(server)
    pid = _postmaster(root)
    client = server.connect()
    client.execute("CREATE SECRET k AS 'local-secret'")
    client.execute(
        f"CREATE CONNECTION c TO AWS (ACCESS KEY ID = 'local', SECRET ACCESS KEY = SECRET k, ENDPOINT = '{endpoint}')"
    )
    # In the middle of work: a copy runs.
    sql = f"COPY (SELECT 1 AS x FROM pg_sleep(60)) TO '{bucket.uri}' (FORMAT csv, AWS CONNECTION c)"
    client.pgconn.send_query(sql.encode())
    client.pgconn.flush()
    wait_for(bucket.sentinel, "the sentinel")
    how(server)
    assert server.process.wait(30) == 0
    wait_for(lambda: not _running(pid), "the end of PostgreSQL")
    assert not root.exists()
    assert not (server.state / "postgres.json").exists()


def test_after_a_kill_nothing_runs_and_the_next_start_cleans_up(tmp_path: Path) -> None:
    server = launch(tmp_path / "state")
    root = _postgres_root(server)
    pid = _postmaster(root)
    server.process.kill()
    server.process.wait(30)
    again = launch(tmp_path / "state")
    try:
        assert not root.exists()
        assert not _running(pid)
        with again.connect() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        end(again)


def test_an_orphan_of_a_killed_run_is_stopped(tmp_path: Path) -> None:
    server = launch(tmp_path / "state")
    root = _postgres_root(server)
    pid = _postmaster(root)
    # PostgreSQL is stopped in time to miss the signal of its parent's death.
    os.kill(pid, signal.SIGSTOP)
    server.process.kill()
    server.process.wait(30)
    assert _running(pid)
    os.kill(pid, signal.SIGCONT)
    again = launch(tmp_path / "state")
    try:
        wait_for(lambda: not _running(pid), "the end of the orphan")
        assert not root.exists()
    finally:
        end(again)


def test_the_shared_memory_of_a_killed_server_is_removed(tmp_path: Path) -> None:
    server = launch(tmp_path / "state")
    root = _postgres_root(server)
    pid = _postmaster(root)
    segment = int((root / "d" / "postmaster.pid").read_text().splitlines()[6].split()[1])
    os.kill(pid, signal.SIGKILL)
    server.process.kill()
    server.process.wait(30)
    wait_for(lambda: not _running(pid), "the end of PostgreSQL")
    assert segment in _segments()
    Postgres(server.state).clean_up_earlier_run()
    wait_for(lambda: segment not in _segments(), "the end of the shared memory")
    assert not root.exists()


def _segments() -> set[int]:
    return {int(line.split()[1]) for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


def test_a_second_server_on_the_same_folder_is_refused(server: StandIn) -> None:
    command = [sys.executable, "-m", "mz_orchestration.local.materialize", "--dir", str(server.state)]
    done = subprocess.run(
        [*command, "--statements", str(server.statements)],
        env={**os.environ, "MZ_LOCAL_PASSWORD": PASSWORD},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"another server runs on {server.state}" in done.stderr


def test_a_password_is_needed(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MZ_LOCAL_PASSWORD"}
    command = [sys.executable, "-m", "mz_orchestration.local.materialize", "--dir", str(tmp_path)]
    done = subprocess.run(
        [*command, "--statements", str(tmp_path / "s")],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "MZ_LOCAL_PASSWORD" in done.stderr


def test_a_state_folder_nobody_else_may_enter(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    server = launch(private / "a" / "state")
    try:
        with server.connect() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        end(server)
    assert private.stat().st_mode & 0o777 == 0o700


def test_postgresql_has_no_other_door(server: StandIn) -> None:
    root = _postgres_root(server)
    assert len(os.fsencode(root / "s" / ".s.PGSQL.5432")) < 107
    with server.connect() as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
        assert row == (False,)


def test_secrets_are_in_no_argument_list_and_no_environment(server: StandIn) -> None:
    pids = [server.process.pid, _postmaster(_postgres_root(server))]
    for pid in pids:
        assert PASSWORD.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert PASSWORD.encode() not in Path(f"/proc/{pids[1]}/environ").read_bytes()


def test_every_statement_is_logged_with_its_outcome(server: StandIn, bucket: Bucket) -> None:
    with server.connect(autocommit=False) as connection:
        session = str(connection.info.backend_pid)
        connection.execute("SELECT %s::int", [1])
        connection.execute(f"COPY numbers TO '{bucket.uri}' (FORMAT csv, AWS CONNECTION local_s3)")
        connection.commit()
        psycopg.ClientCursor(connection).execute("SELECT 1; SHOW cluster")
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT nothing")
        connection.rollback()
        with pytest.raises(psycopg.Error):
            connection.execute("COPY nothing TO 's3://b/c' (FORMAT csv)")
    mine = [line for line in server.logged() if line["session"] == session]
    assert [(line["sql"].split(" TO ")[0], line["outcome"], line["tag"], line["code"]) for line in mine] == [
        ("BEGIN", "ok", "BEGIN", None),
        ("SELECT $1::int", "ok", "SELECT 1", None),
        ("COPY numbers", "ok", "COPY 500", None),
        ("COMMIT", "ok", "COMMIT", None),
        ("BEGIN", "ok", "BEGIN", None),
        ("SELECT 1", "ok", "SELECT 1", None),
        ("SHOW cluster", "ok", "SHOW", None),
        ("SELECT nothing", "error", None, "42703"),
        ("ROLLBACK", "ok", "ROLLBACK", None),
        ("BEGIN", "ok", "BEGIN", None),
        ("COPY nothing", "error", None, "XX000"),
        ("COMMIT", "ok", "ROLLBACK", None),
    ]
    assert mine[10]["error"] == "unknown catalog item 'nothing'"
    assert all(line["server"] == "materialize" and line["seconds"] >= 0 for line in mine)


def test_secrets_are_masked_wherever_they_are_written(server: StandIn) -> None:
    with server.connect() as connection:
        connection.execute("CREATE SECRET hidden AS 'hunter2-good'")
        connection.execute("ALTER SECRET hidden AS 'hunter2-better'")
        psycopg.ClientCursor(connection).execute("DROP SECRET hidden; SELECT 'shown'")
        with pytest.raises(psycopg.Error):
            connection.execute("CREATE SECRET hidden AS hunter2_unquoted")
        connection.execute("CREATE ROLE masked PASSWORD 'hunter2-role'")
        connection.execute("DROP ROLE masked")
        connection.execute("DO $$ BEGIN EXECUTE 'CREATE ROLE masked PASSWORD ''hunter2-nested'''; END $$")
        connection.execute("DROP ROLE masked")
        with pytest.raises(psycopg.Error, match="hunter2-bound"):
            connection.execute("SELECT %s::int", ["hunter2-bound"])
    text = server.statements.read_text()
    assert "CREATE SECRET hidden AS '***'" in text
    assert "SELECT 'shown'" in text
    assert "hunter2" not in text
    assert "hunter2" not in (server.state / "postgres.log").read_text()
