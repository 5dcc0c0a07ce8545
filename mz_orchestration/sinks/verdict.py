"""What the health of a connector may be, and how bad that is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

from mz_orchestration.sinks.facts import Kind


class Severity(IntEnum):
    """How bad: the numbers are the exit codes that Nagios and its kin read."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


class Verdict(StrEnum):
    """What the health of a connector is.

    Attributes:
        HEALTHY: It runs, and commits.
        IDLE: It runs and keeps up with what it reads, where nothing happens.
        STARTING: It starts, or reads its snapshot.
        STARTING_TOO_LONG: It does so for longer than that should take.
        STALLED: It has an error, or all its replicas are down.
        FLAPPING: It runs, has an error, starts and runs again, over and over.
        DEGRADED: A replica has an error or is down, and another one runs.
        NOT_COMMITTING: It writes, and nothing of that is committed.
        NOT_MOVING: It says that it runs, and does not move though what it reads does.
        PAUSED: Its cluster has no replica.
        DROPPED: It is gone.
        UNKNOWN: Materialize says something that nobody has heard of.
    """

    HEALTHY = "healthy"
    IDLE = "idle"
    STARTING = "starting"
    STARTING_TOO_LONG = "starting-too-long"
    STALLED = "stalled"
    FLAPPING = "flapping"
    DEGRADED = "degraded"
    NOT_COMMITTING = "not-committing"
    NOT_MOVING = "not-moving"
    PAUSED = "paused"
    DROPPED = "dropped"
    UNKNOWN = "unknown"

    @property
    def severity(self) -> Severity:
        """How bad that is."""
        return _SEVERITY[self]


_SEVERITY = {
    Verdict.HEALTHY: Severity.OK,
    Verdict.IDLE: Severity.OK,
    Verdict.STARTING: Severity.OK,
    Verdict.STARTING_TOO_LONG: Severity.CRITICAL,
    Verdict.STALLED: Severity.CRITICAL,
    Verdict.FLAPPING: Severity.CRITICAL,
    Verdict.DEGRADED: Severity.WARNING,
    Verdict.NOT_COMMITTING: Severity.CRITICAL,
    Verdict.NOT_MOVING: Severity.CRITICAL,
    Verdict.PAUSED: Severity.WARNING,
    Verdict.DROPPED: Severity.CRITICAL,
    Verdict.UNKNOWN: Severity.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Health:
    """The health of one connector at one look.

    Attributes:
        id: Its id in the catalog.
        name: Its name.
        kind: ``sink`` or ``source``.
        type: Such as ``kafka``.
        cluster: Where it runs.
        verdict: What its health is.
        since: Since when, as far back as that can be told.
        at: When it was looked at.
        status: As Materialize has it; empty if it is gone.
        error: As Materialize has it.
        evidence: What the verdict rests on, a sentence each.
        advice: What to do; empty where nothing needs to be done.
        staged: Messages or updates written, of all replicas; None before the first report.
        committed: Those that others can see.
        advanced: Messages or updates committed since it was first looked at, over restarts.
        staged_rate: Messages or updates a second, between the last two reports that differed; None before that.
        committed_rate: The same of those committed.
        lag: Seconds it is behind what it reads; None where that is not known.
    """

    id: str
    name: str
    kind: Kind
    type: str
    cluster: str | None
    verdict: Verdict
    since: datetime
    at: datetime
    status: str = ""
    error: str | None = None
    evidence: tuple[str, ...] = ()
    advice: str = ""
    staged: int | None = None
    committed: int | None = None
    advanced: int = 0
    staged_rate: float | None = None
    committed_rate: float | None = None
    lag: float | None = None

    @property
    def severity(self) -> Severity:
        """How bad that is."""
        return self.verdict.severity

    @property
    def because(self) -> str:
        """What the verdict rests on, in sentences, in one line."""
        lines = (" ".join(each.split()) for each in self.evidence)
        return " ".join(each if each.endswith((".", "!", "?", "…")) else f"{each}." for each in lines)

    def to_metadata(self) -> dict[str, int | float | str]:
        """Small values by name; what is not known is left out."""
        values = {
            "id": self.id,
            "name": self.name,
            "kind": self.kind,
            "type": self.type,
            "cluster": self.cluster,
            "verdict": self.verdict.value,
            "severity": self.severity.name.lower(),
            "since": self.since.isoformat(),
            "at": self.at.isoformat(),
            "status": self.status or None,
            "error": self.error,
            "evidence": self.because or None,
            "advice": self.advice or None,
            "staged": self.staged,
            "committed": self.committed,
            "advanced": self.advanced,
            "staged_rate": self.staged_rate,
            "committed_rate": self.committed_rate,
            "lag": self.lag,
        }
        return {name: value for name, value in values.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """For ``--json``: like the metadata, with the evidence as a list."""
        return {**self.to_metadata(), "evidence": list(self.evidence)}
