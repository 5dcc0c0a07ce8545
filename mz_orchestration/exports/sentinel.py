"""What a listing of an attempt's path says about the export: a pure function of names and times.

While Materialize writes ``mz-t<N>-batch-....parquet`` it keeps ``mz-t<N>-INCOMPLETE`` beside them, and deletes it
last. N is not told to the client, a small export's sentinel lives for milliseconds, a failed export's stays for ever,
and a sentinel that is gone may never have been there: absence alone never means done.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from mz_orchestration.exports.paths import MANIFEST_NAME
from mz_orchestration.objectstore.client import ObjectInfo

SENTINEL_SUFFIX = "-INCOMPLETE"
_SENTINEL = re.compile(r"mz-(t\d+)-INCOMPLETE")
_DATA = re.compile(r"mz-(t\d+)-batch-\d{4,}-\d{4,}\.(?:parquet|csv)")
# Materialize deletes this key to learn whether it may delete; versioned buckets answer with a delete marker.
_PROBE = re.compile(r"mz-t\d+-batch-0000-0000\.delete_object_test")


class ExportState(StrEnum):
    """What an attempt's path shows."""

    NOT_STARTED = "not started"  # not begun, or refused before anything was written
    RUNNING = "running"  # the sentinel is there
    COMPLETE = "complete"  # data files and no sentinel
    ABANDONED = "abandoned"  # the sentinel is there, and nothing was written for longer than an export may take


@dataclass(frozen=True, slots=True)
class Listing:
    """An attempt's path, sorted out.

    Attributes:
        state: What it means.
        data: The data files.
        strangers: Objects that belong to no single export of Materialize.
        sentinels: The sentinels; more than one where two exports raced for the path.
    """

    state: ExportState
    data: tuple[ObjectInfo, ...]
    strangers: tuple[str, ...]
    sentinels: tuple[ObjectInfo, ...] = ()

    @property
    def newest(self) -> datetime | None:
        """When the export wrote there last, by the store's clock."""
        return max((item.last_modified for item in (*self.sentinels, *self.data) if item.last_modified), default=None)


def read_listing(
    objects: Iterable[ObjectInfo], *, now: datetime | None = None, abandoned_after: float | None = None
) -> Listing:
    """Decide what the objects under one attempt's path mean.

    Args:
        objects: The listing, in any order.
        now: The present moment; without it, and without ``abandoned_after``, nothing counts as abandoned.
        abandoned_after: Seconds without a new object after which an export with a sentinel counts as dead.
    """
    data: list[ObjectInfo] = []
    strangers: list[str] = []
    sentinels: list[ObjectInfo] = []
    exports: set[str] = set()
    for item in objects:
        name = item.key.rpartition("/")[2]
        if name.endswith(SENTINEL_SUFFIX):
            sentinels.append(item)
            if match := _SENTINEL.fullmatch(name):
                exports.add(match[1])
        elif match := _DATA.fullmatch(name):
            exports.add(match[1])
            data.append(item)
        elif name and name != MANIFEST_NAME and not _PROBE.fullmatch(name):
            strangers.append(name)
    strangers.sort()
    if len(exports) > 1:
        strangers.extend(sorted(exports))
    state = ExportState.RUNNING if sentinels else ExportState.COMPLETE if data else ExportState.NOT_STARTED
    listing = Listing(state, _sorted(data), tuple(strangers), _sorted(sentinels))
    if state is ExportState.RUNNING and now is not None and abandoned_after is not None:
        newest = listing.newest
        if newest is not None and now - newest > timedelta(seconds=abandoned_after):
            return Listing(ExportState.ABANDONED, listing.data, listing.strangers, listing.sentinels)
    return listing


def _sorted(objects: list[ObjectInfo]) -> tuple[ObjectInfo, ...]:
    return tuple(sorted(objects, key=lambda item: item.key))
