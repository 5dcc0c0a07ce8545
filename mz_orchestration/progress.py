"""Structured progress: what a long action tells its caller while it works.

The command line turns events into lines for people, Airflow and Dagster into log lines, tests into assertions.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from mz_orchestration.errors import Detail
from mz_orchestration.flow import Clock


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

    def line(self) -> str:
        """The event as one line for a log."""
        if self.state != "finished":
            return f"{self.step}: {self.message}"
        facts = "".join(f" {name}={value}" for name, value in self.details.items())
        return f"{self.step}: done in {self.seconds or 0:.2f} s, {self.message}{facts}"


OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener of callers who want no progress."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Tells a listener of steps, with their durations by a clock."""

    clock: Clock
    on_event: OnEvent

    @contextmanager
    def step(self, step: StrEnum, message: str) -> Generator[dict[str, Detail], None, None]:
        """Report a step's beginning and, unless it raises, its end; the body fills in the details of the end."""
        began = self.clock.monotonic()
        self.on_event(Event(step, "started", message))
        details: dict[str, Detail] = {}
        yield details
        self.on_event(Event(step, "finished", message, self.clock.monotonic() - began, details))

    def note(self, step: StrEnum, message: str) -> None:
        """Report a remark within a step."""
        self.on_event(Event(step, "note", message))
