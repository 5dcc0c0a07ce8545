"""What a run of a sync works with, and what it carries along."""

from __future__ import annotations

import random as chance
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from mz_orchestration.census.api import CensusApi
from mz_orchestration.census.config import CensusConfig
from mz_orchestration.census.models import SyncRun
from mz_orchestration.census.record import StoredSync, SyncAttempt, SyncAttemptState, save_sync
from mz_orchestration.census.retry import BUDGET
from mz_orchestration.census.spec import SyncSpec
from mz_orchestration.errors import ConfigurationError, MzOrchestrationError
from mz_orchestration.flow import Clock, Flow, call
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location, parse_folder
from mz_orchestration.progress import Event, OnEvent, Progress, ignore


class SyncStep(StrEnum):
    """The steps of a run of a sync, in order; a process may die before or after each."""

    READ = "read"
    OVERLAP = "overlap"
    RECORD = "record"
    TRIGGER = "trigger"
    WAIT = "wait"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class SyncContext(Progress):
    """What a run of a sync works with.

    Attributes:
        api: Census.
        store: Where the record lies; None where none is kept.
        base: The folder below which it lies.
        random: 0 to 1, for pauses.
    """

    api: CensusApi
    store: ObjectStore | None = None
    base: Location | None = None
    random: Callable[[], float] = chance.random


def sync_context(
    at: str | None = None,
    census: CensusConfig | None = None,
    store: ObjectStore | None = None,
    on_event: OnEvent = ignore,
    clock: Clock | None = None,
) -> SyncContext:
    """What a run of a sync works with, from what callers give; see `run_sync`. Its ``api`` is to be closed.

    Raises:
        ConfigurationError: A setting is missing or wrong.
    """
    base = None if at is None else parse_folder(at, field="at")
    clock = clock or Clock()
    api = CensusApi(
        census or CensusConfig.from_environment(),
        clock=clock,
        note=lambda text: on_event(Event(SyncStep.WAIT, "note", text)),
    )
    return SyncContext(clock, on_event, api, None if base is None else store or ObjectStore(), base)


def refuse_half_a_record(run_key: str | None, at: str | None) -> None:
    """A record needs a name and a place.

    Raises:
        ConfigurationError: One of them is missing.
    """
    if (run_key is None) != (at is None):
        given, missing = ("run_key", "at") if at is None else ("at", "run_key")
        raise ConfigurationError(
            f"{missing} is missing: {given} is given, and they go together.",
            hint="Give both, so that the run can be found again, or neither.",
        )
    if run_key is not None and not run_key.strip():
        raise ConfigurationError("run_key is empty.", hint="Is the variable behind it set?")


@dataclass
class Job:
    """One call: what it is asked for, and what it has come to.

    Attributes:
        until: When it must be over, by the context's monotonic clock.
        skips: How many runs ended without having done anything.
        warned: Strange statuses that were spoken of.
    """

    spec: SyncSpec
    context: SyncContext
    stored: StoredSync
    until: float
    skips: int = 0
    warned: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where a person can see the runs of the sync."""
        return history_url(self.context.api.config, self.spec.sync)

    @property
    def left(self) -> float:
        """Seconds until it must be over."""
        return self.until - self.context.clock.monotonic()

    @property
    def budget(self) -> float:
        """Seconds that all pauses of one request together may take."""
        return max(0.0, min(BUDGET, self.left))

    @property
    def attempt(self) -> SyncAttempt | None:
        """The last attempt, if it has not ended."""
        attempts = self.stored.record.attempts
        return attempts[-1] if attempts and attempts[-1].open else None

    def begin(self, state: SyncAttemptState) -> SyncAttempt:
        """A new attempt."""
        attempts = self.stored.record.attempts
        attempt = SyncAttempt(number=len(attempts) + 1, state=state, started_at=self.context.clock.now())
        attempts.append(attempt)
        return attempt

    def adopt(self, attempt: SyncAttempt, run: SyncRun, *, attached: bool) -> None:
        """Give an attempt a run that Census did not name as the answer to our own trigger."""
        attempt.state, attempt.run, attempt.attached = SyncAttemptState.ATTACHED, run.id, attached

    def end(self, attempt: SyncAttempt, run: SyncRun | None, error: MzOrchestrationError | None) -> None:
        """An attempt is over."""
        attempt.state, attempt.finished_at = SyncAttemptState.ENDED, self.context.clock.now()
        attempt.result, attempt.error = run, None if error is None else error.to_dict()

    def save(self) -> Flow[None]:
        """Write the record, where there is one.

        Raises:
            RunConflictError: Another process has gone another way.
        """
        yield from call(save_sync, self.context.store, self.stored, self.context.clock.now())


def history_url(config: CensusConfig, sync: str) -> str:
    """Where a person can see the runs of a sync."""
    return f"{config.host}/syncs/{sync}/sync-history"
