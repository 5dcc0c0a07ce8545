"""What a listing of an attempt's path says about the export: a pure function of names.

While Materialize writes ``mz-t<N>-batch-....parquet`` it keeps ``mz-t<N>-INCOMPLETE`` beside them, and deletes it
last. N is not told to the client, a small export's sentinel lives for milliseconds, and a sentinel that is gone may
never have been there: absence alone never means done.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mz_orchestration.exports.paths import MANIFEST_NAME
from mz_orchestration.objectstore.client import ObjectInfo

SENTINEL_SUFFIX = "-INCOMPLETE"
_DATA = re.compile(r"mz-(t\d+)-batch-\d{4,}-\d{4,}\.(?:parquet|csv)")


class ExportState(StrEnum):
    """What an attempt's path shows."""

    EMPTY = "empty"  # not begun, or refused before anything was written
    RUNNING = "running"  # the sentinel is there: being written, or abandoned half-way
    COMPLETE = "complete"  # data files and no sentinel


@dataclass(frozen=True, slots=True)
class Listing:
    """An attempt's path, sorted out.

    Attributes:
        state: What it means.
        data: The data files.
        strangers: Objects that belong to no single export of Materialize.
    """

    state: ExportState
    data: tuple[ObjectInfo, ...]
    strangers: tuple[str, ...]


def read_listing(objects: Iterable[ObjectInfo]) -> Listing:
    """Decide what the objects under one attempt's path mean."""
    data: list[ObjectInfo] = []
    strangers: list[str] = []
    exports: set[str] = set()
    sentinel = False
    for item in objects:
        name = item.key.rpartition("/")[2]
        if name.endswith(SENTINEL_SUFFIX):
            sentinel = True
        elif match := _DATA.fullmatch(name):
            exports.add(match[1])
            data.append(item)
        elif name and name != MANIFEST_NAME:
            strangers.append(name)
    if len(exports) > 1:
        strangers.extend(sorted(exports))
    state = ExportState.RUNNING if sentinel else ExportState.COMPLETE if data else ExportState.EMPTY
    return Listing(state, tuple(sorted(data, key=lambda item: item.key)), tuple(strangers))
