"""What holds for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Beyond the units, real processes and connections are raced, cut off and killed.

    One of those tests that fails is run once more, and the summary names it.
    """
    units = Path(__file__).parent / "unit"
    for item in items:
        if not item.path.is_relative_to(units):
            item.add_marker(pytest.mark.flaky(reruns=1))
