"""The examples in a real Dagster, by its UI's API: run, terminated, killed, and started by its sensor."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest

from mz_orchestration.census.client import CensusClient
from mz_orchestration.census.config import CensusConfig
from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.local.materialize.sink_faults import sink_faults
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import parse_folder
from mz_orchestration.runs.record import RunRecord
from mz_orchestration.runs.store import RunStore

from .real import RealDagster

EXPORT, LOAD, SYNC = "exports/shop/order_totals", "snowflake/demo/public/order_totals", "census/1"
SENSOR = "export_completion"
Query = Callable[[str], list[dict[str, Any]]]
Count = Callable[[str], int]


@pytest.fixture(scope="module")
def real(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealDagster]:
    """One for all tests of this file; its sensor looks while they run."""
    with RealDagster(tmp_path_factory.mktemp("real"), stack) as dagster:
        dagster.start()
        dagster.start_sensor(SENSOR)
        yield dagster


@pytest.fixture
def rows(materialize: psycopg.Connection[Any]) -> int:
    row = materialize.execute("SELECT count(*) FROM shop.order_totals").fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def copies(materialize: psycopg.Connection[Any]) -> Count:
    """How many COPYs with that text Materialize is carrying out."""

    def count(text: str) -> int:
        row = materialize.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s AND pid <> pg_backend_pid() "
            "AND state = 'active'",
            [f"COPY%{text}%"],
        ).fetchone()
        return int(row[0]) if row else 0

    return count


def record(store: ObjectStore, name: str, run: str) -> RunRecord:
    """What is remembered of an export of a run."""
    runs = RunStore(store, parse_folder("s3://mz-exports/real/", field="to"))
    stored = runs.find(name, f"{run}/exports/{name}")
    assert stored is not None
    return stored.record


def test_a_job_from_materialize_to_census(real: RealDagster, rows: int, snowflake: Query) -> None:
    snowflake("DROP TABLE IF EXISTS DEMO.PUBLIC.ORDER_TOTALS")
    run = real.launch_job("order_totals_to_snowflake")
    assert real.wait_for(run) == "SUCCESS", real.events(run)
    table = "SELECT COUNT(*) AS N, COUNT(DISTINCT ORDER_ID) AS D FROM DEMO.PUBLIC.ORDER_TOTALS"
    assert snowflake(table) == [{"n": rows, "d": rows}]
    exported, loaded, synced = (real.materialization(asset, run) for asset in (EXPORT, LOAD, SYNC))
    assert (exported["dagster/row_count"], exported["materialize/run_key"]) == (rows, f"{run}/{EXPORT}")
    assert loaded["snowflake/rows_loaded"] == rows
    assert loaded["snowflake/manifest"] == exported["materialize/manifest"]
    assert synced["census/status"] == "completed"
    found = {asset: real.checks(asset) for asset in (EXPORT, LOAD, SYNC)}
    assert {asset: sorted(checks) for asset, checks in found.items()} == {
        EXPORT: ["counts_reconciled", "max_change", "min_rows"],
        LOAD: ["counts_reconciled"],
        SYNC: ["records_accepted"],
    }
    passed = {"runId": run, "status": "SUCCEEDED", "evaluation": {"success": True}}
    for checks in found.values():
        for check in checks.values():
            assert check == {"blocking": True, "executionForLatestMaterialization": passed}


def test_terminating_a_run_cancels_its_copy(real: RealDagster, copies: Count, store: ObjectStore) -> None:
    run = real.launch("exports/terminated")
    real.until(lambda: copies("terminated"), "COPY in Materialize")
    real.terminate(run)
    assert real.wait_for(run) == "CANCELED"
    # The step has waited for that.
    assert copies("terminated") == 0
    (attempt,) = record(store, "terminated", run).attempts
    assert attempt.state == "failed"
    assert attempt.error is not None
    assert attempt.error["message"] == "Interrupted by DagsterExecutionInterruptedError; the COPY was cancelled."


@pytest.fixture
def slow(stack: LocalStack) -> Iterator[None]:
    """Snowflake and Census take a minute for what they are asked to do."""
    environment = stack.environment
    snowflake = f"http://{environment['SNOWFLAKE_HOST']}:{environment['SNOWFLAKE_PORT']}/local/faults"
    census = f"{environment['CENSUS_URL']}/local/faults"
    slow_copies = {"slow_statements": {"seconds": 60, "containing": "COPY INTO", "times": 9}}
    httpx.post(snowflake, json=slow_copies).raise_for_status()
    httpx.post(census, json={"working_seconds": 60}).raise_for_status()
    yield
    httpx.delete(snowflake).raise_for_status()
    httpx.delete(census).raise_for_status()


def test_terminating_a_run_aborts_its_load(real: RealDagster, slow: None, snowflake: Query) -> None:
    def loading() -> int:
        running = "SELECT QUERY_TEXT FROM TABLE(INFORMATION_SCHEMA.QUERY_HISTORY()) WHERE EXECUTION_STATUS = 'RUNNING'"
        return sum(row["query_text"].startswith("COPY INTO") for row in snowflake(running))

    run = real.launch("exports/shop/customers", "snowflake/demo/public/terminated")
    real.until(loading, "COPY INTO in Snowflake")
    real.terminate(run)
    assert real.wait_for(run) == "CANCELED"
    assert loading() == 0
    assert snowflake("SELECT TABLE_NAME FROM DEMO.INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME = 'TERMINATED'") == []


def test_terminating_a_run_cancels_its_sync(real: RealDagster, slow: None) -> None:
    def syncing() -> int:
        with CensusClient(CensusConfig.from_environment()) as census:
            return sum(run.status not in ("completed", "failed", "skipped") for run in census.runs("3"))

    assert syncing() == 0
    run = real.launch("census/3")
    real.until(syncing, "run of the sync in Census")
    real.terminate(run)
    assert real.wait_for(run) == "CANCELED"
    assert syncing() == 0


def test_a_killed_run_is_gone_on_with(real: RealDagster, copies: Count, store: ObjectStore, snowflake: Query) -> None:
    run = real.launch("exports/killed", "snowflake/demo/public/killed")
    real.until(lambda: copies("killed"), "COPY in Materialize")
    real.kill_run(run)
    # Nobody was left to cancel it.
    assert copies("killed") == 1
    assert real.wait_for(run) == "FAILURE"
    second = real.go_on(run)
    assert real.wait_for(second) == "SUCCESS", real.events(second)
    exported = real.materialization("exports/killed", second)
    assert (exported["materialize/rows"], exported["materialize/adopted"]) == (1_500, 1)
    assert exported["materialize/run_key"] == f"{run}/exports/killed"
    assert [(each.number, each.state) for each in record(store, "killed", run).attempts] == [(1, "succeeded")]
    assert snowflake("SELECT COUNT(*) AS N, COUNT(DISTINCT ID) AS D FROM DEMO.PUBLIC.KILLED") == [
        {"n": 1500, "d": 1500}
    ]


def test_an_export_made_elsewhere_is_loaded_once(real: RealDagster, rows: int, snowflake: Query) -> None:
    real.until(lambda: any(tick["cursor"] for tick in real.sensor(SENSOR)["ticks"]), "first look of the sensor")
    before = [run["runId"] for run in real.sensor(SENSOR)["runs"]]
    spec = export_spec(object="shop.order_totals", to="s3://mz-exports/elsewhere/", connection="local_s3")
    export = run_export(spec, run_key=f"cron/{uuid.uuid4().hex}")

    def started() -> list[str]:
        return [run["runId"] for run in real.sensor(SENSOR)["runs"] if run["runId"] not in before]

    real.until(started, "run of the sensor")
    (run,) = started()
    assert real.wait_for(run) == "SUCCESS", real.events(run)
    assert snowflake("SELECT COUNT(*) AS N FROM DEMO.PUBLIC.ORDER_TOTALS_BY_EVENT") == [{"n": rows}]
    loaded = real.materialization("snowflake/demo/public/order_totals_by_event", run)
    assert loaded["snowflake/manifest"] == str(export.manifest.location)
    # Of no run: the sensor told of it.
    told = real.materialization("elsewhere/shop/order_totals", "")
    assert (told["dagster/row_count"], told["materialize/manifest"]) == (rows, loaded["snowflake/manifest"])
    ticks = len(real.sensor(SENSOR)["ticks"])
    real.until(lambda: len(real.sensor(SENSOR)["ticks"]) > ticks, "next look of the sensor")
    assert started() == [run]


def test_what_it_has_stored_and_logged_holds_no_secrets(real: RealDagster, stack: LocalStack) -> None:
    secrets = [
        stack.environment[name]
        for name in stack.environment
        if name.endswith(("PASSWORD", "SECRET_ACCESS_KEY", "TOKEN"))
    ]
    assert len(secrets) >= 4
    files = [file for file in real.home.rglob("*") if file.is_file()]
    assert any(file.suffix == ".db" and file.stat().st_size > 100_000 for file in files)
    assert [(file.name, name) for file in files for name in secrets if name.encode() in file.read_bytes()] == []


def test_a_sink_that_stalls_and_is_healed(real: RealDagster, sinks: psycopg.Connection[Any]) -> None:
    asset, sensor = "materialize/watched/orders_kafka", "sink_health"

    def said() -> list[bool]:
        return [each["success"] for each in reversed(real.check_results(asset, "healthy"))]

    real.start_sensor(sensor)
    try:
        real.until(lambda: said()[-1:] == [True], "green check")
        before = len(said())
        with sink_faults(sinks, stay_stalled="watched.orders_kafka"):
            real.until(lambda: said()[before:] == [False], "red check")
            red = real.check_results(asset, "healthy")[0]["description"]
        real.until(lambda: said()[before:] == [False, True], "green check again")
        (run,) = {run for tick in real.sensor(sensor)["ticks"] for run in tick["runIds"]}
    finally:
        real.stop_sensor(sensor)
    assert red.startswith("stalled. kafka: BrokerTransportFailure")
    assert "Materialize cannot reach the brokers" in red
    assert real.wait_for(run) == "SUCCESS", real.events(run)
    assert any("watched.orders_kafka is stalled" in event for event in real.events(run))
