"""``mz-orchestration local airflow``, as people run it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from mz_orchestration.local.airflow import LocalAirflow
from mz_orchestration.local.errors import LocalStackError
from mz_orchestration.local.stack import LocalStack, listening

DAGS = Path(__file__).parents[3] / "dags"


def group(number: int) -> list[str]:
    """The living processes of a process group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def test_it_runs_beside_the_stack_until_it_is_ended(stack: LocalStack) -> None:
    command = [sys.executable, "-m", "mz_orchestration.cli", "local", "airflow"]
    process = subprocess.Popen(
        [*command, "--dir", str(stack.folder), "--dags", str(DAGS)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        (url,) = re.findall(r"http://127\.0\.0\.1:\d+", said)
        with urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=10) as answer:
            health = json.load(answer)
        assert {part["status"] for name, part in health.items() if part and name != "dag_processor"} == {"healthy"}
        (standalone,) = psutil.Process(process.pid).children()
        assert len(group(standalone.pid)) > 4
        # Two in one folder would share a database.
        with pytest.raises(LocalStackError, match=r"runs in .* already"):
            LocalAirflow(stack.folder / "airflow", DAGS, stack.environment).start()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert group(standalone.pid) == []
    # It was up before, so it stays up.
    assert all(listening(server) for server in stack.state.servers.values())


def test_what_keeps_it_from_starting_is_said(stack: LocalStack, tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match=r"no folder of DAGs at .*/nothing"):
        LocalAirflow(tmp_path, tmp_path / "nothing", stack.environment).start()
    broken = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////nowhere/airflow.db"}
    airflow = LocalAirflow(tmp_path, DAGS, stack.environment, broken)
    with pytest.raises(LocalStackError, match=r"ended while it was starting(?s:.*)unable to open database"):
        airflow.start()
