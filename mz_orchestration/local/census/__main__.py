"""The process: ``python -m mz_orchestration.local.census --dir … --requests …``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import uvicorn

from mz_orchestration.local.census.app import Endpoints
from mz_orchestration.local.census.destination import Destination
from mz_orchestration.local.census.engine import Engine
from mz_orchestration.local.census.faults import Rules
from mz_orchestration.local.census.gate import Gate
from mz_orchestration.local.census.request_log import RequestLog

TOKEN = "MZ_LOCAL_CENSUS_TOKEN"
WORKSPACE_KEY = "MZ_LOCAL_CENSUS_WORKSPACE_KEY"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mz_orchestration.local.census", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--dir", type=Path, required=True, help="folder for what arrives at the destination")
    parser.add_argument("--requests", type=Path, required=True, help="file every request is appended to")
    return parser.parse_args()


def _listen(host: str, port: int) -> socket.socket:
    # With the protocol named, asyncio switches Nagle's algorithm off; otherwise every answer waits 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(128)
    return listener


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


def main() -> int:
    """Serve until a signal or the end of standard input."""
    arguments = _arguments()
    token, key = os.environ.pop(TOKEN, ""), os.environ.pop(WORKSPACE_KEY, "")
    if not token or not key:
        print(f"{TOKEN} or {WORKSPACE_KEY} is not set: what signs in to API V2 and V1", file=sys.stderr)
        return 2
    folder: Path = arguments.dir
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    rules = Rules()
    engine = Engine(Destination(folder / "destination.sqlite"), rules)
    gate = Gate(engine, rules, RequestLog(arguments.requests), {"v1": key, "v2": token})
    try:
        listener = _listen(arguments.host, arguments.port)
    except OSError as error:
        print(f"cannot listen on {arguments.host}:{arguments.port}: {error.strerror}", file=sys.stderr)
        return 1
    application = Endpoints(engine, rules, gate).application()
    config = uvicorn.Config(
        application, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    threading.Thread(target=_stop_at_end_of_input, args=(server,), daemon=True).start()
    asyncio.run(_serve(server, listener))
    return 0


if __name__ == "__main__":
    # Runs that still read a source must not keep the process.
    sys.stdout.flush()
    os._exit(main())
