"""``mz-orchestration local fault census`` against a running stack."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from mz_orchestration.cli import local
from mz_orchestration.local.stack import LocalStack

from .conftest import Census


def fault(stack: LocalStack, *words: str) -> Result:
    return CliRunner().invoke(local.app, ["fault", "census", *words, "--dir", str(stack.folder)])


def test_what_is_set_is_shown_added_to_and_cleared(stack: LocalStack, census: Census) -> None:
    nothing = "census: nothing goes wrong on purpose.\n"
    assert fault(stack, "--clear").output == nothing
    shown = fault(stack, "sync=1", "run_status=hibernating:2.5", "times=3").output
    assert "sync=1 times=3 run_status={'hibernating': 2.5} " in shown
    [rule] = json.loads(fault(stack, "sync=1", "fail_run=DOWN", "after=true", "--json").output)["census"]
    assert rule == {
        "sync": "1",
        "times": 3,
        "after": True,
        "fail_run": {"code": "DOWN"},
        "run_status": {"hibernating": 2.5},
        "answers_struck": 0,
        "runs_struck": 0,
    }
    assert fault(stack).output.startswith("census sync=1 ")
    assert fault(stack, "--clear").output == nothing


@pytest.mark.parametrize(
    ("word", "code", "text"),
    [
        ("slow=1", 1, "there is no fault 'slow' of Census"),
        ("status=99", 1, "status=99: input should be greater than or equal to 400"),
        ("status", 2, "'status' has no '='"),
    ],
)
def test_wrong_words(stack: LocalStack, word: str, code: int, text: str) -> None:
    result = fault(stack, word)
    assert result.exit_code == code
    assert text in result.stderr
