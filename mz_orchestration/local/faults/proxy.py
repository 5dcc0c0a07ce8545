"""The proxy itself: a thread that accepts connections and relays them, and the switches a test turns."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.local.errors import LocalStackError
from mz_orchestration.local.faults.active import ActiveFault, ActiveFaults
from mz_orchestration.local.faults.http_relay import HttpRelay
from mz_orchestration.local.faults.kinds import Fault, Match, Protocol, check_usable
from mz_orchestration.local.faults.seen import SeenRequest
from mz_orchestration.local.faults.streams import CHUNK, Stream
from mz_orchestration.local.faults.tcp_relay import TcpRelay
from mz_orchestration.local.state import HOST

_T = TypeVar("_T")

_log = logging.getLogger(__name__)

# Starting, stopping and turning a switch take milliseconds; more means that something is broken.
_DEADLINE = 10.0

# A thousand clients may come at once; one that does not fit waits a second before it tries again.
_BACKLOG = 4096


class FaultProxy:
    """A proxy before one server, as a context manager; without faults it changes nothing.

    It listens on a free port of this machine only. Every fault stays in force until its ``times`` are used up or it
    is removed. Of several faults that match, all delays apply, and of the others the first that was added.

    Args:
        upstream: Host and port of the server.
        protocol: ``http``, or ``tcp`` for any other protocol, such as PostgreSQL's.
    """

    def __init__(self, upstream: tuple[str, int], protocol: Protocol = "http") -> None:
        if protocol not in ("http", "tcp"):
            raise ConfigurationError(f"FaultProxy: protocol is {protocol!r}.", hint="Give 'http' or 'tcp'.")
        self.host = HOST
        self._upstream = upstream
        self._protocol: Protocol = protocol
        self._faults = ActiveFaults()
        self._requests: list[SeenRequest] = []
        self._connections: dict[asyncio.Task[None], list[Stream]] = {}
        self._port = 0
        self._server: asyncio.Server | None = None
        self._held: socket.socket
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        self._running()
        return self._port

    @property
    def url(self) -> str:
        """Its address for HTTP clients."""
        return f"http://{self.host}:{self.port}"

    @property
    def requests(self) -> list[SeenRequest]:
        """The HTTP requests seen so far, in order."""
        return list(self._requests)

    def add(self, fault: Fault, *, match: Match | None = None, times: int | None = None, after: int = 0) -> ActiveFault:
        """Put a fault in force until it is removed.

        Over TCP a cut whose match has no ``contains`` marks connections as they are opened, and ``times`` and
        ``after`` count connections; a delay counts chunks.

        Args:
            fault: What happens.
            match: To what; by default to everything.
            times: To how many matches; None for all.
            after: How many matches are spared first.

        Raises:
            ConfigurationError: It could never strike here.
        """
        chosen = match or Match()
        check_usable(fault, chosen, self._protocol)
        for name, count in (("times", times), ("after", after)):
            if count is not None and count < 0:
                raise ConfigurationError(f"{name} is {count}.", hint="Give a number that is not negative.")
        active = ActiveFault(fault, chosen, times, after)
        self._faults.add(active)
        return active

    def fault(
        self, fault: Fault, *, match: Match | None = None, times: int | None = None, after: int = 0
    ) -> ActiveFault:
        """Put a fault in force for the length of a ``with`` block; the arguments are those of ``add``."""
        return self.add(fault, match=match, times=times, after=after)

    def clear(self) -> None:
        """Remove all faults and accept connections again."""
        self._faults.clear()
        self.refuse(False)

    def refuse(self, refusing: bool) -> None:
        """Refuse new connections until called with False: a server that is down.

        Open connections go on; ``drop_connections`` ends them.
        """
        self._on_loop(self._refuse() if refusing else self._listen())

    def drop_connections(self) -> int:
        """Reset everything that is open now, on both sides, and return how many connections that were."""
        return self._on_loop(self._drop())

    def __enter__(self) -> FaultProxy:
        if self._thread is not None:
            raise LocalStackError("this FaultProxy is running already.", hint="Make another one.")
        started = threading.Event()

        def serve() -> None:
            try:
                asyncio.run(self._serve(started))
            except BaseException as error:
                self._failure = error
                started.set()

        self._thread = threading.Thread(target=serve, name="fault-proxy", daemon=True)
        self._thread.start()
        if not started.wait(_DEADLINE) or self._failure is not None:
            self._thread = None
            raise LocalStackError(f"the fault proxy could not start: {self._failure or 'it stayed silent'}.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        thread = self._thread
        assert thread is not None
        loop, stop = self._running()
        if self._failure is None:
            loop.call_soon_threadsafe(stop.set)
        thread.join(_DEADLINE)
        if thread.is_alive():
            raise LocalStackError(f"the fault proxy did not stop within {_DEADLINE:g} s.")
        self._thread = self._loop = self._stop = None
        if self._failure is not None:
            raise LocalStackError(f"the fault proxy ended too early: {self._failure}.") from self._failure

    def _running(self) -> tuple[asyncio.AbstractEventLoop, asyncio.Event]:
        if self._loop is None or self._stop is None:
            raise LocalStackError("this FaultProxy is not running.", hint="Use it in a with block.")
        return self._loop, self._stop

    def _on_loop(self, action: Coroutine[Any, Any, _T]) -> _T:
        """Run something in the proxy's thread."""
        try:
            loop, _ = self._running()
        except LocalStackError:
            action.close()
            raise
        return asyncio.run_coroutine_threadsafe(action, loop).result(_DEADLINE)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, sock=self._held, limit=CHUNK, backlog=_BACKLOG)

    async def _refuse(self) -> None:
        if self._server is not None:
            # Bound without listening: connections are refused, and nobody else can take the port.
            self._held = _bound(self.host, self._port)
            self._server.close()
            self._server = None

    async def _serve(self, started: threading.Event) -> None:
        self._held = _bound(self.host, 0)
        self._port = self._held.getsockname()[1]
        await self._listen()
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        started.set()
        try:
            await self._stop.wait()
        finally:
            await self._refuse()
            self._held.close()
            tasks = list(self._connections)
            for task, streams in self._connections.items():
                for stream in streams:
                    stream.abort()
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # Sockets are closed by callbacks of the loop.
            await asyncio.sleep(0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Stream(reader, writer)
        streams = [client]
        task = asyncio.create_task(self._relay(client, streams))
        self._connections[task] = streams
        task.add_done_callback(self._ended)

    async def _relay(self, client: Stream, streams: list[Stream]) -> None:
        async def connect() -> Stream:
            server = await Stream.open(*self._upstream)
            streams.append(server)
            return server

        try:
            if self._protocol == "http":
                await HttpRelay(client, connect, self._faults, self._requests.append).run()
            else:
                await TcpRelay(client, await connect(), self._faults).run()
        except OSError:
            # The server is not there: neither is the proxy.
            client.reset()
        finally:
            for stream in streams:
                stream.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._connections[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a connection through the fault proxy ended in an error of the proxy", exc_info=error)

    async def _drop(self) -> int:
        tasks = list(self._connections)
        for task, streams in self._connections.items():
            for stream in streams:
                stream.reset()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(tasks)


def _bound(host: str, port: int) -> socket.socket:
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # Two sockets share the port for a moment when one takes it over from the other.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind((host, port))
    return held
