"""Run syncs and be killed by SIGKILL, each at one moment of it; started by test_records.py.

One process a sync, all forked from one that has imported everything.

Usage: killed.py AT RUN_KEY [[SYNC, STEP, STATE], ...]
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import boto3  # noqa: F401

from mz_orchestration.census.spec import sync_spec
from mz_orchestration.census.sync import run_sync
from mz_orchestration.flow import Clock
from mz_orchestration.progress import Event


class Impatient(Clock):
    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.05))


def be_killed(sync: str, at: str, run_key: str, step: str, state: str) -> None:
    def die(event: Event) -> None:
        if (event.step, event.state) == (step, state):
            os.kill(os.getpid(), signal.SIGKILL)

    run_sync(sync_spec(sync=sync), run_key=run_key, at=at, on_event=die, clock=Impatient())


def main(at: str, run_key: str, cases: str) -> None:
    children: list[int] = []
    for sync, step, state in json.loads(cases):
        child = os.fork()
        if child == 0:
            try:
                be_killed(sync, at, run_key, step, state)
            finally:
                os._exit(1)
        children.append(child)
    endings = [os.waitpid(child, 0)[1] for child in children]
    print(json.dumps([os.waitstatus_to_exitcode(ending) for ending in endings]))


main(*sys.argv[1:])
