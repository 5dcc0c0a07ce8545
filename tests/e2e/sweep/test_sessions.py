"""Live attempts are never touched; sessions that nobody waits for are ended, and nobody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from mz_orchestration.exports.sweep import sweep
from mz_orchestration.flow import Clock
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location
from mz_orchestration.runs.record import Attempt, AttemptState
from mz_orchestration.runs.store import RunStore

from .conftest import EXPORT, Later, everything, leave_attempt, materialize_id, save_record

NOW = timedelta(0)
SLOW = "SELECT i AS id, pg_sleep(0.01)::text AS swept FROM generate_series(1, 100000) AS s(i)"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def slow_export(base: Location, store: ObjectStore) -> Iterator[subprocess.Popen[str]]:
    """An export in mid-COPY in another process."""
    arguments = ["slow", "--query", SLOW, "--to", str(base), "--connection", "local_s3", "--run-key", "slow"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mz_orchestration.cli", "export", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        wait_for(lambda: any(key.endswith("-INCOMPLETE") for key in everything(store, base)[0]))
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)


def test_a_live_attempt_is_never_touched(
    base: Location, store: ObjectStore, slow_export: subprocess.Popen[str]
) -> None:
    before = everything(store, base)
    # Hours after it began, and with time-outs of six: alive because its session is.
    result = sweep(str(base), older_than=NOW, delete=True, clock=Later(hours=3))
    assert [(item.fate, item.why) for item in result.kept] == [("live", "its session is still there")]
    assert (result.found, result.problems) == (0, ())
    assert everything(store, base) == before
    assert slow_export.poll() is None

    slow_export.send_signal(signal.SIGINT)
    assert slow_export.wait(timeout=60) == 130
    # It cancelled its COPY and said so: its sentinel may go at once.
    result = sweep(str(base), older_than=NOW, delete=True)
    assert [(item.files, item.done) for item in result.folders] == [(1, True)]


def test_a_copy_that_nobody_waits_for_is_cancelled(
    base: Location, store: ObjectStore, slow_export: subprocess.Popen[str], materialize: psycopg.Connection[Any]
) -> None:
    os.kill(slow_export.pid, signal.SIGKILL)
    slow_export.wait(timeout=10)
    before = everything(store, base)
    late = Later(hours=7)
    plan = sweep(str(base), clock=late)
    assert [(item.run_key, item.done) for item in plan.sessions] == [("slow", False)]
    assert "deadline" in plan.sessions[0].why
    assert sessions(materialize, plan.sessions[0].pid) == 1
    assert everything(store, base) == before

    result = sweep(str(base), delete=True, clock=late)
    assert [item.done for item in result.sessions] == [True]
    assert sessions(materialize, plan.sessions[0].pid) == 0
    # A cancel can be answered before the last file is written: the files go another time.
    assert (result.folders, len(result.kept)) == ((), 1)

    result = sweep(str(base), delete=True, clock=Later(days=2))
    assert [item.done for item in result.folders] == [True]
    stored = RunStore(store, base).find("slow", "slow")
    assert stored is not None
    assert stored.record.attempts[0].state is AttemptState.ABANDONED


def sessions(connection: psycopg.Connection[Any], pid: int) -> int:
    row = connection.execute("SELECT count(*) FROM mz_internal.mz_sessions WHERE connection_id = %s", (pid,)).fetchone()
    assert row is not None
    return int(row[0])


def test_a_session_of_somebody_else_is_left_alone(
    base: Location, store: ObjectStore, materialize: psycopg.Connection[Any]
) -> None:
    """Ids of backends come round again, those of sessions do not."""
    pid = materialize.info.backend_pid
    leave_attempt(store, base, "a", "failed", pid=pid)
    result = sweep(str(base), older_than=NOW, delete=True, clock=Later(hours=1))
    assert result.sessions == ()
    assert [item.done for item in result.folders] == [True]
    assert sessions(materialize, pid) == 1


def test_a_session_that_works_for_another_export_is_left_alone(
    base: Location, store: ObjectStore, materialize: psycopg.Connection[Any]
) -> None:
    pid = materialize.info.backend_pid
    [[session]] = materialize.execute(
        "SELECT id::text FROM mz_internal.mz_sessions WHERE connection_id = %s", (pid,)
    ).fetchall()
    leave_attempt(store, base, "a", "failed", pid=pid, session=session)
    assert [item.pid for item in sweep(str(base), clock=Later(hours=1)).sessions] == [pid]
    path = f"{base}{EXPORT}/20260101T000000Z-00000000-01/"
    other = Attempt(
        number=1,
        path=path,
        state=AttemptState.STARTED,
        pid=pid,
        session=session,
        environment=materialize_id(),
        started_at=Clock().now(),
    )
    save_record(store, base, "b", other)
    assert sweep(str(base), clock=Later(hours=1)).sessions == ()


def test_another_materialize_is_not_asked_what_it_cannot_know(base: Location, store: ObjectStore) -> None:
    """Connected to the wrong one, a sweep takes every open attempt for running, and says why."""
    leave_attempt(store, base, "a", "started", environment="aws-us-east-1-elsewhere-0")
    result = sweep(str(base), older_than=NOW, delete=True, clock=Later(days=2))
    assert [item.fate for item in result.kept] == ["live"]
    assert result.folders == ()
    assert "environment aws-us-east-1-elsewhere-0" in str(result.problems[0])


def test_a_cancel_reaches_the_session_and_no_other(
    base: Location, store: ObjectStore, materialize: psycopg.Connection[Any]
) -> None:
    """A record that names one session and the backend of another."""
    with psycopg.connect(autocommit=True) as named:
        [[session]] = named.execute(
            "SELECT id::text FROM mz_internal.mz_sessions WHERE connection_id = %s", (named.info.backend_pid,)
        ).fetchall()
        leave_attempt(store, base, "a", "failed", pid=materialize.info.backend_pid, session=session)
        outcome: list[Any] = []
        busy = threading.Thread(
            target=lambda: outcome.append(materialize.execute("SELECT pg_sleep(2)").fetchall()), daemon=True
        )
        busy.start()
        threading.Timer(1.0, named.close).start()
        result = sweep(str(base), older_than=NOW, delete=True, clock=Later(hours=1))
        busy.join(30)
    assert [item.done for item in result.sessions] == [True]
    assert outcome == [[("",)]]
