"""Waiting for one sink: until it is well, or has committed so much; or until it is not well, which is an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mz_orchestration.errors import ConfigurationError, SinkError
from mz_orchestration.sinks.facts import Look
from mz_orchestration.sinks.policy import HealthPolicy
from mz_orchestration.sinks.selection import Selection
from mz_orchestration.sinks.verdict import Health, Severity, Verdict
from mz_orchestration.sinks.watch import Judge

#: What a wait usually fails on: waiting longer would not help.
FAIL_ON = (Verdict.STALLED, Verdict.FLAPPING, Verdict.STARTING_TOO_LONG, Verdict.DROPPED)


class SinkWait(BaseModel):
    """What is waited for.

    Attributes:
        sink: ``[[database.]schema.]name``; one that is not there is not waited for.
        committed: Messages it has to have committed, as Materialize counts them over all replicas; None asks only
            that it is well.
        healthy_for: Seconds it has to have been well, without a break.
        fail_on: Verdicts that end the wait with an error once they have lasted for ``fail_after``.
        fail_after: Seconds; a new sink may stall for a moment.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sink: str = Field(min_length=1)
    committed: int | None = Field(default=None, ge=0)
    healthy_for: float = Field(default=0.0, ge=0, le=86400)
    fail_on: tuple[Verdict, ...] = FAIL_ON
    fail_after: float = Field(default=30.0, ge=0, le=86400)


class SinkWaiting:
    """One wait, a look at a time.

    Args:
        wait: What is waited for.
        policy: How long what may last.
        memory: From `memory`, of an earlier process.

    Raises:
        ConfigurationError: The memory is none of ours, or the sink is a pattern.
    """

    def __init__(self, wait: SinkWait, policy: HealthPolicy | None = None, memory: Any = None) -> None:
        if "*" in wait.sink:
            raise ConfigurationError(f"sink: {wait.sink!r} is a pattern; one sink is waited for.")
        self._wait = wait
        held: dict[str, Any] = memory if isinstance(memory, dict) else {}
        self._judge = Judge(policy, Selection([wait.sink]), held.get("judge"))
        self._well_since: float | None = held.get("well_since")
        self._bad_since: float | None = held.get("bad_since")

    @property
    def memory(self) -> dict[str, Any]:
        """What the next look in another process has to know, as JSON."""
        return {"judge": self._judge.memory, "well_since": self._well_since, "bad_since": self._bad_since}

    def look(self, look: Look) -> tuple[Health, bool]:
        """Judge a look.

        Returns:
            The sink's health, and whether the wait is over.

        Raises:
            NotFoundError: There is no such sink, and has not been.
            ConfigurationError: Several sinks have the name.
            SinkError: It is not well, and that is not waited out.
        """
        health = _one(list(self._judge.judge(look).healths.values()), self._wait.sink)
        now = health.at.timestamp()
        well = health.verdict in (Verdict.HEALTHY, Verdict.IDLE)
        self._well_since = (self._well_since or now) if well else None
        if health.verdict in self._wait.fail_on:
            began = self._bad_since if self._bad_since is not None else min(health.since.timestamp(), now)
            self._bad_since = began
            if now - began >= self._wait.fail_after or health.verdict is Verdict.DROPPED:
                raise sink_error(health)
        elif health.severity is Severity.OK and self._well_since is not None:
            self._bad_since = None
        if self._well_since is None or now - self._well_since < self._wait.healthy_for:
            return health, False
        return health, self._wait.committed is None or (health.committed or 0) >= self._wait.committed


def sink_error(health: Health) -> SinkError:
    """The error that says how a sink is.

    Args:
        health: Its health.
    """
    since = f"{health.since:%Y-%m-%d %H:%M:%S} UTC"
    return SinkError(
        f"The {health.kind} {health.name} is {health.verdict} since {since}. {health.because}",
        hint=health.advice,
        details={"sink": health.name, "verdict": health.verdict.value, "since": health.since.isoformat()},
    )


def _one(healths: Sequence[Health], name: str) -> Health:
    present = [each for each in healths if each.verdict is not Verdict.DROPPED] or list(healths)
    if len(present) > 1:
        names = ", ".join(sorted(each.name for each in present))
        raise ConfigurationError(f"sink: {name!r} may be {names}.", hint="Write the schema with it.")
    return present[0]
