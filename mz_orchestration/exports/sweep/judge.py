"""What a sweep may remove: pure functions of names, listings, run records and times.

Whatever could still be of use to somebody is kept, and so is whatever cannot be told: a finished export, an attempt
whose session is there, one that may be running because Materialize could not be asked, one that is young.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from mz_orchestration.objectstore.client import ObjectInfo, Upload
from mz_orchestration.objectstore.location import Location
from mz_orchestration.runs.record import Attempt, AttemptState, RunRecord

# Nobody has written down how these ended, so that `older_than` may be 0 without harm to what has just begun.
FLOOR = timedelta(hours=1)
# Materialize has answered: the session may be closed while a process still counts the rows in many large files.
FLOOR_COPIED = timedelta(hours=24)
# A run that cancels its own COPY has this long before the sweep does.
GRACE = timedelta(minutes=15)

_ATTEMPT = re.compile(r"(\d{8}T\d{6}Z)-([0-9a-f]{8})-\d{2}")
_OURS = re.compile(r"mz-t\d+-(?:INCOMPLETE|batch-\d{4,}-\d{4,}\.(?:parquet|csv))")


def attempt_name(name: str) -> tuple[datetime, str] | None:
    """When the attempt of a folder's name (without slash) began and how its run's hash begins; None for other names."""
    match = _ATTEMPT.fullmatch(name)
    if match is None:
        return None
    try:
        return datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC), match[2]
    except ValueError:
        return None


def is_materialize_name(name: str) -> bool:
    """Whether an object in an attempt's folder is a data file or a sentinel of Materialize's."""
    return _OURS.fullmatch(name) is not None


def is_sentinel(item: ObjectInfo) -> bool:
    """Whether an object that is Materialize's is a sentinel."""
    return item.key.endswith("-INCOMPLETE")


@dataclass(frozen=True, slots=True)
class AttemptFolder:
    """One attempt's folder as it was listed.

    Attributes:
        location: The folder.
        base: What the export went ``--to``.
        export: The export's folder below the base.
        began: By the folder's name.
        run: How the hash of its run key begins.
        finished: Whether a manifest lies there.
        objects: What Materialize wrote; not kept for finished folders.
        uploads: Multipart uploads begun there and not ended.
        others: How many objects there are not ours.
    """

    location: Location
    base: Location
    export: str
    began: datetime
    run: str
    finished: bool = False
    objects: tuple[ObjectInfo, ...] = ()
    uploads: tuple[Upload, ...] = ()
    others: int = 0

    @property
    def size(self) -> int:
        """Bytes of what Materialize wrote."""
        return sum(item.size for item in self.objects)

    def is_at(self, path: object) -> bool:
        """Whether a path, as a record or manifest holds it, is this folder's."""
        return isinstance(path, str) and path.partition("://")[2] == f"{self.location.bucket}/{self.location.key}"

    def attempt(self, record: RunRecord | None) -> Attempt | None:
        """The record's attempt that this is the folder of."""
        return next((each for each in record.attempts if self.is_at(each.path)), None) if record else None

    def last_sign(self, record: RunRecord | None) -> datetime:
        """When anything was last seen to happen to it."""
        signs = [self.began, *(upload.initiated for upload in self.uploads)]
        signs += [item.last_modified for item in self.objects if item.last_modified is not None]
        attempt = self.attempt(record)
        if record is not None and attempt is not None:
            signs += [attempt.started_at, attempt.finished_at or attempt.started_at]
            if attempt.open and attempt is record.attempts[-1]:
                signs.append(record.updated_at)
        return max(signs)


class SessionState(StrEnum):
    """What Materialize says about the session of an attempt."""

    ACTIVE = "active"
    GONE = "gone"
    UNKNOWN = "unknown"  # not asked, or it did not answer


class Fate(StrEnum):
    """What becomes of an attempt's folder."""

    FINISHED = "finished"  # kept, for ever
    LIVE = "live"  # kept: it is or may be running
    YOUNG = "young"  # kept for now
    UNCLEAR = "unclear"  # kept: what would decide cannot be read
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A fate and its reason, in words."""

    fate: Fate
    why: str


def judge(
    folder: AttemptFolder, record: RunRecord | None, session: SessionState, now: datetime, older_than: timedelta
) -> Verdict:
    """Decide whether an attempt's folder is abandoned.

    Args:
        folder: What lies there.
        record: The record of its run, if there is one.
        session: Whether the attempt's session is still there.
        now: The moment that ages are counted from.
        older_than: How long nothing must have happened; at least `FLOOR` where nobody wrote down how it ended.
    """
    attempt = folder.attempt(record)
    if folder.finished:
        return Verdict(Fate.FINISHED, "it holds a manifest")
    if record is not None and record.manifest is not None and folder.is_at(record.manifest.get("path")):
        return Verdict(Fate.FINISHED, "its run's manifest lists these files")
    if attempt is not None and attempt.state is AttemptState.SUCCEEDED:
        return Verdict(Fate.FINISHED, f"attempt {attempt.number} succeeded")
    if session is SessionState.ACTIVE:
        return Verdict(Fate.LIVE, "its session is still there")
    if attempt is None:
        wait, why = max(older_than, FLOOR), "no run record knows it, and it holds no manifest"
    elif attempt.open:
        if attempt.deadline_at is not None and now < attempt.deadline_at + GRACE:
            return Verdict(
                Fate.LIVE, f"attempt {attempt.number} may run until {attempt.deadline_at:%Y-%m-%d %H:%M} UTC"
            )
        if session is SessionState.UNKNOWN:
            return Verdict(Fate.LIVE, f"attempt {attempt.number} may be running: Materialize was not asked")
        floor = FLOOR if attempt.state is AttemptState.STARTED else FLOOR_COPIED
        wait, why = max(older_than, floor), f"attempt {attempt.number} was left in state {attempt.state}"
    else:
        wait, why = older_than, f"attempt {attempt.number} is marked {attempt.state}"
    if now - folder.last_sign(record) < wait:
        return Verdict(Fate.YOUNG, f"{why}, but not for long")
    return Verdict(Fate.REMOVE, why)


def is_stale(upload: Upload, now: datetime, older_than: timedelta) -> bool:
    """Whether an upload into a finished attempt's folder can no longer be that of a slower replica."""
    return now - upload.initiated >= max(older_than, FLOOR)


def orphaned(record: RunRecord, attempt: Attempt, now: datetime) -> str | None:
    """Why an attempt's session, found to be there, has nobody left who waits for it; None if somebody may."""
    if attempt.state is AttemptState.SUCCEEDED:
        return None
    later = next((each for each in record.attempts if each.number > attempt.number), None)
    if later is not None and later.started_at + GRACE < now:
        return f"attempt {later.number} has taken the place of attempt {attempt.number}"
    if not attempt.open and attempt.finished_at is not None and attempt.finished_at + GRACE < now:
        return f"attempt {attempt.number} is marked {attempt.state}"
    # A COPY that was answered is over; its session may be there for another export.
    if attempt.state is AttemptState.STARTED and attempt.deadline_at is not None:
        # The record is written when the COPY begins, which is later than the attempt if it waited for other runs.
        began = max(attempt.started_at, record.updated_at)
        if began + (attempt.deadline_at - attempt.started_at) + GRACE < now:
            return f"the deadline of attempt {attempt.number} has passed"
    return None


def in_use_by(attempt: Attempt, others: list[RunRecord]) -> Attempt | None:
    """Another attempt that the session of this one has gone on to, or may be working for.

    A session runs one statement at a time: if a later attempt was started in it, the earlier COPY is over.
    """
    for record in others:
        for other in record.attempts:
            if other.session != attempt.session or other.path == attempt.path:
                continue
            if other.open or other.started_at >= attempt.started_at:
                return other
    return None
