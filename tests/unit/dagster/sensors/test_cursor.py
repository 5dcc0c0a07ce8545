"""Cursors as Dagster keeps them."""

from __future__ import annotations

import dagster as dg
import pytest

from mz_orchestration.dagster.sensors.cursor import Cursor, packed, read_cursor


class Seen(Cursor):
    names: list[str]


@pytest.mark.parametrize("count", [1, 5_000])
def test_it_comes_back_as_it_was(count: int) -> None:
    cursor = Seen(names=[f"shop.sink_{i}" for i in range(count)])
    text = packed(cursor)
    assert len(text) < 20_000
    with dg.DagsterInstance.ephemeral() as instance:
        assert read_cursor(dg.build_sensor_context(instance, text), Seen) == cursor


@pytest.mark.parametrize("text", ["zlib:", "zlib:nonsense", "zlib:\x00é", "{}", "nonsense"])
def test_what_cannot_be_read_begins_anew(text: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert read_cursor(dg.build_sensor_context(instance, text), Seen) is None
