from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mz_orchestration.exports.sentinel import ExportState, read_listing
from mz_orchestration.objectstore.client import ObjectInfo

P = "exports/shop.orders/20261122T000000Z-00000000-01/"
SENTINEL = "mz-t12-INCOMPLETE"
DATA = "mz-t12-batch-0000-0000.parquet"
PROBE = "mz-t12-batch-0000-0000.delete_object_test"
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def objects(*names: str, age: float = 0) -> list[ObjectInfo]:
    return [ObjectInfo(P + name, 1, "e", NOW - timedelta(seconds=age)) for name in names]


@pytest.mark.parametrize(
    ("names", "state"),
    [
        ([], ExportState.NOT_STARTED),
        ([SENTINEL], ExportState.RUNNING),
        ([SENTINEL, DATA], ExportState.RUNNING),
        (["mz-x9-INCOMPLETE", DATA], ExportState.RUNNING),  # by suffix, whatever the id looks like
        ([DATA], ExportState.COMPLETE),
        (["mz-t12-batch-0000-0001.csv"], ExportState.COMPLETE),
        (["mz-t12-batch-12345-67890.parquet"], ExportState.COMPLETE),
        ([DATA, "_manifest.json"], ExportState.COMPLETE),
        (["_manifest.json"], ExportState.NOT_STARTED),
        ([""], ExportState.NOT_STARTED),  # some tools leave an object for the folder itself
        ([PROBE], ExportState.NOT_STARTED),
        (["INCOMPLETE.txt", "notes.parquet", "mz-t12-batch-0000-0000.parquet.tmp"], ExportState.NOT_STARTED),
    ],
)
def test_state(names: list[str], state: ExportState) -> None:
    assert read_listing(objects(*names)).state is state


def test_strangers_are_named() -> None:
    listing = read_listing(objects(DATA, "notes.txt", PROBE, ""))
    assert listing.strangers == ("notes.txt",)
    assert [item.key for item in listing.data] == [P + DATA]


def test_two_exports_in_one_path_are_strangers_to_each_other() -> None:
    assert read_listing(objects(DATA, "mz-t13-batch-0000-0000.parquet")).strangers == ("t12", "t13")
    assert read_listing(objects(DATA, "mz-t13-INCOMPLETE")).strangers == ("t12", "t13")


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (objects(SENTINEL, age=101), ExportState.ABANDONED),
        (objects(SENTINEL, age=100), ExportState.RUNNING),
        (objects(SENTINEL, age=9999) + objects(DATA, age=99), ExportState.RUNNING),  # slow, but writing
        (objects(SENTINEL, DATA, age=101), ExportState.ABANDONED),
        (objects(SENTINEL, age=101) + objects("mz-t13-INCOMPLETE"), ExportState.RUNNING),
        (objects(DATA, age=9999), ExportState.COMPLETE),
        (objects("notes.txt", age=9999), ExportState.NOT_STARTED),
        ([ObjectInfo(P + SENTINEL, 0, "e")], ExportState.RUNNING),  # of an unknown age
    ],
)
def test_abandoned_is_a_sentinel_and_silence(found: list[ObjectInfo], state: ExportState) -> None:
    assert read_listing(found, now=NOW, abandoned_after=100).state is state


def test_strangers_do_not_keep_an_export_alive() -> None:
    found = objects(SENTINEL, age=101) + objects("_manifest.json", "notes.txt")
    assert read_listing(found, now=NOW, abandoned_after=100).state is ExportState.ABANDONED


def test_without_a_limit_nothing_is_abandoned() -> None:
    assert read_listing(objects(SENTINEL, age=1e9), now=NOW).state is ExportState.RUNNING


ids = st.sampled_from(["t1", "t12", "t3786"])
data_names = st.builds(
    lambda export, batch, file, kind: f"mz-{export}-batch-{batch:04d}-{file:04d}.{kind}",
    ids,
    st.integers(0, 99_999),
    st.integers(0, 3),
    st.sampled_from(["parquet", "csv"]),
)
sentinel_names = ids.map(lambda export: f"mz-{export}-INCOMPLETE")
other_names = st.one_of(
    st.sampled_from(["", "_manifest.json", PROBE, "INCOMPLETE", "_SUCCESS", ".keep"]),
    st.text(st.characters(codec="utf-8", exclude_characters="/"), max_size=20).filter(
        lambda name: not name.endswith("-INCOMPLETE") and not name.startswith("mz-")
    ),
)


def made(names: st.SearchStrategy[str]) -> st.SearchStrategy[list[ObjectInfo]]:
    item = st.builds(
        lambda name, age, size: ObjectInfo(P + name, size, "e", NOW - timedelta(seconds=age)),
        names,
        st.integers(0, 1000),
        st.integers(0, 9),
    )
    return st.lists(item, max_size=8, unique_by=lambda found: found.key)


listings = made(st.one_of(data_names, sentinel_names, other_names))


@given(listings, st.randoms(use_true_random=False), st.integers(0, 1200))
def test_order_means_nothing(found: list[ObjectInfo], chance: random.Random, limit: int) -> None:
    shuffled = list(found)
    chance.shuffle(shuffled)
    assert read_listing(shuffled, now=NOW, abandoned_after=limit) == read_listing(found, now=NOW, abandoned_after=limit)


@given(listings, made(sentinel_names).filter(bool), st.integers(0, 1200))
def test_a_sentinel_never_means_complete(found: list[ObjectInfo], sentinel: list[ObjectInfo], limit: int) -> None:
    listing = read_listing(found + sentinel, now=NOW, abandoned_after=limit)
    assert listing.state in (ExportState.RUNNING, ExportState.ABANDONED)


@given(made(other_names), made(data_names))
def test_strangers_are_never_data(strangers: list[ObjectInfo], data: list[ObjectInfo]) -> None:
    alone, mixed = read_listing(strangers), read_listing(strangers + data)
    assert alone.state is ExportState.NOT_STARTED
    assert alone.data == ()
    assert mixed.data == read_listing(data).data == tuple(sorted(data, key=lambda item: item.key))


@given(listings, st.integers(0, 1000), st.integers(0, 1000))
def test_silence_only_makes_it_more_dead(found: list[ObjectInfo], shorter: int, longer: int) -> None:
    shorter, longer = sorted((shorter, longer))
    if read_listing(found, now=NOW, abandoned_after=longer).state is ExportState.ABANDONED:
        assert read_listing(found, now=NOW, abandoned_after=shorter).state is ExportState.ABANDONED
