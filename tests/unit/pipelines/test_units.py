"""Durations and shares as people write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from mz_orchestration.pipelines.units import Duration, Share

DURATION: TypeAdapter[float] = TypeAdapter(Duration)
SHARE: TypeAdapter[float] = TypeAdapter(Share)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90s", 90), ("15m", 900), ("1.5h", 5400), (" 14 d ", 1209600), ("300", 300), (300, 300), (0.5, 0.5)],
)
def test_durations(written: Any, seconds: float) -> None:
    assert DURATION.validate_python(written) == seconds


@pytest.mark.parametrize(
    "written", ["", "5 minutes", "-5m", "1h30m", "5M", "٣m", "inf", True, 0, -1, "0s", float("nan"), "4000d", None]
)
def test_what_is_no_duration(written: Any) -> None:
    with pytest.raises(ValidationError):
        DURATION.validate_python(written)


@pytest.mark.parametrize(
    ("written", "share"), [("20%", 0.2), (" 0.5 % ", 0.005), ("150%", 1.5), ("0.2", 0.2), (0.2, 0.2), (0, 0), ("0%", 0)]
)
def test_shares(written: Any, share: float) -> None:
    assert SHARE.validate_python(written) == share


@pytest.mark.parametrize("written", ["", "lots", "-1%", "20 percent", "%", True, -0.1, float("inf"), None])
def test_what_is_no_share(written: Any) -> None:
    with pytest.raises(ValidationError):
        SHARE.validate_python(written)


@given(st.from_regex(r"[^0-9]*", fullmatch=True))
def test_other_text_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(ValidationError, match="write seconds, or 90s, 15m, 6h, 14d"):
        DURATION.validate_python(text)
    with pytest.raises(ValidationError, match=r"write 0\.2 or 20%"):
        SHARE.validate_python(text)
