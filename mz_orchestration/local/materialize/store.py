"""S3 as COPY uses it: the preflight, the sentinel and multipart uploads, with Materialize's error texts."""

from __future__ import annotations

import functools
import io
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mz_orchestration.local.materialize.errors import StatementError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART_BYTES = 8 << 20
_PARTS_IN_FLIGHT = 4
_NO_CREDENTIALS = "dispatch failure: other: an error occurred while loading credentials"
_CONNECT_SECONDS = 10
_READ_SECONDS = 60


@dataclass(frozen=True)
class AwsSettings:
    """What an AWS connection holds, secrets resolved; hashable, so that clients can be kept."""

    connection_id: str
    endpoint: str | None
    region: str
    access_key_id: str | None
    secret_access_key: str | None = field(repr=False)
    session_token: str | None = field(repr=False)
    role_arn: str | None
    role_session_name: str | None

    @property
    def external_id(self) -> str:
        """The external id a role's trust policy must ask for."""
        return f"mz_local_{self.connection_id}"

    @classmethod
    def from_options(cls, connection_id: str, options: dict[str, str]) -> AwsSettings:
        """Read the options of ``CREATE CONNECTION``."""
        return cls(
            connection_id=connection_id,
            endpoint=options.get("ENDPOINT"),
            region=options.get("REGION", "us-east-1"),
            access_key_id=options.get("ACCESS KEY ID"),
            secret_access_key=options.get("SECRET ACCESS KEY"),
            session_token=options.get("SESSION TOKEN"),
            role_arn=options.get("ASSUME ROLE ARN"),
            role_session_name=options.get("ASSUME ROLE SESSION NAME"),
        )


def _service(name: str, settings: AwsSettings, keys: tuple[str | None, str | None, str | None]) -> Any:
    import boto3
    from botocore.config import Config

    if not (keys[0] and keys[1]):
        # boto3 would take whatever credentials the machine has instead.
        raise StatementError(_NO_CREDENTIALS)
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 3},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if settings.endpoint else "auto"},
        max_pool_connections=20,
        proxies={},
    )
    # A session of its own: profiles and variables of the machine must not lend it anything.
    session = boto3.session.Session(*keys, region_name=settings.region)
    return session.client(name, endpoint_url=settings.endpoint, config=config)  # type: ignore[call-overload]


def _keys(settings: AwsSettings) -> tuple[str | None, str | None, str | None]:
    return settings.access_key_id, settings.secret_access_key, settings.session_token


# Who assumes a user's role: in the cloud that is a principal of Materialize's own.
_ENVIRONMENT = ("mz-local-environment", "mz-local-environment", None)


@functools.lru_cache(maxsize=16)
def _client_with_keys(settings: AwsSettings) -> S3Client:
    client: S3Client = _service("s3", settings, _keys(settings))
    return client


def s3_client(settings: AwsSettings) -> S3Client:
    """A client for the connection; a role is assumed anew each time."""
    if settings.role_arn is None:
        return _client_with_keys(settings)
    with _aws_errors():
        keys = _assume(settings, external_id=True)
    client: S3Client = _service("s3", settings, keys)
    return client


def _assume(settings: AwsSettings, *, external_id: bool) -> tuple[str, str, str]:
    from botocore.exceptions import BotoCoreError, ClientError

    arguments: dict[str, Any] = {
        "RoleArn": settings.role_arn,
        "RoleSessionName": settings.role_session_name or settings.connection_id,
    }
    if external_id:
        arguments["ExternalId"] = settings.external_id
    try:
        found = _service("sts", settings, _ENVIRONMENT).assume_role(**arguments)["Credentials"]
    except (ClientError, BotoCoreError):
        raise StatementError(_NO_CREDENTIALS) from None
    return found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]


def validate(settings: AwsSettings) -> None:
    """``VALIDATE CONNECTION``: who am I, and does the role ask for the external id? Says nothing about S3."""
    try:
        keys = _keys(settings) if settings.role_arn is None else _assume(settings, external_id=True)
        with _aws_errors():
            _service("sts", settings, keys).get_caller_identity()
    except StatementError as error:
        raise StatementError(error.message, "58000") from None
    if settings.role_arn is None:
        return
    try:
        _assume(settings, external_id=False)
    except StatementError:
        return
    raise StatementError(
        "role trust policy does not require an external ID",
        "58000",
        detail="The trust policy for the connection's role does not require an external ID.",
        hint="Update the trust policy for the connection's role to require an external ID, as the column"
        " example_trust_policy of mz_internal.mz_aws_connections shows.",
    )


@contextmanager
def _aws_errors() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise StatementError(_service_error(error)) from None
    except BotoCoreError as error:
        raise StatementError(f"dispatch failure: io error: {error}") from None


def _service_error(error: Any) -> str:
    found = error.response.get("Error", {})
    code, text = found.get("Code", "Unknown"), found.get("Message", "")
    request = error.response.get("ResponseMetadata", {}).get("RequestId", "")
    return (
        f'service error: unhandled error ({code}): Error {{ code: "{code}", message: "{text}", '
        f'aws_request_id: "{request}" }}'
    )


@dataclass(frozen=True)
class Keys:
    """The object names of one COPY.

    Attributes:
        bucket: where they are.
        prefix: the path of the target without slashes at its ends.
        identifier: the transient id of the statement, like ``t17``.
    """

    bucket: str
    prefix: str
    identifier: str

    @property
    def uri(self) -> str:
        """The target, with one slash at its end."""
        return f"s3://{self.bucket}/{self.prefix}/"

    @property
    def sentinel(self) -> str:
        """The object that is there while the COPY runs."""
        return f"{self.prefix}/mz-{self.identifier}-INCOMPLETE"

    def data(self, batch: int, file: int, extension: str) -> str:
        """One data file."""
        return f"{self.prefix}/mz-{self.identifier}-batch-{batch:04}-{file:04}.{extension}"


def preflight(client: S3Client, keys: Keys) -> None:
    """Refuse a path that is not empty or from which nothing may be deleted."""
    from botocore.exceptions import ClientError

    with _aws_errors():
        # Without a slash at the end, and only the first page: so does Materialize.
        found = client.list_objects_v2(Bucket=keys.bucket, Prefix=keys.prefix)
    if found.get("KeyCount"):
        raise StatementError(f"S3 bucket path is not empty, contains {found['KeyCount']} objects")
    try:
        client.delete_object(Bucket=keys.bucket, Key=keys.data(0, 0, "delete_object_test"))
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status == 403:
            raise StatementError("AccessDenied error when using DeleteObject") from None
        if status != 404:
            raise StatementError(f"Error when using DeleteObject: {_service_error(error)}") from None


def put_sentinel(client: S3Client, keys: Keys) -> None:
    """Mark the path as incomplete."""
    put_object(client, keys.bucket, keys.sentinel, b"")


def put_object(client: S3Client, bucket: str, key: str, body: bytes) -> None:
    """Write an object in one request."""
    with _aws_errors():
        client.put_object(Bucket=bucket, Key=key, Body=body)


def delete_sentinel(client: S3Client, keys: Keys) -> None:
    """Mark the path as complete."""
    with _aws_errors():
        client.delete_object(Bucket=keys.bucket, Key=keys.sentinel)


class MultipartFile(io.RawIOBase):
    """A file that is uploaded in parts while it is written, and becomes visible only by :meth:`complete`.

    What is not completed is not aborted either: Materialize leaves its unfinished uploads behind.
    """

    def __init__(self, client: S3Client, bucket: str, key: str, pool: ThreadPoolExecutor) -> None:
        super().__init__()
        self._client, self._bucket, self._key, self._pool = client, bucket, key, pool
        self._upload = self._begin()
        self._buffer = bytearray()
        self._parts: list[Future[str]] = []
        self._running: deque[Future[str]] = deque()
        self._size = 0

    def _begin(self) -> str:
        with _aws_errors():
            return self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key)["UploadId"]

    def writable(self) -> bool:
        """It is for writing only."""
        return True

    def tell(self) -> int:
        """How much was written."""
        return self._size

    def write(self, data: Any) -> int:
        """Take bytes; full parts leave at once."""
        length = memoryview(data).nbytes
        self._buffer += data
        self._size += length
        while len(self._buffer) >= PART_BYTES:
            part = bytes(self._buffer[:PART_BYTES])
            del self._buffer[:PART_BYTES]
            self._send(part)
        return length

    def _send(self, part: bytes) -> None:
        # Bounded, so that a slow store holds up the query rather than filling the memory.
        while len(self._running) >= _PARTS_IN_FLIGHT:
            self._running.popleft().result()
        number = len(self._parts) + 1
        future = self._pool.submit(self._upload_part, number, part)
        self._parts.append(future)
        self._running.append(future)

    def _upload_part(self, number: int, part: bytes) -> str:
        with _aws_errors():
            return self._client.upload_part(
                Bucket=self._bucket, Key=self._key, UploadId=self._upload, PartNumber=number, Body=part
            )["ETag"]

    def complete(self) -> None:
        """Upload the rest and make the object visible."""
        self.upload_rest()
        self.publish()

    def upload_rest(self) -> None:
        """Upload what was written and is not on its way yet."""
        if self._buffer or not self._parts:
            self._send(bytes(self._buffer))
            self._buffer.clear()

    def publish(self) -> None:
        """Make the object visible."""
        tags = [future.result() for future in self._parts]
        with _aws_errors():
            self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=self._upload,
                MultipartUpload={"Parts": [{"ETag": t, "PartNumber": n} for n, t in enumerate(tags, 1)]},
            )
