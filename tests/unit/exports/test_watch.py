"""The wait for one path, against a bucket that changes while a clock of our own runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mz_orchestration.errors import (
    ConfigurationError,
    CredentialsError,
    DeadlineError,
    ExportError,
    MzOrchestrationError,
    UnavailableError,
    VerificationError,
)
from mz_orchestration.exports.watch.wait import CompletedExport, WaitPolicy, wait
from mz_orchestration.flow import Clock
from mz_orchestration.objectstore.client import ObjectInfo, ObjectStore
from mz_orchestration.objectstore.location import Location

FOLDER = Location("b", "exports/one/")
SENTINEL = "mz-t12-INCOMPLETE"
DATA = "mz-t12-batch-0000-0000.parquet"
START = datetime(2026, 11, 22, tzinfo=UTC)


class World(Clock, ObjectStore):
    """A clock, and a bucket whose objects come and go at set times."""

    def __init__(self, *, page: int = 1000) -> None:
        self.time = 0.0
        self.page = page
        self.lives: dict[str, tuple[float, float]] = {}
        self.faults: Callable[[float], MzOrchestrationError | None] = lambda time: None
        self.requests: list[tuple[float, str]] = []

    def holds(self, name: str, at: float, until: float = 1e12) -> World:
        self.lives[FOLDER.key + name] = (at, until)
        return self

    def now(self) -> datetime:
        return START + timedelta(seconds=self.time)

    def monotonic(self) -> float:
        return self.time + 1000.0

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.time += seconds

    def _answer(self, kind: str) -> None:
        self.requests.append((self.time, kind))
        if fault := self.faults(self.time):
            raise fault

    def _there(self, key: str) -> ObjectInfo | None:
        began, until = self.lives.get(key, (1e12, 1e12))
        return ObjectInfo(key, 10, "e", START + timedelta(seconds=began)) if began <= self.time < until else None

    def list_page(self, prefix: Location, start_after: str = "", limit: int = 1000) -> tuple[list[ObjectInfo], bool]:
        self._answer("LIST")
        keys = sorted(key for key in self.lives if key.startswith(prefix.key) and key > start_after)
        found = [item for key in keys if (item := self._there(key))]
        return found[: self.page], len(found) > self.page

    def head(self, at: Location) -> ObjectInfo | None:
        self._answer("HEAD")
        return self._there(at.key)

    def wait(self, vouched: bool = False, **policy: float) -> CompletedExport:
        return wait(FOLDER, store=self, policy=WaitPolicy(**policy), vouched=vouched, clock=self)

    def kinds(self) -> list[str]:
        return [kind for _, kind in self.requests]


def test_one_listing_then_heads_then_one_listing() -> None:
    world = World().holds(SENTINEL, 0, 60).holds(DATA, 30)
    done = world.wait()
    assert [file.key for file in done.files] == [FOLDER.key + DATA]
    assert done.sentinel_seen
    heads = world.kinds()[1:-1]
    assert world.kinds() == ["LIST", *heads, "LIST"]
    assert set(heads) == {"HEAD"}
    assert 60 <= world.time < 66
    assert done.looks == len(world.requests)


def test_pauses_grow_up_to_the_longest() -> None:
    world = World().holds(SENTINEL, 0, 100).holds(DATA, 30)
    world.wait(first_poll=1, poll=8)
    times = [time for time, _ in world.requests]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert 0.8 <= pauses[0] <= 1
    assert all(pause <= 8 for pause in pauses)
    assert all(pause >= 6.4 for pause in pauses[7:-1])


def test_a_tiny_export_whose_sentinel_was_never_seen() -> None:
    world = World().holds(DATA, -100)
    done = world.wait(settle=5)
    assert not done.sentinel_seen
    assert world.requests == [(0.0, "LIST"), (5.0, "LIST")]


def test_a_listing_that_changes_starts_settling_again() -> None:
    world = World().holds(DATA, 0).holds("mz-t12-batch-0001-0000.parquet", 3)
    assert len(world.wait(settle=5).files) == 2
    assert world.time == 10.0


def test_who_vouches_need_not_settle() -> None:
    world = World().holds(DATA, 0)
    world.wait(vouched=True)
    assert world.kinds() == ["LIST"]


def test_not_started_is_waited_for() -> None:
    world = World().holds(SENTINEL, 40, 90).holds(DATA, 80)
    assert world.wait().sentinel_seen
    assert world.time >= 90


def test_a_sentinel_that_appears_while_settling() -> None:
    # Files of an earlier moment, and only then the sentinel: a store that lists with a delay.
    world = World().holds(DATA, 0).holds(SENTINEL, 2, 50)
    world.wait(settle=5)
    assert world.time >= 50


def test_not_started_in_time() -> None:
    world = World()
    with pytest.raises(DeadlineError, match="No export has begun") as caught:
        world.wait(start_deadline=30)
    assert caught.value.retryable
    assert world.time == pytest.approx(30)


@pytest.mark.parametrize(
    ("world", "seen"),
    [
        (World().holds(SENTINEL, 0).holds(DATA, 5), "its sentinel is there"),
        (World(), "nothing is there"),
        (World().holds("notes.txt", 0), "no export has begun there, only notes.txt lies there"),
    ],
)
def test_the_deadline_says_what_was_seen_last(world: World, seen: str) -> None:
    with pytest.raises(DeadlineError) as caught:
        world.wait(deadline=60)
    assert seen in caught.value.message
    assert world.time == pytest.approx(60)
    assert world.requests[-1][0] == pytest.approx(60)


def test_an_abandoned_export_ends_the_wait() -> None:
    world = World().holds(SENTINEL, -1000).holds(DATA, -950)
    with pytest.raises(ExportError, match="abandoned") as caught:
        world.wait(abandoned_after=900)
    assert not caught.value.retryable
    assert world.kinds() == ["LIST"]


def test_an_export_is_abandoned_while_we_watch() -> None:
    world = World().holds(SENTINEL, 0).holds(DATA, 100)
    with pytest.raises(ExportError, match="abandoned"):
        world.wait(abandoned_after=300)
    assert 400 < world.time < 406
    # Its silence is checked by one listing when the sentinel is old, not at every poll.
    assert world.kinds().count("LIST") == 3


def test_a_sentinel_that_went_without_data_is_an_error() -> None:
    with pytest.raises(ExportError, match="removed"):
        World().holds(SENTINEL, 0, 20).wait()


def test_a_late_listing_behind_the_sentinel_is_given_a_settle_interval() -> None:
    world = World().holds(SENTINEL, 0, 20).holds(DATA, 27)
    assert world.wait(settle=10).files


def test_forbidden_is_an_error_and_never_gone() -> None:
    world = World().holds(SENTINEL, 0).holds(DATA, 0)
    world.faults = lambda time: CredentialsError("403") if time > 10 else None
    with pytest.raises(CredentialsError):
        world.wait()


def test_a_store_that_is_busy_for_a_while_is_waited_for() -> None:
    world = World().holds(SENTINEL, 0, 100).holds(DATA, 50)
    world.faults = lambda time: UnavailableError("503 SlowDown") if 10 < time < 90 else None
    assert world.wait().files


def test_a_store_that_is_gone_for_minutes_is_an_error() -> None:
    world = World().holds(SENTINEL, 0)
    world.faults = lambda time: UnavailableError("503 SlowDown") if time > 10 else None
    with pytest.raises(UnavailableError):
        world.wait()
    assert 600 < world.time < 630


def test_a_folder_of_attempts_is_refused_with_what_was_found() -> None:
    world = World(page=2)
    for attempt in ("20261122T000000Z-00000000-01", "20261123T000000Z-00000000-01", "20261124T000000Z-00000000-01"):
        world.holds(f"{attempt}/{DATA}", 0)
    with pytest.raises(ConfigurationError, match="not an attempt's path") as caught:
        world.wait()
    assert "20261122T000000Z-00000000-01/" in str(caught.value)
    assert world.kinds() == ["LIST"]


def test_files_of_two_exports_are_an_error() -> None:
    world = World().holds(SENTINEL, 0, 20).holds(DATA, 5).holds("mz-t13-batch-0000-0000.parquet", 5)
    with pytest.raises(VerificationError, match="t12, t13"):
        world.wait()


def test_many_files_are_all_listed() -> None:
    world = World(page=3).holds(SENTINEL, 0, 20)
    for batch in range(10):
        world.holds(f"mz-t12-batch-{batch:04d}-0000.parquet", 1)
    assert len(world.wait().files) == 10


@pytest.mark.parametrize("policy", [{"deadline": 0}, {"poll": -1}, {"settle": float("nan")}, {"poll": float("inf")}])
def test_impossible_patience_is_refused(policy: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="not a number of seconds"):
        WaitPolicy(**policy)


moments = st.floats(0, 100)


@given(
    began=moments,
    files=st.lists(moments, min_size=1, max_size=5),
    lasted=st.floats(0, 100),
    poll=st.floats(0.5, 20),
)
def test_whenever_it_says_complete_it_is(began: float, files: list[float], lasted: float, poll: float) -> None:
    """Every file and the end of the sentinel lie before the moment of the answer, whatever the timing of the looks."""
    end = began + max(files) + lasted
    world = World().holds(SENTINEL, began, end)
    for number, after in enumerate(files):
        world.holds(f"mz-t12-batch-{number:04d}-0000.parquet", began + after)
    done = world.wait(poll=poll, settle=5)
    assert len(done.files) == len(files)
    assert world.time >= end
