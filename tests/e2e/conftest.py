"""One local stack for all end-to-end tests of a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mz_orchestration.local.seed import seed_shop
from mz_orchestration.local.stack import LocalStack

ORDER_LINES = 2_000


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A seeded stack on free ports."""
    with LocalStack() as running:
        running.start(tmp_path_factory.mktemp("stack"), port_base=0)
        seed_shop(running.state, rows=ORDER_LINES, seed=1, report=lambda relation, rows, seconds: None)
        yield running
