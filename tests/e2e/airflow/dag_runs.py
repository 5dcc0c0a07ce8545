"""Many DAGs in one process of Airflow, which takes longer to start than they take to run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mz_orchestration.local.stack import LocalStack


def settings(home: Path, dags: Path) -> dict[str, str]:
    """This process's environment without connections, for an Airflow of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_CONN_")}
    return {
        **inherited,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def run_dags(files: Sequence[Path], stack: LocalStack, home: Path) -> dict[str, Any]:
    """The runs of each DAG, by its id, each with state, tasks and asset events; `log.txt` in `home` is their log.

    All files lie in one folder; one that is named twice has the same run twice.
    """
    answer, log = home / "answer.json", home / "log.txt"
    with log.open("wb") as output:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("run_dags.py")), str(answer), *map(str, files)],
            env={**settings(home, files[0].parent), **stack.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=150,
            check=False,
        )
    assert done.returncode == 0, log.read_text()[-4000:]
    found: dict[str, Any] = json.loads(answer.read_text())
    states = {name: {run["state"] for run in runs} for name, runs in found.items()}
    assert all(each == {"success"} for each in states.values()), (states, log.read_text()[-6000:])
    return found
