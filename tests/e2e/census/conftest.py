"""The command over the local stack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mz_orchestration.cli.main import app

Command = Callable[..., Result]


@pytest.fixture
def command(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """``mz-orchestration census`` with arguments, in a folder without settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str, **variables: str) -> Result:
        return CliRunner().invoke(app, ["census", *arguments], env=variables)

    return run
