"""The example code location in the stack's environment, in this process and as a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mz_orchestration.local.stack import LocalStack
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.quoting import Sql
from mz_orchestration.snowflake.session import SnowflakeSession

PROJECT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def environment(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**stack.environment, "DAGSTER_DISABLE_TELEMETRY": "yes"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def snowflake(environment: None) -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    """Runs a statement in Snowflake; rows by lower-case column name."""
    with SnowflakeSession(SnowflakeConfig.from_environment()) as session:
        yield lambda statement: session.query(Sql(statement)).rows


@dataclass(frozen=True)
class DagsterCommand:
    """``dagster ...`` in the project's folder, with a home of its own."""

    home: Path

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dagster", *arguments],
                env={**os.environ, "DAGSTER_HOME": str(self.home)},
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Dagster gives SIGTERM the meaning SIGINT has, and children of background jobs ignore that one.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )

    def run(self, *arguments: str) -> None:
        assert self.start(*arguments).wait(150) == 0, self.text()

    def text(self) -> str:
        return self.log.read_text()

    @property
    def log(self) -> Path:
        return self.home / "log.txt"


@pytest.fixture
def dagster_command(tmp_path: Path) -> DagsterCommand:
    return DagsterCommand(tmp_path)
