"""Verifying exported files: that they are whole, hold the columns that were exported, and how many rows.

Every request is conditional on the ETag of the listing. Where a cluster has more than one replica, a slower one may
write the same files again after the export has succeeded: then the folder is listed and the files concerned are
verified once more, and what they hold must be what it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TypeVar

from mz_orchestration.errors import MzOrchestrationError, NotFoundError, VerificationError
from mz_orchestration.exports.sentinel import ExportState, read_listing
from mz_orchestration.exports.spec import CsvOptions
from mz_orchestration.exports.verify.csv import count_records, with_columns
from mz_orchestration.exports.verify.parquet import SMALLEST, FooterReader, decode
from mz_orchestration.exports.verify.result import AGAIN, Counted, CountedBy, Verified
from mz_orchestration.exports.verify_level import VerifyLevel
from mz_orchestration.materialize.types import Column
from mz_orchestration.objectstore.client import ObjectInfo, ObjectStore
from mz_orchestration.objectstore.location import Location
from mz_orchestration.objectstore.ranges import TailReader

T = TypeVar("T")

ROUNDS = 3
# Reading a footer is nearly all waiting; counting and decoding is work.
_FOOTER_THREADS = 64
_RECORD_THREADS = 16
_DECODE_THREADS = 4
_NAMED = 5
# A store that does not know conditions finds a range of a shorter object wrong.
CHANGED = ("PreconditionFailed", "412", "InvalidRange", "416")


@dataclass(frozen=True, slots=True)
class _Counter:
    """What counts one file, how, and how many threads should do so."""

    by: CountedBy
    count: Callable[[ObjectInfo], Counted]
    threads: int


def verify_files(
    store: ObjectStore,
    folder: Location,
    files: Sequence[ObjectInfo],
    columns: Sequence[Column],
    csv: CsvOptions | None,
    level: VerifyLevel = VerifyLevel.FOOTERS,
) -> Verified:
    """Make sure that files are what an export writes.

    Args:
        store: Where they lie.
        folder: The folder they lie in, for listing it again.
        files: The files as listed.
        columns: The columns each file must have, with casts.
        csv: How CSV is written; None for Parquet.
        level: How deeply to look.

    Raises:
        VerificationError: A file is damaged, has other columns or types, is gone, or does not stop changing.
    """
    if level is VerifyLevel.LISTING:
        _check_sizes(files, folder, csv)
        return Verified(tuple(files))
    current = {file.key: file for file in files}
    counted: dict[str, Counted] = {}
    rewritten: set[str] = set()
    todo = list(files)
    with _counter(store, folder, columns, csv, level) as counter:
        for _ in range(1 + ROUNDS):
            found = in_threads(_or_none(counter.count), todo, counter.threads)
            changed = {file.key for file, one in zip(todo, found, strict=True) if one is None}
            for file, one in zip(todo, found, strict=True):
                if one is not None:
                    _same_rows(counted.setdefault(file.key, one), one, _at(folder, file))
            if not changed:
                break
            before, current = current, _listed_again(store, folder, current)
            todo = [file for key, file in current.items() if key in changed or file.etag != before[key].etag]
            rewritten.update(file.key for file in todo)
        else:
            raise VerificationError(
                f"{_names(changed)} in {folder} did not stop changing while being verified.",
                hint=f"Export on a cluster with a single replica. {AGAIN}",
            )
    return Verified(
        files=tuple(current.values()),
        rows=tuple(counted[key].rows for key in current),
        counted_by=counter.by,
        source_types=next((one.source_types for one in counted.values()), {}),
        warnings=(rewritten_warning(rewritten, folder),) if rewritten else (),
    )


def rewritten_warning(keys: set[str], folder: Location) -> str:
    """What a person should know about files that have another ETag than before and agree all the same."""
    return (
        f"{_names(keys)} in {folder} {'was' if len(keys) == 1 else 'were'} written again after the export, as a slow "
        "replica does; what is there now was verified. A cluster with a single replica avoids it."
    )


@contextmanager
def _counter(
    store: ObjectStore, folder: Location, columns: Sequence[Column], csv: CsvOptions | None, level: VerifyLevel
) -> Iterator[_Counter]:
    if csv is not None:
        names = [column.name for column in columns]
        yield _Counter(
            CountedBy.RECORDS, lambda file: _records(store, _at(folder, file), file, names, csv), _RECORD_THREADS
        )
        return
    # Once, before many threads ask for it.
    import_module("pyarrow.parquet")
    if level is VerifyLevel.FULL:
        yield _Counter(CountedBy.VALUES, lambda file: decode(store, _at(folder, file), file, columns), _DECODE_THREADS)
        return
    with TailReader(store, folder) as tails:
        yield _Counter(CountedBy.FOOTER, FooterReader(tails, folder, columns).read, _FOOTER_THREADS)


def _records(store: ObjectStore, at: Location, file: ObjectInfo, names: Sequence[str], csv: CsvOptions) -> Counted:
    chunks = with_columns(store.stream(at, file.etag), names, csv, source=str(at))
    return Counted(count_records(chunks, csv, source=str(at)), {})


def _or_none(count: Callable[[ObjectInfo], Counted]) -> Callable[[ObjectInfo], Counted | None]:
    """``count``, with None for a file that is another one by now, or gone."""

    def counted(file: ObjectInfo) -> Counted | None:
        try:
            return count(file)
        except MzOrchestrationError as error:
            code = error.details.get("code")
            if code in CHANGED or (isinstance(error, NotFoundError) and code != "NoSuchBucket"):
                return None
            raise

    return counted


def in_threads(
    function: Callable[[ObjectInfo], T], items: Sequence[ObjectInfo], threads: int, stop: threading.Event | None = None
) -> list[T]:
    """The function's answers in the order of the items; the first error, or an interrupt, ends all threads.

    ``stop``, if given, is set then, so that a function that takes long can look at it.
    """
    answers: dict[int, T] = {}
    numbers = iter(range(len(items)))
    lock, stop = threading.Lock(), stop or threading.Event()

    def work() -> None:
        while not stop.is_set():
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                answers[number] = function(items[number])
            except BaseException:
                stop.set()
                raise

    with ThreadPoolExecutor(max(1, min(threads, len(items)))) as pool:
        try:
            for worker in as_completed([pool.submit(work) for _ in range(min(threads, len(items)))]):
                worker.result()
        finally:
            stop.set()
    return [answers[number] for number in range(len(items))]


def _listed_again(store: ObjectStore, folder: Location, files: Mapping[str, ObjectInfo]) -> dict[str, ObjectInfo]:
    listing = read_listing(store.list_objects(folder))
    if listing.state is ExportState.RUNNING:
        raise VerificationError(f"An export is being written to {folder} while it is verified.", hint=AGAIN)
    there = {item.key: item for item in listing.data}
    gone = files.keys() - there.keys()
    if gone:
        raise VerificationError(f"{_names(gone)} in {folder} went away while being verified.", hint=AGAIN)
    return {key: there[key] for key in files}


def _same_rows(earlier: Counted, now: Counted, at: Location) -> None:
    if earlier.rows != now.rows:
        raise VerificationError(
            f"{at} was written again while being verified and holds {now.rows} rows where it held {earlier.rows}.",
            hint=AGAIN,
        )


def _check_sizes(files: Sequence[ObjectInfo], folder: Location, csv: CsvOptions | None) -> None:
    """What a listing can show: that each file could be what its name says."""
    suffix, least = (".parquet", SMALLEST) if csv is None else (".csv", 0)
    wrong = {file.key for file in files if not file.key.endswith(suffix) or file.size < least}
    if wrong:
        raise VerificationError(
            f"{_names(wrong)} in {folder} cannot be {suffix[1:]}: too small or misnamed.", hint=AGAIN
        )


def _names(keys: set[str]) -> str:
    names = [key.rpartition("/")[2] for key in sorted(keys)]
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _at(folder: Location, file: ObjectInfo) -> Location:
    return Location(folder.bucket, file.key, folder.scheme)
