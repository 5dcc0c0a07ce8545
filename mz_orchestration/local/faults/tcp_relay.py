"""Relay of any TCP protocol: bytes both ways, with delays and cuts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from mz_orchestration.local.faults.active import ActiveFault, ActiveFaults, Plan
from mz_orchestration.local.faults.kinds import Cut, Direction
from mz_orchestration.local.faults.streams import Stream, cut


@dataclass
class _Armed:
    """A cut that will strike this connection when so many more bytes have passed."""

    active: ActiveFault
    cut: Cut
    left: int


class TcpRelay:
    """One connection between a client and a server.

    Args:
        client: The end towards the client.
        server: The end towards the server.
        faults: The faults of the proxy.
    """

    def __init__(self, client: Stream, server: Stream, faults: ActiveFaults) -> None:
        self._client = client
        self._server = server
        self._faults = faults
        self._armed: list[_Armed] = []
        self._due: asyncio.Future[_Armed] = asyncio.get_running_loop().create_future()
        self._delays: dict[Direction, float] = {"request": 0.0, "response": 0.0}

    async def run(self) -> None:
        """Relay until both directions have ended or the connection is cut."""
        self._arm(self._faults.for_connection())
        pumps = [
            asyncio.create_task(self._pump("request", self._client, self._server)),
            asyncio.create_task(self._pump("response", self._server, self._client)),
        ]
        try:
            if (armed := await self._first_due(pumps)) is not None:
                await asyncio.sleep(armed.cut.delay)
                # From now on nothing else may read.
                await _cancelled(pumps)
                armed.active.struck()
                await cut(armed.cut, self._client, self._server)
        except OSError:
            # One end was reset: so is the other.
            self._client.reset()
            self._server.reset()
        finally:
            await _cancelled(pumps)

    async def _first_due(self, pumps: list[asyncio.Task[None]]) -> _Armed | None:
        """The first cut that is due, or None once both directions have ended."""
        going = set(pumps)
        while going and not self._due.done():
            waiting: set[asyncio.Future[Any]] = {*going, self._due}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for pump in [each for each in going if each.done()]:
                going.discard(pump)
                pump.result()
        return self._due.result() if self._due.done() else None

    async def _pump(self, direction: Direction, source: Stream, sink: Stream) -> None:
        before = b""
        while chunk := await source.read():
            begun: list[_Armed] = []
            if direction == "request":
                sent = before + chunk
                begun = self._arm(self._faults.for_bytes(sent, len(chunk)))
                before = sent[max(0, len(sent) - self._faults.longest_text) :]
            await self._hold(direction)
            if self._silent(direction):
                continue
            await self._pass(chunk, sink, [each for each in self._armed if each.cut.direction == direction])
            for armed in begun:
                # The text was sent: no byte of the answer need come first.
                if armed.cut.after_bytes == 0:
                    self._strike(armed)
        if not self._silent(direction):
            sink.finish()

    async def _hold(self, direction: Direction) -> None:
        seconds = self._delays[direction] + self._faults.for_chunk(direction).delay(direction)
        self._delays[direction] = 0.0
        if seconds:
            await asyncio.sleep(seconds)

    async def _pass(self, chunk: bytes, sink: Stream, armed: list[_Armed]) -> None:
        """Pass as much of a chunk as the cuts leave."""
        first = min(armed, key=lambda each: each.left, default=None)
        passing = chunk if first is None else chunk[: first.left]
        await sink.write(passing)
        for each in armed:
            each.left -= len(passing)
        if first is not None and len(passing) < len(chunk):
            self._strike(first)

    def _arm(self, plan: Plan) -> list[_Armed]:
        begun = []
        for direction in self._delays:
            self._delays[direction] += plan.delay(direction)
            if (found := plan.cut(direction)) is not None:
                begun.append(_Armed(*found, found[1].after_bytes))
        self._armed += begun
        return begun

    def _strike(self, armed: _Armed) -> None:
        if not self._due.done():
            self._due.set_result(armed)

    def _silent(self, direction: Direction) -> bool:
        return self._due.done() and self._due.result().cut.direction == direction


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
