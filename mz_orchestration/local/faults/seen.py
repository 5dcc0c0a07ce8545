"""What a request asks for, and the part of it that may be remembered: no headers, no values of the query."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, unquote


class SeenRequest(NamedTuple):
    """An HTTP request that went through the proxy.

    Attributes:
        method: Its method.
        path: Its path, decoded.
        query: The names of its query parameters, sorted. Values may be signatures and are left out.
    """

    method: str
    path: str
    query: tuple[str, ...]


class Target(NamedTuple):
    """What a request asks for.

    Attributes:
        method: Its method.
        path: Its path, decoded.
        parameters: Its query parameters, sorted.
    """

    method: str
    path: str
    parameters: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, method: bytes, target: bytes) -> Target:
        """Read the first line of a request."""
        path, _, query = target.decode("latin-1").partition("?")
        return cls(method.decode("ascii"), unquote(path), tuple(sorted(parse_qsl(query, keep_blank_values=True))))

    @property
    def seen(self) -> SeenRequest:
        """What may be remembered of it."""
        return SeenRequest(self.method, self.path, tuple(sorted({name for name, _ in self.parameters})))

    @property
    def lists_a_bucket(self) -> bool:
        """Whether it is a listing, by either version of the call."""
        names = {name for name, _ in self.parameters}
        only_a_bucket = self.path.strip("/").count("/") == 0 and self.path.strip("/") != ""
        return self.method == "GET" and only_a_bucket and ("list-type" in names or not names - _LISTING_V1)


_LISTING_V1 = {"prefix", "delimiter", "marker", "max-keys", "encoding-type"}
