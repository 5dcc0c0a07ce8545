"""What pages nobody: hours of idleness, restarts, replicas that come and go."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mz_orchestration.sinks.verdict import Severity

from .world import World

_STEPS = st.one_of(
    st.tuples(st.just("idle"), st.integers(1, 4 * 3600)),
    st.tuples(st.just("busy"), st.integers(1, 900)),
    st.tuples(st.just("restart"), st.integers(1, 200)),
    st.tuples(st.just("add"), st.integers(0, 600)),
    st.tuples(st.just("remove"), st.integers(0, 600)),
)


def _step(world: World, kind: str, amount: int) -> list[Severity]:
    names = [each.name for each in world.facts.replicas]
    said: list[Severity] = []

    def watch(seconds: float, messages: int = 0) -> None:
        said.extend(verdict.severity for _, verdict in world.watch(seconds, every=30, messages=messages))

    if kind == "idle":
        watch(amount)
    elif kind == "busy":
        watch(amount, messages=7)
    elif kind == "restart":
        world.restarts(amount)
        watch(60)
    elif kind == "add":
        name = f"n{len(world.counted)}"
        world.replicas(*names, name)
        world.says("starting", name)
        watch(30)
        world.says("running", name)
        watch(amount)
    elif kind == "remove" and len(names) > 1:
        world.replicas(*names[:-1])
        if amount % 2:
            # The rows of a replica that is gone are deleted a day later.
            world.counted.pop(names[-1])
        watch(amount)
    return said


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(_STEPS, min_size=1, max_size=8))
def test_nobody_is_paged(steps: list[tuple[str, int]]) -> None:
    world = World()
    world.runs()
    for kind, amount in steps:
        for severity in _step(world, kind, amount):
            assert severity is Severity.OK, (kind, amount, world.look())


def test_a_day_of_nothing() -> None:
    world = World()
    world.runs()
    assert {verdict.severity for _, verdict in world.watch(86_400, every=60)} == {Severity.OK}
