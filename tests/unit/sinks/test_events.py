"""Events that a scheduler starts something by, over restarts of whoever watches."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.sinks.alerts import AlertPolicy
from mz_orchestration.sinks.events import HealthEvents
from mz_orchestration.sinks.facts import ConnectorFacts, Look
from mz_orchestration.sinks.selection import Selection

from .world import World

POLICY = AlertPolicy(debounce=30, recover_after=60)


def look(world: World) -> Look:
    facts = replace(world.facts, events=tuple(world.events[:30]))
    return Look(world.now, {"u1": facts} if world.exists else {})


def told(seen: HealthEvents, world: World, seconds: int) -> list[dict[str, Any]]:
    """What is told in so many seconds, with a look every ten."""
    found = []
    for _ in range(seconds // 10):
        world.wait(10)
        found += seen.events(look(world))
    return found


def restarted(seen: HealthEvents) -> HealthEvents:
    """The next process, which knows what was kept."""
    return HealthEvents(alert_policy=POLICY, kept=json.loads(json.dumps(seen.kept)))


def test_a_problem_and_its_end() -> None:
    world, seen = World().runs(), HealthEvents(alert_policy=POLICY)
    assert told(seen, world, 300) == []
    world.says("stalled", error="kafka: no brokers")
    (problem,) = told(seen, world, 300)
    assert (problem["event"], problem["name"], problem["verdict"]) == ("problem", "shop.orders_sink", "stalled")
    assert problem["connector_id"] == "u1"
    assert problem["id"].startswith("u1/problem/stalled/")
    assert "is stalled since" in problem["text"]
    assert "kafka: no brokers" in problem["text"]
    world.restarts()
    (recovery,) = told(seen, world, 300)
    assert (recovery["event"], recovery["verdict"]) == ("recovery", "healthy")


def test_whoever_takes_over_tells_of_nothing_twice_and_of_the_end() -> None:
    world, seen = World().runs(), HealthEvents(alert_policy=POLICY)
    told(seen, world, 60)
    world.says("stalled", error="kafka: no brokers")
    assert len(told(seen, world, 120)) == 1
    seen = restarted(seen)
    assert told(seen, world, 300) == []
    world.restarts()
    one, two = restarted(seen), restarted(seen)
    for _ in range(30):
        world.wait(10)
        first, again = one.events(look(world)), two.events(look(world))
        assert [each["id"] for each in first] == [each["id"] for each in again]
        if first:
            assert [each["event"] for each in first] == ["recovery"]
            break
    else:
        raise AssertionError("no recovery")


def test_a_problem_has_the_same_id_if_it_is_told_of_again() -> None:
    world, seen = World().runs(), HealthEvents(alert_policy=POLICY)
    told(seen, world, 60)
    kept = seen.kept
    world.says("stalled", error="kafka: no brokers")
    (first,) = told(seen, world, 60)
    (again,) = told(HealthEvents(alert_policy=POLICY, kept=kept), world, 60)
    assert again["id"] == first["id"]


def test_what_is_dropped_while_nobody_watches() -> None:
    world, seen = World().runs(), HealthEvents(alert_policy=POLICY)
    told(seen, world, 60)
    world.exists = False
    (gone,) = told(restarted(seen), world, 60)
    assert (gone["event"], gone["verdict"], gone["name"]) == ("problem", "dropped", "shop.orders_sink")


def test_quiet_restarts_tell_nothing() -> None:
    world, seen = World().runs(), HealthEvents(alert_policy=POLICY)
    for hour in range(6):
        assert told(seen, world, 1800) == []
        world.restarts()
        assert told(seen, world, 1800) == [], hour
        seen = restarted(seen)


def test_what_is_kept_changes_only_with_what_is_told() -> None:
    """Every change is written to Airflow's database."""
    world, seen = World().runs(), HealthEvents(alert_policy=POLICY)
    told(seen, world, 60)
    kept = seen.kept
    world.writes(100)
    told(seen, world, 600)
    assert seen.kept == kept


def test_what_is_kept_of_thousands_fits() -> None:
    facts = {f"u{i}": ConnectorFacts(f"u{i}", f"shop.sink_{i}", type="kafka", status="running") for i in range(5000)}
    seen = HealthEvents(selection=Selection(required=False))
    seen.events(Look(World().now, facts))
    assert len(json.dumps(seen.kept)) < 60_000
    assert len(seen.kept["known"]) > 900


@pytest.mark.parametrize(
    "kept", [{}, {"version": 2}, [], {"version": 1, "told": {"u1": [1]}, "known": {}}, {"version": 1, "told": {}}]
)
def test_what_is_none_of_ours(kept: Any) -> None:
    with pytest.raises(ConfigurationError, match="What was kept of sinks cannot be read"):
        HealthEvents(kept=kept)


def test_names_that_are_not_there_are_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    seen = HealthEvents(alert_policy=POLICY, selection=Selection(["shop.nosuch"], required=False))
    assert seen.events(look(World().runs())) == []
    assert "'shop.nosuch'" in caplog.text
