"""The object-store client: boto3 reduced to the few calls we make, with errors a person can act on.

Every method is one request, or one per thousand objects where it goes through all pages. Credentials, region and
endpoint come from boto3's usual places (environment, profile, instance role) unless given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, SecretStr

from mz_orchestration.errors import (
    CredentialsError,
    MzOrchestrationError,
    NotFoundError,
    RunConflictError,
    UnavailableError,
    VerificationError,
)
from mz_orchestration.objectstore.location import Location

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CREDENTIAL_CODES = {
    "AccessDenied": "is not allowed to do that",
    "403": "is not allowed to do that",
    "InvalidAccessKeyId": "is not known to the store",
    "SignatureDoesNotMatch": "has a secret that does not match",
    "ExpiredToken": "has expired",
    "InvalidToken": "has a session token that is not valid",
}
_READS = 3
_BUSY_CODES = {"SlowDown", "503", "500", "InternalError", "ServiceUnavailable", "RequestTimeout", "429"}


class ObjectStoreConfig(BaseModel):
    """How to reach the store; every field left out is boto3's own to find.

    Attributes:
        endpoint_url: For S3-compatible stores; None means AWS or ``AWS_ENDPOINT_URL``.
        region_name: For example ``eu-west-1``.
        aws_access_key_id: Static key, with ``aws_secret_access_key`` and perhaps ``aws_session_token``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    endpoint_url: str | None = None
    region_name: str | None = None
    profile_name: str | None = None
    aws_access_key_id: str | None = None
    aws_secret_access_key: SecretStr | None = None
    aws_session_token: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a listing: full key, size in bytes, ETag without quotes."""

    key: str
    size: int
    etag: str
    last_modified: datetime | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that was begun and neither completed nor aborted; its parts cost storage unseen."""

    key: str
    upload_id: str
    initiated: datetime


class PreconditionFailed(RunConflictError):
    """A conditional write or read found the object changed by somebody else."""

    retryable = True


class ObjectStore:
    """A thread-safe client for one set of credentials."""

    def __init__(self, config: ObjectStoreConfig | None = None) -> None:
        self._client = _boto3_client(config or ObjectStoreConfig())

    @property
    def client(self) -> S3Client:
        """The boto3 client beneath."""
        return self._client

    @property
    def endpoint_url(self) -> str:
        """URL by which the store is reached."""
        return self._client.meta.endpoint_url

    def list_objects(self, folder: Location) -> list[ObjectInfo]:
        """All objects whose key begins with the folder's, in key order; one request per thousand."""
        found: list[ObjectInfo] = []
        with _explained(folder, "list"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=folder.bucket, Prefix=folder.key)
            for page in pages:
                found.extend(_object_info(item) for item in page.get("Contents", []))
        return found

    def list_page(self, prefix: Location, start_after: str = "", limit: int = 1000) -> tuple[list[ObjectInfo], bool]:
        """Up to ``limit`` objects whose keys begin with the prefix's and come after ``start_after``, in key order.

        Returns:
            The objects, and whether there are more.
        """
        with _explained(prefix, "list"):
            page = self._client.list_objects_v2(
                Bucket=prefix.bucket, Prefix=prefix.key, StartAfter=start_after, MaxKeys=limit
            )
        return [_object_info(item) for item in page.get("Contents", [])], bool(page.get("IsTruncated"))

    def head(self, at: Location) -> ObjectInfo | None:
        """The object's size and ETag, or None if there is none.

        Raises:
            CredentialsError: The store answered 403. It does so for a missing key, too, when the caller may not list:
                that never means that the object is gone.
        """
        try:
            with _explained(at, "look at"):
                answer = self._client.head_object(Bucket=at.bucket, Key=at.key)
        except NotFoundError as error:
            if error.details.get("code") == "NoSuchBucket":
                raise
            return None
        return ObjectInfo(at.key, answer["ContentLength"], answer["ETag"].strip('"'), answer.get("LastModified"))

    def get(self, at: Location) -> tuple[bytes, str]:
        """The whole object and its ETag; for small objects.

        Raises:
            NotFoundError: There is no such object.
        """
        with _explained(at, "read"):
            return self._read(Bucket=at.bucket, Key=at.key)

    def get_tail(self, at: Location, size: int, length: int, etag: str) -> bytes:
        """The last ``length`` bytes of an object of ``size`` bytes, provided it is still the one listed.

        Raises:
            VerificationError: It is another one, or the store answers with more than was asked for.
        """
        if size == 0:
            return b""
        start = max(0, size - length)

        def check(answer: Any) -> None:
            _check_unchanged(at, answer, etag)
            if "ContentRange" in answer:
                if answer["ContentRange"] != content_range(start, size):
                    raise _changed(at)
            elif start > 0 or answer["ContentLength"] != size:
                raise VerificationError(
                    f"The store ignores ranges: asked for bytes {start} to {size - 1} of {at}, it sends all of it.",
                    hint="Check AWS_ENDPOINT_URL and any proxy. An export with --verify full reads whole files.",
                )

        condition = {"Range": f"bytes={start}-{size - 1}", "IfMatch": f'"{etag}"'}
        with _explained(at, "read"):
            return self._read(check, Bucket=at.bucket, Key=at.key, **condition)[0]

    def _read(self, check: Callable[[Any], None] = lambda answer: None, **request: Any) -> tuple[bytes, str]:
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        for last in (False,) * (_READS - 1) + (True,):
            answer = self._client.get_object(**request)
            try:
                check(answer)
                return answer["Body"].read(), answer["ETag"].strip('"')
            except VerificationError:
                # What was not read must not be taken for the answer to the next request.
                answer["Body"].close()
                raise
            except (HTTPClientError, IncompleteReadError):
                # boto3 tries requests again, but not the reading of what they answer.
                if last:
                    raise
        raise AssertionError("the last try returns or raises")

    def stream(self, at: Location, etag: str, chunk_size: int = 1 << 18) -> Iterator[bytes]:
        """The object's bytes in chunks, provided it is still the one listed.

        Raises:
            VerificationError: It is another one.
        """
        with _explained(at, "read"):
            answer = self._client.get_object(Bucket=at.bucket, Key=at.key, IfMatch=f'"{etag}"')
            with closing(answer["Body"]) as body:
                _check_unchanged(at, answer, etag)
                yield from body.iter_chunks(chunk_size)

    def put(self, at: Location, body: bytes, *, if_match: str | None = None, create: bool = False) -> str:
        """Write a small object and return its ETag.

        Args:
            at: Where.
            body: The bytes.
            if_match: Overwrite only the version with this ETag.
            create: Write only if nothing is there yet.

        Raises:
            PreconditionFailed: The condition did not hold; nothing was written.
        """
        condition: dict[str, Any] = {}
        if create:
            condition["IfNoneMatch"] = "*"
        elif if_match is not None:
            condition["IfMatch"] = f'"{if_match}"'
        with _explained(at, "write"):
            answer = self._client.put_object(
                Bucket=at.bucket, Key=at.key, Body=body, ContentType="application/json", **condition
            )
            return answer["ETag"].strip('"')

    def delete(self, at: Location) -> None:
        """Delete one object; one that is not there is fine."""
        try:
            with _explained(at, "delete"):
                self._client.delete_object(Bucket=at.bucket, Key=at.key)
        except NotFoundError as error:  # GCS answers 404 where S3 says nothing
            if error.details.get("code") == "NoSuchBucket":
                raise

    def list_uploads(self, folder: Location) -> list[Upload]:
        """Unfinished multipart uploads to keys that begin with the folder's; one request per thousand."""
        found: list[Upload] = []
        with _explained(folder, "list the unfinished uploads of"):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=folder.bucket, Prefix=folder.key
            )
            for page in pages:
                for item in page.get("Uploads", []):
                    found.append(Upload(item["Key"], item["UploadId"], item["Initiated"]))
        return found

    def abort_upload(self, at: Location, upload_id: str) -> None:
        """Abort an unfinished multipart upload and free its parts; one that is not there is fine."""
        try:
            with _explained(at, "abort an upload to"):
                self._client.abort_multipart_upload(Bucket=at.bucket, Key=at.key, UploadId=upload_id)
        except NotFoundError as error:
            if error.details.get("code") == "NoSuchBucket":
                raise


def content_range(start: int, size: int) -> str:
    """What an answer with the bytes from ``start`` to the end of an object says of itself."""
    return f"bytes {start}-{size - 1}/{size}"


def _check_unchanged(at: Location, answer: Any, etag: str) -> None:
    """Make sure of the condition of a read: some stores do not know it."""
    if answer.get("ETag", "").strip('"') != etag:
        raise _changed(at)


def _changed(at: Location) -> MzOrchestrationError:
    return _from_client_error({"Code": "PreconditionFailed"}, at, "read")


def _object_info(item: Any) -> ObjectInfo:
    return ObjectInfo(item["Key"], item["Size"], item.get("ETag", "").strip('"'), item.get("LastModified"))


def _parse_timestamp(text: Any) -> datetime:
    from botocore.utils import parse_timestamp

    try:
        parsed = datetime.fromisoformat(text)
        if parsed.tzinfo is not None:
            return parsed
    except (TypeError, ValueError):
        pass
    other: datetime = parse_timestamp(text)
    return other


def _boto3_client(config: ObjectStoreConfig) -> S3Client:
    import boto3
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    secrets = {
        name: value.get_secret_value()
        for name in ("aws_secret_access_key", "aws_session_token")
        if (value := getattr(config, name)) is not None
    }
    try:
        core = botocore.session.get_session()
        # Its own parser of dates takes three quarters of the time that reading a listing costs.
        core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_parse_timestamp)
        session = boto3.session.Session(
            botocore_session=core,
            profile_name=config.profile_name,
            region_name=config.region_name,
            aws_access_key_id=config.aws_access_key_id,
            **secrets,
        )
        return session.client(
            "s3",
            endpoint_url=config.endpoint_url,
            config=Config(
                # S3-compatible stores reject the newer default checksums (R2 calls them unauthorized).
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"mode": "standard", "total_max_attempts": 5},
                connect_timeout=10,
                read_timeout=60,
                max_pool_connections=32,
                user_agent_extra="mz-orchestration",
            ),
        )
    except (BotoCoreError, ValueError) as error:
        raise CredentialsError(
            f"The object-store client cannot be set up: {error}.",
            hint="Check AWS_ENDPOINT_URL, AWS_PROFILE and the other AWS_* settings.",
        ) from error


@contextmanager
def _explained(at: Location, verb: str) -> Iterator[None]:
    """Turn boto3's errors into ours, naming the place and what was tried."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        CredentialRetrievalError,
        HTTPClientError,
        NoCredentialsError,
    )

    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        raise _from_client_error(error.response.get("Error", {}), at, verb, status) from error
    except NoCredentialsError as error:
        raise CredentialsError(
            f"No credentials were found to {verb} {at}.",
            hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role.",
        ) from error
    except CredentialRetrievalError as error:
        raise CredentialsError(
            f"The credentials to {verb} {at} could not be had or renewed: {error}.",
            hint="Sign in again, or check AWS_PROFILE and the role behind it.",
        ) from error
    except (HTTPClientError, BotoCoreError, OSError) as error:
        raise UnavailableError(
            f"The object store did not answer while trying to {verb} {at}: {error}.",
            hint="Check AWS_ENDPOINT_URL and the network, then run the same command again.",
        ) from error


def _from_client_error(answer: Any, at: Location, verb: str, status: int = 0) -> MzOrchestrationError:
    code, text = str(answer.get("Code", "")), str(answer.get("Message", ""))
    details = {"code": code, "location": str(at)}
    if code == "NoSuchBucket":
        return NotFoundError(
            f"The bucket {at.bucket!r} does not exist.",
            hint="Create it, or correct the bucket name.",
            details=details,
        )
    if code in ("NoSuchKey", "NoSuchUpload", "404"):
        return NotFoundError(f"There is no object at {at}.", details=details)
    if code in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
        if verb == "read":
            return VerificationError(
                f"{at} changed while it was being read: another object was written under its name.",
                hint="Export again under a new run key, on a cluster with a single replica.",
                details=details,
            )
        return PreconditionFailed(
            f"{at} was written by another process at the same time.",
            hint="Let the other process finish, then run the same command again.",
            details=details,
        )
    if code in _CREDENTIAL_CODES or status in (401, 403):
        wrong = _CREDENTIAL_CODES.get(code, "is not allowed to do that")
        return CredentialsError(
            f"The store refused to {verb} {at}: {code}. The key in use {wrong}.",
            hint="Check AWS_ACCESS_KEY_ID or the role; exports need ListBucket, GetObject and PutObject here, a sweep "
            "DeleteObject, AbortMultipartUpload and ListBucketMultipartUploads too.",
            details=details,
        )
    # Stores that only speak S3's protocol have codes of their own for it.
    if code in _BUSY_CODES or status == 429 or status >= 500:
        return UnavailableError(
            f"The store could not {verb} {at} after several tries: {code} {text}".rstrip(),
            hint="Run the same command again later.",
            details=details,
        )
    return MzOrchestrationError(f"The store refused to {verb} {at}: {code} {text}".rstrip(), details=details)
