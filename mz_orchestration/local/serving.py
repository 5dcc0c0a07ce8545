"""Serving an ASGI application as one process of the stack.

It says on standard output when it is ready, and ends with a signal or with its standard input, which the starter holds.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import threading

import uvicorn
from starlette.types import ASGIApp


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        OSError: The port is taken.
    """
    # With the protocol named, asyncio switches Nagle's algorithm off; otherwise every answer waits 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(128)
    return listener


def serve(application: ASGIApp, listener: socket.socket) -> None:
    """Serve until a signal or the end of standard input."""
    config = uvicorn.Config(
        application, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    threading.Thread(target=_stop_at_end_of_input, args=(server,), daemon=True).start()
    asyncio.run(_serve(server, listener))


def _stop_at_end_of_input(server: uvicorn.Server) -> None:
    """The starter holds the other end: when it is gone, so is the reason to run."""
    while sys.stdin.buffer.read(4096):
        pass
    server.should_exit = True


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: setattr(server, "should_exit", True))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        print(json.dumps({"ready": True, "port": listener.getsockname()[1]}), flush=True)
    await serving
