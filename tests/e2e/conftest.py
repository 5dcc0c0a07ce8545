"""One local stack for all end-to-end tests of a session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from mz_orchestration.local.seed import seed_shop
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.objectstore.client import ObjectStore

ORDER_LINES = 2_000


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A seeded stack on free ports."""
    with LocalStack() as running:
        running.start(tmp_path_factory.mktemp("stack"), port_base=0)
        seed_shop(running.state, rows=ORDER_LINES, seed=1, report=lambda relation, rows, seconds: None)
        yield running


@pytest.fixture
def environment(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The stack's variables, in this process too."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    return stack.environment


@pytest.fixture
def store(environment: dict[str, str]) -> ObjectStore:
    """The stack's object store."""
    return ObjectStore()


@pytest.fixture
def materialize(environment: dict[str, str]) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the stack's Materialize, past every proxy."""
    with psycopg.connect(autocommit=True) as connection:
        yield connection
