"""The slice's tests talk to the stack the way a person does: by the command, or by the library in this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mz_orchestration.local.stack import LocalStack
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.quoting import Sql
from mz_orchestration.snowflake.session import SnowflakeSession

BASE = "s3://mz-exports/tests/"
STAGE = "DEMO.PUBLIC.MZ_STAGE"


@pytest.fixture(autouse=True)
def in_the_stack(environment: dict[str, str]) -> None:
    """Everything in this folder talks to the stack."""


@dataclass(frozen=True)
class Command:
    """The command as a child process."""

    folder: Path

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mz_orchestration.cli", *arguments],
            env={**os.environ, **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def export(self, *arguments: str, to: str = BASE, **environment: str) -> subprocess.CompletedProcess[str]:
        return self("export", *arguments, "--to", to, "--connection", "local_s3", **environment)

    def load(self, manifest: str, table: str, *arguments: str, stage: str = STAGE) -> subprocess.CompletedProcess[str]:
        return self("load", manifest, "--stage", stage, "--table", table, *arguments)

    def exported(self, *arguments: str) -> dict[str, Any]:
        """The JSON result of an export that must succeed."""
        done = self.export(*arguments, "--json")
        assert done.returncode == 0, done.stderr + done.stdout
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


Query = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def snowflake(environment: dict[str, str]) -> Iterator[Query]:
    """Runs a statement in Snowflake; rows by lower-case column name."""
    with SnowflakeSession(SnowflakeConfig.from_environment()) as session:
        yield lambda statement: session.query(Sql(statement)).rows


@pytest.fixture
def statements(stack: LocalStack) -> Callable[[str], list[str]]:
    """All statements so far that contain a text, in order, if they ended well."""

    def read(containing: str = "") -> list[str]:
        lines = (stack.folder / "statements.jsonl").read_text().splitlines()
        entries = [json.loads(line) for line in lines]
        return [entry["sql"] for entry in entries if containing in entry["sql"] and entry["outcome"] == "ok"]

    return read


@pytest.fixture
def requests(stack: LocalStack) -> Callable[[], int]:
    """How many requests the object store has answered."""
    return lambda: len((stack.folder / "s3_requests.jsonl").read_text().splitlines())


@pytest.fixture
def requests_by(stack: LocalStack) -> Callable[[str], list[str]]:
    """The requests the object store has answered to one access key."""

    def read(key: str) -> list[str]:
        lines = (stack.folder / "s3_requests.jsonl").read_text().splitlines()
        return [line for line in lines if key in line]

    return read
