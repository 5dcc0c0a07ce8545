"""Places in an object store: ``s3://bucket/folder/`` and what may stand in it.

Materialize takes the path of a COPY raw (no percent-decoding; blanks and non-ASCII fail) and Snowflake cannot quote a
stage path, so a location is restricted to the characters that both accept unchanged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mz_orchestration.errors import ConfigurationError

SCHEMES = ("s3", "gs")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_SEGMENT = re.compile(r"[A-Za-z0-9_=.\-]+")


@dataclass(frozen=True, slots=True)
class Location:
    """A folder or object: ``key`` has no leading slash; a folder's ends with one."""

    bucket: str
    key: str
    scheme: str = "s3"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"

    def child(self, relative: str) -> Location:
        """The location ``relative`` below this folder."""
        return Location(self.bucket, self.key + relative, self.scheme)

    @property
    def parent(self) -> Location:
        """The folder this object or folder lies in."""
        head = self.key.rstrip("/").rpartition("/")[0]
        return Location(self.bucket, head + "/" if head else "", self.scheme)

    @property
    def name(self) -> str:
        """The last segment of the key."""
        return self.key.rstrip("/").rpartition("/")[2]


def parse_location(text: str, *, field: str) -> Location:
    """Read ``s3://bucket/path``.

    Args:
        text: The URL as given.
        field: The flag or argument it came from, named in errors.

    Raises:
        ConfigurationError: The scheme, bucket or a path segment cannot work.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ConfigurationError(
            f"{field}: {text!r} is not an object-store URL.", hint="Write it as s3://bucket/folder/."
        )
    bucket, _, key = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ConfigurationError(f"{field}: {bucket!r} is not a bucket name.", hint="Write it as s3://bucket/folder/.")
    for segment in key.rstrip("/").split("/") if key else []:
        if not _SEGMENT.fullmatch(segment) or segment in (".", ".."):
            raise ConfigurationError(
                f"{field}: {segment!r} in {text!r} cannot be part of an export path.",
                hint="Use non-empty folder names of letters, digits, '_', '-', '=' and '.'.",
            )
    return Location(bucket, key, scheme)


def parse_folder(text: str, *, field: str) -> Location:
    """Read ``s3://bucket/folder/`` where a folder below the bucket is required; the last slash may be missing.

    Raises:
        ConfigurationError: As `parse_location`, or there is no folder: Materialize insists that everything below the
            path it is given is empty, which no bucket's root ever stays.
    """
    location = parse_location(text, field=field)
    if not location.key:
        raise ConfigurationError(
            f"{field}: {text!r} names a bucket without a folder.",
            hint=f"Add one, for example s3://{location.bucket}/exports/.",
        )
    if location.key.endswith("/"):
        return location
    return Location(location.bucket, location.key + "/", location.scheme)
