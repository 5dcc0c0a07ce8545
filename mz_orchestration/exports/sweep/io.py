"""The sweep's requests that are many at a time: records read, objects deleted, uploads aborted.

Objects are deleted one by one, in a few threads: Google's store does not know the request that deletes a thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mz_orchestration.errors import CredentialsError, MzOrchestrationError
from mz_orchestration.exports.sweep.judge import AttemptFolder, is_sentinel
from mz_orchestration.exports.sweep.scan import RecordEntry
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location
from mz_orchestration.runs.record import RunRecord
from mz_orchestration.runs.store import RunStore, StoredRun

THREADS = 8
PERMISSIONS = "Sweeping needs s3:ListBucket, s3:ListBucketMultipartUploads, s3:GetObject, s3:PutObject (run records), "
PERMISSIONS += "s3:DeleteObject and s3:AbortMultipartUpload below the folder."

Records = dict[Location, StoredRun | MzOrchestrationError]
T = TypeVar("T")
R = TypeVar("R")


def read_records(stores: Mapping[Location, RunStore], entries: Iterable[RecordEntry]) -> Records:
    """The records by place, or why one cannot be read; one GET each."""

    def read(entry: RecordEntry) -> tuple[Location, StoredRun | MzOrchestrationError | None]:
        try:
            return entry.location, stores[entry.base].at(entry.location)
        except MzOrchestrationError as error:
            return entry.location, explained(error)

    return {at: found for at, found in in_threads(read, entries) if found is not None}


def find_run(runs: RunStore, folder: AttemptFolder) -> StoredRun | None:
    """The record that knows a folder, as it is now: one listing of the hash's beginning, one GET."""
    found = []
    for item in runs.listed(folder.export, folder.run):
        stored = runs.at(Location(folder.base.bucket, item.key, folder.base.scheme))
        if stored is not None:
            found.append(stored)
    return match_run(folder, found)


def match_run(folder: AttemptFolder, candidates: Iterable[StoredRun]) -> StoredRun | None:
    """The one of the records that names the folder as an attempt's or as its manifest's."""
    for stored in candidates:
        manifest = stored.record.manifest
        if folder.attempt(stored.record) or (manifest and folder.is_at(manifest.get("path"))):
            return stored
    return None


def readable(found: Records) -> list[RunRecord]:
    """The records that could be read."""
    return [each.record for each in found.values() if isinstance(each, StoredRun)]


def abort_uploads(store: ObjectStore, folder: AttemptFolder) -> None:
    """Abort all uploads that a folder was listed with; stops at the first that fails."""
    for upload in folder.uploads:
        store.abort_upload(_at(folder, upload.key), upload.upload_id)


def delete_objects(store: ObjectStore, folder: AttemptFolder) -> None:
    """Delete what Materialize wrote into a folder, sentinels last: until then it shows what it is.

    Stops at the first that fails.
    """
    for last in (False, True):
        places = [_at(folder, item.key) for item in folder.objects if is_sentinel(item) is last]
        in_threads(store.delete, places)


def explained(error: MzOrchestrationError) -> MzOrchestrationError:
    """The error, naming what a sweep needs where the store refused."""
    if isinstance(error, CredentialsError) and "location" in error.details:
        error.hint = PERMISSIONS
    return error


def _at(folder: AttemptFolder, key: str) -> Location:
    return Location(folder.location.bucket, key, folder.location.scheme)


def in_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Call a function for each item, a few at a time; the first that fails ends it."""
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="sweep")
    try:
        return list(pool.map(function, items))
    finally:
        # After an error or an interrupt, what was not begun is not begun any more.
        pool.shutdown(cancel_futures=True)
