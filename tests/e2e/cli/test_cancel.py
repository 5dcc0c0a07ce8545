"""A run that is cancelled from outside is not asked for again by its process; whoever asks starts over."""

from __future__ import annotations

import subprocess
import sys
import time

import httpx
from typer.testing import CliRunner

from mz_orchestration.cli.main import app
from mz_orchestration.local.materialize.faults import copy_faults

from .conftest import BASE, TO, Invoke


def test_whoever_runs_it_ends_with_3(invoke: Invoke) -> None:
    key = "cancelled from outside"
    export = ["export", "shop.orders", *TO, "--run-key", key]
    with copy_faults(slow_rows=0.01, target="/cli-tests/", times=1):
        process = subprocess.Popen(
            [sys.executable, "-m", "mz_orchestration.cli", *export], stderr=subprocess.PIPE, text=True
        )
        try:
            deadline = time.monotonic() + 60
            while "cancelled: shop.orders" not in _cancel(key):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 3, said
    assert "was cancelled from outside" in said
    assert "again: " not in said
    invoke(*export)
    assert "attempt 2  succeeded" in invoke("runs", "show", key, "--at", BASE).stdout


def test_whoever_loads_it_ends_with_3(invoke: Invoke, environment: dict[str, str]) -> None:
    key = "a load cancelled from outside"
    manifest = invoke("export", "shop.orders", *TO, "--run-key", key, "--quiet").stdout.strip()
    url = f"http://{environment['SNOWFLAKE_HOST']}:{environment['SNOWFLAKE_PORT']}/local/faults"
    slow = {"containing": 'COPY INTO "DEMO"."PUBLIC"."CANCELLED_OUTSIDE', "seconds": 60, "times": 1}
    httpx.post(url, json={"slow_statements": slow}).raise_for_status()
    load = ["load", manifest, "--stage", "DEMO.PUBLIC.MZ_STAGE", "--table", "DEMO.PUBLIC.CANCELLED_OUTSIDE"]
    process = subprocess.Popen([sys.executable, "-m", "mz_orchestration.cli", *load], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while "cancelled: " not in _cancel(key):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        httpx.delete(url).raise_for_status()
    assert process.returncode == 3, said


def _cancel(key: str) -> str:
    # Until the run is written down there is nothing to cancel, which is bad input.
    return CliRunner().invoke(app, ["runs", "cancel", key, "--at", BASE]).output
