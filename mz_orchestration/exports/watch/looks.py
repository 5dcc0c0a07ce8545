"""The blocking half of a `Watcher`: what its threads do with the waits they are handed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from mz_orchestration.errors import MzOrchestrationError
from mz_orchestration.exports.watch.heads import Heads, SignedHead
from mz_orchestration.exports.watch.pages import KeyPages
from mz_orchestration.exports.watch.scan import Scan, Wanted, scan, shared_groups
from mz_orchestration.exports.watch.state import CompletedExport, Watch
from mz_orchestration.objectstore.location import Location

# A wait with too few neighbours to share a page is asked for by HEAD for so many polls; twice as many each time.
ALONE, LONGEST_ALONE = 12, 720


@dataclass(slots=True, eq=False)
class OpenWait:
    """A wait under way.

    Attributes:
        watch: What is known about its path.
        answer: What its caller awaits.
        timers: Deadlines and the like, to be cancelled at the end.
        settling: A timer will look at it; rounds leave it alone.
        alone: For so many rounds it is asked for by HEAD.
        alone_for: How many that were last time.
        signed: The sentinel's address.
        looking: The look under way.
    """

    watch: Watch
    answer: asyncio.Future[CompletedExport]
    timers: list[asyncio.TimerHandle] = field(default_factory=list)
    settling: bool = False
    alone: int = 0
    alone_for: int = ALONE // 2
    signed: SignedHead = field(default_factory=SignedHead)
    looking: asyncio.Task[None] | None = None

    @property
    def polls(self) -> bool:
        """It is not about to be looked at by itself."""
        return not (self.settling or (self.looking is not None and not self.looking.done()))


def _wanted(wait: OpenWait) -> Wanted:
    return Wanted(wait.watch.folder.key, wait.watch.sentinel)


def grouped(waits: Sequence[OpenWait], refused: set[str]) -> tuple[list[tuple[str, list[OpenWait]]], list[OpenWait]]:
    """Groups below a common parent, and those that share with nobody; see `shared_groups`."""
    of: dict[str, list[OpenWait]] = {}
    for wait in waits:
        of.setdefault(wait.watch.folder.key, []).append(wait)
    groups, single = shared_groups([_wanted(same[0]) for same in of.values()], refused)
    return (
        [(prefix, [wait for item in group for wait in of[item.folder]]) for prefix, group in groups],
        [wait for item in single for wait in of[item.folder]],
    )


def scanned(pages: KeyPages, prefix: Location, group: Sequence[OpenWait]) -> Scan:
    """One shared look at a group, page by page."""
    distinct = {wanted.folder: wanted for wanted in map(_wanted, group)}
    looking = scan(sorted(distinct.values(), key=lambda item: item.position))
    try:
        start = next(looking)
        while True:
            start = looking.send(pages.read(prefix, start))
    except StopIteration as stop:
        result: Scan = stop.value
        return result


def headed(heads: Heads, waits: Sequence[OpenWait]) -> list[tuple[OpenWait, Exception | None]]:
    """Ask for the sentinels of waits one after another; those that are gone, or could not be asked for."""
    changed: list[tuple[OpenWait, Exception | None]] = []
    for wait in waits:
        folder, sentinel = wait.watch.folder, wait.watch.sentinel
        if sentinel is None:
            continue
        try:
            if not heads.is_there(Location(folder.bucket, sentinel, folder.scheme), wait.signed):
                changed.append((wait, None))
        except MzOrchestrationError as error:
            changed.append((wait, error))
    return changed
