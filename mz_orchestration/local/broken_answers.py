"""Answers that do not arrive, or not whole, for servers that are told to fail."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class Lost(Response):
    """No answer at all: the connection is reset."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._transport = _transport(request)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reset the connection."""
        self._transport.abort()
        await _closed(receive)


class Truncated(Response):
    """Half of an answer: the connection is closed in the middle of the body."""

    def __init__(self, request: Request, whole: Response) -> None:
        super().__init__()
        self._transport = _transport(request)
        self._whole = whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, which promises everything, and half of the body."""
        body = bytes(self._whole.body)
        await send({"type": "http.response.start", "status": 200, "headers": self._whole.raw_headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        self._transport.close()
        await _closed(receive)


async def _closed(receive: Receive) -> None:
    """Wait until the server knows that the connection is gone; an answer missing before that is a fault to it."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _transport(request: Request) -> asyncio.Transport:
    """The connection of a request: ASGI has no word for dropping one, uvicorn's ``receive`` knows it."""
    transport: asyncio.Transport = request.receive.__self__.transport  # type: ignore[attr-defined]
    return transport
