"""Loads that one process starts and others look at, end, or go on with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from mz_orchestration.errors import DeadlineError, LoadError
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import parse_folder
from mz_orchestration.runs.record import LoadEntry, LoadState
from mz_orchestration.runs.store import RunStore
from mz_orchestration.snowflake.handle import (
    LoadHandle,
    LoadHandleState,
    apoll_load,
    cancel_load,
    poll_load,
    start_load,
)
from mz_orchestration.snowflake.load import arun_load, run_load
from mz_orchestration.snowflake.spec import LoadSpec, load_spec

from .conftest import BASE, STAGE, Content, Exported, Killer, Query

Contents = Callable[[str], Content | None]
Slow = Callable[..., Any]


@pytest.fixture
def slow(environment: dict[str, str]) -> Slow:
    """Makes statements that contain a text take some seconds."""
    url = f"http://{environment['SNOWFLAKE_HOST']}:{environment['SNOWFLAKE_PORT']}/local/faults"

    @contextmanager
    def during(containing: str, seconds: float) -> Iterator[None]:
        body = {"slow_statements": {"seconds": seconds, "containing": containing}}
        requests.post(url, json=body, timeout=5).raise_for_status()
        try:
            yield
        finally:
            requests.delete(url, timeout=5)

    return during


def spec(exported: Exported, table: str, **fields: Any) -> LoadSpec:
    return load_spec(manifest=exported.url, stage=STAGE, table=table, **fields)


def entry_of(exported: Exported, table: str, store: ObjectStore) -> LoadEntry:
    manifest = exported.manifest
    stored = RunStore(store, parse_folder(BASE, field="base")).find(manifest.export, manifest.run_key)
    assert stored is not None
    return next(entry for target, entry in stored.record.loads.items() if f'"{table}"' in target)


def wait_for(done: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_started_polled_and_finished(yesterday: Exported, slow: Slow, content: Contents, store: ObjectStore) -> None:
    table = "HANDLED"
    with slow(f'COPY INTO "DEMO"."PUBLIC"."{table}__', 2):
        handle = start_load(spec(yesterday, f"DEMO.PUBLIC.{table}"))
        status = poll_load(handle)
        assert status.state is LoadHandleState.RUNNING
        assert status.query_ids == tuple(entry_of(yesterday, table, store).query_ids), (
            "recorded before it is waited for"
        )
        assert LoadHandle.model_validate_json(handle.model_dump_json()) == handle
    wait_for(lambda: poll_load(handle).done)
    status = asyncio.run(apoll_load(handle))
    assert (status.state, status.rows) == (LoadHandleState.SUCCEEDED, 60)
    assert content(f"DEMO.PUBLIC.{table}") == yesterday.content
    assert start_load(spec(yesterday, f"DEMO.PUBLIC.{table}")).load == handle.load


@pytest.mark.parametrize("strategy", ["swap", "transaction", "overwrite"])
def test_cancelled_from_elsewhere(
    strategy: str, yesterday: Exported, today: Exported, slow: Slow, content: Contents, snowflake: Query
) -> None:
    table = f"CANCELLED_{strategy.upper()}"
    run_load(spec(yesterday, f"DEMO.PUBLIC.{table}"))
    statement = {"overwrite": "INSERT OVERWRITE INTO", "transaction": "COPY INTO"}.get(strategy, "COPY INTO")
    with slow(f'{statement} "DEMO"."PUBLIC"."{table}', 30):
        handle = start_load(spec(today, f"DEMO.PUBLIC.{table}", strategy=strategy))
        wait_for(lambda: poll_load(handle).state is LoadHandleState.RUNNING)
        assert cancel_load(handle)
        assert not cancel_load(handle)
    assert poll_load(handle).state is LoadHandleState.FAILED
    assert content(f"DEMO.PUBLIC.{table}") == yesterday.content
    assert snowflake("SHOW TRANSACTIONS") == []
    assert not run_load(spec(today, f"DEMO.PUBLIC.{table}", strategy=strategy)).repeated
    assert content(f"DEMO.PUBLIC.{table}") == today.content


def test_a_copy_that_outlives_its_process_is_gone_on_with(
    yesterday: Exported, slow: Slow, killer: Killer, store: ObjectStore, content: Contents, snowflake: Query
) -> None:
    """The process dies once the id is in the record; what Snowflake was told to do is not done twice."""
    table = "OUTLIVED"
    copied = f'COPY INTO "DEMO"."PUBLIC"."{table}__'
    with slow(copied, 4):
        fields = {"manifest": yesterday.url, "stage": STAGE, "table": f"DEMO.PUBLIC.{table}"}
        assert killer.load(0, fields, recorded=True)
        earlier = entry_of(yesterday, table, store)
        assert earlier.state is LoadState.STARTED
        result = run_load(spec(yesterday, f"DEMO.PUBLIC.{table}"))
    assert list(result.query_ids) == earlier.query_ids
    assert not result.repeated
    assert content(f"DEMO.PUBLIC.{table}") == yesterday.content
    left = snowflake(
        f"SELECT COUNT(*) AS N FROM DEMO.INFORMATION_SCHEMA.TABLES WHERE STARTSWITH(TABLE_NAME, '{table}__')"
    )
    assert left[0]["n"] == 0


def test_a_deadline_aborts_the_statement(yesterday: Exported, slow: Slow, content: Contents) -> None:
    with slow('COPY INTO "DEMO"."PUBLIC"."TOO_SLOW', 30), pytest.raises(DeadlineError, match="longer than 1 seconds"):
        run_load(spec(yesterday, "DEMO.PUBLIC.TOO_SLOW", timeout=1))
    assert content("DEMO.PUBLIC.TOO_SLOW") is None


def test_cancelling_a_task_aborts_the_statement(yesterday: Exported, slow: Slow, store: ObjectStore) -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(arun_load(spec(yesterday, "DEMO.PUBLIC.TASK")))
        while not task.done():
            await asyncio.sleep(0.2)
            try:
                if entry_of(yesterday, "TASK", store).query_ids:
                    task.cancel()
            except StopIteration:
                continue
        await task

    with slow('COPY INTO "DEMO"."PUBLIC"."TASK', 30), pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert entry_of(yesterday, "TASK", store).state is LoadState.FAILED
    assert asyncio.run(arun_load(spec(yesterday, "DEMO.PUBLIC.TASK"))).rows == 60


def test_a_load_that_cannot_begin_says_so_at_once(yesterday: Exported) -> None:
    with pytest.raises(LoadError.__mro__[1]):
        start_load(spec(yesterday, "DEMO.NOWHERE.T"))
