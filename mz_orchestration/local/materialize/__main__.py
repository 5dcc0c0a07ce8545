"""``python -m mz_orchestration.local.materialize``: one server process, which ends with its supervisor."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import importlib
import json
import os
import signal
import stat
import sys
import threading
from pathlib import Path

from mz_orchestration.local.materialize.postgres import Postgres, PostgresFailed
from mz_orchestration.local.materialize.server import Server
from mz_orchestration.local.statement_log import StatementLog

_PASSWORD = "MZ_LOCAL_PASSWORD"
_WATCH_SECONDS = 0.5
# Exports are threads; with the default of 5 ms four of them would make each turn of the event loop wait 20 ms.
_SWITCH_SECONDS = 0.0005


def main() -> int:
    """Run until told to stop."""
    arguments = _arguments()
    password = os.environ.pop(_PASSWORD, "")
    if not password:
        print(f"{_PASSWORD} is not set: it holds the password of the SQL user materialize", file=sys.stderr)
        return 2
    arguments.dir.mkdir(parents=True, exist_ok=True)
    with (arguments.dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another server runs on {arguments.dir}; stop it or use another --dir", file=sys.stderr)
            return 1
        sys.setswitchinterval(_SWITCH_SECONDS)
        return asyncio.run(_run(arguments, password))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mz_orchestration.local.materialize")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--dir", type=Path, required=True, help="state folder")
    parser.add_argument("--statements", type=Path, required=True, help="file that statements are appended to")
    parser.add_argument("--workers", type=int, default=2, help="workers of a replica, each writes its own files")
    arguments = parser.parse_args()
    if arguments.workers < 1:
        parser.error(f"--workers is {arguments.workers}, it must be at least 1")
    return arguments


async def _run(arguments: argparse.Namespace, password: str) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    _watch_supervisor(loop, stopping)
    postgres = Postgres(arguments.dir)
    log = StatementLog(arguments.statements, "materialize")
    try:
        # In this thread: PostgreSQL is told to end with the thread that started it.
        postgres.start(password)
        server = Server(postgres.socket_path, postgres.conninfo(), log, arguments.workers)
        port = await server.start(arguments.host, arguments.port)
        print(json.dumps({"ready": True, "port": port}), flush=True)
        threading.Thread(target=_warm_up, daemon=True).start()
        while not stopping.is_set():
            if not postgres.alive:
                print(f"PostgreSQL ended by itself; its log is in {arguments.dir}", file=sys.stderr)
                return 1
            try:
                await asyncio.wait_for(stopping.wait(), _WATCH_SECONDS)
            except TimeoutError:
                continue
        await server.stop()
    except (PostgresFailed, OSError) as error:
        print(f"the Materialize stand-in could not start: {error}", file=sys.stderr)
        return 1
    finally:
        postgres.stop()
        log.close()
    return 0


def _watch_supervisor(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    """A pipe at stdin belongs to whoever started this; its end is theirs."""
    mode = os.fstat(0).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return

    def readable() -> None:
        if not os.read(0, 1024):
            loop.remove_reader(0)
            stopping.set()

    loop.add_reader(0, readable)


def _warm_up() -> None:
    """Load what the first COPY needs, so that it is as quick as the others."""
    for name in ("adbc_driver_postgresql.dbapi", "boto3", "pyarrow.compute", "pyarrow.parquet"):
        importlib.import_module(name)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Threads of stopped exports may still sit in a library call.
    os._exit(code)
