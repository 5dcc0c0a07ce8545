"""Transfers in a real Airflow whose tasks are ended by users and whose processes are killed."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from pydantic import SecretStr

from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.local.materialize.sink_faults import sink_faults
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.materialize.connection import MaterializeConfig
from mz_orchestration.objectstore.client import ObjectStore, ObjectStoreConfig
from mz_orchestration.objectstore.location import parse_folder
from mz_orchestration.runs.record import RunRecord
from mz_orchestration.runs.store import RunStore

from .standalone import CONSOLE, Standalone

BASE = "s3://mz-exports/standalone/"
EXAMPLES = Path(__file__).parents[3] / "dags"
EVENT_DRIVEN = "materialize_event_driven"
SINK_WATCH = "materialize_sink_watch"
Query = Callable[[str], list[dict[str, Any]]]

DAG = """
from datetime import timedelta
from airflow.sdk import DAG, Asset
from mz_orchestration.airflow.transfers.materialize_to_snowflake import MaterializeToSnowflakeOperator

with DAG("DAG_ID", schedule=None, params={"name": "none", "rows": 1}):
    MaterializeToSnowflakeOperator(
        task_id="transfer",
        object="{{ params.name }}",
        query="SELECT i AS id, pg_sleep(0.01)::text AS {{ params.name }} "
        "FROM generate_series(1, {{ params.rows }}) AS s(i)",
        to="s3://mz-exports/standalone/",
        connection="local_s3",
        stage="DEMO.PUBLIC.MZ_STAGE",
        table="DEMO.PUBLIC.{{ params.name }}",
        run_key="{{ params.name }}",
        retries=2,
        retry_delay=timedelta(0),
        deferrable=DEFERRABLE,
        outlets=[Asset("DAG_ID")],
    )
"""


def watched_export(run_key: str, stack: LocalStack) -> int:
    """Export to where the event-driven example looks; how many rows."""
    environment = stack.environment
    names = {"endpoint_url": "AWS_ENDPOINT_URL", "region_name": "AWS_REGION"}
    names |= {"aws_access_key_id": "AWS_ACCESS_KEY_ID", "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY"}
    store = ObjectStore(ObjectStoreConfig(**{name: environment[key] for name, key in names.items()}))
    materialize = MaterializeConfig(
        host=environment["PGHOST"],
        port=int(environment["PGPORT"]),
        user=environment["PGUSER"],
        password=SecretStr(environment["PGPASSWORD"]),
        database=environment["PGDATABASE"],
    )
    spec = export_spec(object="shop.order_totals", to="s3://mz-exports/airflow/", connection="local_s3")
    return run_export(spec, run_key=run_key, store=store, materialize=materialize).manifest.rows


CLEARED = """
from airflow.sdk import DAG
from mz_orchestration.airflow.transfers.materialize_to_s3 import MaterializeToS3Operator

with DAG("cleared", schedule=None, default_args={"object": "shop.customers", "connection": "local_s3"}):
    for on_clear in ("return", "again"):
        MaterializeToS3Operator(task_id=on_clear, to="s3://mz-exports/standalone/", on_clear=on_clear)
"""


@pytest.fixture(scope="module")
def airflow(stack: LocalStack, webhook: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """One for all tests of this file, with a DAG whose COPY is held by the triggerer and one that holds it itself."""
    told = {"AIRFLOW_CONN_MATERIALIZE_WEBHOOK": f"http://:{quote(webhook.url, safe='')}@webhook"}
    with Standalone(tmp_path_factory.mktemp("standalone"), stack, told) as standalone:
        dags = {"deferred": True, "in_worker": False}
        # What is complete at the watcher's first look is not its business.
        watched_export("before the watcher", stack)
        standalone.write_dag(EVENT_DRIVEN, (EXAMPLES / f"{EVENT_DRIVEN}.py").read_text())
        sink_watch = (EXAMPLES / f"{SINK_WATCH}.py").read_text()
        hurry = "debounce=1, recover_after=1, poll_interval=2, sinks=['watched.orders_kafka']"
        standalone.write_dag(SINK_WATCH, sink_watch.replace("debounce=30, recover_after=60", hurry))
        for dag_id, deferrable in dags.items():
            standalone.write_dag(dag_id, DAG.replace("DAG_ID", dag_id).replace("DEFERRABLE", str(deferrable)))
        standalone.write_dag("cleared", CLEARED)
        standalone.start()
        for dag_id in dags:
            standalone.wait_for_dag(dag_id)
        yield standalone


@pytest.fixture
def name() -> str:
    """Of the export, its run key, the table, and a column by which its COPY is known."""
    return f"slow_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def copies(materialize: psycopg.Connection[Any], name: str) -> Callable[[], int]:
    """How many COPYs of this test Materialize is carrying out."""

    def count() -> int:
        row = materialize.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s AND pid <> pg_backend_pid() "
            "AND state = 'active'",
            [f"COPY%{name}%"],
        ).fetchone()
        return int(row[0]) if row else 0

    return count


def kept(airflow: Standalone, asset: str) -> bool:
    """Whether a watcher has kept something."""
    with closing(sqlite3.connect(f"file:{airflow.home}/airflow.db?mode=ro", uri=True)) as database:
        statement = "SELECT count(*) FROM asset_state_store JOIN asset ON asset.id = asset_id WHERE asset.name = ?"
        return bool(database.execute(statement, [asset]).fetchone()[0])


def record(store: ObjectStore, name: str) -> RunRecord:
    stored = RunStore(store, parse_folder(BASE, field="to")).find(name, name)
    assert stored is not None
    return stored.record


def begin(airflow: Standalone, dag_id: str, name: str, rows: int, copies: Callable[[], int]) -> str:
    run = airflow.trigger(dag_id, name=name, rows=rows)
    airflow.until(lambda: copies() == 1, "COPY in Materialize")
    airflow.wait_for_task(run, "transfer", "deferred" if dag_id == "deferred" else "running")
    return run


def assert_finished_once(airflow: Standalone, run: str, name: str, rows: int, store: ObjectStore, ask: Query) -> None:
    """One attempt, one manifest, one load, and each row once in the table."""
    assert airflow.wait_for(run) == "success", airflow.logs(run)[-4000:]
    result = airflow.result(run, "transfer")
    assert (result["export"]["rows"], result["load"]["rows_loaded"]) == (rows, rows)
    assert ask(f"SELECT count(*) AS n, count(DISTINCT id) AS d FROM DEMO.PUBLIC.{name}") == [{"n": rows, "d": rows}]
    found = record(store, name)
    assert [(attempt.number, attempt.state) for attempt in found.attempts] == [(1, "succeeded")]
    assert [(load.state, load.rows) for load in found.loads.values()] == [("succeeded", rows)]
    keys = [each.key for each in store.list_objects(parse_folder(f"{BASE}{name}/", field="to"))]
    assert len([key for key in keys if key.endswith("manifest.json")]) == 1
    (event,) = airflow.asset_events(run)
    assert event["extra"]["manifest"] == result["export"]["manifest"]


def test_marking_a_deferred_task_failed_cancels_its_copy(
    airflow: Standalone, copies: Callable[[], int], name: str, store: ObjectStore, stack: LocalStack
) -> None:
    run = begin(airflow, "deferred", name, 100_000, copies)
    # While it runs, and no worker holds it.
    assert airflow.links(run, "transfer")["Materialize console"] == CONSOLE
    airflow.set_state(run, "transfer", "failed")
    airflow.until(lambda: copies() == 0, "end of the COPY")
    assert airflow.wait_for(run) == "failed"

    def ended() -> bool:
        return record(store, name).attempts[0].state == "failed"

    airflow.until(ended, "note of it")
    (attempt,) = record(store, name).attempts
    assert attempt.error is not None
    assert attempt.error["message"] == "Interrupted by a user of Airflow, who ended the task; the COPY was cancelled."
    for secret in ("PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "SNOWFLAKE_PASSWORD"):
        assert stack.environment[secret] not in airflow.logs(run)


def test_a_killed_triggerer(
    airflow: Standalone, copies: Callable[[], int], name: str, store: ObjectStore, snowflake: Query
) -> None:
    run = begin(airflow, "deferred", name, 800, copies)
    airflow.kill_triggerer()
    airflow.start_triggerer()
    assert_finished_once(airflow, run, name, 800, store, snowflake)
    assert airflow.task(run, "transfer")["try_number"] == 1


def test_a_restarted_triggerer_cancels_nothing(
    airflow: Standalone, copies: Callable[[], int], name: str, store: ObjectStore, snowflake: Query
) -> None:
    run = begin(airflow, "deferred", name, 1_500, copies)
    airflow.end_triggerer()
    assert copies() == 1
    airflow.start_triggerer()
    assert_finished_once(airflow, run, name, 1_500, store, snowflake)
    assert airflow.task(run, "transfer")["try_number"] == 1


def test_a_killed_worker(
    airflow: Standalone, copies: Callable[[], int], name: str, store: ObjectStore, snowflake: Query
) -> None:
    run = begin(airflow, "in_worker", name, 800, copies)
    airflow.kill_task(run, "transfer")
    assert_finished_once(airflow, run, name, 800, store, snowflake)
    assert airflow.task(run, "transfer")["try_number"] == 2


def test_clearing_a_task_that_has_succeeded(airflow: Standalone) -> None:
    airflow.wait_for_dag("cleared")
    run = airflow.trigger("cleared")
    assert airflow.wait_for(run) == "success"
    before = {task: airflow.result(run, task) for task in ("return", "again")}
    body = {"dry_run": False, "only_failed": False, "dag_run_id": run.rpartition("/")[2]}
    airflow.ask("POST", "/dags/cleared/clearTaskInstances", body)
    airflow.until(
        lambda: all(
            (task := airflow.task(run, name))["state"] == "success" and task["try_number"] == 2 for name in before
        ),
        "second try",
    )
    after = {task: airflow.result(run, task) for task in before}
    assert (after["return"]["repeated"], after["again"]["repeated"]) == (1, 0)
    assert after["return"]["manifest"] == before["return"]["manifest"]
    assert after["again"]["manifest"] != before["again"]["manifest"]
    assert after["again"]["run_key"] == f"{before['again']['run_key']}#1"


def test_each_export_starts_one_run_though_the_triggerer_is_killed(
    airflow: Standalone, stack: LocalStack, snowflake: Query
) -> None:
    """The example that is started by events."""

    def states() -> list[str]:
        return [run["state"] for run in airflow.get(f"/dags/{EVENT_DRIVEN}/dagRuns")["dag_runs"]]

    def has_looked() -> bool:
        return kept(airflow, "order_totals_export")

    airflow.until(has_looked, "first look of the watcher")
    before = len(states())
    rows = watched_export(f"watched {uuid.uuid4()}", stack)
    airflow.until(lambda: states() == ["success"] * (before + 1), "first run")
    assert snowflake("SELECT count(*) AS n FROM DEMO.PUBLIC.ORDER_TOTALS_BY_EVENT") == [{"n": rows}]
    airflow.kill_triggerer()
    watched_export(f"while nobody watches {uuid.uuid4()}", stack)
    airflow.start_triggerer()
    airflow.until(lambda: states() == ["success"] * (before + 2), "second run")
    events = airflow.get("/assets/events?limit=100")["asset_events"]
    told = [event["extra"]["payload"]["id"] for event in events if "manifest" in event["extra"].get("payload", {})]
    assert len(set(told)) == len(told) == before + 2


def test_a_sink_that_stalls_and_is_healed_starts_a_run_each_though_the_triggerer_is_killed(
    airflow: Standalone, sinks: psycopg.Connection[Any], webhook: Any
) -> None:
    """The example that watches sinks; its webhook is told by the notifier."""

    def states() -> list[str]:
        runs = airflow.get(f"/dags/{SINK_WATCH}/dagRuns?order_by=run_after")["dag_runs"]
        return [run["state"] for run in runs]

    airflow.until(lambda: kept(airflow, "materialize_sink_health"), "first look of the watcher")
    assert states() == []
    with sink_faults(sinks, stay_stalled="watched.orders_kafka"):
        airflow.until(lambda: states() == ["failed"], "run for the stall")
        airflow.kill_triggerer()
    airflow.start_triggerer()
    airflow.until(lambda: states() == ["failed", "success"], "run for the recovery")
    airflow.until(lambda: len(webhook.told) == 2, "messages")
    stalled, well = webhook.told
    assert "watched.orders_kafka is stalled since" in stalled["text"]
    assert "Materialize cannot reach the brokers" in stalled["text"]
    assert (stalled["dag_id"], stalled["task_id"]) == (SINK_WATCH, "look_at_events")
    assert [each["event"] for each in (*stalled["sinks"], *well["sinks"])] == ["problem", "recovery"]
    assert well["text"] == "sink watched.orders_kafka is well again (healthy)."
