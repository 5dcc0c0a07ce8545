"""Start an export and be killed by SIGKILL half a second into its COPY; started by test_faults.py.

Usage: killed_in_copy.py SPEC_JSON RUN_KEY
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.progress import Event


def main(spec: str, run_key: str) -> None:
    def die(event: Event) -> None:
        if (event.step, event.state) == ("copy", "started"):
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL)).start()

    run_export(export_spec(**json.loads(spec)), run_key=run_key, on_event=die)


main(*sys.argv[1:])
