"""Pauses."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mz_orchestration.census.retry import delay, poll_delay, read_retry_after

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


def test_they_double_up_to_the_longest() -> None:
    assert [delay(attempt, None, 0.5) for attempt in range(9)] == [1, 2, 4, 8, 16, 32, 64, 90, 90]


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_chance_spreads_them_by_a_fifth(attempt: int, random: float) -> None:
    assert delay(attempt, None, 0.5) * 0.8 <= delay(attempt, None, random) <= delay(attempt, None, 0.5) * 1.2
    assert 1.6 <= poll_delay(attempt, random) <= 36


@given(st.integers(0, 50), st.floats(0, 1000), st.floats(0, 1))
def test_never_earlier_than_asked(attempt: int, after: float, random: float) -> None:
    assert delay(attempt, after, random) >= after


def test_looks_grow_apart() -> None:
    assert [poll_delay(look, 0.5) for look in range(4)] == [2, 3, 4.5, 6.75]
    assert poll_delay(100, 0.5) == 30


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("-3", 0),
        ("Mon, 23 Nov 2026 02:00:30 GMT", 30),
        ("Mon, 23 Nov 2026 01:00:00 GMT", 0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e308", 1e9),
        ("Fri, 31 Dec 9999999999999999999999 23:59:59 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 +999999999999999", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert read_retry_after(header, NOW) == seconds
