"""What a DAG processor, a triggerer and a scheduler pay for importing the provider; each in a fresh process."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import mz_orchestration.airflow

HEAVY = ["boto3", "botocore", "duckdb", "httpx", "moto", "psycopg", "pyarrow", "snowflake", "sqlglot", "aiobotocore"]
# Run by jobs only, and imported by them alone.
INSIDE_JOBS = {"mz_orchestration.airflow.hooks.materialize_async"}
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(mz_orchestration.airflow.__path__, "mz_orchestration.airflow.")
    if module.name not in INSIDE_JOBS
)
# Airflow's own may load some: only what the module adds counts.
CODE = """
import importlib, json, sys
import airflow.sdk, airflow.triggers.base
from airflow.sdk import DAG, Asset, BaseHook, BaseOperator, BaseOperatorLink, BaseSensorOperator, task
known = set(sys.modules)
added = {{}}
for name in {modules!r}:
    importlib.import_module(name)
    added[name] = [heavy for heavy in {heavy!r} if heavy in sys.modules and heavy not in known]
print(json.dumps(added))
"""


def added(modules: list[str], home: Path) -> dict[str, list[str]]:
    """Which heavy packages each of some modules is the first to load, in this order."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(modules=modules, heavy=HEAVY)],
        env={**os.environ, "AIRFLOW_HOME": str(home), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_no_module_loads_a_client(tmp_path: Path) -> None:
    assert "mz_orchestration.airflow.transfers.materialize_to_s3" in MODULES
    assert {name: heavy for name, heavy in added(MODULES, tmp_path).items() if heavy} == {}


@pytest.mark.parametrize("heavy", ["boto3", "psycopg"])
def test_what_is_loaded_is_noticed(heavy: str, tmp_path: Path) -> None:
    assert heavy in added([heavy], tmp_path)[heavy]


def test_a_dag_of_a_pipeline_file_loads_no_client(tmp_path: Path) -> None:
    """It is parsed again and again."""
    example = Path(__file__).parents[3] / "dags" / "materialize_pipeline.py"
    program = f"""
import runpy, sys
import airflow.sdk, airflow.triggers.base
before = set(sys.modules)
dag = runpy.run_path({str(example)!r})["dag"]
assert len(dag.tasks) > 5
print([name for name in {HEAVY!r} if name in sys.modules and name not in before])
"""
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.stdout.strip().endswith("[]"), answer.stdout + answer.stderr
