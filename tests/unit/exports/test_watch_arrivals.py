"""Which exports have newly completed, by looks at a bucket that changes in between."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.sentinel import ExportState
from mz_orchestration.exports.watch.arrival import Arrival, judge_path
from mz_orchestration.exports.watch.arrivals import ArrivalPolicy, Arrivals
from mz_orchestration.objectstore.client import ObjectInfo
from mz_orchestration.objectstore.location import Location

FOLDER = Location("b", "exports/")
START = datetime(2026, 11, 22, tzinfo=UTC)
ATTEMPT = "shop.orders/20261122T000000Z-0a1b2c3d-01"


class World:
    """A bucket, a clock, and a watcher that may be restarted."""

    def __init__(self, **policy: Any) -> None:
        self.time = 0.0
        self.objects: dict[str, ObjectInfo] = {}
        self.policy = ArrivalPolicy(**policy)
        self.arrivals = Arrivals(FOLDER, self.policy)
        self.number = 0

    def put(self, relative: str, name: str, size: int = 7) -> World:
        # Stores tell whole seconds.
        written = START + timedelta(seconds=int(self.time))
        key = f"{FOLDER.key}{relative}/{name}"
        self.objects[key] = ObjectInfo(key, size, f"e{size}", written)
        return self

    def delete(self, relative: str, name: str = "") -> World:
        prefix = f"{FOLDER.key}{relative}/{name}"
        self.objects = {key: item for key, item in self.objects.items() if not key.startswith(prefix)}
        return self

    def begin(self, relative: str, number: int = 12) -> World:
        return self.put(relative, f"mz-t{number}-INCOMPLETE", 0)

    def write(self, relative: str, number: int = 12, file: int = 0) -> World:
        return self.put(relative, f"mz-t{number}-batch-{file:04d}-0000.parquet")

    def end(self, relative: str, number: int = 12) -> World:
        return self.delete(relative, f"mz-t{number}-INCOMPLETE")

    def whole(self, relative: str, number: int = 12) -> World:
        return self.write(relative, number)

    def after(self, seconds: float) -> World:
        self.time += seconds
        return self

    def now(self) -> datetime:
        return START + timedelta(seconds=self.time)

    def look(self) -> list[str]:
        return [each.to_payload()["id"].removeprefix(str(FOLDER)) for each in self.see()]

    def see(self) -> list[Arrival]:
        found = self.arrivals.look([self.objects[key] for key in sorted(self.objects)], self.now())
        self.after(0.01)
        return found

    def restart(self) -> World:
        saved = json.loads(json.dumps(self.arrivals.watermark))
        self.arrivals = Arrivals(FOLDER, self.policy, saved)
        return self


def test_the_first_look_names_nothing_that_is_complete_and_later_ones_what_was_running() -> None:
    world = World().write("old").begin("running").write("running")
    assert world.look() == []
    world.after(10).end("running")
    assert world.look() == ["running/#t12"]
    assert world.after(10).look() == []
    assert world.restart().after(10).look() == []


def test_an_export_between_two_looks_is_named_once_it_has_settled() -> None:
    world = World()
    assert world.look() == []
    assert world.after(10).write("short").look() == []
    assert world.after(1).look() == []
    assert world.after(5).look() == ["short/#t12"]
    assert world.after(5).look() == []


def test_what_changes_has_not_settled() -> None:
    world = World()
    world.look()
    assert world.after(10).write("a").look() == []
    assert world.after(10).write("a", file=1).look() == []
    (arrival,) = world.after(10).see()
    assert (arrival.files, arrival.bytes, arrival.sentinel_seen) == (2, 14, False)


def test_what_settles_goes_on_settling_after_a_restart() -> None:
    world = World()
    world.look()
    world.after(10).write("a").look()
    assert world.restart().after(10).look() == ["a/#t12"]


def test_what_completed_while_nobody_looked_is_named_by_the_next_process() -> None:
    world = World().write("old").begin("running")
    world.look()
    world.after(3600).write("running").end("running").begin("short").write("short").end("short")
    world.restart()
    assert world.look() == ["running/#t12"]
    assert world.after(10).look() == ["short/#t12"]


def test_a_path_that_is_used_again_is_another_export() -> None:
    world = World()
    world.look()
    world.begin("latest", 1).write("latest", 1).look()
    assert world.end("latest", 1).look() == ["latest/#t1"]
    world.after(86_400).delete("latest").begin("latest", 9).write("latest", 9).end("latest", 9).look()
    assert world.after(10).look() == ["latest/#t9"]


@pytest.mark.parametrize("seconds", [1, 100_000])
def test_a_sweep_names_nothing(seconds: float) -> None:
    world = World().begin("failed").write("failed")
    world.look()
    world.after(seconds).delete("failed")
    assert world.look() == []
    assert world.restart().after(10).look() == []
    assert world.arrivals.watermark["open"] == {}


def test_what_is_abandoned_names_nothing_even_where_only_its_sentinel_is_removed() -> None:
    world = World().begin("failed").write("failed")
    world.look()
    assert world.after(90_000).look() == []
    assert world.restart().end("failed").look() == []
    assert world.after(10).look() == []


def test_exports_that_raced_for_a_path_are_none() -> None:
    world = World()
    world.look()
    world.write("a", 1).write("a", 2).look()
    assert world.after(10).look() == []


def test_files_that_a_loader_deletes_one_by_one_are_no_new_export() -> None:
    world = World(grace=1)
    world.look()
    world.begin("a").write("a").look()
    world.after(10).write("a", file=1).end("a")
    assert world.look() == ["a/#t12"]
    world.after(5).write("other", 7).look()
    assert world.after(10).look() == ["other/#t7"]
    world.delete("a", "mz-t12-batch-0000")
    assert world.look() == []
    assert world.after(10).look() == []


def test_the_manifest_is_waited_for_where_it_is_asked_for() -> None:
    world = World(require="manifest").write("foreign").write(ATTEMPT)
    assert world.look() == []
    assert world.after(10).restart().look() == []
    (arrival,) = world.put(ATTEMPT, "_manifest.json").see()
    assert arrival.export == "shop.orders"
    assert str(arrival.manifest) == f"s3://b/exports/{ATTEMPT}/_manifest.json"
    assert world.after(10).look() == []
    # Of what has none, nobody waits for ever.
    assert world.after(90_000).look() == []
    assert world.arrivals.watermark["open"] == {}


def test_a_manifest_that_comes_later_names_no_export_twice() -> None:
    world = World(grace=1)
    world.look()
    world.begin(ATTEMPT).write(ATTEMPT).look()
    assert world.end(ATTEMPT).look() == [f"{ATTEMPT}/#t12"]
    world.after(100).put(ATTEMPT, "_manifest.json").look()
    assert world.after(10).look() == []


def test_what_is_told() -> None:
    world = World().begin(ATTEMPT)
    world.look()
    (arrival,) = world.after(7).write(ATTEMPT).end(ATTEMPT).put(ATTEMPT, "_manifest.json", 900).see()
    assert arrival.to_payload() == {
        "id": f"s3://b/exports/{ATTEMPT}/#t12",
        "path": f"s3://b/exports/{ATTEMPT}/",
        "bucket": "b",
        "key": f"exports/{ATTEMPT}/",
        "export": "shop.orders",
        "files": 1,
        "bytes": 7,
        "manifest": f"s3://b/exports/{ATTEMPT}/_manifest.json",
        "sentinel_seen": True,
        "completed_at": "2026-11-22T00:00:07+00:00",
    }


@pytest.mark.parametrize(
    ("folder", "path", "export"),
    [
        ("exports/", ATTEMPT, "shop.orders"),
        ("exports/shop.orders/", ATTEMPT, "shop.orders"),
        ("exports/", "orders/dt=2026-11-22", "orders/dt=2026-11-22"),
        ("exports/orders/", "orders", "orders"),
    ],
)
def test_names(folder: str, path: str, export: str) -> None:
    world = World().write(path)
    found = judge_path(FOLDER.child(f"{path}/"), world.objects.values(), world.now(), Location("b", folder))
    assert isinstance(found, Arrival)
    assert found.export == export


@pytest.mark.parametrize(
    ("world", "state"),
    [
        (World().write("a").begin("a", 13), ExportState.RUNNING),
        (World(), ExportState.NOT_STARTED),
        (World().write("a").write("a", 13), ExportState.NOT_STARTED),
        (World().write("a/below"), ExportState.NOT_STARTED),
    ],
)
def test_a_path_whose_sentinel_is_gone_need_not_hold_an_export(world: World, state: ExportState) -> None:
    assert judge_path(FOLDER.child("a/"), world.objects.values(), world.now(), FOLDER) is state


def test_thousands_that_completed_while_nobody_looked_are_named_in_turn() -> None:
    world = World()
    world.look()
    paths = [f"schema.some_quite_long_name_of_a_view_{number:06d}/{'0' * 28}" for number in range(3_000)]
    for number, path in enumerate(paths):
        world.after(3)
        world.begin(path, number + 1) if number % 10 == 0 else world.write(path, number + 1)
    named: list[str] = []
    for step in range(9):
        named += world.restart().after(10).look()
        assert len(json.dumps(world.arrivals.watermark)) < 65_000
        if step == 2:
            for number, path in enumerate(paths):
                if number % 10 == 0:
                    world.write(path, number + 1).end(path, number + 1)
    assert sorted(named) == [f"{path}/#t{number + 1}" for number, path in enumerate(paths)]


@pytest.mark.parametrize(
    "watermark", [{}, {"version": 2}, {"version": 1, "floor": "x", "open": {}, "done": []}, {"version": 1, "floor": 1}]
)
def test_a_watermark_of_somebody_else_is_refused(watermark: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="watermark"):
        Arrivals(FOLDER, watermark=watermark)


@pytest.mark.parametrize("policy", [{"require": "all"}, {"settle": -1}, {"grace": 0}, {"abandoned_after": "1h"}])
def test_bad_policies(policy: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(policy))):
        ArrivalPolicy(**policy)


class Export:
    """One export of the model: its path, and how far it is."""

    def __init__(self, path: str, number: int) -> None:
        self.path, self.number = path, number
        self.files = 0
        self.ended = self.manifest = False
        self.old = False  # complete before the first look
        self.id = f"{path}/#t{number}"


steps = st.lists(
    st.tuples(
        st.sampled_from(["begin", "write", "end", "whole", "manifest", "sweep", "look", "look", "restart", "wait"]),
        st.integers(0, 4),
        st.floats(0.0, 20.0),
    ),
    max_size=60,
)


@pytest.mark.parametrize("require", ["sentinel", "manifest"])
@settings(max_examples=150, deadline=None)
@given(steps=steps, crash=st.booleans())
def test_no_export_is_lost_or_named_twice(require: str, steps: list[tuple[str, int, float]], crash: bool) -> None:
    world = World(require=require, grace=2)
    present: dict[str, Export] = {}
    swept: set[str] = set()
    named: list[str] = []
    looked = False
    saved: dict[str, Any] | None = None

    def look(last: bool = False) -> None:
        nonlocal looked, saved
        found = world.look()
        for each in found:
            export = next(export for export in present.values() if export.id == each)
            assert export.ended, "it was not complete"
            assert export.manifest or require == "sentinel"
            assert not export.old
        if not looked:
            for export in present.values():
                export.old = export.ended and (export.manifest or require == "sentinel")
        looked = True
        named.extend(found)
        if crash and found and not last:
            # The process dies after the events, and before the watermark is kept.
            world.arrivals = Arrivals(FOLDER, world.policy, saved)
        else:
            saved = json.loads(json.dumps(world.arrivals.watermark))

    for number, (step, path, seconds) in enumerate(steps):
        name = f"export{path}"
        export = present.get(name)
        world.after(seconds / 10)
        if step in ("begin", "whole") and export is None:
            export = present[name] = Export(name, number)
            world.begin(name, number)
        if export is not None and step in ("write", "whole") and not export.ended:
            world.write(name, export.number, export.files)
            export.files += 1
        if export is not None and step in ("end", "whole") and export.files and not export.ended:
            world.end(name, export.number)
            export.ended = True
        if export is not None and step == "manifest" and export.ended:
            world.put(name, "_manifest.json")
            export.manifest = True
        if export is not None and step == "sweep":
            world.delete(name)
            swept.add(present.pop(name).id)
        if step == "wait":
            world.after(seconds)
        if step == "look":
            look()
        if step == "restart" and looked:
            world.restart()
    for _ in range(4):
        look(last=True)
        world.after(10)
    expected = {
        export.id
        for export in present.values()
        if export.ended and not export.old and (export.manifest or require == "sentinel")
    }
    assert expected <= set(named) <= expected | swept
    assert crash or len(named) == len(set(named))
