"""When somebody is told: what lasts, once, and that it is over; pure functions of values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mz_orchestration.sinks.verdict import Health, Severity, Verdict

Seconds = Annotated[float, Field(ge=0, le=7 * 86400)]


class AlertPolicy(BaseModel):
    """When somebody is told.

    Attributes:
        minimum: From which severity on.
        debounce: Seconds a connector has to be unwell; a new sink may stall for a moment.
        recover_after: Seconds it has to be well again.
        remind_every: Seconds after which somebody is told again; None for never.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum: Literal["warning", "critical"] = "warning"
    debounce: Seconds = 30.0
    recover_after: Seconds = 60.0
    remind_every: Annotated[float, Field(ge=60, le=30 * 86400)] | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """Something to tell.

    Attributes:
        kind: ``problem``, ``reminder`` or ``recovery``.
        health: As it is now.
        since: Since when the connector has been unwell, or well again.
        told_at: Of a recovery and a reminder: when the problem was told of; seconds since 1970.
    """

    kind: Literal["problem", "reminder", "recovery"]
    health: Health
    since: datetime
    told_at: float = 0.0

    @property
    def id(self) -> str:
        """The same if it is told of again by a process that knows what was told before."""
        if self.kind == "problem":
            return f"{self.health.id}/problem/{self.health.verdict}/{self.since.timestamp():.0f}"
        return f"{self.health.id}/{self.kind}/{self.told_at:.0f}"


@dataclass(frozen=True, slots=True)
class AlertState:
    """What is remembered of one connector; times in seconds since 1970.

    Attributes:
        bad_since: Since when it has been unwell, moments of health aside.
        good_since: Since when it has been well.
        told: The verdict that was told of last; empty if nothing is to be taken back.
        told_at: When.
    """

    bad_since: float | None = None
    good_since: float | None = None
    told: str = ""
    told_at: float = 0.0

    def to_json(self) -> list[Any]:
        """The same as a list."""
        return [self.bad_since, self.good_since, self.told, self.told_at]

    @classmethod
    def from_json(cls, value: Any) -> AlertState:
        """Read what `to_json` wrote.

        Raises:
            ValueError: It is none of ours.
        """
        try:
            bad_since, good_since, told, told_at = value
            if told:
                Verdict(told)
            bad, good = (None if each is None else float(each) for each in (bad_since, good_since))
            return cls(bad, good, str(told), float(told_at))
        except TypeError as error:
            raise ValueError(str(error)) from error


def alerts(
    healths: Mapping[str, Health],
    states: Mapping[str, AlertState],
    policy: AlertPolicy | None = None,
) -> tuple[list[Alert], dict[str, AlertState]]:
    """Whom to tell of what after a look.

    Args:
        healths: By id, from the look.
        states: From the look before, by id.
        policy: When somebody is told.

    Returns:
        What to tell, the worst first, and what to remember. What is gone is forgotten once it is told of.
    """
    policy = policy or AlertPolicy()
    told: list[Alert] = []
    remembered: dict[str, AlertState] = {}
    for identifier, health in healths.items():
        alert, state = _alert(health, states.get(identifier, AlertState()), policy)
        if alert is not None:
            told.append(alert)
        if health.verdict is not Verdict.DROPPED:
            remembered[identifier] = state
    told.sort(key=lambda each: (-each.health.severity, each.health.name))
    return told, remembered


def _alert(health: Health, state: AlertState, policy: AlertPolicy) -> tuple[Alert | None, AlertState]:
    now = health.at.timestamp()
    least = Severity.WARNING if policy.minimum == "warning" else Severity.CRITICAL
    if health.severity < least:
        well = now if state.good_since is None else state.good_since
        state = replace(state, good_since=well)
        if not state.told and now - well >= policy.debounce:
            state = replace(state, bad_since=None)
        if state.told and now - well >= policy.recover_after:
            return Alert("recovery", health, datetime.fromtimestamp(well, UTC), state.told_at), AlertState(
                good_since=well
            )
        return None, state
    began = min(health.since.timestamp(), now) if state.bad_since is None else state.bad_since
    state = replace(state, bad_since=began, good_since=None)
    since = datetime.fromtimestamp(began, UTC)
    # There is no later look at what is gone.
    if not state.told and (now - began >= policy.debounce or health.verdict is Verdict.DROPPED):
        return Alert("problem", health, since), replace(state, told=health.verdict.value, told_at=now)
    if state.told and health.verdict.value != state.told and health.severity > Verdict(state.told).severity:
        # It got worse.
        return Alert("problem", health, since), replace(state, told=health.verdict.value, told_at=now)
    if state.told and policy.remind_every is not None and now - state.told_at >= policy.remind_every:
        return Alert("reminder", health, since, state.told_at), replace(state, told=health.verdict.value, told_at=now)
    return None, state
