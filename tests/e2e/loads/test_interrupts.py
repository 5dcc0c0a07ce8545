"""Ctrl-C and SIGTERM while Snowflake works on a short statement: the command ends, and nothing is published."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from mz_orchestration.snowflake.load import run_load
from mz_orchestration.snowflake.spec import load_spec

from .conftest import STAGE, Content, Exported
from .test_handles import Slow, slow

__all__ = ["slow"]


@pytest.mark.parametrize(
    ("number", "code", "statement"),
    [
        (signal.SIGINT, 130, 'TRUNCATE TABLE "DEMO"."PUBLIC"."INTERRUPTED'),
        (signal.SIGTERM, 143, 'COMMENT ON TABLE "DEMO"."PUBLIC"."INTERRUPTED'),
    ],
)
def test_an_interrupt_ends_the_load(
    number: signal.Signals,
    code: int,
    statement: str,
    yesterday: Exported,
    today: Exported,
    environment: dict[str, str],
    slow: Slow,
    content: Callable[[str], Content | None],
) -> None:
    table = f"DEMO.PUBLIC.INTERRUPTED_{number.name}"
    run_load(load_spec(manifest=yesterday.url, stage=STAGE, table=table))
    command = [sys.executable, "-m", "mz_orchestration.cli", "load", today.url, "--stage", STAGE, "--table", table]
    with slow(statement, 3):
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL
        )
        assert process.stderr is not None
        wanted = "stage" if "TRUNCATE" in statement else "reconcile"
        for line in process.stderr:
            if line.split()[:1] == ["copy" if wanted == "reconcile" else "check"]:
                break
        # Within the statement that is slow now.
        time.sleep(1)
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(30) == code, rest
    assert content(table) == yesterday.content
    assert run_load(load_spec(manifest=today.url, stage=STAGE, table=table)).rows == 60
    assert content(table) == today.content
