"""What is known about one awaited path, and what to do next: the decisions of a wait, without any I/O.

Shared by the wait for one path (`watch`) and the wait for thousands (`watcher`), so that they cannot come to differ.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from mz_orchestration.errors import (
    ConfigurationError,
    DeadlineError,
    ExportError,
    UnavailableError,
    VerificationError,
)
from mz_orchestration.exports.sentinel import ExportState, Listing, read_listing
from mz_orchestration.objectstore.client import ObjectInfo
from mz_orchestration.objectstore.location import Location

_GROWTH = 1.5
# A store may be out of reach for this long before a wait gives up; boto3 has tried several times within each look.
_PATIENCE = 600.0


@dataclass(frozen=True, slots=True)
class WaitPolicy:
    """How long to wait, and how often to look; all in seconds.

    Attributes:
        deadline: The longest wait.
        start_deadline: The longest wait for the first object; None leaves it to ``deadline``.
        first_poll: The first pause between two looks; later ones grow.
        poll: The longest pause between two looks.
        settle: How far apart two equal listings must be where no sentinel was ever seen.
        abandoned_after: Without a new object for this long, an export with a sentinel counts as dead. As long as
            an export may take by default.
    """

    deadline: float = 6 * 3600.0
    start_deadline: float | None = None
    first_poll: float = 1.0
    poll: float = 5.0
    settle: float = 5.0
    abandoned_after: float = 6 * 3600.0

    def __post_init__(self) -> None:
        for name in ("deadline", "start_deadline", "first_poll", "poll", "settle", "abandoned_after"):
            value = getattr(self, name)
            least = 0.0 if name == "settle" else 1e-3
            if value is not None and not least <= value < float("inf"):
                raise ConfigurationError(f"{name}: {value!r} is not a number of seconds to wait.")


@dataclass(frozen=True, slots=True)
class CompletedExport:
    """An export whose files are all there.

    Attributes:
        folder: The path that was waited for.
        files: The data files, in key order: load these by name, not the folder.
        strangers: What else lies there and belongs to no export of Materialize.
        sentinel_seen: The sentinel was seen, then gone; otherwise the listing did not change for a settle interval.
        looks: Requests made for this wait alone.
        seconds: How long the wait took.
    """

    folder: Location
    files: tuple[ObjectInfo, ...]
    strangers: tuple[str, ...]
    sentinel_seen: bool
    looks: int
    seconds: float

    @property
    def size(self) -> int:
        """Bytes in the data files."""
        return sum(item.size for item in self.files)

    def to_metadata(self) -> dict[str, int | float | str]:
        """Small values for XCom and asset events."""
        return {
            "path": str(self.folder),
            "files": len(self.files),
            "bytes": self.size,
            "strangers": len(self.strangers),
            "sentinel_seen": int(self.sentinel_seen),
            "looks": self.looks,
            "seconds": round(self.seconds, 3),
        }


class Look(StrEnum):
    """What to ask the store."""

    LIST = "list"
    HEAD = "head"


@dataclass(frozen=True, slots=True)
class Next:
    """What to ask the store next, and in how many seconds.

    Attributes:
        settling: Files must stay unchanged until then: a look at the sentinel alone says nothing.
    """

    look: Look
    after: float
    settling: bool = False


@dataclass(slots=True)
class Watch:
    """What is known about one awaited path. Told what was seen and when, it answers what to do next; no I/O.

    Attributes:
        folder: The awaited path.
        policy: Its patience.
        began: When the wait began, by a monotonic clock.
        vouched: Materialize has answered ``COPY n`` to somebody: listings need not settle.
        sentinel: The sentinel's key while it is believed to be there.
        seen: A sentinel was there at some time, or an event said so.
        looks: Requests so far.
        last_seen: What the last look showed, in words.
    """

    folder: Location
    policy: WaitPolicy
    began: float
    vouched: bool = False
    sentinel: str | None = None
    seen: bool = False
    looks: int = 0
    last_seen: str = "nothing was looked at yet"
    _pause: float = field(init=False)
    _files: tuple[ObjectInfo, ...] = ()  # of a listing that must settle
    _settles_at: float = 0.0
    _newest: datetime | None = None
    _failing_since: float | None = None

    def __post_init__(self) -> None:
        if not self.folder.key.endswith("/"):
            raise ConfigurationError(
                f"{self.folder} is not a folder below a bucket.", hint=f"End it with a slash: {self.folder}/"
            )
        self._pause = min(self.policy.first_poll, self.policy.poll)

    def listed(self, objects: list[ObjectInfo], now: datetime, at: float) -> CompletedExport | Next:
        """The path was listed as a whole.

        Raises:
            ConfigurationError: The path holds attempts, not files.
            ExportError: The export is dead, or its files were removed.
            VerificationError: Files of several exports are mixed there.
            DeadlineError: It is not complete, and the time is up.
        """
        self._looked()
        listing = self._read(objects, now)
        self.last_seen = _words(listing)
        match listing.state:
            case ExportState.ABANDONED:
                raise ExportError(
                    f"The export to {self.folder} is abandoned: its sentinel is there, and nothing was written since "
                    f"{_moment(listing.newest)}.",
                    hint="Look into mz_internal.mz_recent_activity_log for what became of it, and export again into a "
                    "new path: Materialize refuses one that is not empty.",
                    details={"path": str(self.folder), "sentinel": listing.sentinels[0].key},
                )
            case ExportState.RUNNING:
                self.sentinel, self.seen, self._newest = listing.sentinels[0].key, True, listing.newest
                self._files = ()
                return self._poll(Look.HEAD, at)
            case ExportState.COMPLETE:
                self.sentinel = None
                return self._settled(listing, at) or self._settle(listing.data, at)
            case ExportState.NOT_STARTED:
                return self._nothing_there(at)

    def headed(self, sentinel: ObjectInfo | None, now: datetime, at: float) -> Next:
        """The sentinel was asked for.

        Raises:
            DeadlineError: It is there, and the time is up.
        """
        self._looked()
        if sentinel is None:
            return Next(Look.LIST, 0.0)
        self._newest = max(filter(None, (self._newest, sentinel.last_modified)), default=None)
        if self.silent_for(now) > self.policy.abandoned_after:
            return Next(Look.LIST, 0.0)
        return self._poll(Look.HEAD, at)

    def unavailable(self, error: UnavailableError, look: Look, at: float) -> Next:
        """The store did not answer.

        Raises:
            UnavailableError: That has been so for minutes.
            DeadlineError: The time is up.
        """
        self._failing_since = at if self._failing_since is None else self._failing_since
        if at - self._failing_since >= _PATIENCE:
            raise error
        self._pause = self.policy.poll
        self.last_seen = f"the store did not answer ({error.message})"
        return self._poll(look, at)

    def glimpsed(self, sentinel: str, written: datetime | None) -> None:
        """A listing shared with others shows a sentinel."""
        self.sentinel, self.seen, self._newest = sentinel, True, written
        self.last_seen = "its sentinel is there"

    def removed(self) -> Next:
        """An event says that the sentinel was deleted; the listing decides."""
        self.seen = True
        return Next(Look.LIST, 0.0)

    @property
    def begun(self) -> bool:
        """Something of an export was seen."""
        return self.seen or bool(self._files)

    def answered(self) -> None:
        """The store answered a look shared with others."""
        self._failing_since = None

    def silent_for(self, now: datetime) -> float:
        """Seconds since the newest object that was seen beside a sentinel."""
        return 0.0 if self._newest is None else (now - self._newest).total_seconds()

    def _looked(self) -> None:
        self.looks += 1
        self.answered()

    def _read(self, objects: list[ObjectInfo], now: datetime) -> Listing:
        start = len(self.folder.key)
        direct = [item for item in objects if "/" not in item.key[start:]]
        listing = read_listing(direct, now=now, abandoned_after=self.policy.abandoned_after)
        if len(direct) == len(objects):
            return listing
        below = sorted({item.key[start:].rpartition("/")[0] + "/" for item in objects if "/" in item.key[start:]})
        if listing.state is ExportState.NOT_STARTED:
            raise ConfigurationError(
                f"{self.folder} is not an attempt's path: it holds folders ({', '.join(below[:3])}"
                + (", ...)." if len(below) > 3 else ")."),
                hint=f"Name one attempt, for example {self.folder}{below[-1]}",
            )
        return Listing(listing.state, listing.data, (*listing.strangers, *below), listing.sentinels)

    def _settled(self, listing: Listing, at: float) -> CompletedExport | None:
        ids = {item.key.rpartition("/")[2].split("-")[1] for item in listing.data}
        if len(ids) > 1:
            raise VerificationError(
                f"{self.folder} holds files of several exports ({', '.join(sorted(ids))}), which raced for it.",
                hint="Export again, every attempt into a path of its own.",
            )
        if not (self.seen or self.vouched) and (listing.data != self._files or at < self._settles_at):
            return None
        return CompletedExport(
            self.folder, listing.data, listing.strangers, self.seen, self.looks, max(0.0, at - self.began)
        )

    def _settle(self, files: tuple[ObjectInfo, ...], at: float) -> Next:
        if files != self._files:
            self._files, self._settles_at = files, at + self.policy.settle
        return self._within(Next(Look.LIST, self._settles_at - at, settling=True), at)

    def _nothing_there(self, at: float) -> Next:
        self._files = ()
        if self.sentinel is not None:
            # The first listing after the sentinel: it must not be a late one.
            self.sentinel = None
            self._settles_at = at + self.policy.settle
            return self._within(Next(Look.LIST, self.policy.settle, settling=True), at)
        if self.seen and at >= self._settles_at:
            raise ExportError(
                f"The export to {self.folder} was removed: its sentinel is gone, and no data file is there.",
                hint="Export again. A completed export leaves at least one file, even of no rows.",
                details={"path": str(self.folder)},
            )
        limit = self.policy.start_deadline
        if limit is not None and at - self.began >= limit:
            raise self.overdue(started=False)
        return self._poll(Look.LIST, at, limit)

    def _poll(self, look: Look, at: float, limit: float | None = None) -> Next:
        after = self._pause * random.uniform(0.8, 1.0)
        self._pause = min(self.policy.poll, self._pause * _GROWTH)
        if limit is not None:
            after = min(after, self.began + limit - at)
        return self._within(Next(look, after), at)

    def _within(self, step: Next, at: float) -> Next:
        """The step, at the deadline if that comes first."""
        left = self.began + self.policy.deadline - at
        if left <= 0:
            raise self.overdue()
        return replace(step, after=max(0.0, min(step.after, left)))

    def overdue(self, *, started: bool = True) -> DeadlineError:
        """The error of a wait whose time, or whose time to start, is up."""
        if not started:
            return DeadlineError(
                f"No export has begun in {self.folder} within {self.policy.start_deadline:g} s.",
                hint="Check that the COPY was sent, and to this very path; then run the same command again.",
                details={"path": str(self.folder)},
            )
        return DeadlineError(
            f"The export to {self.folder} is not complete after {self.policy.deadline:g} s: {self.last_seen}.",
            hint="If the COPY is still running, run the same command again; if not, export again into a new path.",
            details={"path": str(self.folder), "last_seen": self.last_seen},
        )


def _words(listing: Listing) -> str:
    match listing.state:
        case ExportState.RUNNING:
            return f"its sentinel is there beside {len(listing.data)} data files"
        case ExportState.COMPLETE:
            return f"{len(listing.data)} data files are there, but no sentinel was seen and they have not settled"
        case _:
            if listing.strangers:
                return f"no export has begun there, only {', '.join(listing.strangers[:3])} lies there"
            return "nothing is there"


def _moment(when: datetime | None) -> str:
    return "an unknown time" if when is None else f"{when:%Y-%m-%d %H:%M:%S} UTC"
