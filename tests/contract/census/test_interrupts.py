"""Whoever is interrupted cancels what it has started, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from mz_orchestration.census.client import CensusClient
from mz_orchestration.census.handle import cancel_sync, poll_sync, start_sync
from mz_orchestration.census.judge import RunState
from mz_orchestration.census.sync import SyncStep, arun_sync, run_sync
from mz_orchestration.errors import DeadlineError
from mz_orchestration.progress import Event

from .conftest import Census, FastClock, eventually, sync_spec


class Stop(BaseException):
    """What an orchestrator raises in place of Ctrl-C."""


def stop_while_waiting(event: Event) -> None:
    if event.step is SyncStep.WAIT and " is working" in event.message:
        raise Stop


@pytest.fixture
def slow(census: Census) -> str:
    sync = census.new_sync()
    census.fault(sync, working_seconds=5)
    return sync


def test_our_own_run_is_cancelled(census: Census, slow: str) -> None:
    clock = FastClock()
    with pytest.raises(Stop):
        run_sync(
            sync_spec(sync=slow),
            census=census.config,
            clock=clock,
            on_event=lambda event: (clock.listen(event), stop_while_waiting(event))[1],
        )
    assert [run["canceled"] for run in census.runs(slow)] == [True]
    assert "was cancelled and has ended" in clock.notes[-1]


def test_somebody_elses_goes_on(census: Census, slow: str) -> None:
    with CensusClient(census.config) as client:
        client.trigger(slow)
    with pytest.raises(Stop):
        run_sync(
            sync_spec(sync=slow, on_overlap="attach"),
            census=census.config,
            clock=FastClock(),
            on_event=stop_while_waiting,
        )
    assert [run["canceled"] for run in census.runs(slow)] == [False]


def test_a_trigger_in_flight_still_tells_which_run_to_cancel(census: Census, slow: str) -> None:
    census.lose(slow, "POST", "/trigger", after=True, delay=1.0)

    async def main() -> None:
        task = asyncio.create_task(arun_sync(sync_spec(sync=slow), census=census.config))
        while not census.runs(slow):
            await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert [run["canceled"] for run in census.runs(slow)] == [True]


def test_a_run_that_cannot_be_cancelled_is_said_to_go_on(census: Census, slow: str) -> None:
    clock = FastClock()
    census.lose(slow, "POST", "/cancel", times=2, status=503)
    with pytest.raises(Stop):
        run_sync(
            sync_spec(sync=slow),
            census=census.config,
            clock=clock,
            on_event=lambda event: (clock.listen(event), stop_while_waiting(event))[1],
        )
    assert "could not be cancelled" in clock.notes[-1]
    assert "may still be running" in clock.notes[-1]
    assert not any("was asked to end" in text for text in clock.notes)


def test_out_of_time_while_census_does_not_answer_ours_is_cancelled(census: Census, slow: str) -> None:
    clock = FastClock()
    census.lose(slow, "GET", "/sync_runs/", times=50, status=503)
    with pytest.raises(DeadlineError, match="Nobody can tell how run"):
        run_sync(sync_spec(sync=slow, timeout=60), census=census.config, clock=clock, on_event=clock.listen)
    assert "was asked to end" in clock.notes[-1]
    eventually(lambda: [run["canceled"] for run in census.runs(slow)] == [True])


def test_handles(census: Census, slow: str) -> None:
    handle = start_sync(sync_spec(sync=slow), census=census.config)
    assert type(handle).model_validate_json(handle.model_dump_json()) == handle
    assert not poll_sync(handle, census=census.config).done
    assert cancel_sync(handle, census=census.config)
    status = poll_sync(handle, census=census.config)
    assert (status.state, status.done) == (RunState.CANCELLED, True)
    assert status.error is not None
    assert not cancel_sync(handle, census=census.config)


def test_a_handle_of_somebody_elses_run(census: Census, slow: str) -> None:
    with CensusClient(census.config) as client:
        other = client.trigger(slow)
    handle = start_sync(sync_spec(sync=slow, on_overlap="attach"), census=census.config)
    assert (handle.run, handle.triggered) == (other, False)
    assert not cancel_sync(handle, census=census.config)
    assert not poll_sync(handle, census=census.config).done


def test_a_handle_is_judged_by_its_spec(census: Census) -> None:
    sync = census.new_sync()
    census.fault(sync, failed_records=1)
    handle = start_sync(sync_spec(sync=sync), census=census.config)
    eventually(lambda: poll_sync(handle, census=census.config).done)
    status = poll_sync(handle, census=census.config)
    assert status.state is RunState.COMPLETED
    assert status.error is not None
    assert status.error["type"] == "RejectedRecordsError"
