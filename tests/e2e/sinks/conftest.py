"""Sinks in the local Materialize, whose statistics are published at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]
Faults = Callable[..., Any]


def statuses(connection: Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT status FROM mz_internal.mz_sink_statuses").fetchall()}


def until(ask: Callable[[], Any], seconds: float = 15.0) -> Any:
    """What is true at last."""
    end = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found
