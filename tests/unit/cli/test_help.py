"""What --help says can be read at 80 columns, and what it cuts off there stands in the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_group
from typer.testing import CliRunner

from mz_orchestration.cli.main import app

ROOT = Path(__file__).parents[3]


def help_of(*command: str) -> str:
    return CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "80", "TERM": "dumb"}, color=False).output


def options(command: Any) -> Iterator[Any]:
    yield from command.params
    for each in getattr(command, "commands", {}).values():
        yield from options(each)


def test_no_help_is_taken_for_markup() -> None:
    for option in options(get_group(app)):
        assert "[" not in (getattr(option, "help", None) or ""), option.name


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ((), "by default mz-orchestration.yaml, if there"),
        (("export",), "by default a new one"),
        (("export",), "by default nobody looks"),
        (("export",), "by default the quote"),
    ],
)
def test_defaults_are_said(command: tuple[str, ...], said: str) -> None:
    words = " ".join(re.sub(r"[│╭╰─╮╯]", " ", help_of(*command)).split())
    assert said in words


def test_every_variable_is_documented() -> None:
    documented = (ROOT / "docs/exports.md").read_text()
    variables = {option.envvar for option in options(get_group(app)) if option.envvar}
    assert len(variables) > 4
    assert {name for name in variables if f"`{name}`" not in documented} == set()


def test_the_faults_are_a_line_each() -> None:
    lines = help_of("local", "fault").splitlines()
    [heading] = [number for number, line in enumerate(lines) if "for each COPY" in line]
    faults = list(takewhile(str.strip, lines[heading + 1 :]))
    assert len(faults) == 12
    assert all(re.match(r"   [a-z_]+=\w+ {2,}\S", line) for line in faults), faults
