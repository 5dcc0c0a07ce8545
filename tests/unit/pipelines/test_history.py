"""What is remembered of runs that passed, and with which one a run is compared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mz_orchestration.objectstore.location import Location
from mz_orchestration.pipelines.history import History, PassedRun, history_location

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
EMPTY = History(pipeline="p", export="e")


def run(day: int, *, known: bool = True) -> PassedRun:
    started = BEGAN + timedelta(days=day)
    moment = int(started.timestamp() * 1000) if known else None
    return PassedRun(run_key=f"day {day}", rows=day, timestamp=moment, started_at=started)


def test_a_run_is_compared_with_the_one_that_read_before_it_however_often() -> None:
    history = EMPTY.with_run(run(1)).with_run(run(2))
    for _ in range(2):
        assert history.before(run(3)) == run(2)
        history = history.with_run(run(3))
    assert history.before(run(2)) == run(1)
    assert history.before(run(1)) is None


def test_runs_without_a_timestamp_are_ordered_by_their_beginning() -> None:
    assert EMPTY.with_run(run(2, known=False)).with_run(run(1)).before(run(3)) == run(2, known=False)


@given(st.permutations(range(20)))
def test_the_latest_are_remembered_in_whatever_order_they_passed(days: list[int]) -> None:
    history = EMPTY
    for day in days:
        history = history.with_run(run(day))
    assert history.passed == tuple(run(day) for day in range(10, 20))


def test_a_run_key_that_was_used_again_is_remembered_once() -> None:
    again = run(1).model_copy(update={"rows": 7, "timestamp": None, "started_at": BEGAN + timedelta(days=9)})
    assert EMPTY.with_run(run(1)).with_run(run(2)).with_run(again).passed == (run(2), again)


@given(st.sets(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=120), min_size=2))
def test_every_name_has_a_place_of_its_own_in_one_folder(names: set[str]) -> None:
    base = Location("bucket", "to/")
    places = {history_location(base, "p", name) for name in names}
    assert len(places) == len(names)
    assert {str(place.parent) for place in places} == {"s3://bucket/to/.checks/p/"}


def test_plain_names_stay_readable() -> None:
    at = history_location(Location("bucket", "to/"), "p", "shop.order_lines")
    assert str(at) == "s3://bucket/to/.checks/p/shop.order_lines.json"
