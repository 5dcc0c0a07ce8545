"""Other runs of the same sync: before ours, and in its way."""

from __future__ import annotations

import pytest

from mz_orchestration.census.client import CensusClient
from mz_orchestration.census.sync import SyncStep, run_sync
from mz_orchestration.errors import DeadlineError, RunConflictError, SyncError
from mz_orchestration.progress import Event

from .conftest import Census, FastClock, both_versions, eventually, sync_spec


def start(census: Census, sync: str) -> str:
    """A run of somebody else's, that is still active when we look."""
    census.fault(sync, working_seconds=0.5)
    with CensusClient(census.config) as client:
        return client.trigger(sync)


def test_wait_lets_it_end_and_then_triggers(census: Census) -> None:
    sync = census.new_sync()
    other = start(census, sync)
    result = run_sync(sync_spec(sync=sync), census=census.config, clock=FastClock())
    assert result.run.id != other
    assert not result.attached
    assert [(run["id"], run["status"]) for run in census.runs(sync)] == [
        (result.run.id, "completed"),
        (other, "completed"),
    ]


def test_attach_takes_it(census: Census) -> None:
    sync = census.new_sync()
    other = start(census, sync)
    result = run_sync(sync_spec(sync=sync, on_overlap="attach"), census=census.config, clock=FastClock())
    assert (result.run.id, result.attached, result.run.records_processed) == (other, True, census.rows)
    assert len(census.runs(sync)) == 1


def test_attach_does_not_take_less_than_is_asked_for(census: Census) -> None:
    sync = census.new_sync()
    run_sync(sync_spec(sync=sync), census=census.config, clock=FastClock())
    other = start(census, sync)
    result = run_sync(sync_spec(sync=sync, on_overlap="attach", full=True), census=census.config, clock=FastClock())
    assert result.run.id != other
    assert result.run.records_processed == census.rows


def test_fail_triggers_nothing(census: Census) -> None:
    sync = census.new_sync()
    other = start(census, sync)
    with pytest.raises(RunConflictError) as caught:
        run_sync(sync_spec(sync=sync, on_overlap="fail"), census=census.config, clock=FastClock())
    assert caught.value.retryable
    assert caught.value.details["sync_run"] == other
    assert len(census.runs(sync)) == 1


def test_the_deadline_counts_the_wait_for_another_and_leaves_it_alone(census: Census) -> None:
    sync = census.new_sync()
    other = start(census, sync)
    with pytest.raises(DeadlineError):
        run_sync(sync_spec(sync=sync, timeout=5), census=census.config, clock=FastClock())
    assert [(run["id"], run["canceled"]) for run in census.runs(sync)] == [(other, False)]


def test_an_active_run_behind_a_hundred_that_were_skipped(census: Census) -> None:
    sync = census.new_sync()
    census.fault(sync, working_seconds=60)
    with CensusClient(census.config) as client:
        active = client.trigger(sync)
        for _ in range(101):
            client.trigger(sync)
    eventually(lambda: {run["status"] for run in census.runs(sync)} == {"skipped"})
    with pytest.raises(RunConflictError) as caught:
        run_sync(sync_spec(sync=sync, on_overlap="fail"), census=census.config, clock=FastClock())
    assert caught.value.details["sync_run"] == active


class Overtaken:
    """Somebody else starts a run after ours has looked, and before it is triggered."""

    def __init__(self, census: Census, sync: str) -> None:
        self.census, self.sync = census, sync
        self.others: list[str] = []

    def __call__(self, event: Event) -> None:
        if (event.step, event.state) == (SyncStep.TRIGGER, "started") and not self.others:
            self.others.append(start(self.census, self.sync))


def test_skipped_with_wait_is_triggered_once_more(census: Census) -> None:
    sync = census.new_sync()
    overtaken = Overtaken(census, sync)
    result = run_sync(sync_spec(sync=sync), census=census.config, clock=FastClock(), on_event=overtaken)
    runs = census.runs(sync)
    assert [run["status"] for run in runs] == ["completed", "skipped", "completed"]
    assert (runs[0]["id"], runs[2]["id"]) == (result.run.id, overtaken.others[0])


def test_skipped_with_attach_takes_the_other(census: Census) -> None:
    sync = census.new_sync()
    overtaken = Overtaken(census, sync)
    spec = sync_spec(sync=sync, on_overlap="attach")
    result = run_sync(spec, census=census.config, clock=FastClock(), on_event=overtaken)
    assert ([result.run.id], result.attached) == (overtaken.others, True)
    assert [run["status"] for run in census.runs(sync)] == ["skipped", "completed"]


def test_skipped_with_fail_fails(census: Census) -> None:
    sync = census.new_sync()
    spec = sync_spec(sync=sync, on_overlap="fail")
    with pytest.raises(SyncError, match="was skipped") as caught:
        run_sync(spec, census=census.config, clock=FastClock(), on_event=Overtaken(census, sync))
    assert caught.value.retryable


def test_a_schedule_is_warned_of(census: Census) -> None:
    sync, clock = census.new_sync(schedule_frequency="daily"), FastClock()
    run_sync(sync_spec(sync=sync), census=census.config, clock=clock, on_event=clock.listen)
    assert [text for text in clock.notes if "also started by its schedule (daily)" in text]


@both_versions
def test_the_end_of_v1_is_warned_of(census: Census) -> None:
    sync, clock = census.new_sync(), FastClock()
    run_sync(sync_spec(sync=sync), census=census.config, clock=clock, on_event=clock.listen)
    assert any("15 January 2027" in text for text in clock.notes) == (census.api == "v1")
