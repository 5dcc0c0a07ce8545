"""Shared looks: how one listing answers for many awaited paths. Pure; the requests are made by whoever drives it.

A page of a listing below a common parent says something about every awaited path whose keys fall into it. The next
page starts at the first path not yet answered for (``StartAfter``), so keys nobody waits for are skipped, and there are
never more requests than paths. Where pages answer for too few paths, a HEAD for each is cheaper.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import groupby, takewhile

from mz_orchestration.exports.sentinel import SENTINEL_SUFFIX

# One page of a thousand keys takes the client about eight times as long as a HEAD, and AWS asks twelve times the price.
SHARE_AT_LEAST = 8
_LONGEST_SKIP = 256


@dataclass(frozen=True, slots=True)
class Wanted:
    """One awaited path: the key of its folder, and of its sentinel if that is known."""

    folder: str
    sentinel: str | None = None

    @property
    def position(self) -> str:
        """The first key that says something about it."""
        return self.sentinel or self.folder

    @property
    def start_after(self) -> str:
        """A listing that starts behind this key begins at the position."""
        return self.sentinel[:-1] if self.sentinel else self.folder


@dataclass(frozen=True, slots=True)
class KeyPage:
    """One page of a listing: keys in order, when the sentinels among them were written, and whether there are more."""

    keys: Sequence[str]
    sentinels: dict[str, datetime | None]
    more: bool


@dataclass(slots=True)
class Scan:
    """What the pages said. Paths that are named nowhere are as they were: sentinel still there, or nothing yet.

    Attributes:
        found: Paths where a sentinel was found that was not known.
        changed: Paths whose sentinel is gone, or where there are files without one: look at them.
        unanswered: Paths that no page answered for: look at them one by one.
        sparse: Paths among so many other objects that a page answers for few of them: look at them one by one for a
            while. Those that no page answered for are among them.
    """

    found: dict[str, tuple[str, datetime | None]] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    sparse: list[str] = field(default_factory=list)


def shared_groups(
    wanted: Iterable[Wanted], refused: Collection[str] = (), at_least: int = SHARE_AT_LEAST
) -> tuple[list[tuple[str, list[Wanted]]], list[Wanted]]:
    """Sort the paths of one bucket into groups below a common parent, and those to be asked for one by one.

    Args:
        wanted: The paths.
        refused: Prefixes that we may not list. A bucket's root counts as one: who may list an export's folder often may
            not list the bucket.
        at_least: How many paths make a group.

    Returns:
        Prefixes with the paths below, in the order of their positions; and the others.
    """
    groups: list[tuple[str, list[Wanted]]] = []
    single: list[Wanted] = []
    left = [sorted(wanted, key=lambda item: item.folder)]
    while left:
        members = left.pop()
        if len(members) < at_least:
            single.extend(members)
            continue
        prefix = _common_parent(members[0].folder, members[-1].folder)
        if prefix and prefix not in refused:
            groups.append((prefix, sorted(members, key=lambda item: item.position)))
            continue
        names = partial(_segment, len(prefix))
        below = [list(group) for _, group in groupby(members, key=names)]
        if len(below) == 1:  # one path that is the parent of the others
            single.extend(members)
        else:
            left.extend(below)
    return groups, single


def _common_parent(first: str, last: str) -> str:
    """The deepest folder that holds both; of a sorted list, all."""
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(first.split("/")[:-1], last.split("/")[:-1], strict=False))
    return "".join(f"{segment}/" for segment, _ in shared)


def _segment(start: int, item: Wanted) -> str:
    return item.folder[start:].partition("/")[0]


def scan(wanted: Sequence[Wanted], at_least: int = SHARE_AT_LEAST) -> Generator[str, KeyPage, Scan]:
    """Look at paths in the order of their positions: yields where a page must start, is sent the page."""
    result = Scan()
    at = skipped = 0
    while at < len(wanted):
        page = yield wanted[at].start_after
        present = set(page.keys)
        begin = at
        while at < len(wanted) and _answers(page, wanted[at]):
            _read(page, present, wanted[at], result)
            at += 1
        if not page.more or _is_dense(page, wanted, begin, at, at_least):
            skipped = 0
            continue
        # Sparse here, so probably sparse further on: pages are tried at ever longer distances.
        skipped = min(_LONGEST_SKIP, max(1, 2 * skipped))
        end = max(at, begin + 1) + skipped - 1
        result.unanswered.extend(item.folder for item in wanted[at:end])
        result.sparse.extend(item.folder for item in wanted[begin:end])
        at = max(at, min(end, len(wanted)))
    return result


def _is_dense(page: KeyPage, wanted: Sequence[Wanted], begin: int, end: int, at_least: int) -> bool:
    """Whether a page answered for enough paths; of the last page, only what was needed of it counts."""
    needed = len(page.keys)
    if begin < end == len(wanted):
        needed = bisect_right(page.keys, wanted[-1].position)
    return (end - begin) * len(page.keys) >= at_least * max(1, needed)


def _answers(page: KeyPage, item: Wanted) -> bool:
    """Whether the page reaches far enough."""
    if not page.more:
        return True
    last = page.keys[-1] if page.keys else ""
    if item.sentinel is not None:
        return item.sentinel <= last
    # Behind all of the folder, or within it: then what is seen of it is enough to know that it has begun.
    return last > item.folder


def _read(page: KeyPage, present: set[str], item: Wanted, result: Scan) -> None:
    if item.sentinel is not None:
        if item.sentinel not in present:
            result.changed.append(item.folder)
        return
    begun = False
    for index in range(bisect_right(page.keys, item.folder), len(page.keys)):
        key = page.keys[index]
        if not key.startswith(item.folder):
            break
        begun = True
        if key.endswith(SENTINEL_SUFFIX) and "/" not in key[len(item.folder) :]:
            result.found[item.folder] = (key, page.sentinels.get(key))
            return
    if begun:
        result.changed.append(item.folder)
