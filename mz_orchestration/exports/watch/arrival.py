"""What one listing shows of each export below a folder, and what is told of one that has completed: pure."""

from __future__ import annotations

import zlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from itertools import groupby
from typing import Any

from mz_orchestration.exports.paths import MANIFEST_NAME, is_attempt_folder
from mz_orchestration.exports.sentinel import ExportState, Listing, read_listing
from mz_orchestration.objectstore.client import ObjectInfo
from mz_orchestration.objectstore.location import Location


@dataclass(frozen=True, slots=True)
class Arrival:
    """An export that has completed.

    Attributes:
        folder: Its path.
        export: Its name: of our own exports that of the export, of others the path below the watched folder.
        number: Materialize's own number of it, like ``t12``, which tells exports to the same path apart.
        files: Data files.
        bytes: Their size.
        manifest: Its manifest, where one is there.
        sentinel_seen: A look showed the sentinel, or an event told of it; otherwise the listing has settled.
        completed_at: When the newest data file was written, by the store's clock.
    """

    folder: Location
    export: str
    number: str
    files: int
    bytes: int
    manifest: Location | None
    sentinel_seen: bool
    completed_at: datetime

    def to_payload(self) -> dict[str, Any]:
        """Small values for an event; ``id`` is the same whenever and wherever the export is told of."""
        return {
            "id": f"{self.folder}#{self.number}",
            "path": str(self.folder),
            "bucket": self.folder.bucket,
            "key": self.folder.key,
            "export": self.export,
            "files": self.files,
            "bytes": self.bytes,
            "manifest": str(self.manifest) if self.manifest else None,
            "sentinel_seen": self.sentinel_seen,
            "completed_at": self.completed_at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class ShownExport:
    """A path that an export has begun to write to, as one listing shows it.

    Attributes:
        folder: The path.
        relative: The same below the watched folder.
        listing: What lies there, sorted out.
        numbers: Materialize's numbers of the exports whose files lie there; more than one if they raced.
        manifest: The manifest, if there is one.
        oldest: When the first of what lies there was written, by the store's clock.
        newest: When the last was; manifests, which are ours, do not count.
    """

    folder: Location
    relative: str
    listing: Listing
    numbers: frozenset[str]
    manifest: Location | None
    oldest: datetime
    newest: datetime

    @property
    def identity(self) -> str:
        """Short, for thousands must fit into a watermark; with the number, for paths are cleared and used again."""
        text = "\n".join((self.relative, *sorted(self.numbers)))
        return urlsafe_b64encode(blake2b(text.encode(), digest_size=6).digest()).decode()

    @property
    def signature(self) -> str:
        """Changes with the data files."""
        return f"{zlib.crc32(repr([(item.key, item.size, item.etag) for item in self.listing.data]).encode()):08x}"

    def arrival(self, *, sentinel_seen: bool) -> Arrival:
        """What to tell of it, once it is complete."""
        name = self.relative.rstrip("/")
        parent, _, last = name.rpartition("/")
        if is_attempt_folder(last):
            # An attempt right below the watched folder: that is the export's.
            name = parent or self.folder.parent.name
        return Arrival(
            folder=self.folder,
            export=name or self.folder.name,
            number=min(self.numbers),
            files=len(self.listing.data),
            bytes=sum(item.size for item in self.listing.data),
            manifest=self.manifest,
            sentinel_seen=sentinel_seen,
            completed_at=self.newest,
        )


def shown_exports(
    base: Location, objects: Iterable[ObjectInfo], now: datetime, abandoned_after: float | None = None
) -> Iterator[ShownExport]:
    """The exports that have begun, below or in a folder.

    Args:
        base: The watched folder.
        objects: What lies below it, or below a part of it.
        now: The present moment.
        abandoned_after: See `read_listing`.
    """
    # Among keys in order, those of one folder may stand on both sides of the folders below it.
    for key, members in groupby(sorted(objects, key=_folder_key), key=_folder_key):
        found = list(members)
        listing = read_listing(found, now=now, abandoned_after=abandoned_after)
        if listing.state is ExportState.NOT_STARTED:
            continue
        folder = Location(base.bucket, key, base.scheme)
        items = (*listing.data, *listing.sentinels)
        names = (item.key[len(key) :].split("-") for item in items)
        moments = [item.last_modified for item in items if item.last_modified] or [now]
        yield ShownExport(
            folder=folder,
            relative=key[len(base.key) :],
            listing=listing,
            numbers=frozenset(name[1] for name in names if name[0] == "mz"),
            manifest=folder.child(MANIFEST_NAME) if any(i.key == key + MANIFEST_NAME for i in found) else None,
            oldest=min(moments),
            newest=max(moments),
        )


def judge_path(folder: Location, objects: Iterable[ObjectInfo], now: datetime, base: Location) -> Arrival | ExportState:
    """What a look at one path, whose sentinel an event says was deleted, means.

    Args:
        folder: The path.
        objects: What lies there.
        now: The present moment.
        base: The watched folder above it.

    Returns:
        The arrival; else why there is none: an export is still ``RUNNING``, or ``NOT_STARTED`` where nothing, or files
        of several exports, lie there.
    """
    for export in shown_exports(base, objects, now):
        if export.folder == folder:
            if export.listing.state is not ExportState.COMPLETE:
                return export.listing.state
            if len(export.numbers) == 1:
                return export.arrival(sentinel_seen=True)
    return ExportState.NOT_STARTED


def _folder_key(item: ObjectInfo) -> str:
    return item.key[: item.key.rfind("/") + 1]
