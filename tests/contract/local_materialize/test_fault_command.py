"""``mz-orchestration local fault`` against a running stack."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mz_orchestration.cli import local
from mz_orchestration.local.stack import LocalStack

Fault = Callable[..., Result]


@pytest.fixture(scope="module")
def fault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fault]:
    folder: Path = tmp_path_factory.mktemp("stack")
    with LocalStack() as stack:
        stack.start(folder, port_base=0, servers=("materialize",))
        yield lambda *words: CliRunner().invoke(local.app, ["fault", *words, "--dir", str(folder)])


def test_what_is_set_is_shown_added_to_and_cleared(fault: Fault) -> None:
    assert fault("materialize").output == "materialize: nothing goes wrong on purpose.\n"
    assert fault("materialize", "slow_rows=0.5", "times=2").output == "materialize slow_rows=0.5\nmaterialize times=2\n"
    assert json.loads(fault("materialize", "fail_with=a=b", "--json").output) == {
        "materialize": {"slow_rows": 0.5, "times": 2, "fail_with": "a=b"}
    }
    assert fault("materialize", "--clear", "on_disconnect=cancel").output == "materialize on_disconnect=cancel\n"
    assert fault("materialize").output == "materialize on_disconnect=cancel\n"
    assert fault("materialize", "--clear").output == "materialize: nothing goes wrong on purpose.\n"


def test_sinks_have_faults_of_their_own_and_acts_are_not_kept(fault: Fault) -> None:
    assert fault("sinks").output == "sinks: nothing goes wrong on purpose.\n"
    assert fault("sinks", "stall=a,b", "publish_every=2").output == "sinks stall=a,b\nsinks publish_every=2.0\n"
    assert fault("sinks", "freeze=c", "drop=nothing").output.endswith("sinks freeze=c\nsinks publish_every=2.0\n")
    assert fault("materialize").output == "materialize: nothing goes wrong on purpose.\n"
    assert fault("sinks", "--clear").output == "sinks: nothing goes wrong on purpose.\n"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("materialize", "slow=1"), 1, "there is no fault 'slow' of Materialize. Known are: on_disconnect, "),
        (("materialize", "times=0"), 1, "times=0: input should be greater than or equal to 1. For example: times=1"),
        (("materialize", "slow_rows"), 2, "'slow_rows' has no '='; write NAME=VALUE"),
        (("sinks", "stal=a"), 1, "there is no fault 'stal' of sinks. Known are: stall, "),
        (("sinks", "tick=0"), 1, "tick=0: input should be greater than 0"),
        (("cassandra",), 2, "'cassandra' is not"),
    ],
)
def test_wrong_words(fault: Fault, words: tuple[str, ...], code: int, text: str) -> None:
    result = fault(*words)
    assert result.exit_code == code
    assert text in result.stderr
    assert fault("materialize").output == "materialize: nothing goes wrong on purpose.\n"


def test_nothing_runs(tmp_path: Path) -> None:
    result = CliRunner().invoke(local.app, ["fault", "materialize", "--dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "no local stack is running" in result.stderr
