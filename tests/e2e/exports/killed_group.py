"""Start a group of exports and be killed by SIGKILL half a second after so many COPYs began; started by a test.

Usage: killed_group.py SPECS_JSON RUN_KEY [COPIES]
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

from mz_orchestration.exports.group import run_exports
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.progress import Event


def main(specs: str, run_key: str, copies: str = "1") -> None:
    begun = 0

    def die(event: Event) -> None:
        nonlocal begun
        if (event.step, event.state) == ("copy", "started"):
            begun += 1
            if begun == int(copies):
                threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL)).start()

    run_exports(
        [export_spec(**fields) for fields in json.loads(specs)],
        run_key=run_key,
        max_parallel=int(copies),
        on_event=die,
    )


main(*sys.argv[1:])
