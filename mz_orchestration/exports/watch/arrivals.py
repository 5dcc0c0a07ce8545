"""Which exports below a folder have newly completed: pure, told of listings, asked for a small watermark.

One listing of everything below the folder is a look. A watermark is what the next look, perhaps in another process,
must know to name every export once: exports that run or have not settled (``open``), exports that are not to be named
again (``done``), and a moment before which everything was judged (``floor``).

Why the floor is safe: a sentinel is written before everything else in its path. A path that an earlier look did not
show was begun after that look, so all of it is younger, by the store's own clock, than the newest object that look did
show. What is older was seen, and judged, then. So ``done`` holds what was written lately, however much lies there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.sentinel import ExportState
from mz_orchestration.exports.watch.arrival import Arrival, ShownExport, shown_exports
from mz_orchestration.objectstore.client import ObjectInfo
from mz_orchestration.objectstore.location import Location

REQUIRE = ("sentinel", "manifest")

# Of an open export: 0 if its sentinel was seen; else its signature, and since when that has been the same.
_Open = Literal[0] | tuple[str, int]

# Characters: Airflow warns of values of 64 KB. Thousands of exports may run at once, or have just been named.
_ROOM, _ROOM_FOR_OPEN = 60_000, 48_000
_RUNNING_ENTRY, _SETTLING_ENTRY, _DONE_ENTRY = 15, 38, 12
_VERSION = 1


@dataclass(frozen=True, slots=True)
class ArrivalPolicy:
    """When an export counts as arrived; times in seconds.

    Attributes:
        require: ``sentinel``: it is gone, and data is there. ``manifest``: our manifest is there, too.
        settle: How far apart two equal looks must be where no sentinel was ever seen.
        abandoned_after: Without a new object for this long, what is not complete is not waited for any more.
        grace: How long what has arrived is remembered by name, for the clocks of a store's servers differ, and a slow
            replica may write the same files once more.
    """

    require: str = "sentinel"
    settle: float = 5.0
    abandoned_after: float = 24 * 3600.0
    grace: float = 900.0

    def __post_init__(self) -> None:
        if self.require not in REQUIRE:
            raise ConfigurationError(
                f"require: {self.require!r} is neither 'sentinel' nor 'manifest'.",
                hint="Take 'manifest' for exports of this package, 'sentinel' for others.",
            )
        for name, least in (("settle", 0.0), ("abandoned_after", 1.0), ("grace", 1.0)):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not least <= value < float("inf"):
                raise ConfigurationError(f"{name}: {value!r} is not a number of seconds, {least:g} at least.")


class Arrivals:
    """Told of looks, it names the exports that have completed since the look before; the first look names none.

    Args:
        folder: What is watched, with everything below.
        policy: When an export counts as arrived.
        watermark: Of an earlier process; without one, what is complete at the first look counts as old.

    Raises:
        ConfigurationError: The watermark is none of ours.
    """

    def __init__(
        self, folder: Location, policy: ArrivalPolicy | None = None, watermark: dict[str, Any] | None = None
    ) -> None:
        self._folder = folder
        self._policy = policy or ArrivalPolicy()
        self._begun = watermark is not None
        self._floor: int | None = None
        self._open: dict[str, _Open] = {}
        self._done: set[str] = set()
        self._room = _ROOM
        if watermark is not None:
            self._read(watermark)

    def look(self, objects: Iterable[ObjectInfo], now: datetime, took: float = 0.0) -> list[Arrival]:
        """Everything below the folder was listed.

        Args:
            objects: The listing.
            now: When it was complete.
            took: Seconds since its first page was asked for.

        Returns:
            What has completed, and was not named before.
        """
        listed = list(objects)
        arrived: list[Arrival] = []
        opened: dict[str, tuple[_Open, datetime]] = {}
        done: dict[str, int] = {}
        for export in shown_exports(self._folder, listed, now, self._policy.abandoned_after):
            judged = self._judge(export, now)
            if isinstance(judged, Arrival):
                arrived.append(judged)
            if isinstance(judged, Arrival) or judged is None:
                done[export.identity] = int(export.newest.timestamp())
            else:
                opened[export.identity] = judged, export.oldest
        limits = self._keep_open(opened)
        moments = [item.last_modified.timestamp() for item in listed if item.last_modified]
        if moments:
            self._raise_floor(int(min(max(moments) - self._policy.grace - took, *limits)))
        self._keep_done(done)
        self._begun = True
        return arrived

    @property
    def watermark(self) -> dict[str, Any]:
        """What the next process must know: JSON of less than 64 KB."""
        return {
            "version": _VERSION,
            "floor": self._floor,
            "open": {name: entry and list(entry) for name, entry in sorted(self._open.items())},
            "done": sorted(self._done),
        }

    def _judge(self, export: ShownExport, now: datetime) -> Arrival | _Open | None:
        """The arrival, an entry for ``open``, or None for an export that is not to be named, or not again."""
        state = export.listing.state
        if state is ExportState.RUNNING:
            return 0
        known = self._open.get(export.identity)
        if state is ExportState.ABANDONED or len(export.numbers) != 1 or export.identity in self._done:
            return None
        waits = self._policy.require == "manifest" and export.manifest is None
        if waits and (now - export.newest).total_seconds() > self._policy.abandoned_after:
            return None
        if known is None and not waits and self._is_old(export):
            return None
        at = math.ceil(now.timestamp())
        if known is None or (known != 0 and known[0] != export.signature):
            known = (export.signature, at)
        elif known != 0:
            known = (known[0], min(known[1], at))
        # A manifest is written when the files have been verified: nothing is to come after it.
        settled = known == 0 or export.manifest is not None or now.timestamp() - known[1] >= self._policy.settle
        return export.arrival(sentinel_seen=known == 0) if settled and not waits else known

    def _is_old(self, export: ShownExport) -> bool:
        """Never seen under way: complete before the first look of all, or judged by an earlier one."""
        return not self._begun or (self._floor is not None and export.oldest.timestamp() < self._floor)

    def _keep_open(self, opened: dict[str, tuple[_Open, datetime]]) -> list[float]:
        """Keep what there is room for; how far the floor may rise for the others: their turn comes, oldest first."""
        self._room, limits = _ROOM, [math.inf]
        kept: dict[str, _Open] = {}
        for name, (entry, oldest) in sorted(opened.items(), key=lambda each: (each[0] not in self._open, each[1][1])):
            cost = _RUNNING_ENTRY if entry == 0 else _SETTLING_ENTRY
            if self._room - cost < _ROOM - _ROOM_FOR_OPEN:
                limits.append(oldest.timestamp())
            else:
                kept[name] = entry
                self._room -= cost
        self._open = kept
        return limits

    def _keep_done(self, done: dict[str, int]) -> None:
        youngest = sorted(done.items(), key=lambda item: -item[1])
        room = self._room // _DONE_ENTRY
        if len(youngest) > room:
            # Too many at once to remember each: the floor remembers them.
            self._raise_floor(youngest[room][1] + 1)
        self._done = {name for name, newest in youngest[:room] if self._floor is None or newest >= self._floor}

    def _raise_floor(self, to: int) -> None:
        self._floor = to if self._floor is None else max(self._floor, to)

    def _read(self, watermark: dict[str, Any]) -> None:
        try:
            if watermark["version"] != _VERSION:
                raise ValueError(f"version {watermark['version']!r}")
            floor = watermark["floor"]
            self._floor = None if floor is None else int(floor)
            self._open = {
                name: 0 if entry == 0 else (str(entry[0]), int(entry[1])) for name, entry in watermark["open"].items()
            }
            self._done = set(watermark["done"])
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise ConfigurationError(
                f"The watermark of {self._folder} cannot be read ({type(error).__name__}: {error}).",
                hint="Delete it to begin anew; another version of this package wrote it.",
            ) from error
