"""What a client sends: its messages one by one, and whether it is still there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mz_orchestration.local.materialize.exchange import Exchange

_CHUNK = 1 << 18
_READ_AHEAD = 1 << 20
_COPY_DATA = ord("d")


class ClientMessages:
    """The messages of one client."""

    def __init__(self, reader: asyncio.StreamReader, exchange: Exchange) -> None:
        self._reader = reader
        self._exchange = exchange
        self._buffer = bytearray()

    async def next(self) -> tuple[int, bytes] | None:
        """The next message that is not data of a COPY, None at the end; such data goes straight through."""
        buffer = self._buffer
        while True:
            at = 0
            while len(buffer) - at >= 5:
                end = at + 1 + int.from_bytes(buffer[at + 1 : at + 5], "big")
                if end > len(buffer):
                    break
                if buffer[at] != _COPY_DATA:
                    data, kind, body = bytes(buffer[:at]), buffer[at], bytes(buffer[at + 5 : end])
                    del buffer[:end]
                    if data:
                        await self._exchange.send(data)
                    return kind, body
                at = end
            if at:
                data = bytes(buffer[:at])
                del buffer[:at]
                await self._exchange.send(data)
            chunk = await self._reader.read(_CHUNK)
            if not chunk:
                return None
            buffer += chunk

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """While inside, notice when the client closes the connection; what it sends before is kept for later."""
        watch = asyncio.create_task(self._read_ahead())
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _read_ahead(self) -> None:
        try:
            while len(self._buffer) < _READ_AHEAD:
                chunk = await self._reader.read(_CHUNK)
                if not chunk:
                    break
                self._buffer += chunk
            else:
                return
        except ConnectionError:
            pass
        self._exchange.client_gone.set()
