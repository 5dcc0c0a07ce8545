"""One end of a connection that goes through the proxy, and the ways in which it can end."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios

from mz_orchestration.local.faults.kinds import Cut, HalfClose, Reset

CHUNK = 1 << 16

# How long the last bytes before a cut may take to reach a peer that does not read.
_DELIVERY = 2.0


class Stream:
    """A TCP connection of the proxy.

    Args:
        reader: Its reader.
        writer: Its writer.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._socket = writer.get_extra_info("socket")
        # Without it every answer of two segments waits 40 ms for an acknowledgement.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # drain() then returns only when the kernel has everything.
        writer.transport.set_write_buffer_limits(high=0)

    @classmethod
    async def open(cls, host: str, port: int) -> Stream:
        """Connect to a server."""
        return cls(*await asyncio.open_connection(host, port, limit=CHUNK))

    async def read(self) -> bytes:
        """Read what there is; nothing at the end."""
        return await self._reader.read(CHUNK)

    async def write(self, data: bytes) -> None:
        """Write bytes and wait until the kernel has them."""
        if data:
            self._writer.write(data)
            await self._writer.drain()

    @property
    def ended(self) -> bool:
        """Whether the peer has closed its side and everything it sent was read."""
        return self._reader.at_eof()

    def finish(self) -> None:
        """Say that no more comes (FIN); the peer may still send."""
        if not self._writer.transport.is_closing():
            with contextlib.suppress(OSError):
                self._writer.write_eof()

    def reset(self) -> None:
        """End it with a reset (RST)."""
        if self._socket.fileno() >= 0:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def abort(self) -> None:
        """End it at once, without waiting for what was not sent yet."""
        self._writer.transport.abort()

    def close(self) -> None:
        """End it in good order."""
        self._writer.close()

    async def drained(self) -> None:
        """Read and forget until the peer closes."""
        with contextlib.suppress(OSError):
            while await self.read():
                pass

    async def delivered(self) -> None:
        """Wait until the peer's kernel has everything: a reset throws away what has not left yet."""
        waiting = bytearray(4)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_DELIVERY):
                while self._socket.fileno() >= 0:
                    fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, waiting)
                    if not any(waiting):
                        return
                    await asyncio.sleep(0.002)


async def cut(how: Cut, client: Stream, server: Stream | None) -> None:
    """End a connection through the proxy; returns when it is over.

    Args:
        how: In which way.
        client: The end towards the client.
        server: The end towards the server, if it was asked already.
    """
    ends = [end for end in (client, server) if end is not None]
    if isinstance(how, Reset):
        await asyncio.gather(*(end.delivered() for end in ends))
        for end in ends:
            end.reset()
    elif isinstance(how, HalfClose):
        receiver = client if how.direction == "response" else server
        if receiver is not None:
            receiver.finish()
        silent = asyncio.gather(*(end.drained() for end in ends[1:]))
        try:
            await client.drained()
        finally:
            silent.cancel()
    else:
        for end in ends:
            end.finish()
