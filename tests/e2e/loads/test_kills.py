"""Killed behind every change that any strategy makes: the target is old or new, and the next run loads once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mz_orchestration.snowflake import load
from mz_orchestration.snowflake.load import run_load
from mz_orchestration.snowflake.spec import load_spec

from .conftest import STAGE, Content, Exported, Killer, Query

pytestmark = pytest.mark.account

STRATEGIES: dict[str, dict[str, Any]] = {
    "swap": {"strategy": "swap"},
    "overwrite": {"strategy": "overwrite"},
    "delete": {"strategy": "transaction"},
    "truncate": {"strategy": "transaction", "clear": "truncate"},
    "append": {"strategy": "append", "lineage": False},
    "merge": {"strategy": "merge", "keys": ("id",)},
    "mirror": {"strategy": "merge", "keys": ("id",), "delete_missing": True},
}
# More statements than any load has.
_MOST = 40


def new_content(strategy: str, old: Content | None, exported: Content) -> Content:
    """What the target holds when the export has been loaded once."""
    if old is None or strategy not in ("append", "merge"):
        return exported
    if strategy == "append":
        return old[0] + exported[0], old[1] + exported[1]
    return 100, 100 * 101 // 2


# A table that does not exist is made the same way whatever the strategy, from a staging table or from the files.
@pytest.mark.parametrize(
    ("strategy", "exists"), [*((name, True) for name in STRATEGIES), ("swap", False), ("append", False)]
)
def test_killed_behind_every_statement(
    strategy: str,
    exists: bool,
    killer: Killer,
    yesterday: Exported,
    today: Exported,
    snowflake: Query,
    content: Callable[[str], Content | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The processes are known to be dead.
    monkeypatch.setattr(load, "_GRACE", 0.0)
    base = f"KILLS_{strategy}_OLD".upper()
    old = yesterday.content if exists else None
    new = new_content(strategy, old, today.content)
    if exists:
        run_load(load_spec(manifest=yesterday.url, stage=STAGE, table=base))
    killed = 0
    for number in range(1, _MOST):
        table = f"KILLS_{strategy}_{exists}_{number}".upper()
        if exists:
            snowflake(f"CREATE TABLE {table} AS SELECT * FROM {base}")
        fields = {"manifest": today.url, "stage": STAGE, "table": table, **STRATEGIES[strategy]}
        if not killer.load(number, fields):
            break
        killed = number
        found = content(table)
        assert found in (old, new), f"statement {number}: the target is neither old nor new"
        result = run_load(load_spec(**fields))
        assert content(table) == new, f"statement {number}"
        assert result.repeated == (found == new), f"statement {number}"
        _nothing_is_left(table, snowflake, number)
    assert killed >= 5
    assert number < _MOST - 1


def _nothing_is_left(table: str, snowflake: Query, number: int) -> None:
    name = table.rpartition(".")[2]
    staging = f"SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE STARTSWITH(TABLE_NAME, '{name}__MZ_')"
    assert snowflake(staging) == [], f"statement {number}"
    loads = f"SELECT LOAD_ID FROM MZ_ORCHESTRATION_LOADS WHERE MANIFEST <> '' AND ENDSWITH(TARGET, '\"{name}\"')"
    assert len(snowflake(loads)) == 1, f"statement {number}"
    assert snowflake("SHOW TRANSACTIONS") == [], f"statement {number}"
