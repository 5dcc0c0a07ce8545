"""The command in this process, over the shared stack."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from mz_orchestration.cli.main import app
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.objectstore.client import ObjectStore

BASE = "s3://mz-exports/cli-tests/"
TO = ("--to", BASE, "--connection", "local_s3")


@pytest.fixture(autouse=True)
def environment(stack: LocalStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The stack's variables in this process, which is in a folder without settings."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return stack.environment


@pytest.fixture
def store(environment: dict[str, str]) -> ObjectStore:
    return ObjectStore()


Invoke = Callable[..., Result]


@pytest.fixture
def invoke() -> Invoke:
    """Runs the command; one that must end with a certain exit code."""

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == code, result.output
        return result

    return run


Sent = Callable[[], list[str]]


@pytest.fixture
def sent(stack: LocalStack) -> Sent:
    """What Materialize was sent since the last call, in sessions of this test.

    A statement is logged when it ends, so a COPY that an earlier test left behind may turn up here.
    """
    log = stack.folder / "statements.jsonl"
    position = 0

    def entries() -> list[dict[str, Any]]:
        nonlocal position
        with log.open() as file:
            file.seek(position)
            found = [json.loads(line) for line in file]
            position = file.tell()
        return [entry for entry in found if entry["server"] == "materialize"]

    earlier = {entry["session"] for entry in entries()}
    return lambda: [entry["sql"] for entry in entries() if entry["session"] not in earlier]
