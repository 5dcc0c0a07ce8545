"""What is written down about a run, and what the next call with its run key makes of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mz_orchestration.census.handle import start_sync
from mz_orchestration.census.record import SyncRecord, find_sync, sync_record_location
from mz_orchestration.census.spec import SyncSpec
from mz_orchestration.census.sync import SyncResult, SyncStep, run_sync
from mz_orchestration.errors import (
    ConfigurationError,
    DeadlineError,
    RejectedRecordsError,
    RunConflictError,
    SyncError,
    VerificationError,
)
from mz_orchestration.flow import Clock
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location, parse_folder
from mz_orchestration.progress import Event, OnEvent, ignore

from .conftest import Census, FastClock, eventually, sync_spec

AT = "s3://mz-exports/census-tests/"
MOMENTS = ("started", "finished")


def place(sync: str) -> Location:
    return sync_record_location(parse_folder(AT, field="at"), sync, "night")


Read = Callable[[str], SyncRecord]


@pytest.fixture
def record(store: ObjectStore) -> Read:
    """The record of a sync."""

    def read(sync: str) -> SyncRecord:
        stored = find_sync(store, place(sync))
        assert stored is not None
        return stored.record

    return read


Night = Callable[..., SyncResult]


@pytest.fixture
def night(census: Census, store: ObjectStore) -> Night:
    """Run a sync under the run key of the night."""

    def run(spec: SyncSpec, *, clock: Clock | None = None, on_event: OnEvent = ignore) -> SyncResult:
        return run_sync(
            spec,
            run_key="night",
            at=AT,
            census=census.config,
            store=store,
            clock=clock or FastClock(),
            on_event=on_event,
        )

    return run


def killed(census: Census, cases: list[tuple[str, str, str]]) -> None:
    """Run syncs in processes of their own, each killed at a moment of it: sync, step, state of the step."""
    script = Path(__file__).with_name("killed.py")
    done = subprocess.run(
        [sys.executable, str(script), AT, "night", json.dumps(cases)],
        env=census.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [-signal.SIGKILL] * len(cases), done.stderr


@pytest.fixture(scope="module")
def dead(stack: LocalStack) -> dict[tuple[str, str], str]:
    """Syncs whose process was killed, by step and moment."""
    census = Census("v2", stack)
    moments = [(str(step), moment) for step in SyncStep for moment in MOMENTS]
    syncs = {moment: census.new_sync() for moment in moments}
    killed(census, [(sync, *moment) for moment, sync in syncs.items()])
    return syncs


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", list(SyncStep))
def test_killed_anywhere_triggered_once(
    census: Census, record: Read, night: Night, dead: dict[tuple[str, str], str], step: SyncStep, moment: str
) -> None:
    sync = dead[step, moment]
    if list(SyncStep).index(step) + (moment == "finished") > list(SyncStep).index(SyncStep.TRIGGER):
        assert record(sync).attempts[-1].run == census.runs(sync)[0]["id"]
    result = night(sync_spec(sync=sync))
    assert result.run.status == "completed"
    assert result.repeated == ((step, moment) == (SyncStep.FINISH, "finished"))
    assert len(census.runs(sync)) == census.triggers(sync) == 1
    again = night(sync_spec(sync=sync))
    assert (again.repeated, again.run.id) == (True, result.run.id)
    assert record(sync).attempts[-1].result == result.run


def test_killed_between_the_trigger_and_its_number(census: Census, record: Read, night: Night) -> None:
    """The answer never arrives, and the process dies while it waits: only the list of runs knows."""
    sync = census.new_sync()
    census.lose(sync, "POST", "/trigger", after=True, reset=True)
    killed(census, [(sync, SyncStep.TRIGGER, "note")])
    assert record(sync).attempts[-1].run is None
    clock = FastClock()
    spec = sync_spec(sync=sync)
    result = night(spec, clock=clock, on_event=clock.listen)
    assert not result.attached
    assert len(census.runs(sync)) == census.triggers(sync) == 1
    assert any(f"found run {result.run.id}" in text for text in clock.notes)


def test_not_known_then_looked_for_then_triggered(census: Census, record: Read, night: Night) -> None:
    sync, clock = census.new_sync(), FastClock()
    census.lose(sync, "POST", "/trigger", status=500)
    with pytest.raises(SyncError, match="not known"):
        night(sync_spec(sync=sync), clock=clock)
    assert record(sync).attempts[-1].state == "asked"
    before, looked = clock.slept, []

    def listen(event: Event) -> None:
        if event.step is SyncStep.TRIGGER and event.state == "started":
            looked.append(clock.slept - before)

    spec = sync_spec(sync=sync)
    result = night(spec, clock=clock, on_event=listen)
    assert looked[0] > 60  # as long as one may still appear
    assert [run["id"] for run in census.runs(sync)] == [result.run.id]
    assert census.triggers(sync) == 2


def test_without_the_time_to_look_nothing_is_triggered(census: Census, record: Read, night: Night) -> None:
    sync = census.new_sync()
    census.lose(sync, "POST", "/trigger", status=500)
    with pytest.raises(SyncError, match="not known"):
        night(sync_spec(sync=sync))
    with pytest.raises(DeadlineError, match="may still appear") as caught:
        night(sync_spec(sync=sync, timeout=5))
    assert caught.value.retryable
    assert census.triggers(sync) == 1
    assert [attempt.state for attempt in record(sync).attempts] == ["asked"]


class Stop(BaseException):
    """What an orchestrator raises in place of Ctrl-C."""


@pytest.fixture
def interrupted(census: Census, night: Night) -> Callable[[str, Callable[[], None]], list[str]]:
    """Interrupt the wait for a run that works for some seconds, after a change; what was said."""

    def run(sync: str, change: Callable[[], None]) -> list[str]:
        clock = FastClock()
        census.fault(sync, working_seconds=3)

        def stop(event: Event) -> None:
            clock.listen(event)
            if event.step is SyncStep.WAIT and " is working" in event.message:
                change()
                raise Stop

        with pytest.raises(Stop):
            night(sync_spec(sync=sync), clock=clock, on_event=stop)
        return clock.notes

    return run


Interrupted = Callable[[str, Callable[[], None]], list[str]]


def test_a_run_that_could_not_be_cancelled_is_gone_on_with(
    census: Census, record: Read, night: Night, interrupted: Interrupted
) -> None:
    sync = census.new_sync()
    notes = interrupted(sync, lambda: census.lose(sync, "POST", "/cancel", times=1, status=403))
    assert "could not be cancelled" in notes[-1]
    result = night(sync_spec(sync=sync))
    assert result.run.status == "completed"
    assert not result.run.canceled
    assert [attempt.run for attempt in record(sync).attempts] == [result.run.id]
    assert census.triggers(sync) == 1


def test_a_run_that_ends_after_the_cancel_is_followed_by_another(
    census: Census, record: Read, night: Night, interrupted: Interrupted
) -> None:
    sync = census.new_sync()
    notes = interrupted(sync, lambda: census.lose(sync, "GET", "/sync_runs/", times=10, status=503))
    assert "was asked to end" in notes[-1]
    assert [attempt.state for attempt in record(sync).attempts] == ["triggered"]
    result = night(sync_spec(sync=sync))
    assert [run["canceled"] for run in census.runs(sync)] == [False, True]
    assert [attempt.run for attempt in record(sync).attempts][1:] == [result.run.id]


def test_a_run_of_before_is_not_taken_for_ours(census: Census, night: Night) -> None:
    sync = census.new_sync()
    earlier = run_sync(sync_spec(sync=sync), census=census.config, clock=FastClock()).run.id
    killed(census, [(sync, SyncStep.RECORD, "finished")])
    result = night(sync_spec(sync=sync))
    assert result.run.id != earlier


def test_what_was_turned_away_for_good_is_not_looked_for(census: Census, night: Night) -> None:
    sync = census.new_sync(operation="append")
    spec = sync_spec(sync=sync, full=True)
    for _ in range(2):
        clock = FastClock()
        with pytest.raises(ConfigurationError):
            night(spec, clock=clock)
        assert clock.slept == 0


def test_bad_records_may_be_accepted_afterwards(census: Census, record: Read, night: Night) -> None:
    sync = census.new_sync()
    census.fault(sync, failed_records=1)
    with pytest.raises(RejectedRecordsError):
        night(sync_spec(sync=sync))
    spec = sync_spec(sync=sync, max_failed=1)
    result = night(spec)
    assert result.repeated
    assert result.run.records_failed == 1
    assert census.triggers(sync) == 1
    assert record(sync).attempts[-1].error is None


def test_what_failed_is_triggered_again(census: Census, record: Read, night: Night) -> None:
    sync = census.new_sync()
    census.fault(sync, fail_run={"code": "x", "message": "y"})
    with pytest.raises(SyncError, match="failed"):
        night(sync_spec(sync=sync))
    result = night(sync_spec(sync=sync))
    assert not result.repeated
    assert [attempt.state for attempt in record(sync).attempts] == ["ended", "ended"]
    assert record(sync).attempts[0].error is not None


def test_two_processes_on_one_run_key_share_one_run(census: Census, night: Night) -> None:
    sync = census.new_sync()
    results: list[str] = []

    def second(event: Event) -> None:
        if (event.step, event.state) == (SyncStep.WAIT, "started") and not results:
            done = night(sync_spec(sync=sync))
            results.append(done.run.id)

    spec = sync_spec(sync=sync)
    first = night(spec, on_event=second)
    assert [first.run.id] == results
    assert len(census.runs(sync)) == 1


def test_who_was_taken_for_gone_triggers_nothing(census: Census, night: Night) -> None:
    sync, clock = census.new_sync(), FastClock()
    results: list[str] = []

    def second(event: Event) -> None:
        if (event.step, event.state) == (SyncStep.TRIGGER, "started") and not results:
            results.append("")
            done = night(sync_spec(sync=sync), clock=clock)
            results.append(done.run.id)

    with pytest.raises(RunConflictError) as caught:
        night(sync_spec(sync=sync), clock=clock, on_event=second)
    assert caught.value.retryable
    assert [run["id"] for run in census.runs(sync)] == results[1:]


def test_a_run_key_stands_for_one_thing(census: Census, night: Night) -> None:
    sync = census.new_sync()
    night(sync_spec(sync=sync))
    with pytest.raises(RunConflictError, match="another choice of full") as caught:
        night(sync_spec(sync=sync, full=True))
    assert not caught.value.retryable


def test_a_started_run_is_finished_by_the_next_call(census: Census, store: ObjectStore, night: Night) -> None:
    sync = census.new_sync()
    handle = start_sync(sync_spec(sync=sync), run_key="night", at=AT, census=census.config, store=store)
    assert start_sync(sync_spec(sync=sync), run_key="night", at=AT, census=census.config, store=store) == handle
    result = night(sync_spec(sync=sync))
    assert result.run.id == handle.run
    assert start_sync(sync_spec(sync=sync), run_key="night", at=AT, census=census.config, store=store) == handle


def test_a_started_run_that_failed_is_started_again(census: Census, record: Read, store: ObjectStore) -> None:
    sync = census.new_sync()
    census.fault(sync, fail_run={"code": "x", "message": "y"})

    def start() -> str:
        return start_sync(sync_spec(sync=sync), run_key="night", at=AT, census=census.config, store=store).run

    first = start()
    eventually(lambda: census.runs(sync)[0]["status"] == "failed")
    second = start()
    assert second != first
    eventually(lambda: census.runs(sync)[0]["status"] == "completed")
    assert [start(), start()] == [second, second]
    assert census.triggers(sync) == 2
    assert [attempt.error is None for attempt in record(sync).attempts] == [False, True]


def test_the_record_holds_no_token(census: Census, record: Read, night: Night) -> None:
    sync = census.new_sync()
    night(sync_spec(sync=sync))
    assert census.config.token.get_secret_value() not in record(sync).model_dump_json()


def test_something_else_in_the_records_place(census: Census, store: ObjectStore, night: Night) -> None:
    store.put(place("777"), b"{}")
    with pytest.raises(VerificationError, match="not the record of a sync"):
        night(sync_spec(sync=777))


@pytest.mark.parametrize(("given", "missing"), [({"run_key": "night"}, "at"), ({"at": AT}, "run_key")])
def test_run_key_and_place_go_together(census: Census, given: dict[str, str], missing: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{missing} is missing"):
        run_sync(sync_spec(sync=1), census=census.config, **given)
