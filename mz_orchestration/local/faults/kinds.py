"""The faults there are, and what each may be applied to: plain values, checked when they are made.

A direction is ``request`` (client to server) or ``response`` (server to client).

``after_bytes`` counts the bytes of the body of a request or an answer over HTTP, and all bytes over TCP. A cut strikes
when more than these want to pass: a body of no more bytes passes whole, and the fault has not struck. Over TCP a
cut that waits for a text (``Match.contains``) counts from the chunk that completes the text, and with
``after_bytes=0`` strikes as soon as that chunk has been dealt with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal
from xml.sax.saxutils import escape

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.local.faults.seen import Target

Direction = Literal["request", "response"]
Protocol = Literal["http", "tcp"]

# What S3 calls its answers; other statuses take the words of the HTTP standard.
_S3_ERRORS = {
    400: ("InvalidRequest", "Invalid Request"),
    403: ("AccessDenied", "Access Denied"),
    404: ("NoSuchKey", "The specified key does not exist."),
    412: ("PreconditionFailed", "At least one of the pre-conditions you specified did not hold"),
    429: ("TooManyRequests", "Please reduce your request rate."),
    500: ("InternalError", "We encountered an internal error. Please try again."),
    503: ("SlowDown", "Please reduce your request rate."),
}


@dataclass(frozen=True)
class Delay:
    """What is sent arrives late.

    Over HTTP it holds the request before the server hears of it, or the answer once the server has given it, in
    both cases even if the client gives up meanwhile. Over TCP it holds every chunk of a direction.

    Attributes:
        seconds: How late; ``math.inf`` is silence until the proxy is closed.
        direction: What is held.
    """

    seconds: float
    direction: Direction = "request"

    def __post_init__(self) -> None:
        _check_not_negative("seconds", self.seconds)
        _check_direction(self.direction)


@dataclass(frozen=True)
class Cut:
    """A connection that ends before its time.

    Attributes:
        after_bytes: Bytes of the direction that still pass.
        direction: Where they are counted.
        delay: Seconds of silence in this direction between the last byte and the end.
    """

    after_bytes: int = 0
    direction: Direction = "response"
    delay: float = 0.0

    def __post_init__(self) -> None:
        _check_not_negative("after_bytes", self.after_bytes)
        _check_not_negative("delay", self.delay)
        _check_direction(self.direction)


@dataclass(frozen=True)
class Reset(Cut):
    """Both ends of the connection are reset (RST): a network that is lost.

    Over HTTP, ``after_bytes=0`` in the direction ``response`` lets the server do its work and keeps the whole answer
    from the client; in the direction ``request`` the server never hears of the request. Over TCP a server may meet the
    reset before it has looked at the bytes that came just before it: ``delay`` gives it the time to act on them.
    """


@dataclass(frozen=True)
class HalfClose(Cut):
    """One end sees an orderly end (FIN) of the direction; after that nothing passes either way.

    Both connections stay open until the client closes its own. ``after_bytes=0`` is as for ``Reset``.
    """


@dataclass(frozen=True)
class Truncate(Cut):
    """The connection is closed in good order too early; over HTTP the head of the answer always passes."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer that the server knows nothing of.

    Attributes:
        status: The HTTP status.
        code: The error code of S3; by default the usual one of the status.
        message: The message beside it.
        headers: Headers to add.
        body: The whole body instead of S3's error document.
        content_type: Type of the body.
    """

    status: int
    code: str = ""
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | str | None = None
    content_type: str = "application/xml"

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise ConfigurationError(
                f"Answer: status is {self.status}.", hint="Give a final HTTP status between 200 and 599."
            )

    @property
    def reason(self) -> str:
        """The words after the status."""
        try:
            return HTTPStatus(self.status).phrase
        except ValueError:
            return ""

    @property
    def content(self) -> bytes:
        """The body as bytes."""
        if self.body is not None:
            return self.body.encode() if isinstance(self.body, str) else self.body
        code, message = _S3_ERRORS.get(self.status, (self.reason.replace(" ", ""), self.reason))
        document = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{escape(self.code or code)}</Code>'
            f"<Message>{escape(self.message or message)}</Message></Error>"
        )
        return document.encode()


@dataclass(frozen=True)
class StaleListing:
    """A listing of a bucket stays as it was when it was first made after this fault was added.

    The first answer to each listing (same bucket, prefix, page and so on) passes and is remembered; from then on the
    same question gets the remembered answer. ``times`` and ``after`` count the stale answers.
    """


Fault = Delay | Reset | HalfClose | Truncate | Answer | StaleListing


@dataclass(frozen=True)
class Match:
    """What a fault is applied to: everything named here must agree; nothing named matches everything.

    Attributes:
        method: HTTP method.
        path: Regular expression, searched in the decoded path (``/bucket/key``).
        query: A query parameter, ``name`` or ``name=value``.
        contains: Bytes sent by the client. Over TCP the fault begins when they are sent; over HTTP they are looked for
            in the request's body, unpacked if it is gzipped, provided its head names a length of at most 1 MiB.
    """

    method: str | None = None
    path: str | None = None
    query: str | None = None
    contains: bytes | None = None

    def __post_init__(self) -> None:
        if self.contains == b"":
            raise ConfigurationError("Match: contains is empty.", hint="Give the bytes to look for, or leave it out.")
        try:
            re.compile(self.path or "")
        except re.error as error:
            raise ConfigurationError(
                f"Match: path {self.path!r} is no regular expression: {error}.", hint="Escape its special characters."
            ) from error

    @property
    def http_only(self) -> bool:
        """Whether it names something only HTTP has."""
        return any(part is not None for part in (self.method, self.path, self.query))

    def request(self, request: Target, body: bytes | None) -> bool:
        """Whether an HTTP request agrees; a body of None is one that cannot be looked into."""
        name, is_pair, value = (self.query or "").partition("=")
        return (
            (self.method is None or self.method.upper() == request.method)
            and (self.path is None or re.search(self.path, request.path) is not None)
            and (self.query is None or any(name == n and (not is_pair or value == v) for n, v in request.parameters))
            and (self.contains is None or (body is not None and self.contains in body))
        )


def check_usable(fault: Fault, match: Match, protocol: Protocol) -> None:
    """Refuse what could never strike behind a proxy of this protocol.

    Raises:
        ConfigurationError: The fault or the match needs HTTP.
    """
    if protocol == "http":
        return
    if isinstance(fault, Answer | StaleListing):
        raise ConfigurationError(
            f"{type(fault).__name__} is an HTTP fault, and this proxy's protocol is 'tcp'.",
            hint="Use Delay, Reset, HalfClose or Truncate, or FaultProxy(..., protocol='http').",
        )
    if match.http_only:
        raise ConfigurationError(
            f"{match} names a part of an HTTP request, and this proxy's protocol is 'tcp'.",
            hint="Use Match(contains=b'...').",
        )


def _check_not_negative(name: str, value: float) -> None:
    if not value >= 0:
        raise ConfigurationError(f"{name} is {value}.", hint="Give a number that is not negative.")


def _check_direction(direction: str) -> None:
    if direction not in ("request", "response"):
        raise ConfigurationError(f"direction is {direction!r}.", hint="Give 'request' or 'response'.")
