"""The documentation's table of what is noticed when is what happens."""

from __future__ import annotations

from pathlib import Path

from mz_orchestration.sinks.policy import HealthPolicy

from .noticing import EVERY, table

DOCUMENT = Path(__file__).parents[3] / "docs" / "sinks.md"


def test_the_table_is_what_happens() -> None:
    lines = table()
    text = DOCUMENT.read_text()
    assert "\n".join(lines) in text, "\n".join(lines)


def test_statuses_are_noticed_within_seconds_and_standstill_within_a_few_publications() -> None:
    for line in table()[2:]:
        _, what, verdict, polled, subscribed, _, _ = (part.strip() for part in line.split("|"))
        by_looks, with_subscribe = int(polled.split()[0]), int(subscribed.split()[0])
        assert with_subscribe <= by_looks + 1, what
        if verdict in ("`stalled`", "`degraded`", "`paused`", "`dropped`") and "memory" not in what:
            assert by_looks <= EVERY, what
            assert with_subscribe <= 1, what
        assert by_looks <= 310, what


def test_all_fields_of_the_policy_are_documented() -> None:
    text = DOCUMENT.read_text()
    assert [name for name in HealthPolicy.model_fields if f"`{name}`" not in text] == []
