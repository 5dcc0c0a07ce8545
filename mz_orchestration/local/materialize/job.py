"""A running ``COPY ... TO 's3://...'``: its plan, its data files and how it is cancelled.

The rows come over a connection of the proxy's own, in the snapshot the client's session exported and with that
session's role.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mz_orchestration.local.materialize.arrow_types import ResultColumn
from mz_orchestration.local.materialize.errors import StatementError
from mz_orchestration.local.materialize.faults import Faults
from mz_orchestration.local.materialize.file_faults import FaultyFile, FileFaults, LateFile
from mz_orchestration.local.materialize.store import AwsSettings, Keys, MultipartFile
from mz_orchestration.local.materialize.tokens import identifier, literal

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_UPLOADERS = 2
_LOCK_SECONDS = 10
_STOPPED = StatementError("canceling statement due to user request", "57014")


@dataclass(frozen=True)
class CsvOptions:
    """How CSV files are written."""

    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    null: str = ""
    header: bool = False


@dataclass(frozen=True)
class Snapshot:
    """What the client's session sees, for the connection that reads in its place."""

    name: str
    search_path: str
    session_user: str
    current_user: str
    timestamp: str

    def statements(self) -> list[str]:
        """The beginning of a transaction that sees just that."""
        return [
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            f"SET TRANSACTION SNAPSHOT {literal(self.name)}",
            f"SET LOCAL SESSION AUTHORIZATION {identifier(self.session_user)}",
            f"SET LOCAL ROLE {identifier(self.current_user)}",
            f"SELECT set_config('search_path', {literal(self.search_path)}, true)",
            f"SELECT set_config('mz.timestamp', {literal(self.timestamp)}, true)",
            "SET LOCAL timezone = 'UTC'",
            # A lock the client's own transaction holds would never be given up while it waits for the export.
            f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'",
        ]


@dataclass(frozen=True)
class ExportPlan:
    """Everything an export needs, decided before it begins.

    Attributes:
        conninfo: how to connect to PostgreSQL.
        snapshot: what to see there.
        query: what to read.
        columns: the columns of its result.
        csv: how to write CSV; None for Parquet.
        settings: the AWS connection.
        keys: the names of the objects.
        max_file_size: where a file ends and the next begins.
        batches: over how many chains of files the rows are spread.
        faults: what goes wrong on purpose.
        late: whether it is the work of a second replica, whose files replace those of the first.
    """

    conninfo: str
    snapshot: Snapshot
    query: str
    columns: list[ResultColumn]
    csv: CsvOptions | None
    settings: AwsSettings
    keys: Keys
    max_file_size: int
    batches: int
    faults: Faults
    late: bool = False


class ExportJob:
    """A running export.

    Attributes:
        plan: what it does.
        file_faults: what goes wrong with its files.
        registered: called in the thread of the export once the sentinel is put.
    """

    def __init__(self, plan: ExportPlan) -> None:
        self.plan = plan
        self._cancelled = threading.Event()
        self._interrupt: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_UPLOADERS, thread_name_prefix="upload")
        self.file_faults = FileFaults(plan.faults)
        self.registered: Callable[[], object] = lambda: None

    def open(self, client: S3Client, batch: int, file: int) -> MultipartFile:
        """Begin a data file."""
        extension = "parquet" if self.plan.csv is None else "csv"
        key = self.plan.keys.data(batch, file, extension)
        bucket = self.plan.keys.bucket
        if self.plan.late:
            return LateFile(client, bucket, key, self._pool)
        return FaultyFile(client, bucket, key, self._pool, self.file_faults, batch)

    def pause(self, seconds: float) -> None:
        """Wait, and stop here if the export was cancelled."""
        self._cancelled.wait(seconds)
        self.check()

    def cancel(self) -> None:
        """Make it stop soon, wherever it is; may be called from any thread."""
        with self._lock:
            self._cancelled.set()
            interrupt = self._interrupt
        if interrupt is not None:
            with contextlib.suppress(Exception):
                interrupt()

    def close(self) -> None:
        """Give up uploads that have not begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def check(self) -> None:
        """Stop here if the export was cancelled."""
        if self._cancelled.is_set():
            raise _STOPPED

    @contextmanager
    def interruptible(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """While inside, a cancel calls ``interrupt``."""
        with self._lock:
            self._interrupt = interrupt
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._interrupt = None


def subquery(plan: ExportPlan) -> str:
    """The query as a relation ``q`` with columns ``c0``, ``c1``..., whatever its own are called."""
    names = ", ".join(f"c{i}" for i in range(len(plan.columns)))
    # The query may end in a comment of one line.
    return f"({plan.query}\n) AS q ({names})"
