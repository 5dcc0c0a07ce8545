"""The buckets behind `stub_s3`: objects by name, names in order, and what ListObjectsV2 says of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from urllib.parse import quote
from xml.sax.saxutils import escape

NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_LAST = "\U0010ffff"


@dataclass(slots=True)
class Stored:
    """One object; ``body`` None stands for ``size`` zero bytes."""

    body: bytes | None
    size: int
    etag: str
    modified: datetime

    def part(self, start: int, end: int) -> bytes:
        return bytes(end - start) if self.body is None else self.body[start:end]


@dataclass(slots=True)
class Bucket:
    """Objects, and names in order; a name in ``filled`` stands for that many names that begin with it."""

    objects: dict[str, Stored] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    filled: dict[str, int] = field(default_factory=dict)

    def put(self, key: str, stored: Stored) -> None:
        if key not in self.objects:
            insort(self.names, key)
        self.objects[key] = stored

    def put_many(self, objects: dict[str, Stored], filled: dict[str, int]) -> None:
        self.objects |= objects
        self.filled |= filled
        self.names = sorted([*self.objects, *self.filled])

    def delete(self, key: str) -> None:
        if self.objects.pop(key, None) is not None:
            del self.names[bisect_left(self.names, key)]

    def after(self, prefix: str, start_after: str) -> Iterator[str]:
        """Names with the prefix that come after ``start_after``, in order."""
        at = max(bisect_left(self.names, prefix), bisect_right(self.names, start_after))
        for index in range(max(at - 1, 0), len(self.names)):  # the one before may stand for names still to come
            name = self.names[index]
            if name > prefix and not name.startswith(prefix):
                return
            count = self.filled.get(name)
            for one in [name] if count is None else (f"{name}{number:07}" for number in range(count)):
                if one > start_after and one.startswith(prefix):
                    yield one


_FILLING = Stored(None, 0, "d41d8cd98f00b204e9800998ecf8427e", datetime(2026, 1, 1, tzinfo=UTC))


def listing(bucket: Bucket, name: str, query: dict[str, str]) -> bytes:
    """The body of an answer to ListObjectsV2."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    limit = min(int(query.get("max-keys", "1000")), 1000)
    token = bytes.fromhex(query.get("continuation-token", "")).decode()
    names, folders = _page(bucket, prefix, delimiter, token or query.get("start-after", ""), limit + 1)
    truncated = len(names) + len(folders) > limit
    if truncated:
        one_too_many = max([*names[-1:], *folders[-1:]])
        names, folders = ([one for one in part if one != one_too_many] for part in (names, folders))
    url = query.get("encoding-type") == "url"
    written = quote if url else escape
    parts = [
        f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult {NAMESPACE}><Name>{name}</Name>',
        f"<Prefix>{written(prefix)}</Prefix><MaxKeys>{limit}</MaxKeys>",
        f"<KeyCount>{len(names) + len(folders)}</KeyCount><IsTruncated>{str(truncated).lower()}</IsTruncated>",
        "<EncodingType>url</EncodingType>" if url else "",
    ]
    if truncated:
        end = max([*names[-1:], *(folder + _LAST for folder in folders[-1:])])
        parts.append(f"<NextContinuationToken>{end.encode().hex()}</NextContinuationToken>")
    for key in names:
        stored = bucket.objects.get(key, _FILLING)
        parts.append(
            f"<Contents><Key>{written(key)}</Key><LastModified>{stored.modified:%Y-%m-%dT%H:%M:%S}.000Z</LastModified>"
            f'<ETag>"{stored.etag}"</ETag><Size>{stored.size}</Size><StorageClass>STANDARD</StorageClass></Contents>'
        )
    parts.extend(f"<CommonPrefixes><Prefix>{written(folder)}</Prefix></CommonPrefixes>" for folder in folders)
    parts.append("</ListBucketResult>")
    return "".join(parts).encode()


def _page(bucket: Bucket, prefix: str, delimiter: str, after: str, count: int) -> tuple[list[str], list[str]]:
    """Up to ``count`` names and folders, in order."""
    if not delimiter:
        return list(islice(bucket.after(prefix, after), count)), []
    names: list[str] = []
    folders: list[str] = []
    while len(names) + len(folders) < count and (name := next(bucket.after(prefix, after), None)) is not None:
        head, found, _ = name[len(prefix) :].partition(delimiter)
        if found:
            folders.append(prefix + head + delimiter)
            after = folders[-1] + _LAST
        else:
            names.append(name)
            after = name
    return names, folders
