"""What the seed statements promise before any server runs them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mz_orchestration.local.seed_statements import ORDER_TOTALS, TABLES, Sizes, inserts


@given(st.integers(min_value=0, max_value=10**8))
def test_every_order_has_lines_and_every_line_an_order(lines: int) -> None:
    sizes = Sizes.of(lines)
    assert sizes.orders <= lines
    assert sizes.orders * 6 >= lines
    assert (sizes.customers == 0) == (lines == 0)
    assert sizes.customers <= max(1, sizes.orders)


def text(seed: int, rows: int = 1000) -> dict[str, str]:
    return {table: statement.as_string() for table, statement in inserts(Sizes.of(rows), seed).items()}


def test_the_seed_decides_every_table() -> None:
    assert text(1) == text(1)
    assert all(text(1)[table] != text(2)[table] for table in TABLES)
    assert list(text(1)) == list(TABLES)


@given(st.integers(min_value=0, max_value=2**31 - 1))
def test_products_stay_within_bigint(seed: int) -> None:
    statement = text(seed)["order_lines"]
    multipliers = [int(found) for found in re.findall(r"\* '?(\d+)'?(?:::bigint)? \+", statement)]
    assert len(multipliers) > 8
    assert all(2**31 < multiplier < 2**32 for multiplier in multipliers)
    assert 10**8 * max(multipliers) + 2**31 < 2**63


@pytest.mark.parametrize("relation", [*TABLES.values(), ORDER_TOTALS])
def test_no_type_that_parquet_refuses(relation: str) -> None:
    assert "interval" not in relation.lower()
    assert re.findall(r"numeric(?!\(\d+, \d+\))", relation) == []
    assert re.findall(r"sum\([^)]*\)(?!::)", relation) == []
