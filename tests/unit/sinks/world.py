"""A sink on an injected clock: what Materialize would say of it, look by look."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from mz_orchestration.sinks.facts import ConnectorFacts, Counters, Look, Replica, StatusEvent
from mz_orchestration.sinks.judge import judge_all
from mz_orchestration.sinks.memory import Memory
from mz_orchestration.sinks.policy import HealthPolicy
from mz_orchestration.sinks.verdict import Health, Verdict

BEGINNING = datetime(2026, 11, 23, tzinfo=UTC)
_PRECEDENCE = ("dropped", "running", "stalled", "starting", "paused")


@dataclass
class World:
    """One sink; what happens to it is told by methods, and `look` is what a watcher does with it.

    Statistics are counted at once and published every `publish_every` seconds, as Materialize does.
    """

    seconds: float = 0.0
    publish_every: float = 60.0
    facts: ConnectorFacts = field(default_factory=lambda: ConnectorFacts("u1", "shop.orders_sink", type="kafka"))
    policy: HealthPolicy = field(default_factory=HealthPolicy)
    counted: dict[str, list[int]] = field(default_factory=dict)
    events: list[StatusEvent] = field(default_factory=list)
    memories: dict[str, Memory] = field(default_factory=dict)
    keeps_up: bool = True
    commits: bool = True
    stages: bool = True
    exists: bool = True

    def __post_init__(self) -> None:
        self.facts = replace(self.facts, cluster="sinks", position=0, input_position=0)
        self.replicas("r1")

    @property
    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.seconds)

    def replicas(self, *names: str) -> None:
        """The cluster has these from now on; new ones begin to count from nothing."""
        self.facts = replace(self.facts, replicas=tuple(Replica(name, name, True, hydrated=True) for name in names))
        for name in names:
            self.counted.setdefault(name, [0, 0])
        if not names:
            self.says("paused", None)

    def paused(self) -> None:
        """The cluster has no replica any more."""
        self.facts = replace(self.facts, replicas=())
        for event in [each for each in self.events if each.replica is not None][:1]:
            self.events.insert(0, StatusEvent(self.now, "paused", event.replica))
        self.facts = replace(self.facts, status="paused", since=self.now, error=None)

    def says(self, status: str, replica: str | None = "r1", error: str | None = None) -> None:
        """A line of the status history."""
        self.events.insert(0, StatusEvent(self.now, status, replica, error))
        newest: dict[str | None, StatusEvent] = {}
        for event in self.events:
            newest.setdefault(event.replica, event)
        best = min(newest.values(), key=lambda each: _PRECEDENCE.index(each.status))
        self.facts = replace(self.facts, status=best.status, since=best.at, error=best.error)

    def runs(self) -> World:
        """It starts, and runs."""
        self.says("starting")
        self.wait(2)
        self.says("running")
        return self

    def restarts(self, down: float = 5.0) -> None:
        """Its component restarts, and its counters with it."""
        self.counted = {name: [0, 0] for name in self.counted}
        self.says("starting")
        self.wait(down)
        self.says("running")

    def writes(self, messages: int, replica: str = "r1") -> None:
        """What it reads has changed."""
        if self.stages:
            self.counted[replica][0] += messages
            if self.commits:
                self.counted[replica][1] += messages

    def wait(self, seconds: float) -> None:
        """Time passes; statistics are published when they are due."""
        for _ in range(round(seconds)):
            self.seconds += 1
            # The frontiers of all that is written to move with the clock.
            moment = round(self.seconds * 1000)
            running = self.facts.status == "running" and self.keeps_up
            self.facts = replace(
                self.facts, input_position=moment, position=moment - 500 if running else self.facts.position
            )
            if self.seconds % self.publish_every == 0:
                counters = {name: Counters(*counted) for name, counted in self.counted.items()}
                self.facts = replace(self.facts, counters=counters)

    def look(self) -> Health:
        """What a watcher says of it now; it forgets everything but its memory as JSON."""
        facts = replace(self.facts, events=tuple(self.events[:30]))
        look = Look(self.now, {"u1": facts} if self.exists else {})
        healths, memories = judge_all(look, self.memories, self.policy)
        self.memories = {name: Memory.from_json(memory.to_json()) for name, memory in memories.items()}
        return healths["u1"]

    def watch(self, seconds: float, every: float = 5.0, messages: int = 0) -> list[tuple[float, Verdict]]:
        """Look again and again; the verdicts that differ from the one before, with seconds since this began."""
        said: list[tuple[float, Verdict]] = []
        began = self.seconds
        while self.seconds < began + seconds:
            self.wait(every)
            self.writes(messages)
            verdict = self.look().verdict
            if not said or said[-1][1] is not verdict:
                said.append((self.seconds - began, verdict))
        return said
