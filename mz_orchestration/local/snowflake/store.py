"""The object store as Snowflake reads it: listings by prefix, and objects fetched into local files."""

from __future__ import annotations

import contextlib
import os
import re
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.catalog import Catalog, Stage

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Whatever the scheme, the objects are in the one local store.
_URL = re.compile(r"(s3|s3gov|s3china|s3compat|gcs)://([^/]+)/?(.*)\Z", re.DOTALL)
_FEW = 8
_THREADS = 8
_AHEAD = 32
_DELETED_AT_ONCE = 1000


@dataclass(frozen=True)
class StoredFile:
    """An object under a stage."""

    bucket: str
    key: str
    size: int
    etag: str
    modified: datetime
    scheme: str = "s3"

    @property
    def url(self) -> str:
        """The name LIST and COPY INTO show."""
        return f"{self.scheme}://{self.bucket}/{self.key}"

    @property
    def content_key(self) -> str:
        """What METADATA$FILE_CONTENT_KEY shows."""
        return self.etag.strip('"')


@dataclass(frozen=True)
class FetchedFile:
    """An object with its local copy."""

    stored: StoredFile
    path: Path


def parse_url(url: str) -> tuple[str, str]:
    """Bucket and key prefix of an address such as ``s3://…``."""
    match = _URL.match(url)
    if match is None:
        raise errors.compilation("001011", "22000", f"invalid URL prefix found in: '{url}'")
    return match[2], match[3]


class Store:
    """S3 through boto3, one client per set of credentials."""

    def __init__(self, endpoint: str, region: str, key_id: str, secret: str) -> None:
        self._endpoint = endpoint
        self._region = region
        self._default = (key_id, secret)
        self._clients: dict[tuple[str, str], S3Client] = {}

    def files(self, catalog: Catalog, stage: Stage, path: str, names: list[str] | None) -> list[StoredFile]:
        """The objects under a stage path, or those with these names below it.

        Args:
            catalog: where the stage's integration is.
            stage: the stage.
            path: what follows the stage's name; matched as a bare prefix.
            names: the FILES list; a missing one is an error.
        """
        url = self.authorise(catalog, stage, path)
        bucket, base = parse_url(url)
        scheme = url.partition("://")[0]
        client = self.client(stage)
        try:
            if names is None:
                return [replace(file, scheme=scheme) for file in _listing(client, bucket, base)]
            if len(names) <= _FEW:
                return [_head(client, scheme, bucket, base + name) for name in names]
            # One page of a listing answers for a thousand files; keys are told apart character by character.
            shared = os.path.commonprefix(names)  # noqa: RUF071
            known = {file.key: replace(file, scheme=scheme) for file in _listing(client, bucket, base + shared)}
        except errors.SnowflakeError:
            raise
        except Exception as error:
            # botocore's errors have no common narrow base for status, connection and credential faults.
            raise _refused(error, bucket) from error
        missing = next((name for name in names if base + name not in known), None)
        if missing is not None:
            raise errors.remote_file_not_found(f"{scheme}://{bucket}/{base}{missing}")
        return [known[base + name] for name in names]

    def fetch_all(self, stage: Stage, files: Sequence[StoredFile], folder: Path) -> Generator[FetchedFile, None, None]:
        """Copy objects into local files, in order, some ahead of the caller; each is named by its position."""
        client = self.client(stage)
        waiting: deque[tuple[FetchedFile, Future[None]]] = deque()
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="fetch") as pool:
            try:
                for position, file in enumerate(files):
                    fetched = FetchedFile(file, folder / str(position))
                    waiting.append((fetched, pool.submit(self._fetch, client, file, fetched.path)))
                    if len(waiting) >= _AHEAD:
                        yield _arrived(waiting)
                while waiting:
                    yield _arrived(waiting)
            finally:
                for _, future in waiting:
                    future.cancel()

    def purge(self, stage: Stage, files: Sequence[StoredFile]) -> None:
        """Delete loaded objects; as there, what cannot be deleted stays and nobody is told."""
        client = self.client(stage)
        for first in range(0, len(files), _DELETED_AT_ONCE):
            chunk = files[first : first + _DELETED_AT_ONCE]
            with contextlib.suppress(Exception):
                client.delete_objects(
                    Bucket=chunk[0].bucket, Delete={"Objects": [{"Key": f.key} for f in chunk], "Quiet": True}
                )

    def _fetch(self, client: S3Client, file: StoredFile, target: Path) -> None:
        try:
            answer = client.get_object(Bucket=file.bucket, Key=file.key, IfMatch=file.etag)
            with target.open("wb") as out:
                for chunk in answer["Body"].iter_chunks(1 << 20):
                    out.write(chunk)
        except Exception as error:
            if _status(error) in {404, 412}:
                raise errors.remote_file_not_found(file.url) from error
            raise _refused(error, file.bucket) from error

    def authorise(self, catalog: Catalog, stage: Stage, path: str) -> str:
        """The full address of a stage path, checked against the integration's allowed locations."""
        url = stage.url + path if stage.url.endswith("/") or not path else f"{stage.url}/{path}"
        if stage.integration is None:
            return url
        integration = catalog.integration(stage.integration)
        check_location(url, integration.allowed, integration.blocked, integration.name, integration.enabled)
        return url

    def client(self, stage: Stage) -> S3Client:
        """The client for a stage: its own credentials or the integration's."""
        import boto3
        from botocore.config import Config

        keys = (stage.key_id, stage.secret) if stage.key_id and stage.secret else self._default
        if keys not in self._clients:
            self._clients[keys] = boto3.session.Session().client(
                "s3",
                endpoint_url=self._endpoint,
                region_name=self._region,
                aws_access_key_id=keys[0],
                aws_secret_access_key=keys[1],
                config=Config(
                    s3={"addressing_style": "path"},
                    connect_timeout=5,
                    read_timeout=60,
                    retries={"total_max_attempts": 2},
                ),
            )
        return self._clients[keys]


def check_location(
    url: str, allowed: tuple[str, ...], blocked: tuple[str, ...], integration: str, enabled: bool = True
) -> None:
    """Insist that an integration covers a location."""
    if not enabled:
        raise errors.SnowflakeError("003139", "22000", f"Integration '{integration}' is not enabled.")
    covered = any(place == "*" or url.startswith(place) for place in allowed)
    if not covered or any(url.startswith(place) for place in blocked):
        raise errors.compilation(
            "001757",
            "42601",
            f"Location '{url}' is not allowed by integration {integration}. Please use DESC INTEGRATION to "
            "check out allowed and blocked locations.",
        )


def _arrived(waiting: deque[tuple[FetchedFile, Future[None]]]) -> FetchedFile:
    fetched, future = waiting.popleft()
    future.result()
    return fetched


def _listing(client: S3Client, bucket: str, prefix: str) -> Iterator[StoredFile]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            if not entry["Key"].endswith("/"):
                yield StoredFile(bucket, entry["Key"], entry["Size"], entry["ETag"], entry["LastModified"])


def _head(client: S3Client, scheme: str, bucket: str, key: str) -> StoredFile:
    try:
        answer = client.head_object(Bucket=bucket, Key=key)
    except Exception as error:
        if _status(error) == 404:
            raise errors.remote_file_not_found(f"{scheme}://{bucket}/{key}") from error
        raise
    return StoredFile(bucket, key, answer["ContentLength"], answer["ETag"], answer["LastModified"], scheme)


def _status(error: Exception) -> int | None:
    response: dict[str, Any] = getattr(error, "response", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return int(status) if status is not None else None


def _refused(error: Exception, bucket: str) -> errors.SnowflakeError:
    status = _status(error)
    detail = f"Status Code: {status}; " if status is not None else ""
    return errors.storage(f"{detail}Bucket: {bucket}; {error}")
