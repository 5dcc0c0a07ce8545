"""How long it takes until each fault is said, by looks alone and with SUBSCRIBE: the table of the documentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mz_orchestration.sinks.alerts import AlertState, alerts
from mz_orchestration.sinks.facts import Replica
from mz_orchestration.sinks.verdict import Verdict

from .world import World

#: Seconds between looks where nothing has changed: the default of `Watch`.
EVERY = 10
_GIVE_UP = 1800


def _error(world: World) -> None:
    world.says("stalled", error="kafka: Local: Broker transport failure")


def _again_and_again(world: World) -> None:
    # A failure every half minute: stalled for 5 s, starting for 1 s, running for the rest.
    phase = world.seconds % 30
    if phase == 0:
        _error(world)
    elif phase == 5:
        world.says("starting")
    elif phase == 6:
        world.says("running")


def _hidden(world: World) -> None:
    world.replicas("r1", "r2")
    world.says("running", "r2")
    world.wait(1)
    world.says("stalled", "r2", "kafka: Local: Broker transport failure")


def _no_memory(world: World) -> None:
    world.facts = replace(world.facts, replicas=(Replica("r1", "r1", False, "oom-killed", world.now, True),))


def _starting(world: World) -> None:
    world.says("starting")


def _set(**values: Any) -> Callable[[World], None]:
    def fault(world: World) -> None:
        for name, value in values.items():
            setattr(world, name, value)

    return fault


def _nothing(world: World) -> None:
    """All goes on."""


Fault = Callable[[World], None]
#: What happens, once and at every second from then on, and what is said of it.
FAULTS: tuple[tuple[str, Fault, Fault, Verdict], ...] = (
    ("an error, and it stays", _error, _nothing, Verdict.STALLED),
    ("an error every half minute", _nothing, _again_and_again, Verdict.FLAPPING),
    ("an error on one of two replicas", _hidden, _nothing, Verdict.DEGRADED),
    ("its only replica is out of memory", _no_memory, _nothing, Verdict.STALLED),
    ("it starts, and does not get further", _starting, _nothing, Verdict.STARTING_TOO_LONG),
    ("it stages, and commits nothing", _set(commits=False, keeps_up=True), _nothing, Verdict.NOT_COMMITTING),
    ("it hangs, and says that it runs", _set(stages=False, keeps_up=False), _nothing, Verdict.NOT_MOVING),
    ("its cluster loses all replicas", World.paused, _nothing, Verdict.PAUSED),
    ("somebody drops it", _set(exists=False), _nothing, Verdict.DROPPED),
)


def seconds_to_notice(begin: Fault, go_on: Fault, verdict: Verdict, *, subscribe: bool) -> tuple[int, int]:
    """Seconds from the fault to the verdict, and to the alert with the usual debounce."""
    world = World()
    world.runs()
    world.watch(595, messages=5)
    # Not just after a look, nor after a report.
    world.wait(7)
    began = world.seconds
    looked = world.seconds
    shown: Any = None
    states: dict[str, AlertState] = {}
    noticed: int | None = None
    alerted: int | None = None
    begin(world)
    while world.seconds - began < _GIVE_UP:
        now = (world.facts.status, world.facts.since, dict(world.facts.counters), world.exists)
        if world.seconds - looked >= EVERY or (subscribe and now != shown):
            looked = world.seconds
            health = world.look()
            told, states = alerts({"u1": health}, states)
            if noticed is None and health.verdict is verdict:
                noticed = round(world.seconds - began)
            if alerted is None and told:
                alerted = round(world.seconds - began)
            if noticed is not None and alerted is not None:
                return noticed, alerted
        shown = now
        world.wait(1)
        world.writes(1)
        go_on(world)
    raise AssertionError(f"{verdict} is not noticed")


def table() -> list[str]:
    """The table in Markdown, line by line."""
    lines = [
        "| what happens | verdict | said after, by looks | with SUBSCRIBE | alert after, with SUBSCRIBE |",
        "| --- | --- | --- | --- | --- |",
    ]
    for what, begin, go_on, verdict in FAULTS:
        polled, _ = seconds_to_notice(begin, go_on, verdict, subscribe=False)
        noticed, alerted = seconds_to_notice(begin, go_on, verdict, subscribe=True)
        lines.append(f"| {what} | `{verdict}` | {polled} s | {noticed} s | {alerted} s |")
    return lines
