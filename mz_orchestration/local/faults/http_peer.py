"""HTTP messages over a stream: h11 reads and writes them, so that every header and body passes as it was."""

from __future__ import annotations

import zlib

import h11

from mz_orchestration.local.faults.streams import Stream

# Snowflake's session tokens and S3's policies make long heads.
_LONGEST_HEAD = 1 << 20
_LONGEST_BODY_LOOKED_INTO = 1 << 20


class HttpPeer:
    """One end of a connection, seen as HTTP.

    Args:
        stream: The connection.
        role: ``h11.SERVER`` towards a client, ``h11.CLIENT`` towards a server.
    """

    def __init__(self, stream: Stream, role: type[h11.CLIENT] | type[h11.SERVER]) -> None:
        self.stream = stream
        self._http = h11.Connection(role, max_incomplete_event_size=_LONGEST_HEAD)

    async def receive(self) -> h11.Event:
        """The next part of a message.

        Raises:
            h11.RemoteProtocolError: The peer does not speak HTTP, or ended in the middle of a message.
        """
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Event):
                return event
            if event is h11.PAUSED:
                raise ConnectionResetError("the peer went on after its last message")
            self._http.receive_data(await self.stream.read())

    async def send(self, event: h11.Event) -> None:
        """Send a part of a message."""
        await self.stream.write(self._http.send(event) or b"")

    @property
    def waits_for_continue(self) -> bool:
        """Whether the client keeps its body back until it is asked for it."""
        return self._http.they_are_waiting_for_100_continue

    def next_message(self) -> bool:
        """Get ready for the next message; False if the connection can carry none."""
        states = {self._http.our_state, self._http.their_state}
        if states == {h11.DONE}:
            self._http.start_next_cycle()
        return states in ({h11.DONE}, {h11.IDLE}) and not self.stream.ended


def can_be_looked_into(request: h11.Request) -> bool:
    """Whether a request's body is short enough to be read before the request goes on."""
    length = dict(request.headers).get(b"content-length")
    return length is not None and int(length) <= _LONGEST_BODY_LOOKED_INTO


def text_of(body: bytes) -> bytes:
    """A body as its sender wrote it, before any gzip."""
    if not body.startswith(b"\x1f\x8b"):
        return body
    try:
        return zlib.decompress(body, wbits=zlib.MAX_WBITS | 16)
    except zlib.error:
        return body
