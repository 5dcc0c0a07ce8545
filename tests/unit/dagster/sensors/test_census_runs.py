"""Which runs of a sync a tick tells of: each once, however ticks and runs fall together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mz_orchestration.census.models import SyncRun
from mz_orchestration.dagster import build_census_run_sensor
from mz_orchestration.dagster.sensors.census_runs import SeenRuns, newly_ended
from mz_orchestration.errors import ConfigurationError

START = datetime(2026, 11, 22, tzinfo=UTC)


def moment(second: int) -> datetime:
    return START + timedelta(seconds=second)


def listed(runs: list[tuple[int, int]], now: int) -> list[SyncRun]:
    """What Census answers at a moment, the newest first, of runs that begin and end at given seconds."""
    return [
        SyncRun(
            id=f"r{number}",
            status="completed" if end <= now else "working",
            created_at=moment(begin),
            completed_at=moment(end) if end <= now else None,
        )
        for number, (begin, end) in reversed(list(enumerate(runs)))
        if begin <= now
    ]


@settings(max_examples=200)
@given(
    lengths=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 400)), max_size=60),
    ticks=st.lists(st.integers(1, 120), min_size=1, max_size=30),
    settle=st.integers(0, 60),
)
def test_each_run_that_ends_is_told_of_once(lengths: list[tuple[int, int]], ticks: list[int], settle: int) -> None:
    runs, at = [], 10
    for gap, length in lengths:
        at += gap
        runs.append((at, at + length))
    seen: SeenRuns | None = None
    now, first, told = 0, None, list[str]()
    for tick in [*ticks, 10_000, 10_000]:
        now += tick
        found, seen = newly_ended(listed(runs, now), seen, moment(now - settle))
        # As it travels through Dagster's database.
        seen = SeenRuns.model_validate_json(seen.model_dump_json())
        first = now if first is None else first
        told += [run.id for run in found]
        assert len(seen.done) <= 100
    assert first is not None
    assert sorted(told) == sorted(f"r{number}" for number, (_, end) in enumerate(runs) if end > first)


def test_the_first_look_tells_of_nothing_and_remembers_little() -> None:
    found, seen = newly_ended(listed([(second, second + 1) for second in range(300)], 1_000), None, moment(1_000))
    assert found == []
    assert len(seen.done) == 20


def test_syncs_that_are_named_twice_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="none twice"):
        build_census_run_sensor(syncs=[1, "1"])
