"""Structured progress: what a long action tells its caller while it works.

The command line turns events into lines for people, Airflow and Dagster into log lines, tests into assertions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from mz_orchestration.errors import Detail


@dataclass(frozen=True, slots=True)
class Event:
    """One piece of progress.

    Attributes:
        step: The step it belongs to, a member of the action's own enumeration.
        state: ``started``, ``finished``, or ``note`` for a remark within a step.
        message: One line for people.
        seconds: How long the step took; None unless finished.
        details: Small JSON-ready facts. Never secrets.
    """

    step: StrEnum
    state: Literal["started", "finished", "note"]
    message: str
    seconds: float | None = None
    details: dict[str, Detail] = field(default_factory=dict)


OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener of callers who want no progress."""
