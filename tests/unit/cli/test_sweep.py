from __future__ import annotations

from datetime import timedelta

import pytest

from mz_orchestration import errors
from mz_orchestration.cli.sweep import age_text, parse_age, problem_code


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("0", timedelta(0)),
        ("90m", timedelta(minutes=90)),
        ("24h", timedelta(days=1)),
        ("7d", timedelta(days=7)),
        ("30s", timedelta(seconds=30)),
    ],
)
def test_ages(text: str, age: timedelta) -> None:
    assert parse_age(text) == age


@pytest.mark.parametrize("text", ["", "24", "-1h", "1.5h", "1w", "h", "٢h", "9999999d"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="older-than"):
        parse_age(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0m"), (59, "0m"), (3_599, "59m"), (3_660, "1h 1m"), (90_000, "1d 1h")]
)
def test_ages_for_people(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


def test_problems_decide_the_exit_code() -> None:
    later, never = errors.UnavailableError("x"), errors.CredentialsError("x")
    assert problem_code([later]) == 5
    assert problem_code([later, never]) == 3
