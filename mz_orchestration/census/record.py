"""What is written down about a run of a sync, so that any later process can go on with it, and where."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from mz_orchestration.census.models import Id, SyncRun
from mz_orchestration.errors import NotFoundError, RunConflictError, VerificationError
from mz_orchestration.objectstore.client import ObjectStore, PreconditionFailed
from mz_orchestration.objectstore.location import Location
from mz_orchestration.runs.key import run_key_hash
from mz_orchestration.runs.store import put_over
from mz_orchestration.validation import describe_validation

SYNCS_FOLDER = ".syncs"


class SyncAttemptState(StrEnum):
    """How far an attempt got."""

    ASKED = "asked"  # written down before the trigger is sent: there may be a run
    TRIGGERED = "triggered"  # its run is known, and ours
    ATTACHED = "attached"  # its run is known, but Census has not told us that it is ours
    ENDED = "ended"


class SyncAttempt(BaseModel):
    """One attempt to get a run of the sync.

    Attributes:
        number: Counts from 1.
        asked_at: When the trigger was sent last; renewed before it is sent again.
        known_runs: Runs that were there before the trigger: none of them is ours.
        known_until: When the newest of them began, by Census' clock.
        run: Id of its run.
        triggered: Whether Census answered our own trigger with that run; only then it is ours to cancel.
        attached: Whether the run is somebody else's, taken by choice.
        cancel_asked: Whether we wanted it to end, and it had not when it was last looked at.
        result: The run as it was last seen.
        error: `MzOrchestrationError.to_dict` of what ended it, if it is no success.
    """

    model_config = ConfigDict(extra="forbid")

    number: int
    state: SyncAttemptState
    started_at: AwareDatetime
    asked_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    known_runs: list[Id] = []
    known_until: AwareDatetime | None = None
    run: Id | None = None
    triggered: bool = False
    attached: bool = False
    cancel_asked: bool = False
    result: SyncRun | None = None
    error: dict[str, Any] | None = None

    @property
    def open(self) -> bool:
        """Whether nobody has written down yet how it ended."""
        return self.state is not SyncAttemptState.ENDED

    def learn_of(self, runs: list[SyncRun]) -> None:
        """Remember the runs that are there before a trigger."""
        self.known_runs = [run.id for run in runs]
        self.known_until = max((run.created_at for run in runs if run.created_at), default=None)

    def is_new(self, run: SyncRun) -> bool:
        """Whether a run may have come of the trigger."""
        if run.id in self.known_runs:
            return False
        # Where runs are removed, older ones move up into the page that was looked at.
        return self.known_until is None or run.created_at is None or run.created_at >= self.known_until


class SyncRecord(BaseModel):
    """One logical run of one sync.

    Attributes:
        where: Scheme and host of the Census it belongs to.
    """

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    run_key: str
    sync: str
    where: str
    spec_fingerprint: str
    created_at: AwareDatetime
    updated_at: AwareDatetime
    attempts: list[SyncAttempt] = []


@dataclass(slots=True)
class StoredSync:
    """A record together with the version it was read as; without a location it is kept in memory only."""

    record: SyncRecord
    location: Location | None = None
    etag: str | None = None


def sync_record_location(base: Location, sync: str, run_key: str) -> Location:
    """The object that holds the record of a run of a sync."""
    return base.child(f"{SYNCS_FOLDER}/{sync}/{run_key_hash(run_key)}.json")


def find_sync(store: ObjectStore, location: Location) -> StoredSync | None:
    """The record at a place, or None; one GET.

    Raises:
        NotFoundError: The bucket does not exist.
        VerificationError: What lies there is no such record.
    """
    try:
        body, etag = store.get(location)
    except NotFoundError as error:
        if error.details.get("code") == "NoSuchBucket":
            raise
        return None
    try:
        return StoredSync(SyncRecord.model_validate_json(body), location, etag)
    except ValidationError as error:
        raise VerificationError(
            f"{location} is not the record of a sync: {describe_validation(error)}",
            hint="Move that object away, or use a different run key.",
        ) from None


def save_sync(store: ObjectStore | None, stored: StoredSync, now: datetime) -> None:
    """Write the record over the version it was read as.

    Another process that waits for the same run, and writes the same down, is no conflict.

    Raises:
        RunConflictError: Another process has gone another way since.
    """
    if stored.location is None or store is None:
        return
    stored.record.updated_at = now
    body = stored.record.model_dump_json(indent=1).encode()
    try:
        stored.etag = put_over(store, stored.location, body, stored.etag)
        return
    except PreconditionFailed as error:
        there = find_sync(store, stored.location)
        if there is None or not _same_run(there.record, stored.record):
            raise _conflict(stored.record) from error
    if stored.record.attempts[-1].open and not there.record.attempts[-1].open:
        stored.record, stored.etag = there.record, there.etag
        return
    try:
        stored.etag = put_over(store, stored.location, body, there.etag)
    except PreconditionFailed as error:
        raise _conflict(stored.record) from error


def _same_run(there: SyncRecord, ours: SyncRecord) -> bool:
    if len(there.attempts) != len(ours.attempts) or not ours.attempts:
        return False
    return there.attempts[-1].run is not None and there.attempts[-1].run == ours.attempts[-1].run


def _conflict(record: SyncRecord) -> RunConflictError:
    return RunConflictError(
        f"Another process is working on the run {record.run_key!r} of the Census sync {record.sync}.",
        hint="Let it finish, then run the command again: it finds the same run.",
        retryable=True,
    )
