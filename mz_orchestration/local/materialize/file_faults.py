"""What goes wrong on purpose while the data files of one export are written."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from mz_orchestration.local.materialize.errors import StatementError
from mz_orchestration.local.materialize.faults import Faults
from mz_orchestration.local.materialize.store import MultipartFile, put_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_INTERNAL_ERROR = (
    'service error: unhandled error (InternalError): Error { code: "InternalError", '
    'message: "We encountered an internal error. Please try again.", aws_request_id: "0000000000000000" }'
)


class Restarted(Exception):
    """The replica restarts: the export begins anew, under the same names."""


class FileFaults:
    """The faults of the data files of one export."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._completed = 0
        self._restarts = int(faults.restart_same_id)

    def failure(self) -> StatementError:
        """The error the statement is to end with."""
        return StatementError(self._faults.fail_with or _INTERNAL_ERROR)

    def allows(self, batch: int) -> bool:
        """Whether a file of that batch may become visible.

        Raises:
            StatementError: it may not, and the statement ends here.
        """
        limit = self._faults.partial_files
        if limit is not None and self._completed >= limit:
            raise self.failure()
        # Batch 0 is the first worker's; the others' failure shows in the end only.
        return batch == 0 or not self._faults.sentinel_deleted_though_failed

    def completed(self) -> None:
        """Count a file that has become visible.

        Raises:
            Restarted: the replica restarts now.
        """
        self._completed += 1
        if self._restarts:
            self._restarts -= 1
            raise Restarted


class FaultyFile(MultipartFile):
    """A data file that may stay invisible, or end the export."""

    def __init__(
        self, client: S3Client, bucket: str, key: str, pool: ThreadPoolExecutor, faults: FileFaults, batch: int
    ) -> None:
        super().__init__(client, bucket, key, pool)
        self._faults = faults
        self._batch = batch

    def complete(self) -> None:
        """Upload the rest and, if that is allowed, make the object visible."""
        self.upload_rest()
        if self._faults.allows(self._batch):
            self.publish()
            self._faults.completed()


class LateFile(MultipartFile):
    """A file put in one request: even with the same bytes, its ETag is not that of an upload in parts."""

    def _begin(self) -> str:
        return ""

    def write(self, data: Any) -> int:
        """Keep the bytes."""
        length = memoryview(data).nbytes
        self._buffer += data
        self._size += length
        return length

    def complete(self) -> None:
        """Replace the object."""
        put_object(self._client, self._bucket, self._key, bytes(self._buffer))
