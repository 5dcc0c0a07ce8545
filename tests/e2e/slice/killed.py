"""Run an export or a load and be killed by SIGKILL at one moment of it; started by test_kill.py.

Usage: killed.py export|load SPEC_JSON RUN_KEY STEP STATE
"""

from __future__ import annotations

import json
import os
import signal
import sys

from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.progress import Event
from mz_orchestration.snowflake.load import run_load
from mz_orchestration.snowflake.spec import load_spec


def main(action: str, spec: str, run_key: str, step: str, state: str) -> None:
    def die(event: Event) -> None:
        if (event.step, event.state) == (step, state):
            os.kill(os.getpid(), signal.SIGKILL)

    if action == "export":
        run_export(export_spec(**json.loads(spec)), run_key=run_key, on_event=die)
    else:
        run_load(load_spec(**json.loads(spec)), on_event=die)


main(*sys.argv[1:])
