"""Exports started by one caller and looked at, ended or finished by another."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from mz_orchestration.errors import NotFoundError, RunConflictError, UnavailableError
from mz_orchestration.exports.attempts import session_tag
from mz_orchestration.exports.export import arun_export, run_export
from mz_orchestration.exports.handle import (
    ExportHandle,
    HandleState,
    acancel_export,
    apoll_export,
    astart_export,
    cancel_export,
    handles_of,
    poll_export,
    start_export,
)
from mz_orchestration.exports.policy import ExportPolicy
from mz_orchestration.local.materialize.faults import copy_faults
from mz_orchestration.materialize import session
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.runs.store import RunStore

from .conftest import BASE, Brisk, Spec, active_copies

Sql = psycopg.Connection[Any]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_start_poll_and_finish(spec: Spec, materialize: Sql, store: ObjectStore, runs: RunStore) -> None:
    with copy_faults(materialize, slow_rows=0.001, target="/handle/"):
        handle = start_export(spec("handle"), run_key="handle", store=store)
        assert ExportHandle.model_validate_json(handle.model_dump_json()) == handle
        assert poll_export(handle, store=store).state is HandleState.RUNNING
        stored = runs.find("handle", "handle")
        assert stored is not None
        attempt = stored.record.attempts[-1]
        assert (attempt.path, attempt.pid, attempt.tag) == (handle.path, handle.pid, handle.tag)
        names = materialize.execute("SELECT application_name FROM pg_stat_activity WHERE pid = %s", (handle.pid,))
        assert names.fetchall() == [(handle.tag,)]
        # Started once more, it is the same attempt.
        assert start_export(spec("handle"), run_key="handle", store=store) == handle
        wait_for(lambda: poll_export(handle, store=store).done)
    status = poll_export(handle, store=store)
    assert status.state is HandleState.SUCCEEDED
    result = run_export(spec("handle"), run_key="handle", store=store)
    assert (result.repeated, result.manifest_url, result.manifest.rows) == (True, status.manifest_url, status.rows)
    assert start_export(spec("handle"), run_key="handle", store=store).attempt == 1


def test_cancel_from_elsewhere(spec: Spec, materialize: Sql, store: ObjectStore) -> None:
    with copy_faults(materialize, slow_rows=0.005, target="/handle_cancel/"):
        handle = start_export(spec("handle_cancel"), run_key="handle-cancel", store=store)
        assert cancel_export(handle, store=store)
        assert active_copies(materialize, "handle-cancel") == 0
    wait_for(lambda: poll_export(handle, store=store).done)
    status = poll_export(handle, store=store)
    assert status.state is HandleState.FAILED
    assert status.error is not None
    assert "cancelled" in status.error["message"]
    assert not cancel_export(handle, store=store)
    again = run_export(spec("handle_cancel"), run_key="handle-cancel", store=store)
    assert again.attempt == 2


def test_a_cancel_that_is_lost_in_preflight_is_repeated(spec: Spec, materialize: Sql, store: ObjectStore) -> None:
    with copy_faults(materialize, cancel_lost_in_preflight=1.5, slow_rows=0.005, target="/handle_preflight/"):
        handle = start_export(spec("handle_preflight"), run_key="handle-preflight", store=store)
        assert cancel_export(handle, store=store)
        assert active_copies(materialize, "handle-preflight") == 0


@pytest.mark.parametrize("mode", ["run_on", "cancel"])
def test_a_lost_owner(mode: Any, spec: Spec, materialize: Sql, store: ObjectStore) -> None:
    """The process that started it has gone: what is left says so, and the next run takes it from there."""
    from .test_overlap import leave_behind

    name = f"handle_lost_{mode}"
    with copy_faults(materialize, slow_rows=0.002, on_disconnect=mode, target=f"/{name}/", times=1):
        leave_behind(spec(name), name)
        handle = start_export(spec(name), run_key=name, store=store)
        wait_for(lambda: poll_export(handle, store=store).state is not HandleState.RUNNING)
    state = poll_export(handle, store=store).state
    assert state is (HandleState.ENDED if mode == "run_on" else HandleState.LOST)
    result = run_export(spec(name), run_key=name, store=store, clock=Brisk())
    assert (result.adopted, result.attempt) == ((True, 1) if mode == "run_on" else (False, 2))


def test_on_an_event_loop(spec: Spec, materialize: Sql, store: ObjectStore) -> None:
    async def main() -> None:
        handle = await astart_export(spec("handle_async"), run_key="handle-async", store=store)
        assert (await apoll_export(handle, store=store)).state is HandleState.RUNNING
        assert await acancel_export(handle, store=store)
        result = await arun_export(spec("handle_async"), run_key="handle-async", store=store)
        assert result.manifest.copied == result.manifest.rows

    with copy_faults(materialize, slow_rows=0.005, target="/handle_async/", times=1):
        asyncio.run(main())


def test_more_exports_than_an_event_loop_has_threads_can_be_cancelled(
    spec: Spec, materialize: Sql, store: ObjectStore
) -> None:
    async def main() -> None:
        tasks = [
            asyncio.create_task(arun_export(spec(f"many_{number}"), run_key="many", store=store))
            for number in range(12)
        ]
        for _ in range(300):
            await asyncio.sleep(0.1)
            if active_copies(materialize, "many") >= 12:
                break
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError}

    with copy_faults(materialize, slow_rows=0.02, target="/many_"):
        asyncio.run(main())
    assert active_copies(materialize, "many") == 0


def test_what_cannot_begin_is_the_callers_to_know(spec: Spec, store: ObjectStore) -> None:
    with pytest.raises(NotFoundError):
        start_export(spec("shop.nothing_there", query=None), run_key="handle-missing", store=store)


def test_runs_cancel(spec: Spec, materialize: Sql, store: ObjectStore) -> None:
    def cancel() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mz_orchestration.cli", "runs", "cancel", "runs-cancel", "--at", BASE],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    with copy_faults(materialize, slow_rows=0.01, target="/runs_cancel/"):
        handle = start_export(spec("runs_cancel"), run_key="runs-cancel", store=store)
        done = cancel()
    assert (done.returncode, done.stdout) == (0, "cancelled: runs_cancel\n")
    assert active_copies(materialize, "runs-cancel") == 0
    wait_for(lambda: poll_export(handle, store=store).state is HandleState.FAILED)
    assert "nothing done" in cancel().stdout


def test_cancelling_async_calls_at_any_moment_leaves_the_process_alone(
    spec: Spec, materialize: Sql, store: ObjectStore
) -> None:
    """A connection must not be freed while a thread waits in it: that ends the process."""
    code = (
        "import asyncio, sys\n"
        "from mz_orchestration.exports.handle import ExportHandle, apoll_export\n"
        "handle = ExportHandle.model_validate_json(sys.argv[1])\n"
        "async def once(seconds):\n"
        "    try:\n"
        "        await asyncio.wait_for(apoll_export(handle), seconds)\n"
        "    except TimeoutError:\n"
        "        pass\n"
        "async def main():\n"
        "    for number in range(30):\n"
        "        await asyncio.gather(*(once(0.01 + 0.004 * (number % 15)) for _ in range(3)))\n"
        "asyncio.run(main())\n"
    )
    with copy_faults(materialize, slow_rows=0.02, target="/handle_alive/"):
        handle = start_export(spec("handle_alive"), run_key="handle-alive", store=store)
        words = [sys.executable, "-c", code, handle.model_dump_json()]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        cancel_export(handle, store=store)
    assert done.returncode == 0, done.stderr


def test_the_handle_of_another_export_is_not_given_out(spec: Spec, store: ObjectStore) -> None:
    run_export(spec("handle_spec"), run_key="handle-spec", store=store)
    with pytest.raises(RunConflictError, match="another query") as raised:
        start_export(spec("handle_spec", query="SELECT 'hunter2' AS secret"), run_key="handle-spec", store=store)
    assert "hunter2" not in str(raised.value)


def test_a_left_behind_attempt_can_be_cancelled_by_its_run_key(
    spec: Spec, materialize: Sql, store: ObjectStore, runs: RunStore
) -> None:
    from .test_overlap import leave_behind

    with copy_faults(materialize, slow_rows=0.01, target="/handle_left/", times=1):
        leave_behind(spec("handle_left"), "handle-left")
        run_export(spec("handle_left"), run_key="handle-left", store=store, policy=ExportPolicy(left_behind="leave"))
        assert active_copies(materialize, "handle-left") == 1
        stored = runs.find("handle_left", "handle-left")
        assert stored is not None
        assert [cancel_export(handle, store=store) for handle in handles_of(stored.record)] == [True, False]
        assert active_copies(materialize, "handle-left") == 0


def test_a_run_whose_process_and_copy_are_gone_is_closed_by_a_cancel(
    spec: Spec, materialize: Sql, store: ObjectStore
) -> None:
    from .test_overlap import leave_behind

    with copy_faults(materialize, slow_rows=0.002, on_disconnect="cancel", target="/handle_dead/", times=1):
        leave_behind(spec("handle_dead"), "handle-dead")
        handle = start_export(spec("handle_dead"), run_key="handle-dead", store=store)
        wait_for(lambda: poll_export(handle, store=store).state is HandleState.LOST)
    assert not cancel_export(handle, store=store)
    assert poll_export(handle, store=store).state is HandleState.FAILED


def test_a_deadline_holds_although_the_copy_does_not_react(
    spec: Spec, materialize: Sql, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_CANCELS", 1)
    monkeypatch.setattr(session, "_CLOSE_CANCELS", 1)
    with (
        copy_faults(materialize, cancel_lost_in_preflight=30, target="/handle_stuck/"),
        pytest.raises(UnavailableError, match="nor reacted to cancelling"),
    ):
        run_export(spec("handle_stuck", timeout=0.5), run_key="handle-stuck", store=store)
    assert active_copies(materialize, "handle-stuck") == 1, "it did not come back before the COPY had ended"
    materialize.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
        (session_tag("handle-stuck"),),
    )
