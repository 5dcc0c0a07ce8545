"""Statistics of an export by its files: every value of every column is read, a few thousand rows at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from importlib import import_module

from mz_orchestration.errors import DeadlineError, MzOrchestrationError, NotFoundError, VerificationError
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.sentinel import read_listing
from mz_orchestration.exports.spec import CsvOptions
from mz_orchestration.exports.statistics.csv import csv_batches
from mz_orchestration.exports.statistics.model import Source, Statistics
from mz_orchestration.exports.statistics.tally import Tally
from mz_orchestration.exports.verify.files import CHANGED, in_threads
from mz_orchestration.exports.verify.parquet import CHUNK, column_batches, open_parquet
from mz_orchestration.exports.verify.result import AGAIN
from mz_orchestration.objectstore.client import ObjectInfo, ObjectStore
from mz_orchestration.objectstore.location import Location

# Decoding is work, and each thread keeps a file in the temporary folder.
_THREADS = 4
# A record of CSV must fit into one block.
_BLOCKS = (4 << 20, 64 << 20, 512 << 20)


def file_statistics(
    store: ObjectStore, manifest: Manifest, *, timeout: float, stop: threading.Event | None = None
) -> Statistics:
    """Statistics of all files of a manifest together.

    Args:
        store: Where they lie.
        manifest: Which they are.
        timeout: Seconds this may take.
        stop: Ends it early when it is set.

    Raises:
        VerificationError: A file is gone, damaged, or has another number of rows than the manifest says.
        DeadlineError: ``timeout`` passed.
    """
    stop = stop or threading.Event()
    deadline = time.monotonic() + timeout

    def alive() -> None:
        if stop.is_set() or time.monotonic() >= deadline:
            raise DeadlineError(
                f"The files in {manifest.path} were not read within {timeout:g} seconds.",
                hint="Allow more time, or export with --statistics, which spares reading them.",
            )

    folder = manifest.folder
    there = {item.key.removeprefix(folder.key): item for item in read_listing(store.list_objects(folder)).data}
    gone = [file.name for file in manifest.files if file.name not in there]
    if gone:
        raise VerificationError(f"{gone[0]} in {folder} is gone.", hint=AGAIN)
    # Once, before many threads ask for it.
    import_module("pyarrow.parquet")
    reader = _Reader(store, manifest, alive)
    totals = [Tally(column) for column in manifest.columns]
    for tallies in in_threads(reader.read, [there[file.name] for file in manifest.files], _THREADS, stop):
        for total, tally in zip(totals, tallies, strict=True):
            total.merge(tally)
    return Statistics(source=Source.FILES, columns=tuple(total.statistics() for total in totals))


class _Reader:
    """Counts up one file; for several threads at once.

    Args:
        store: Where the files lie.
        manifest: What they are.
        alive: Raises when it is time to end.
    """

    def __init__(self, store: ObjectStore, manifest: Manifest, alive: Callable[[], None]) -> None:
        self._store = store
        self._manifest = manifest
        self._alive = alive
        self._rows = {file.name: file.rows for file in manifest.files}

    def read(self, file: ObjectInfo) -> list[Tally]:
        """What each column holds.

        Raises:
            VerificationError: The file is damaged, changes, or is not the one of the manifest.
        """
        folder = self._manifest.folder
        at = Location(folder.bucket, file.key, folder.scheme)
        try:
            tallies = self._csv(file, at) if self._manifest.format == "csv" else self._parquet(file, at)
        except MzOrchestrationError as error:
            if isinstance(error, NotFoundError) or error.details.get("code") in CHANGED:
                raise VerificationError(
                    f"{at} was written again, or removed, while it was read.",
                    hint="Run the same command again.",
                    retryable=True,
                ) from error
            raise
        expected = self._rows[at.name]
        wrong = [tally for tally in tallies if expected is not None and tally.rows != expected]
        if wrong:
            raise VerificationError(
                f"{at} holds {wrong[0].rows} values of the column {wrong[0].column.name} where the manifest says "
                f"{expected}.",
                hint=AGAIN,
            )
        return tallies

    def _parquet(self, file: ObjectInfo, at: Location) -> list[Tally]:
        tallies = [Tally(column) for column in self._manifest.columns]
        with open_parquet(self._chunks(file, at), at, file.size, self._manifest.columns) as (parquet, _):
            for number in range(parquet.num_row_groups):
                for tally in tallies:
                    for batch in column_batches(parquet, number, tally.column.name):
                        self._alive()
                        tally.add(batch.column(0))
        return tallies

    def _csv(self, file: ObjectInfo, at: Location) -> list[Tally]:
        import pyarrow

        for block in _BLOCKS:
            try:
                return self._csv_in_blocks(file, at, block)
            except pyarrow.ArrowInvalid as error:
                if "straddl" not in str(error):
                    break
        # What Arrow says would quote the record.
        raise VerificationError(f"{at} cannot be read as CSV of the columns that were exported.", hint=AGAIN)

    def _csv_in_blocks(self, file: ObjectInfo, at: Location, block: int) -> list[Tally]:
        tallies = [Tally(column) for column in self._manifest.columns]
        if file.size and tallies:
            csv = self._manifest.csv or CsvOptions()
            for batch in csv_batches(self._chunks(file, at), len(tallies), csv, block):
                for tally, values in zip(tallies, batch.columns, strict=True):
                    tally.add(values)
        return tallies

    def _chunks(self, file: ObjectInfo, at: Location) -> Iterator[bytes]:
        for chunk in self._store.stream(at, file.etag, CHUNK):
            self._alive()
            yield chunk
