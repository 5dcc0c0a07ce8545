"""Sorting what lies below a folder: attempts of exports, run records, and what is none of ours.

The folder may be what exports go ``--to`` or a single export below it. Only what is recognised by its full name is
ours; everything else is counted and left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from mz_orchestration.exports.paths import LATEST_NAME, MANIFEST_NAME
from mz_orchestration.exports.sweep.judge import AttemptFolder, attempt_name, is_materialize_name
from mz_orchestration.objectstore.client import ObjectInfo, Upload
from mz_orchestration.objectstore.location import Location
from mz_orchestration.runs.key import RUNS_FOLDER

_RECORD = re.compile(r"[0-9a-f]{32}\.json")


@dataclass(frozen=True, slots=True)
class RecordEntry:
    """A run record as a listing shows it."""

    location: Location
    base: Location
    export: str
    written: datetime | None

    @property
    def run(self) -> str:
        """How the hash of its run key begins, as in the names of its attempts."""
        return self.location.name[:8]


@dataclass(slots=True)
class _Found:
    finished: bool = False
    objects: list[ObjectInfo] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)
    others: int = 0


@dataclass(frozen=True, slots=True)
class _Place:
    folder: Location
    base: Location
    export: str
    name: str


class Scan:
    """Takes listings in, page by page, and sorts them.

    Attributes:
        records: The run records among them.
        others: How many objects are not ours.
        other_uploads: How many unfinished uploads are not ours.
    """

    def __init__(self, root: Location) -> None:
        self.root = root
        self.records: list[RecordEntry] = []
        self.others = 0
        self.other_uploads = 0
        self._found: dict[_Place, _Found] = {}

    def add_objects(self, objects: Iterable[ObjectInfo]) -> None:
        """Sort a page of a listing of the root, in key order."""
        for item in objects:
            place = self._place(item.key)
            if place is None:
                self._take_record(item)
                continue
            name = place.name
            found = self._at(place)
            if name == MANIFEST_NAME:
                # Its files are not looked at: a million of them would only take memory.
                found.finished, found.objects = True, []
            elif not is_materialize_name(name):
                found.others += 1
                self.others += 1
            elif not found.finished:
                found.objects.append(item)

    def add_uploads(self, uploads: Iterable[Upload]) -> None:
        """Sort unfinished uploads below the root."""
        for upload in uploads:
            place = self._place(upload.key)
            if place is None or not is_materialize_name(place.name):
                self.other_uploads += 1
            else:
                self._at(place).uploads.append(upload)

    def add_records(self, base: Location, export: str, listed: Iterable[ObjectInfo]) -> None:
        """Take in a listing of the records of one export."""
        for item in listed:
            if _RECORD.fullmatch(item.key.rpartition("/")[2]):
                at = Location(base.bucket, item.key, base.scheme)
                self.records.append(RecordEntry(at, base, export, item.last_modified))

    def folders(self) -> list[AttemptFolder]:
        """The attempts' folders that hold something of ours, oldest first within an export."""
        folders = []
        for place, found in self._found.items():
            named = attempt_name(place.folder.name)
            if named is None or not (found.finished or found.objects or found.uploads):
                continue
            folders.append(
                AttemptFolder(
                    place.folder,
                    place.base,
                    place.export,
                    *named,
                    finished=found.finished,
                    objects=tuple(found.objects),
                    uploads=tuple(found.uploads),
                    others=found.others,
                )
            )
        return sorted(folders, key=lambda folder: folder.location.key)

    def _at(self, place: _Place) -> _Found:
        return self._found.setdefault(_Place(place.folder, place.base, place.export, ""), _Found())

    def _place(self, key: str) -> _Place | None:
        parts = key.removeprefix(self.root.key).split("/")
        if len(parts) == 3 and parts[0] != RUNS_FOLDER and attempt_name(parts[1]):
            return _Place(self.root.child(f"{parts[0]}/{parts[1]}/"), self.root, parts[0], parts[2])
        if len(parts) == 2 and attempt_name(parts[0]) and self.root.parent.key:
            return _Place(self.root.child(f"{parts[0]}/"), self.root.parent, self.root.name, parts[1])
        return None

    def _take_record(self, item: ObjectInfo) -> None:
        """A run record, something else that exports write down outside of attempts, or not ours."""
        parts = item.key.removeprefix(self.root.key).split("/")
        if parts[0] == RUNS_FOLDER and len(parts) == 3:
            self.add_records(self.root, parts[1], [item])
        elif not parts[0].startswith(".") and parts[-1] != LATEST_NAME:
            self.others += 1


def look_again(folder: AttemptFolder, objects: Iterable[ObjectInfo], uploads: Iterable[Upload]) -> AttemptFolder:
    """The folder as fresh listings show it."""
    scan = Scan(folder.location.parent)
    scan.add_objects(objects)
    scan.add_uploads(uploads)
    empty = AttemptFolder(folder.location, folder.base, folder.export, folder.began, folder.run)
    return next(iter(scan.folders()), empty)
