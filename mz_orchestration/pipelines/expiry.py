"""Which runs no limit keeps any more: the decision alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from mz_orchestration.pipelines.spec import RetentionSpec


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that ended.

    Attributes:
        name: Its run key.
        at: Which moment it is of.
        in_use: Kept whatever the limits say.
    """

    name: str
    at: datetime
    in_use: bool = False


def to_delete(runs: Iterable[FinishedRun], spec: RetentionSpec, now: datetime) -> list[FinishedRun]:
    """The runs that are neither among the newest, nor young, nor in use; the oldest first, so that they go first."""
    newest_first = sorted(runs, key=lambda run: (run.at, run.name), reverse=True)
    young = timedelta(seconds=spec.keep_for or 0)
    old = [run for run in newest_first[spec.keep_last :] if not run.in_use and now - run.at >= young]
    return old[::-1]
