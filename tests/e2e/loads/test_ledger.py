"""What a table has had, when others restore, exchange or change it, and when loads come in another order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from mz_orchestration.errors import RunConflictError
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import parse_folder
from mz_orchestration.progress import Event
from mz_orchestration.runs.store import RunStore
from mz_orchestration.snowflake.job import LoadStep
from mz_orchestration.snowflake.load import LoadResult, run_load
from mz_orchestration.snowflake.spec import load_spec

from .conftest import BASE, STAGE, Content, Exported, Query

pytestmark = pytest.mark.account

Contents = Callable[[str], Content | None]


def load(exported: Exported, table: str, *, on_event: Callable[[Event], None] = print, **fields: Any) -> LoadResult:
    return run_load(load_spec(manifest=exported.url, stage=STAGE, table=table, **fields), on_event=on_event)


def after(step: LoadStep, action: Callable[[], Any]) -> Callable[[Event], None]:
    """Does something else once a step has ended."""

    def listen(event: Event) -> None:
        if (event.step, event.state) == (step, "finished"):
            action()

    return listen


def test_a_table_that_was_restored_has_not_had_what_came_later(
    yesterday: Exported, today: Exported, content: Contents, snowflake: Query
) -> None:
    table = "RESTORED"
    load(yesterday, table)
    snowflake(f"CREATE TABLE {table}_BACKUP CLONE {table}")
    load(today, table, strategy="append", lineage=False)
    snowflake(f"CREATE OR REPLACE TABLE {table} CLONE {table}_BACKUP")
    assert load(yesterday, table, strategy="append", lineage=False).repeated, "its rows are in the clone"
    assert not load(today, table, strategy="append", lineage=False).repeated
    assert content(table) == (120, yesterday.content[1] + today.content[1])


def test_a_table_that_somebody_else_has_swapped_in_has_had_nothing(
    yesterday: Exported, content: Contents, snowflake: Query
) -> None:
    table = "EXCHANGED"
    snowflake(f"CREATE TABLE {table} (ID NUMBER(38,0), NAME VARCHAR)")
    snowflake(f"CREATE TABLE {table}_2 LIKE {table}")
    load(yesterday, table, strategy="append", lineage=False)
    snowflake(f"ALTER TABLE {table} SWAP WITH {table}_2")
    assert not load(yesterday, table, strategy="append", lineage=False).repeated
    assert content(table) == yesterday.content


def test_a_comment_of_somebody_else_hides_nothing(yesterday: Exported, snowflake: Query, content: Contents) -> None:
    table = "COMMENTED"
    load(yesterday, table, strategy="append", lineage=False)
    snowflake(f"COMMENT ON TABLE {table} IS 'ours now'")
    assert load(yesterday, table, strategy="append", lineage=False).repeated
    assert content(table) == yesterday.content


@pytest.mark.parametrize("strategy", ["swap", "overwrite", "merge"])
def test_an_older_export_does_not_set_the_table_back(
    strategy: str, yesterday: Exported, today: Exported, content: Contents
) -> None:
    table = f"LATE_{strategy.upper()}"
    keys = {"keys": "id"} if strategy == "merge" else {}
    load(today, table, strategy=strategy, **keys)
    late = load(yesterday, table, strategy=strategy, **keys)
    assert (late.repeated, late.superseded, late.rows) == (False, True, 0)
    assert content(table) == today.content
    assert load(yesterday, table, strategy=strategy, again=True, **keys).rows == 60


@pytest.mark.parametrize("strategy", ["swap", "overwrite", "transaction"])
def test_a_newer_load_that_comes_between_stays(
    strategy: str, yesterday: Exported, today: Exported, content: Contents, snowflake: Query
) -> None:
    table = f"BETWEEN_{strategy.upper()}"
    snowflake(f"CREATE TABLE {table} (ID NUMBER(38,0), NAME VARCHAR)")
    newer = after(LoadStep.CHECK, lambda: load(today, table, strategy=strategy))
    with pytest.raises(RunConflictError):
        load(yesterday, table, strategy=strategy, on_event=newer)
    assert content(table) == today.content
    assert load(yesterday, table, strategy=strategy).superseded


def test_what_others_do_to_the_target_is_not_swapped_away(
    yesterday: Exported, today: Exported, content: Contents, snowflake: Query
) -> None:
    table = "ALTERED"
    load(yesterday, table)
    altering = after(LoadStep.COPY, lambda: snowflake(f"ALTER TABLE {table} ADD COLUMN NOTE VARCHAR"))
    with pytest.raises(RunConflictError, match="changed by somebody else"):
        load(today, table, on_event=altering)
    assert content(table) == yesterday.content
    assert load(today, table, schema_changes="add_columns").rows == 60
    assert len(snowflake(f"SELECT NOTE FROM {table}")) == 60


@pytest.mark.parametrize("strategy", ["append", "merge", "transaction"])
def test_two_at_once(
    strategy: str, yesterday: Exported, today: Exported, content: Contents, snowflake: Query, store: ObjectStore
) -> None:
    """The second finds the work of the first, or fails with an error that says to come again."""
    table = f"TWO_{strategy.upper()}"
    fields: dict[str, Any] = {"strategy": strategy, "lineage": False}
    fields |= {"keys": "id"} if strategy == "merge" else {}
    snowflake(f"CREATE TABLE {table} (ID NUMBER(38,0), NAME VARCHAR)")
    failures: list[Exception] = []

    def one() -> None:
        try:
            load(today, table, **fields)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(getattr(error, "retryable", False) for error in failures), failures
    load(today, table, **fields)
    assert content(table) == today.content
    rows = snowflake(
        "SELECT LOAD_ID FROM MZ_ORCHESTRATION_LOADS WHERE MANIFEST <> '' "
        f"AND ENDSWITH(TARGET, '\"{table.rpartition('.')[2]}\"')"
    )
    assert len(rows) == 1
    stored = RunStore(store, parse_folder(BASE, field="base")).find("people", "today")
    assert stored is not None
    assert [entry.state for target, entry in stored.record.loads.items() if f'"{table}"' in target] == ["succeeded"]
