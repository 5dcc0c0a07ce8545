"""Run records in the object store, each guarded by conditional writes.

A record is read with its ETag and written back only over that version: of two processes that work on one run, the
second to write learns of the first. Reading is one GET, writing one PUT.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from mz_orchestration.errors import NotFoundError, RunConflictError, VerificationError
from mz_orchestration.objectstore.client import ObjectInfo, ObjectStore, PreconditionFailed
from mz_orchestration.objectstore.location import Location
from mz_orchestration.runs.key import RUNS_FOLDER, record_location, run_key_hash
from mz_orchestration.runs.record import LoadEntry, LoadState, RunRecord
from mz_orchestration.validation import describe_validation


@dataclass(slots=True)
class StoredRun:
    """A record together with the version it was read as; ``etag`` is None until first written."""

    record: RunRecord
    location: Location
    etag: str | None


def put_over(store: ObjectStore, at: Location, body: bytes, etag: str | None) -> str:
    """Write an object over the version with an ETag, or over nothing, and return the new ETag.

    Raises:
        PreconditionFailed: Somebody else has written it.
    """
    try:
        return store.put(at, body, if_match=etag, create=etag is None)
    except PreconditionFailed:
        # The answer to a write may be lost, and the client sends it again: then what is in the way is our own.
        there, now = store.get(at)
        if there == body:
            return now
        raise


class RunStore:
    """The records below one base folder."""

    def __init__(self, store: ObjectStore, base: Location) -> None:
        self._store = store
        self._base = base

    def find(self, export: str, run_key: str) -> StoredRun | None:
        """The record of a run, or None.

        Raises:
            NotFoundError: The bucket does not exist.
            VerificationError: What lies there is no run record.
        """
        return self.at(record_location(self._base, export, run_key))

    def at(self, location: Location) -> StoredRun | None:
        """The record at a place that a listing showed, or None if it has gone since.

        Raises:
            NotFoundError: The bucket does not exist.
            VerificationError: What lies there is no run record.
        """
        try:
            return self._read(location)
        except NotFoundError as error:
            if error.details.get("code") == "NoSuchBucket":
                raise
            return None

    def save(self, run: StoredRun, now: datetime) -> None:
        """Write the record over the version it was read as.

        Raises:
            RunConflictError: Another process has written it since.
        """
        run.record.updated_at = now
        body = run.record.model_dump_json(indent=1).encode()
        try:
            run.etag = put_over(self._store, run.location, body, run.etag)
        except PreconditionFailed as error:
            raise RunConflictError(
                f"Another process is working on the run {run.record.run_key!r} of {run.record.object}.",
                hint="Let it finish ('mz-orchestration runs show KEY --at FOLDER' tells), then run the command again.",
                retryable=True,
            ) from error

    def put_load(self, export: str, run_key: str, entry: LoadEntry, now: datetime, *, begins: bool = False) -> None:
        """Write down how a load stands, over and over if loads into other targets write at the same time.

        A run whose record is gone is left without one.

        Args:
            export: The export.
            run_key: The run.
            entry: How the load stands.
            now: The moment.
            begins: It takes the place of whatever load was there.

        Raises:
            RunConflictError: Another load has taken its place, it was cancelled, or others kept writing.
        """
        for last in (False,) * 9 + (True,):
            run = self.find(export, run_key)
            if run is None:
                return
            there = run.record.loads.get(entry.target)
            if there is not None and entry.state is LoadState.STARTED and not begins:
                refuse_lost_load(there, entry)
            if there is None or there.load == entry.load:
                run.record.loads[entry.target] = entry
            elif entry.state is LoadState.FAILED and there.state is not LoadState.FAILED:
                # Another process goes on with the same files, or has published them; what we leave is not forgotten.
                there.leftovers = _joined(there.leftovers, entry.leftovers)
            else:
                entry.leftovers = _joined(there.leftovers, entry.leftovers)
                run.record.loads[entry.target] = entry
            try:
                return self.save(run, now)
            except RunConflictError:
                if last:
                    raise

    def remove_load(self, export: str, run_key: str, entry: LoadEntry, now: datetime) -> None:
        """Forget a load that could not begin, unless another has taken its place; what others left is kept.

        Raises:
            RunConflictError: Somebody else wrote the record at the same time.
        """
        run = self.find(export, run_key)
        there = run.record.loads.get(entry.target) if run else None
        if run is not None and there is not None and there.load == entry.load:
            del run.record.loads[entry.target]
            self.save(run, now)

    def recent(self, limit: int) -> tuple[list[RunRecord], list[VerificationError]]:
        """The records written last, newest first, and what is wrong with those that cannot be read.

        One listing, and one GET each.
        """
        found = self._store.list_objects(self._base.child(f"{RUNS_FOLDER}/"))
        found.sort(key=lambda item: (item.last_modified is not None, item.last_modified), reverse=True)
        records: list[RunRecord] = []
        unreadable: list[VerificationError] = []
        for item in found[:limit]:
            try:
                records.append(self._read(self._at(item.key)).record)
            except VerificationError as error:
                unreadable.append(error)
        return records, unreadable

    def written_since(self, export: str, since: datetime) -> list[RunRecord]:
        """The records of an export's runs that were written since a moment, leaving out what is not readable.

        One listing, and one GET each.
        """
        found: list[RunRecord] = []
        for item in self._store.list_objects(self._base.child(f"{RUNS_FOLDER}/{export}/")):
            if item.last_modified is None or item.last_modified >= since:
                with suppress(VerificationError, NotFoundError):
                    found.append(self._read(self._at(item.key)).record)
        return found

    def listed(self, export: str | None = None, hash_prefix: str = "") -> list[ObjectInfo]:
        """The records below the base, or of one export, or those whose run key's hash begins so.

        One request per thousand.
        """
        within = "" if export is None else f"{export}/{hash_prefix}"
        return self._store.list_objects(self._base.child(f"{RUNS_FOLDER}/{within}"))

    def with_key(self, run_key: str) -> list[RunRecord]:
        """The records of all exports that share a run key; one listing and one GET each."""
        name = f"/{run_key_hash(run_key)}.json"
        found = self._store.list_objects(self._base.child(f"{RUNS_FOLDER}/"))
        return [self._read(self._at(item.key)).record for item in found if item.key.endswith(name)]

    def _at(self, key: str) -> Location:
        return Location(self._base.bucket, key, self._base.scheme)

    def _read(self, location: Location) -> StoredRun:
        body, etag = self._store.get(location)
        try:
            return StoredRun(RunRecord.model_validate_json(body), location, etag)
        except ValidationError as error:
            raise VerificationError(
                f"{location} is not a run record: {describe_validation(error)}",
                hint="Move that object away, or use a different --run-key.",
            ) from error


def refuse_lost_load(there: LoadEntry, ours: LoadEntry) -> None:
    """Make sure that a load is still ours to go on with.

    Raises:
        RunConflictError: Another has taken its place, or somebody has ended it.
    """
    if there.load == ours.load and there.state is LoadState.STARTED:
        return
    how = "was cancelled" if there.load == ours.load else "was taken over by another process"
    raise RunConflictError(
        f"The load into {ours.target} {how}.",
        hint="Run the same command again: it finds out how far the load has come.",
        retryable=True,
    )


def _joined(first: list[str], second: list[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))
