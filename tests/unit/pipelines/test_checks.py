"""Which checks fail, and what they say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mz_orchestration.materialize.lag import Lag
from mz_orchestration.pipelines.check_spec import ChecksSpec
from mz_orchestration.pipelines.checks import judge
from mz_orchestration.pipelines.history import PassedRun

EARLIER = PassedRun(run_key="monday", rows=100, timestamp=1, started_at=datetime(2026, 11, 23, tzinfo=UTC))


def failed(rows: int, earlier: int | None = None, lags: tuple[Lag, ...] = (), **checks: Any) -> list[str]:
    before = None if earlier is None else EARLIER.model_copy(update={"rows": earlier})
    return [finding.check for finding in judge(ChecksSpec(**checks), rows, before, lags)]


@pytest.mark.parametrize(("rows", "expected"), [(9, ["min_rows"]), (10, []), (20, []), (21, ["max_rows"])])
def test_limits_belong_to_what_is_allowed(rows: int, expected: list[str]) -> None:
    assert failed(rows, min_rows=10, max_rows=20) == expected


@pytest.mark.parametrize(
    ("rows", "earlier", "allowed", "expected"),
    [
        (129, 100, "29%", []),  # 0.29 * 100 is 28.999999999999996
        (130, 100, "29%", ["max_change"]),
        (71, 100, "29%", []),
        (70, 100, "29%", ["max_change"]),
        (600, 100, "500%", []),
        (601, 100, 5, ["max_change"]),
        (100, 100, 0, []),
        (101, 100, 0, ["max_change"]),
        (0, 0, 0, []),
        (1, 0, "1000%", ["max_change"]),
        (1, None, 0, []),
    ],
)
def test_a_change_is_measured_by_the_earlier_run(
    rows: int, earlier: int | None, allowed: str | float, expected: list[str]
) -> None:
    assert failed(rows, earlier, max_change=allowed) == expected


@given(st.integers(0, 10**12), st.integers(1, 10**12), st.decimals(0, 10, places=4).map(float), st.integers(0, 10**12))
def test_what_is_further_away_never_passes_where_the_nearer_does_not(
    rows: int, earlier: int, allowed: float, further: int
) -> None:
    beyond = rows + further if rows >= earlier else max(0, rows - further)
    if failed(rows, earlier, max_change=allowed):
        assert failed(beyond, earlier, max_change=allowed)


def test_a_failed_change_names_both_numbers_and_the_earlier_run() -> None:
    [finding] = judge(ChecksSpec(max_change="20%"), 50, EARLIER, ())  # type: ignore[arg-type]
    assert finding.text == (
        "It has 50 rows, and the run 'monday', the last before it that passed, had 100: "
        "-50.00% where max_change allows 20%."
    )
    assert not finding.retryable
    [finding] = judge(ChecksSpec(max_change=1.0), 1, EARLIER.model_copy(update={"rows": 0}), ())
    assert "1 row, and the run 'monday'" in finding.text
    assert "had none" in finding.text


def test_every_failed_check_is_told() -> None:
    lags = (Lag("shop.new", None), Lag("shop.slow", 900.0), Lag("shop.orders", 1.0))
    assert failed(0, 100, lags, min_rows=1, max_change="10%", max_lag="5m") == [
        "min_rows",
        "max_change",
        "max_lag",
        "max_lag",
    ]


def test_lag_names_who_lags() -> None:
    checks = ChecksSpec(max_lag="5m")  # type: ignore[arg-type]
    assert judge(checks, 1, None, [Lag("shop.orders", 300.0)]) == []
    [late] = judge(checks, 1, None, [Lag("shop.orders", 300.5), Lag("shop.fresh", 2.0)])
    assert late.text == "By Materialize's account shop.orders lags 300.5 s, and max_lag is 300 s."
    [unknown] = judge(checks, 1, None, [Lag("shop.new", None)])
    assert unknown.text == "Materialize does not say how far shop.new lags behind, and max_lag is 300 s."
    assert not late.retryable
    assert unknown.retryable
