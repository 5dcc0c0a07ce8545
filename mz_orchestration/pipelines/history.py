"""What passed its checks: how many rows each export of a pipeline had, run by run.

``<to>/.checks/<pipeline>/<export>.json`` holds the last few runs that passed, ordered by what they read. A run is
compared with the one that read before it, so that its checks come to the same answer however often they are made.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from mz_orchestration.errors import NotFoundError, RunConflictError, VerificationError
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.objectstore.client import ObjectStore, PreconditionFailed
from mz_orchestration.objectstore.location import Location
from mz_orchestration.runs.store import put_over
from mz_orchestration.validation import describe_validation

CHECKS_FOLDER = ".checks"
_KEPT = 10
_TRIES = 10
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class PassedRun(BaseModel):
    """A run that passed its checks.

    Attributes:
        run_key: The pipeline's.
        rows: Rows of the export.
        timestamp: Logical timestamp it read at, in milliseconds since 1970.
        started_at: Orders runs whose timestamp is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_key: str
    rows: int = Field(ge=0)
    timestamp: int | None
    started_at: AwareDatetime

    @property
    def order(self) -> tuple[int, datetime]:
        """What tells the later of two runs."""
        moment = int(self.started_at.timestamp() * 1000) if self.timestamp is None else self.timestamp
        return moment, self.started_at


class History(BaseModel):
    """The runs of an export that passed, the latest last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    pipeline: str
    export: str
    passed: tuple[PassedRun, ...] = ()

    def before(self, run: PassedRun) -> PassedRun | None:
        """The last run that read before this one."""
        earlier = [each for each in self.passed if each.run_key != run.run_key and each.order < run.order]
        return max(earlier, key=lambda each: each.order, default=None)

    def with_run(self, run: PassedRun) -> History:
        """This history with a run in its place, and in that of what the run key stood for before."""
        others = [each for each in self.passed if each.run_key != run.run_key]
        passed = sorted([*others, run], key=lambda each: each.order)
        return self.model_copy(update={"passed": tuple(passed[-_KEPT:])})


def passed_run(run_key: str, manifest: Manifest) -> PassedRun:
    """What is remembered of a run."""
    return PassedRun(run_key=run_key, rows=manifest.rows, timestamp=manifest.timestamp, started_at=manifest.started_at)


def history_location(base: Location, pipeline: str, export: str) -> Location:
    """Where the history of an export lies; names that cannot stand in a path are told apart by their hash."""
    name = export
    if not _PLAIN.fullmatch(export):
        # No plain name holds an equals sign.
        name = f"{re.sub('[^A-Za-z0-9_.-]', '_', export)[:60]}={hashlib.sha256(export.encode()).hexdigest()[:16]}"
    return base.child(f"{CHECKS_FOLDER}/{pipeline}/{name}.json")


def read_history(store: ObjectStore, base: Location, pipeline: str, export: str) -> tuple[History, str | None]:
    """The history of an export and its ETag; an empty one and None where there is none yet.

    Raises:
        NotFoundError: The bucket does not exist.
        VerificationError: What lies there is no history of this export.
    """
    at = history_location(base, pipeline, export)
    try:
        body, etag = store.get(at)
    except NotFoundError as error:
        if error.details.get("code") == "NoSuchBucket":
            raise
        return History(pipeline=pipeline, export=export), None
    way_out = "Delete that object: the next run then has nothing to be compared with, and starts it anew."
    try:
        found = History.model_validate_json(body)
    except ValidationError as error:
        raise VerificationError(
            f"{at} is not the history of an export's checks: {describe_validation(error)}", hint=way_out
        ) from error
    if (found.pipeline, found.export) != (pipeline, export):
        raise VerificationError(f"{at} is the history of {found.export} of {found.pipeline}.", hint=way_out)
    return found, etag


def remember(store: ObjectStore, base: Location, pipeline: str, export: str, run: PassedRun) -> bool:
    """Write down that a run passed; one GET, and a PUT unless it is known.

    Returns:
        Whether it was known.

    Raises:
        VerificationError: What lies there is no history of this export.
        RunConflictError: Others kept writing it.
    """
    for _ in range(_TRIES):
        history, etag = read_history(store, base, pipeline, export)
        changed = history.with_run(run)
        if run in history.passed or run not in changed.passed:
            return run in history.passed
        body = changed.model_dump_json(indent=1).encode()
        try:
            put_over(store, history_location(base, pipeline, export), body, etag)
        except (PreconditionFailed, NotFoundError):
            # Written, or deleted, since it was read.
            continue
        return False
    raise RunConflictError(
        f"{history_location(base, pipeline, export)} was written by others {_TRIES} times in a row.",
        hint="Run the same command again.",
        retryable=True,
    )
