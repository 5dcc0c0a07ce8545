"""The trigger that holds a COPY: restarts cancel nothing, users do, and whoever comes next finds what is there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import requests
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from mz_orchestration.airflow.jobs.export import ExportJob
from mz_orchestration.airflow.jobs.sync import SyncJob
from mz_orchestration.airflow.jobs.transfer import TransferJob
from mz_orchestration.airflow.triggers.job import MaterializeJobTrigger
from mz_orchestration.census.client import CensusClient
from mz_orchestration.census.config import CensusConfig
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.quoting import Sql as SnowflakeSql
from mz_orchestration.snowflake.session import SnowflakeSession

from .driving import again, first_event

Sql = psycopg.Connection[Any]
BASE = "s3://mz-exports/triggered/"
Running = Callable[[], int]


@pytest.fixture
def marker() -> str:
    return f"slow_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def running(materialize: Sql, marker: str) -> Running:
    """How many COPYs of this test Materialize is carrying out."""

    def count() -> int:
        row = materialize.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s AND pid <> pg_backend_pid() "
            "AND state = 'active'",
            [f"COPY%{marker}%"],
        ).fetchone()
        return int(row[0]) if row else 0

    return count


def job_of(marker: str, seconds: float = 600) -> ExportJob:
    """An export that takes some seconds."""
    rows = int(seconds * 100)
    query = f"SELECT i AS id, pg_sleep(0.01)::text AS {marker} FROM generate_series(1, {rows}) AS s(i)"
    return ExportJob({"object": marker, "to": BASE, "connection": "local_s3", "query": query}, run_key=marker)


def trigger_of(job: Any, seconds: float = 600) -> MaterializeJobTrigger:
    now = datetime.now(UTC)
    return MaterializeJobTrigger(
        job=job.to_dict(), deadline=(now + timedelta(seconds=seconds)).isoformat(), began=now.isoformat()
    )


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def begun(trigger: MaterializeJobTrigger, running: Running) -> asyncio.Task[Any]:
    task = asyncio.create_task(first_event(trigger))
    await until(lambda: running() == 1)
    return task


async def leave(task: asyncio.Task[Any]) -> None:
    """As a triggerer does that shuts down."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_restart_cancels_nothing_and_the_next_run_goes_on_with_it(
    environment: dict[str, str], marker: str, running: Running, store: ObjectStore
) -> None:
    async def scenario() -> Any:
        first = trigger_of(job_of(marker, seconds=3))
        await leave(await begun(first, running))
        await first.cleanup()
        assert running() == 1
        return await first_event(again(first))

    event = asyncio.run(scenario())
    assert event["status"] == "success"
    assert (event["result"]["attempt"], event["result"]["rows"]) == (1, 300)
    stored = job_of(marker).stored(store)
    assert stored is not None
    assert len(stored.record.attempts) == 1


RESTARTED = """
import asyncio
from mz_orchestration.airflow.triggers.job import MaterializeJobTrigger

async def main():
    async for event in MaterializeJobTrigger(**{kwargs!r}).run():
        print(event.payload)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "policy", [{"left_behind": "cancel"}, {"left_behind": "leave"}, {"if_running": "fail"}, {"if_running": "skip"}]
)
def test_what_is_said_of_other_tries_is_not_meant_for_the_same_one(
    environment: dict[str, str], marker: str, running: Running, store: ObjectStore, policy: dict[str, str]
) -> None:
    """A triggerer is killed, and another one takes the trigger up."""
    trigger = trigger_of(replace(job_of(marker, seconds=6), policy=policy))
    program = RESTARTED.format(kwargs=trigger.serialize()[1])
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as killed:
        asyncio.run(until(lambda: running() == 1))
        killed.kill()
    event = asyncio.run(first_event(again(trigger)))
    assert event["status"] == "success", event
    assert event["result"]["attempt"] == 1
    stored = job_of(marker).stored(store)
    assert stored is not None
    assert len(stored.record.attempts) == 1


def test_two_tasks_that_do_the_same(environment: dict[str, str], marker: str, running: Running) -> None:
    """Who ends one does not end the other."""

    async def scenario() -> Any:
        one, other = trigger_of(job_of(marker, seconds=3)), trigger_of(job_of(marker, seconds=3))
        for trigger, task_id in ((one, "one"), (other, "other")):
            trigger._task_instance = SimpleNamespace(dag_id="d", run_id="r", task_id=task_id, map_index=-1)
        first = await begun(one, running)
        second = asyncio.create_task(first_event(other))
        await asyncio.sleep(0.5)
        await leave(first)
        one._task_instance = None  # nobody here to be asked whether it is still deferred
        await one.on_kill()
        return await second

    event = asyncio.run(scenario())
    assert event["status"] == "success" or event["error"]["retryable"], event


def test_a_user_who_ends_the_task_has_the_copy_cancelled(
    environment: dict[str, str], marker: str, running: Running, store: ObjectStore
) -> None:
    async def scenario() -> None:
        trigger = trigger_of(job_of(marker))
        await leave(await begun(trigger, running))
        await trigger.on_kill()
        assert running() == 0
        await trigger.on_kill()  # once more, after it

    asyncio.run(scenario())
    stored = job_of(marker).stored(store)
    assert stored is not None
    (attempt,) = stored.record.attempts
    assert attempt.error is not None
    assert attempt.error["message"] == ("Interrupted by a user of Airflow, who ended the task; the COPY was cancelled.")


def test_what_another_process_began_is_cancelled_too(
    environment: dict[str, str], marker: str, running: Running
) -> None:
    """The user is quicker than the triggerer that takes over."""

    async def scenario() -> None:
        first = trigger_of(job_of(marker))
        await leave(await begun(first, running))
        elsewhere = again(first)
        assert isinstance(elsewhere, MaterializeJobTrigger)
        await elsewhere.on_kill()
        await until(lambda: running() == 0)

    asyncio.run(scenario())


@pytest.mark.parametrize(("state", "left"), [("deferred", 1), ("failed", 0)])
def test_a_trigger_that_was_handed_on_cancels_nothing(
    environment: dict[str, str], marker: str, running: Running, monkeypatch: pytest.MonkeyPatch, state: str, left: int
) -> None:
    """Airflow calls on_kill there, too; what tells the two apart is the state of the task."""

    def states(**asked: Any) -> dict[str, Any]:
        assert asked == {"dag_id": "d", "task_ids": ["t"], "run_ids": ["r"], "map_index": -1}
        return {"r": {"t": state}}

    async def scenario() -> None:
        trigger = trigger_of(job_of(marker))
        trigger._task_instance = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1)
        await leave(await begun(trigger, running))
        monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", states)
        await trigger.on_kill()
        assert running() == left
        trigger._task_instance = None
        await trigger.on_kill()
        assert running() == 0

    asyncio.run(scenario())


def test_a_kill_before_anything_began(environment: dict[str, str], marker: str, store: ObjectStore) -> None:
    asyncio.run(trigger_of(job_of(marker)).on_kill())
    assert job_of(marker).stored(store) is None


def test_the_deadline_cancels(environment: dict[str, str], marker: str, running: Running) -> None:
    async def scenario() -> Any:
        event = await first_event(trigger_of(job_of(marker), seconds=2))
        await until(lambda: running() == 0)
        return event

    assert asyncio.run(scenario()) == {"status": "timeout"}


def test_a_cleared_task_does_not_join_the_dying_job(environment: dict[str, str], marker: str, running: Running) -> None:
    """A user marks it failed and clears it at once: the new trigger has the same kwargs."""

    async def scenario() -> Any:
        first = trigger_of(job_of(marker, seconds=2))
        await leave(await begun(first, running))
        event, _ = await asyncio.gather(first_event(again(first)), first.on_kill())
        return event

    event = asyncio.run(scenario())
    assert event["status"] in ("success", "timeout")
    if event["status"] == "success":
        assert event["result"]["rows"] == 200


@pytest.fixture
def slow_loads(environment: dict[str, str]) -> Iterator[None]:
    url = f"http://{environment['SNOWFLAKE_HOST']}:{environment['SNOWFLAKE_PORT']}/local/faults"
    slow = {"slow_statements": {"seconds": 60, "containing": "COPY INTO", "times": 9}}
    requests.post(url, json=slow, timeout=5).raise_for_status()
    yield
    requests.delete(url, timeout=5).raise_for_status()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
def test_a_load_is_aborted(
    environment: dict[str, str], slow_loads: None, marker: str, store: ObjectStore, elsewhere: bool
) -> None:
    """The statement in Snowflake, too, by the triggerer that submitted it and by another."""
    spec = {"object": "shop.customers", "to": BASE, "connection": "local_s3"}
    table = f"DEMO.PUBLIC.{marker.upper()}"
    job = TransferJob(ExportJob(spec, run_key=marker), {"stage": "DEMO.PUBLIC.MZ_STAGE", "table": table})

    def load() -> Any:
        stored = job.export.stored(store)
        loads = list(stored.record.loads.values()) if stored is not None else []
        return loads[0] if loads else None

    async def scenario() -> None:
        trigger = trigger_of(job)
        task = asyncio.create_task(first_event(trigger))
        await until(lambda: (entry := load()) is not None and entry.query_ids)
        await leave(task)
        assert load().state == "started"
        other = again(trigger)
        assert isinstance(other, MaterializeJobTrigger)
        await (other if elsewhere else trigger).on_kill()
        await until(lambda: load().state == "failed")

    asyncio.run(scenario())
    with SnowflakeSession(SnowflakeConfig.from_environment(environment)) as session:
        assert not session.query(SnowflakeSql(f"SHOW TABLES LIKE '{marker.upper()}'")).rows
        [row] = session.query(
            SnowflakeSql(
                "SELECT COUNT(*) AS N FROM TABLE(INFORMATION_SCHEMA.QUERY_HISTORY()) WHERE EXECUTION_STATUS = 'RUNNING'"
            )
        ).rows
        assert row["n"] <= 1  # this one


@pytest.fixture
def slow_syncs(environment: dict[str, str]) -> Iterator[None]:
    url = f"{environment['CENSUS_URL']}/local/faults"
    requests.post(url, json={"working_seconds": 60}, timeout=5).raise_for_status()
    yield
    requests.delete(url, timeout=5).raise_for_status()


def test_a_run_of_a_sync_is_cancelled_if_it_is_ours(environment: dict[str, str], slow_syncs: None, marker: str) -> None:
    job = SyncJob({"sync": 3}, run_key=marker, at=BASE)
    config = CensusConfig.from_environment()

    def active() -> list[str]:
        with CensusClient(config) as census:
            return [run.id for run in census.runs("3") if run.status not in ("completed", "failed", "skipped")]

    async def scenario() -> None:
        before = set(await asyncio.to_thread(active))
        trigger = trigger_of(job)
        task = asyncio.create_task(first_event(trigger))
        await until(lambda: set(active()) - before)
        await leave(task)
        assert set(await asyncio.to_thread(active)) - before
        await trigger.on_kill()
        assert not set(await asyncio.to_thread(active)) - before

    asyncio.run(scenario())


def test_what_the_database_holds_of_a_trigger(environment: dict[str, str], marker: str) -> None:
    path, kwargs = trigger_of(job_of(marker)).serialize()
    assert path == "mz_orchestration.airflow.triggers.job.MaterializeJobTrigger"
    secrets = {value for name, value in environment.items() if any(w in name for w in ("PASSWORD", "SECRET", "TOKEN"))}
    assert len(secrets) >= 3
    assert not [secret for secret in secrets if secret in str(kwargs)]
    # What an earlier or later version has written.
    MaterializeJobTrigger(**{**kwargs, "poll_interval": 5})


def test_a_job_of_another_version(environment: dict[str, str]) -> None:
    trigger = MaterializeJobTrigger(job={"kind": "restore"}, deadline=datetime.now(UTC).isoformat())
    event = asyncio.run(first_event(trigger))
    assert event["status"] == "failed"
    assert "same version" in event["error"]["hint"]
