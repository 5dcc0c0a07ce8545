"""What a sweep may remove, and above all what it may not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mz_orchestration.exports.paths import attempt_location
from mz_orchestration.exports.sweep.judge import (
    FLOOR,
    FLOOR_COPIED,
    GRACE,
    AttemptFolder,
    Fate,
    SessionState,
    attempt_name,
    in_use_by,
    is_materialize_name,
    is_stale,
    judge,
    orphaned,
)
from mz_orchestration.objectstore.client import ObjectInfo, Upload
from mz_orchestration.objectstore.location import Location
from mz_orchestration.runs.key import run_key_hash
from mz_orchestration.runs.record import Attempt, AttemptState, RunRecord

BASE = Location("bucket", "exports/")
START = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
LOCATION = attempt_location(BASE, "shop.orders", "key", 1, START)
GONE, ACTIVE, UNKNOWN = SessionState.GONE, SessionState.ACTIVE, SessionState.UNKNOWN


def item(name: str, at: datetime = START) -> ObjectInfo:
    return ObjectInfo(LOCATION.key + name, 10, "e", at)


def folder(*objects: ObjectInfo, finished: bool = False, uploads: tuple[Upload, ...] = ()) -> AttemptFolder:
    run = run_key_hash("key")[:8]
    return AttemptFolder(LOCATION, BASE, "shop.orders", START, run, finished, objects, uploads)


def attempt(state: AttemptState, number: int = 1, **fields: Any) -> Attempt:
    path = str(LOCATION if number == 1 else attempt_location(BASE, "shop.orders", "key", number, START))
    return Attempt(
        **{
            "number": number,
            "path": path,
            "state": state,
            "pid": 7,
            "session": "s7",
            "environment": "e",
            "started_at": START,
            **fields,
        }
    )


def record(*attempts: Attempt, updated_at: datetime = START, manifest: dict[str, Any] | None = None) -> RunRecord:
    return RunRecord(
        run_key="key",
        export="shop.orders",
        object="shop.orders",
        spec_fingerprint="f",
        spec={},
        created_at=START,
        updated_at=updated_at,
        attempts=list(attempts),
        manifest=manifest,
    )


SENTINEL = item("mz-t1-INCOMPLETE")


@pytest.mark.parametrize("state", ["started", "copied"])
def test_an_attempt_nobody_closed_goes_once_its_session_is_gone_and_it_is_old(state: str) -> None:
    found, run = folder(SENTINEL), record(attempt(AttemptState(state)))
    assert judge(found, run, GONE, START + 2 * DAY, DAY).fate is Fate.REMOVE
    assert judge(found, run, GONE, START + DAY - MINUTE, DAY).fate is Fate.YOUNG
    assert judge(found, run, ACTIVE, START + 99 * DAY, DAY).fate is Fate.LIVE
    assert judge(found, run, UNKNOWN, START + 99 * DAY, DAY).fate is Fate.LIVE


@pytest.mark.parametrize(("state", "floor"), [("started", FLOOR), ("copied", FLOOR_COPIED)])
def test_no_age_given_makes_a_young_open_attempt_old(state: str, floor: timedelta) -> None:
    run = record(attempt(AttemptState(state)))
    assert judge(folder(SENTINEL), run, GONE, START + floor - MINUTE, timedelta(0)).fate is Fate.YOUNG
    assert judge(folder(SENTINEL), run, GONE, START + floor, timedelta(0)).fate is Fate.REMOVE


@pytest.mark.parametrize("state", ["failed", "abandoned"])
@pytest.mark.parametrize("session", [GONE, UNKNOWN])
def test_an_attempt_that_was_closed_is_as_old_as_asked(state: str, session: SessionState) -> None:
    run = record(attempt(AttemptState(state), finished_at=START + HOUR))
    assert judge(folder(SENTINEL), run, session, START + HOUR, timedelta(0)).fate is Fate.REMOVE
    assert judge(folder(SENTINEL), run, session, START + DAY, DAY).fate is Fate.YOUNG
    assert judge(folder(SENTINEL), run, session, START + DAY + HOUR, DAY).fate is Fate.REMOVE
    assert judge(folder(SENTINEL), run, ACTIVE, START + 9 * DAY, DAY).fate is Fate.LIVE


def test_a_folder_that_no_record_knows() -> None:
    assert judge(folder(SENTINEL), None, UNKNOWN, START + FLOOR, timedelta(0)).fate is Fate.REMOVE
    assert judge(folder(SENTINEL), None, UNKNOWN, START + FLOOR - MINUTE, timedelta(0)).fate is Fate.YOUNG
    other = record(attempt(AttemptState.STARTED, number=2))
    assert judge(folder(SENTINEL), other, UNKNOWN, START + DAY, DAY).fate is Fate.REMOVE


@pytest.mark.parametrize(
    "sign",
    [
        lambda at: (folder(item("mz-t1-batch-0000-0000.parquet", at)), record(attempt(AttemptState.STARTED))),
        lambda at: (
            folder(SENTINEL, uploads=(Upload(LOCATION.key + "mz-t1-batch-0000-0000.parquet", "u", at),)),
            record(attempt(AttemptState.STARTED)),
        ),
        lambda at: (folder(SENTINEL), record(attempt(AttemptState.STARTED), updated_at=at)),
        lambda at: (folder(SENTINEL), record(attempt(AttemptState.FAILED, finished_at=at))),
    ],
    ids=["object", "upload", "record", "end"],
)
def test_every_sign_of_life_counts(sign: Any) -> None:
    found, run = sign(START + 5 * DAY)
    assert judge(found, run, GONE, START + 6 * DAY - MINUTE, DAY).fate is Fate.YOUNG
    assert judge(found, run, GONE, START + 6 * DAY, DAY).fate is Fate.REMOVE


def test_what_a_run_finished_with_stays() -> None:
    late = START + 99 * DAY
    listed = record(attempt(AttemptState.ABANDONED), manifest={"path": str(LOCATION)})
    assert judge(folder(SENTINEL), listed, GONE, late, DAY).fate is Fate.FINISHED
    assert judge(folder(SENTINEL), record(attempt(AttemptState.SUCCEEDED)), GONE, late, DAY).fate is Fate.FINISHED
    elsewhere = record(attempt(AttemptState.FAILED), manifest={"path": "s3://bucket/exports/other/"})
    assert judge(folder(SENTINEL), elsewhere, GONE, late, DAY).fate is Fate.REMOVE


moments = st.timedeltas(timedelta(days=-3), timedelta(days=40)).map(lambda delta: START + delta)
ages = st.timedeltas(timedelta(0), timedelta(days=10))
attempts = st.builds(
    lambda state, finished, deadline, number: attempt(
        state, number, finished_at=finished, deadline_at=deadline, started_at=START
    ),
    st.sampled_from(AttemptState),
    st.none() | moments,
    st.none() | moments,
    st.integers(1, 3),
)
records = st.none() | st.builds(lambda each, at: record(*each, updated_at=at), st.lists(attempts, max_size=4), moments)
contents = st.lists(moments.map(lambda at: item("mz-t1-batch-0000-0000.parquet", at)), max_size=3)
sessions = st.sampled_from(SessionState)


@given(contents, records, sessions, moments, ages)
def test_a_manifest_is_never_removed(
    objects: list[ObjectInfo], run: RunRecord | None, session: SessionState, now: datetime, age: timedelta
) -> None:
    assert judge(folder(*objects, finished=True), run, session, now, age).fate is Fate.FINISHED


@given(contents, records, moments, ages)
def test_an_active_session_is_never_swept_from_under(
    objects: list[ObjectInfo], run: RunRecord | None, now: datetime, age: timedelta
) -> None:
    assert judge(folder(*objects), run, ACTIVE, now, age).fate is not Fate.REMOVE


@given(contents, records, sessions, moments, ages)
def test_what_goes_was_still_for_as_long_as_asked(
    objects: list[ObjectInfo], run: RunRecord | None, session: SessionState, now: datetime, age: timedelta
) -> None:
    found = folder(*objects)
    if judge(found, run, session, now, age).fate is Fate.REMOVE:
        assert all(now - each.last_modified >= age for each in objects if each.last_modified)
        mine = found.attempt(run)
        if mine is None or mine.open:
            assert now - START >= FLOOR
        if mine is not None and mine.open:
            assert session is GONE


def test_an_orphan_has_been_without_a_run_for_a_while() -> None:
    now = START + DAY
    just_now = now - GRACE + MINUTE
    second = attempt(AttemptState.STARTED, number=2, started_at=START + HOUR)
    first = attempt(AttemptState.STARTED)
    assert orphaned(record(first, second), first, now) == "attempt 2 has taken the place of attempt 1"
    fresh = second.model_copy(update={"started_at": just_now})
    assert orphaned(record(first, fresh), first, now) is None

    failed = attempt(AttemptState.FAILED, finished_at=START + HOUR)
    assert orphaned(record(failed), failed, now) == "attempt 1 is marked failed"
    failed.finished_at = just_now
    assert orphaned(record(failed), failed, now) is None

    expired = attempt(AttemptState.STARTED, deadline_at=START + HOUR)
    assert orphaned(record(expired), expired, now) == "the deadline of attempt 1 has passed"
    assert orphaned(record(expired), expired, START + HOUR + GRACE) is None
    # It waited for another run: the record was written again when its COPY began.
    assert orphaned(record(expired, updated_at=now - HOUR), expired, now) is None
    endless = attempt(AttemptState.STARTED)
    assert orphaned(record(endless), endless, now) is None
    answered = attempt(AttemptState.COPIED, deadline_at=START + HOUR)
    assert orphaned(record(answered), answered, now) is None
    done = attempt(AttemptState.SUCCEEDED, finished_at=START)
    assert orphaned(record(done, second), done, now) is None


def test_a_session_that_went_on_to_another_export_is_in_use() -> None:
    mine = attempt(AttemptState.FAILED, started_at=START + HOUR)
    elsewhere = {"path": "s3://bucket/exports/shop.lines/x/"}
    later = attempt(AttemptState.SUCCEEDED, started_at=START + 2 * HOUR, **elsewhere)
    earlier = attempt(AttemptState.SUCCEEDED, **elsewhere)
    waiting = attempt(AttemptState.STARTED, **elsewhere)
    stranger = later.model_copy(update={"session": "s8"})
    assert in_use_by(mine, [record(mine), record(later)]) is later
    assert in_use_by(mine, [record(mine), record(waiting)]) is waiting
    assert in_use_by(mine, [record(mine), record(earlier), record(stranger)]) is None


def test_stale_uploads() -> None:
    upload = Upload("k", "u", START)
    assert is_stale(upload, START + DAY, DAY)
    assert not is_stale(upload, START + DAY - MINUTE, DAY)
    assert not is_stale(upload, START + FLOOR - MINUTE, timedelta(0))


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("mz-t12-INCOMPLETE", True),
        ("mz-t12-batch-0000-0000.parquet", True),
        ("mz-t12-batch-10000-0001.csv", True),
        ("mz-t12-batch-0000-0000.delete_object_test", False),
        ("INCOMPLETE", False),
        ("my-INCOMPLETE", False),
        ("mz-t12-batch-0000-0000.parquet.bak", False),
        ("_manifest.json", False),
        ("", False),
    ],
)
def test_names_of_objects(name: str, ours: bool) -> None:
    assert is_materialize_name(name) is ours


@pytest.mark.parametrize("name", ["2026", "20261120T120000Z-0000000-01", "20261399T120000Z-00000000-01", ".runs", ""])
def test_names_of_other_folders(name: str) -> None:
    assert attempt_name(name) is None


@given(st.text(min_size=1), st.integers(1, 99))
def test_the_name_of_an_attempt_tells_its_run(key: str, number: int) -> None:
    location = attempt_location(BASE, "shop.orders", key, number, START)
    assert attempt_name(location.name) == (START, run_key_hash(key)[:8])
