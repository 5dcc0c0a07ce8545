from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.paths import attempt_location
from mz_orchestration.objectstore.location import Location
from mz_orchestration.runs.key import record_location

BASE = Location("bucket", "exports/")
WHEN = datetime(2026, 11, 22, 8, 22, 55, tzinfo=UTC)


def test_shape() -> None:
    location = attempt_location(BASE, "shop.orders", "nightly", 3, WHEN)
    prefix, stamp = location.key.rstrip("/").rsplit("/", 1)
    assert prefix == "exports/shop.orders"
    assert stamp.startswith("20261122T082255Z-")
    assert stamp.endswith("-03")


attempts = st.tuples(
    st.sampled_from(["orders", "orders_archive", "shop.orders"]),
    st.text(max_size=20),
    st.integers(1, 99),
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
)


@given(attempts, attempts)
def test_no_path_is_the_beginning_of_another(one: tuple, other: tuple) -> None:  # type: ignore[type-arg]
    first, second = (attempt_location(BASE, *args).key.rstrip("/") for args in (one, other))
    assert first == second or not second.startswith(first)


def test_the_record_lies_outside_every_attempt() -> None:
    record = record_location(BASE, "shop.orders", "nightly").key
    assert record.startswith("exports/.runs/shop.orders/")
    assert not record.startswith(attempt_location(BASE, "shop.orders", "nightly", 1, WHEN).key.rstrip("/"))


def test_attempts_run_out() -> None:
    with pytest.raises(ConfigurationError, match="new run key"):
        attempt_location(BASE, "x", "k", 100, WHEN)
