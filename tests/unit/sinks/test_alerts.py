"""Who is told when."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from mz_orchestration.sinks.alerts import Alert, AlertPolicy, AlertState, alerts
from mz_orchestration.sinks.verdict import Health, Verdict

BEGINNING = datetime(2026, 11, 23, tzinfo=UTC)
WELL = Health("u1", "shop.sink", "sink", "kafka", "c", Verdict.HEALTHY, BEGINNING, BEGINNING)


@dataclass
class Told:
    """What was told of one sink, by second."""

    policy: AlertPolicy = field(default_factory=AlertPolicy)
    seconds: int = 0
    states: dict[str, AlertState] = field(default_factory=dict)
    said: list[tuple[int, str, Verdict]] = field(default_factory=list)

    def look(self, verdict: Verdict, seconds: int = 1) -> list[Alert]:
        """That verdict for so many seconds, with a look at each."""
        began = BEGINNING + timedelta(seconds=self.seconds + 1)
        found: list[Alert] = []
        for _ in range(seconds):
            self.seconds += 1
            now = BEGINNING + timedelta(seconds=self.seconds)
            health = replace(WELL, verdict=verdict, since=began, at=now)
            new, self.states = alerts({"u1": health}, self.states, self.policy)
            found += new
            self.said += [(self.seconds, each.kind, each.health.verdict) for each in new]
        return found


def test_a_problem_that_lasts_is_told_of_once_and_taken_back_once() -> None:
    told = Told()
    told.look(Verdict.HEALTHY, 10)
    told.look(Verdict.STALLED, 600)
    told.look(Verdict.HEALTHY, 600)
    assert told.said == [(41, "problem", Verdict.STALLED), (671, "recovery", Verdict.HEALTHY)]


def test_a_moment_is_nobodys_business() -> None:
    told = Told()
    for _ in range(10):
        told.look(Verdict.STALLED, 5)
        told.look(Verdict.STARTING, 40)
    assert told.said == []


def test_moments_of_health_do_not_hide_a_problem() -> None:
    told = Told()
    for _ in range(10):
        told.look(Verdict.STALLED, 10)
        told.look(Verdict.HEALTHY, 10)
    assert told.said == [(41, "problem", Verdict.STALLED)]


def test_what_gets_worse_is_told_of_again_and_what_changes_is_not() -> None:
    told = Told()
    told.look(Verdict.DEGRADED, 60)
    told.look(Verdict.STALLED, 60)
    told.look(Verdict.FLAPPING, 60)
    told.look(Verdict.PAUSED, 60)
    assert [(kind, verdict) for _, kind, verdict in told.said] == [
        ("problem", Verdict.DEGRADED),
        ("problem", Verdict.STALLED),
    ]


def test_what_is_gone_is_told_of_at_once_and_forgotten() -> None:
    told = Told()
    told.look(Verdict.HEALTHY, 5)
    assert [each.kind for each in told.look(Verdict.DROPPED)] == ["problem"]
    assert told.states == {}


def test_only_what_is_bad_enough() -> None:
    told = Told(AlertPolicy(minimum="critical"))
    told.look(Verdict.PAUSED, 600)
    assert told.said == []


def test_reminders() -> None:
    told = Told(AlertPolicy(remind_every=120))
    told.look(Verdict.STALLED, 300)
    assert [(seconds, kind) for seconds, kind, _ in told.said] == [
        (31, "problem"),
        (151, "reminder"),
        (271, "reminder"),
    ]


def test_what_began_long_ago_is_told_of_at_the_first_look() -> None:
    health = replace(WELL, verdict=Verdict.STALLED, since=BEGINNING - timedelta(hours=1))
    [alert], _ = alerts({"u1": health}, {})
    assert (alert.kind, alert.since) == ("problem", health.since)


def test_the_worst_first() -> None:
    healths = {
        name: replace(WELL, id=name, name=name, verdict=verdict, since=BEGINNING - timedelta(hours=1))
        for name, verdict in (("a", Verdict.PAUSED), ("c", Verdict.STALLED), ("b", Verdict.STALLED))
    }
    found, _ = alerts(healths, {})
    assert [each.health.name for each in found] == ["b", "c", "a"]
