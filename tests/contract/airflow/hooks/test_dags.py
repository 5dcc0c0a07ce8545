"""What the hook and the retry policy come to in DAG runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def test_runs(connections: dict[str, str], tmp_path: Path) -> None:
    script = Path(__file__).with_name("run_dags.py")
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / script.name).write_text(script.read_text())
    settings = {
        **connections,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
    }
    done = subprocess.run(
        [sys.executable, str(tmp_path / "dags" / script.name)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    runs: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert runs["sql"] == {
        "sensor": ["success", 1],
        "execute": ["success", 1],
        "check": ["success", 1],
        "branch": ["success", 1],
        "rows": ["success", 1],
        "no_rows": ["skipped", 0],
    }
    # What no retry can help fails at once; the rest is tried again, after the policy's delay.
    assert runs["retries"] == {
        "refused": ["failed", 1],
        "away": ["success", 2],
        "as_operators_raise_it": ["failed", 2],
    }
