"""The command line's promises that need no server."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from mz_orchestration.cli import local
from mz_orchestration.local.servers import DEFAULT_PORT_BASE
from mz_orchestration.local.state import DEFAULT_FOLDER


@pytest.mark.parametrize(
    "arguments",
    [
        ["up", "--port-base", "80"],
        ["up", "--port-base", "65533"],
        ["seed", "--rows", "-1"],
        ["seed", "--seed", "x"],
        ["nothing"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(local.app, arguments).exit_code == 2


def test_defaults_agree_with_the_library() -> None:
    assert inspect.signature(local.up).parameters["port_base"].default == DEFAULT_PORT_BASE
    assert local.DEFAULT_DIR == DEFAULT_FOLDER


def test_the_module_loads_nothing_heavy() -> None:
    script = "import sys, mz_orchestration.cli.local; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    heavy = {"pydantic", "psycopg", "boto3", "pyarrow", "moto", "duckdb", "snowflake.connector", "asyncio"}
    assert heavy.isdisjoint(answer.stdout.split())
