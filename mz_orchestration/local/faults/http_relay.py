"""Relay of HTTP: one exchange after the other, each with the faults that match it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

import h11

from mz_orchestration.local.faults.active import ActiveFault, ActiveFaults, Plan, StoredAnswer
from mz_orchestration.local.faults.http_peer import HttpPeer, can_be_looked_into, text_of
from mz_orchestration.local.faults.kinds import Answer, Cut, Direction, Truncate
from mz_orchestration.local.faults.seen import SeenRequest, Target
from mz_orchestration.local.faults.streams import Stream, cut

# Seconds a client gets to send the rest of a body that its answer has overtaken.
_REST_OF_THE_BODY = 1.0


class _CutNow(Exception):
    """The bytes before a cut have passed."""

    def __init__(self, active: ActiveFault, how: Cut) -> None:
        super().__init__(how)
        self.active = active
        self.how = how


_BODYLESS = (204, 304)


class HttpRelay:
    """One connection of a client, and the connection to the server that it needs.

    Args:
        client: The end towards the client.
        connect: Connects to the server.
        faults: The faults of the proxy.
        seen: Called with each request.
    """

    def __init__(
        self,
        client: Stream,
        connect: Callable[[], Awaitable[Stream]],
        faults: ActiveFaults,
        seen: Callable[[SeenRequest], None],
    ) -> None:
        self._client = HttpPeer(client, h11.SERVER)
        self._server: HttpPeer | None = None
        self._connect = connect
        self._faults = faults
        self._seen = seen
        self._read_ahead: deque[h11.Event] = deque()

    async def run(self) -> None:
        """Relay until one side ends or the connection is cut."""
        try:
            while await self._exchange() and self._client.next_message():
                pass
        except _CutNow as due:
            await asyncio.sleep(due.how.delay)
            due.active.struck()
            await cut(due.how, self._client.stream, self._server.stream if self._server else None)
        except (OSError, h11.ProtocolError):
            # One end was lost in the middle: the other learns it in the same way.
            self._client.stream.reset()
            if self._server is not None:
                self._server.stream.reset()

    async def _exchange(self) -> bool:
        """Relay one request and its answer; False if the connection cannot carry another."""
        head = await self._client.receive()
        if not isinstance(head, h11.Request):
            return False
        target = Target.parse(head.method, head.target)
        self._seen(target.seen)
        plan = self._faults.for_request(target, await self._look_into(head))
        if seconds := plan.delay("request"):
            await asyncio.sleep(seconds)
        if plan.main is not None and plan.answer is not None:
            return await self._answer(head.method, plan.answer, plan)
        if plan.main is not None and plan.stale is not None:
            return await self._replay(head.method, plan.stale, plan)
        _cut_at_the_head(plan, "request")
        return await self._ask(head, target, plan)

    async def _look_into(self, head: h11.Request) -> bytes | None:
        if not self._faults.look_into_bodies or not can_be_looked_into(head):
            return None
        if self._client.waits_for_continue:
            await self._client.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
        events = [event async for event in self._body()]
        self._read_ahead.extend(events)
        return text_of(b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data)))

    async def _body(self) -> AsyncIterator[h11.Data | h11.EndOfMessage]:
        """The parts of the request's body, to its end."""
        while True:
            event = self._read_ahead.popleft() if self._read_ahead else await self._client.receive()
            if not isinstance(event, h11.Data | h11.EndOfMessage):
                raise ConnectionResetError("the client left in the middle of its request")
            yield event
            if isinstance(event, h11.EndOfMessage):
                return

    async def _answer(self, method: bytes, answer: Answer, plan: Plan) -> bool:
        content = answer.content
        headers = {"Content-Type": answer.content_type, "Content-Length": str(len(content)), **answer.headers}
        stored = StoredAnswer(
            answer.status,
            answer.reason.encode(),
            [(name.encode(), value.encode()) for name, value in headers.items()],
            content,
        )
        return await self._replay(method, stored, plan)

    async def _replay(self, method: bytes, stored: StoredAnswer, plan: Plan) -> bool:
        """Give an answer without the server."""
        headers = list(stored.headers)
        reads_on = not self._client.waits_for_continue
        if reads_on:
            # A client that is still sending must not be met with a reset.
            async for _ in self._body():
                pass
        else:
            # Whether the body still comes is the client's choice, so nothing can follow.
            headers.append((b"Connection", b"close"))
        await asyncio.sleep(plan.delay("response"))
        assert plan.main is not None
        plan.main.struck()
        await self._client.send(h11.Response(status_code=stored.status, reason=stored.reason, headers=headers))
        if method != b"HEAD" and stored.status not in _BODYLESS:
            await self._client.send(h11.Data(data=stored.body))
        await self._client.send(h11.EndOfMessage())
        return reads_on

    async def _ask(self, head: h11.Request, target: Target, plan: Plan) -> bool:
        """Let the server answer, while the request's body may still be on its way."""
        if self._server is not None and not self._server.next_message():
            # Servers close idle connections, some after a few seconds.
            self._server.stream.close()
            self._server = None
        if self._server is None:
            self._server = HttpPeer(await self._connect(), h11.CLIENT)
        sending = asyncio.create_task(self._send(head, self._server, plan))
        receiving = asyncio.create_task(self._receive(self._server, target, plan))
        try:
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and not receiving.done():
                sending.result()
            await receiving
            # An answer that came early: a client that still sends would miss it if it were reset now.
            await asyncio.wait({sending}, timeout=_REST_OF_THE_BODY)
            if not sending.done():
                return False
            sending.result()
            return True
        finally:
            for task in (sending, receiving):
                task.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)

    async def _send(self, head: h11.Request, server: HttpPeer, plan: Plan) -> None:
        found = plan.cut("request")
        left = found[1].after_bytes if found else 0
        await server.send(h11.Request(method=head.method, target=head.target, headers=head.headers.raw_items()))
        async for event in self._body():
            more = found is not None and isinstance(event, h11.Data) and len(event.data) > left
            passing = h11.Data(data=event.data[:left]) if more and isinstance(event, h11.Data) else event
            try:
                await server.send(passing)
            except OSError:
                # The server has closed its ears; its answer may be on the way all the same.
                return
            if found and more:
                raise _CutNow(*found)
            left -= len(event.data) if isinstance(event, h11.Data) else 0

    async def _receive(self, server: HttpPeer, target: Target, plan: Plan) -> None:
        found = plan.cut("response")
        left = found[1].after_bytes if found else 0
        head: h11.Response | None = None
        kept: list[bytes] = []
        while not isinstance(event := await server.receive(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                head = event
                await asyncio.sleep(plan.delay("response"))
                _cut_at_the_head(plan, "response")
            elif isinstance(event, h11.Data):
                if plan.remember is not None:
                    kept.append(bytes(event.data))
                if found:
                    await self._client.send(h11.Data(data=event.data[:left]))
                    if len(event.data) > left:
                        raise _CutNow(*found)
                    left -= len(event.data)
                    continue
            elif not isinstance(event, h11.InformationalResponse):
                raise ConnectionResetError("the server left without an answer")
            await self._client.send(event)
        await self._client.send(event)
        if plan.remember is not None and head is not None and head.status_code == 200:
            stored = StoredAnswer(head.status_code, head.reason, head.headers.raw_items(), b"".join(kept))
            plan.remember.memory.setdefault(target, stored)


def _cut_at_the_head(plan: Plan, direction: Direction) -> None:
    found = plan.cut(direction)
    if found and found[1].after_bytes == 0 and not (direction == "response" and isinstance(found[1], Truncate)):
        raise _CutNow(*found)
