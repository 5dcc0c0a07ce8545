"""The loader against the local stack, under whichever major of the connector this environment holds.

The stack's own servers run in the environment that has them: this one, or the one that ``MZ_LOCAL_SERVER_PYTHON``
names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def stack_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("stack")
    python = os.environ.get("MZ_LOCAL_SERVER_PYTHON", sys.executable)

    def local(*arguments: str) -> str:
        command = [python, "-m", "mz_orchestration.cli", "local", *arguments, "--dir", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    local("up", "--detach", "--port-base", "0")
    try:
        local("seed", "--rows", "1000")
        environment = json.loads(local("env", "--json"))
        yield {**environment, "MZ_TEST_STACK": str(Path(folder))}
    finally:
        local("down")


@pytest.fixture(autouse=True)
def environment(stack_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in stack_environment.items():
        monkeypatch.setenv(name, value)
    return stack_environment
