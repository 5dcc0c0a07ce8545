"""Airflow runs in processes of its own: what it does to logging, signals and the environment stays there."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mz_orchestration.local.stack import LocalStack
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.quoting import Sql
from mz_orchestration.snowflake.session import SnowflakeSession

# Airflow reads its settings when first imported, so they are set before any test module is.
if "AIRFLOW_HOME" not in os.environ:
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="mz-orchestration-airflow-")
    atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__USAGE_DATA_COLLECTION__ENABLED", "False")


@dataclass(frozen=True)
class Airflow:
    """An Airflow with SQLite whose DAGs lie in one folder."""

    home: Path
    environment: dict[str, str]

    def start(self, dag_file: Path, times: int = 1, **variables: str) -> subprocess.Popen[bytes]:
        """Run a file's DAG, the same run several times; its log goes to `log`."""
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [
                    sys.executable,
                    str(Path(__file__).with_name("run_dag.py")),
                    str(dag_file),
                    str(self.answer),
                    str(times),
                ],
                env={**self.environment, "AIRFLOW__CORE__DAGS_FOLDER": str(dag_file.parent), **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def run(self, dag_file: Path, times: int = 1, **variables: str) -> list[dict[str, Any]]:
        process = self.start(dag_file, times, **variables)
        assert process.wait(120) == 0, self.text()[-3000:]
        return self.answers()

    def answers(self) -> list[dict[str, Any]]:
        """Run id, state and tasks of each run so far."""
        answers: list[dict[str, Any]] = json.loads(self.answer.read_text())
        return answers

    def text(self) -> str:
        return self.log.read_text()

    @property
    def answer(self) -> Path:
        return self.home / "answer.json"

    @property
    def log(self) -> Path:
        return self.home / "log.txt"


@pytest.fixture
def airflow(stack: LocalStack, tmp_path: Path) -> Airflow:
    settings = {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # A retry asked for by a test must not wait.
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "0",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    return Airflow(tmp_path, {**os.environ, **stack.environment, **settings})


@pytest.fixture
def snowflake(stack: LocalStack) -> Callable[[str], list[dict[str, Any]]]:
    """Runs a statement in Snowflake; rows by lower-case column name."""

    def query(statement: str) -> list[dict[str, Any]]:
        with SnowflakeSession(SnowflakeConfig.from_environment(stack.environment)) as session:
            return session.query(Sql(statement)).rows

    return query
