"""The process: ``python -m mz_orchestration.local.census --dir … --requests …``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from mz_orchestration.local.census.app import Endpoints
from mz_orchestration.local.census.destination import Destination
from mz_orchestration.local.census.engine import Engine
from mz_orchestration.local.census.faults import Rules
from mz_orchestration.local.census.gate import Gate
from mz_orchestration.local.census.request_log import RequestLog
from mz_orchestration.local.serving import listen, serve

TOKEN = "MZ_LOCAL_CENSUS_TOKEN"
WORKSPACE_KEY = "MZ_LOCAL_CENSUS_WORKSPACE_KEY"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mz_orchestration.local.census", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--dir", type=Path, required=True, help="folder for what arrives at the destination")
    parser.add_argument("--requests", type=Path, required=True, help="file every request is appended to")
    return parser.parse_args()


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
        listener = listen(arguments.host, arguments.port)
    except OSError as error:
        print(f"cannot listen on {arguments.host}:{arguments.port}: {error.strerror}", file=sys.stderr)
        return 1
    serve(Endpoints(engine, rules, gate).application(), listener)
    return 0


if __name__ == "__main__":
    # Runs that still read a source must not keep the process.
    sys.stdout.flush()
    os._exit(main())
