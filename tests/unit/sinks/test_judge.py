"""Each way for a sink to be well or ill, and how long it takes until that is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mz_orchestration.sinks.facts import Replica
from mz_orchestration.sinks.verdict import Severity, Verdict

from .world import World


@pytest.fixture
def world() -> World:
    """A sink that has been running, watched, for ten minutes, with messages every five seconds."""
    world = World()
    world.runs()
    world.watch(600, messages=10)
    assert world.look().verdict is Verdict.HEALTHY
    return world


def first(said: list[tuple[float, Verdict]], verdict: Verdict) -> float:
    """Seconds until that was said."""
    return next(seconds for seconds, each in said if each is verdict)


def test_one_that_works(world: World) -> None:
    health = world.look()
    assert health.severity is Severity.OK
    assert health.advice == ""
    # As last published.
    assert (health.staged, health.committed) == (1190, 1190)
    # The first report was the base.
    assert 0 < health.advanced <= 1200
    assert health.committed_rate == pytest.approx(2.0, rel=0.2)


def test_nothing_to_do_is_idle_and_something_is_healthy_again(world: World) -> None:
    said = world.watch(3600)
    assert [verdict for _, verdict in said] == [Verdict.HEALTHY, Verdict.IDLE]
    health = world.look()
    assert health.severity is Severity.OK
    assert health.committed_rate == 0
    world.writes(1)
    assert first(world.watch(120), Verdict.HEALTHY) <= 65


def test_stalled_at_once_with_what_the_error_asks_for(world: World) -> None:
    world.says("stalled", error="kafka: Local: Broker transport failure")
    health = world.look()
    assert (health.verdict, health.since) == (Verdict.STALLED, world.now)
    assert health.evidence == ("kafka: Local: Broker transport failure",)
    assert "cannot reach the brokers" in health.advice


def test_failed_is_documented_and_counts_as_stalled(world: World) -> None:
    world.facts = replace(world.facts, status="failed", since=world.now, error=None)
    health = world.look()
    assert (health.verdict, health.evidence) == (Verdict.STALLED, ("Materialize says failed without an error.",))


def test_a_new_one_may_stall_once() -> None:
    world = World()
    world.says("starting")
    assert world.look().verdict is Verdict.STARTING
    world.wait(1)
    world.says("stalled", error="kafka: progress topic")
    world.wait(1)
    world.says("starting")
    world.wait(1)
    world.says("running")
    assert world.look().verdict in (Verdict.HEALTHY, Verdict.IDLE)


def test_over_and_over_is_flapping_until_it_has_run_for_long_enough(world: World) -> None:
    said = []
    for _ in range(5):
        world.says("stalled", error="kafka: Broker: Topic authorization failed")
        said += world.watch(5)
        world.says("starting")
        said += world.watch(5)
        world.says("running")
        said += world.watch(30)
    verdicts = [verdict for _, verdict in said]
    began = verdicts.index(Verdict.FLAPPING)
    assert set(verdicts[began:]) == {Verdict.FLAPPING}
    assert verdicts[:began].count(Verdict.STALLED) == 2
    health = world.look()
    assert health.since == min(event.at for event in world.events if event.status == "stalled")
    assert "right is missing" in health.advice
    after = world.watch(300, messages=1)
    assert 60 <= first(after, Verdict.HEALTHY) <= 150
    assert after[-1][1] is Verdict.HEALTHY


def test_one_error_on_three_replicas_is_one(world: World) -> None:
    world.replicas("r1", "r2", "r3")
    for name in ("r1", "r2", "r3"):
        world.says("stalled", name, "kafka: x")
        world.wait(1)
    assert world.look().verdict is Verdict.STALLED


def test_an_error_that_another_replica_hides(world: World) -> None:
    world.replicas("r1", "r2")
    world.says("running", "r2")
    world.wait(10)
    world.says("stalled", "r2", "kafka: x")
    assert world.facts.status == "running"
    health = world.look()
    assert (health.verdict, health.severity) == (Verdict.DEGRADED, Severity.WARNING)
    assert health.evidence == ("On r2: kafka: x",)
    # Of a replica that is gone nobody needs to know.
    world.replicas("r1")
    assert world.look().verdict is Verdict.HEALTHY


def test_starting_for_minutes(world: World) -> None:
    world.says("starting")
    said = world.watch(900)
    assert [verdict for _, verdict in said] == [Verdict.STARTING, Verdict.STARTING_TOO_LONG]
    assert 300 <= first(said, Verdict.STARTING_TOO_LONG) <= 310


def test_starting_again_and_again_is_starting_too_long(world: World) -> None:
    for _ in range(5):
        world.says("starting")
        world.watch(80)
    assert world.look().verdict is Verdict.STARTING_TOO_LONG


def test_running_in_between_is_a_new_start(world: World) -> None:
    for _ in range(5):
        world.says("starting")
        world.watch(80)
        # Between two looks.
        world.says("running")
    world.says("starting")
    assert world.look().verdict is Verdict.STARTING


def test_staging_but_not_committing(world: World) -> None:
    world.commits = False
    said = world.watch(900, messages=10)
    assert [verdict for _, verdict in said] == [Verdict.HEALTHY, Verdict.NOT_COMMITTING]
    # Three periods of publication, and the one in which it began.
    assert 180 <= first(said, Verdict.NOT_COMMITTING) <= 310
    assert "reason" not in world.look().advice
    world.commits = True
    assert world.watch(180, messages=10)[-1][1] is Verdict.HEALTHY


def test_commits_that_are_far_apart_are_waited_for() -> None:
    world = World()
    world.facts = replace(world.facts, type="iceberg", commit_interval=600.0)
    world.runs()
    for _ in range(6):
        world.commits = False
        said = world.watch(600, messages=10)
        assert {verdict for _, verdict in said} <= {Verdict.HEALTHY}
        world.counted["r1"][1] = world.counted["r1"][0]
        world.commits = True


def test_standing_still_while_what_it_reads_goes_on(world: World) -> None:
    world.keeps_up = world.stages = False
    said = world.watch(900, messages=10)
    assert said[-1][1] is Verdict.NOT_MOVING
    assert 180 <= first(said, Verdict.NOT_MOVING) <= 195
    world.keeps_up = True
    assert world.watch(60)[-1][1] in (Verdict.HEALTHY, Verdict.IDLE)


def test_what_reads_nothing_new_stands_still_and_is_well(world: World) -> None:
    world.watch(60)
    stopped = world.facts.input_position
    for _ in range(500):
        world.wait(5)
        world.facts = replace(world.facts, input_position=stopped, position=stopped and stopped - 500)
        assert world.look().severity is Severity.OK


def test_paused_and_gone(world: World) -> None:
    world.replicas()
    world.events = world.events[:1]
    world.facts = replace(world.facts, status="paused", since=world.now)
    assert (world.look().verdict, world.look().severity) == (Verdict.PAUSED, Severity.WARNING)
    world.exists = False
    health = world.look()
    assert (health.verdict, health.name, health.since) == (Verdict.DROPPED, "shop.orders_sink", world.now)
    assert world.memories == {}


def test_one_that_nobody_runs_yet() -> None:
    world = World()
    world.replicas()
    world.facts = replace(world.facts, status="created", since=None)
    assert world.look().verdict is Verdict.PAUSED


def test_a_status_of_a_later_version(world: World) -> None:
    world.facts = replace(world.facts, status="resting", since=world.now)
    health = world.look()
    assert (health.verdict, health.severity) == (Verdict.UNKNOWN, Severity.UNKNOWN)
    assert "'resting'" in health.evidence[0]


def test_all_replicas_down(world: World) -> None:
    down = Replica("r1", "r1", False, "oom-killed", world.now, True)
    world.facts = replace(world.facts, replicas=(down,))
    said = world.watch(120, messages=0)
    assert 60 <= first(said, Verdict.STALLED) <= 70
    assert world.look().evidence == ("Its replica r1 is down: oom-killed.",)


def test_a_snapshot_that_is_being_read() -> None:
    world = World()
    world.runs()
    world.facts = replace(world.facts, replicas=(Replica("r1", "r1", True, hydrated=False),))
    world.keeps_up = False
    assert [verdict for _, verdict in world.watch(3500)] == [Verdict.STARTING]
    assert world.watch(300)[-1][1] is Verdict.STARTING_TOO_LONG


def test_statistics_may_be_missing() -> None:
    world = World(publish_every=10**9)
    world.runs()
    health = world.look()
    assert (health.staged, health.committed, health.committed_rate) == (None, None, None)
    assert health.severity is Severity.OK
