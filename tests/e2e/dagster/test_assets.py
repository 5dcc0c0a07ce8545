"""The example assets over the local stack: in this process, as a command, and when things go wrong."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import psycopg
import pytest

from dagster_defs.definitions import defs, order_totals, order_totals_in_snowflake
from mz_orchestration.dagster import build_load_asset
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import parse_folder
from mz_orchestration.runs.store import RunStore

from .conftest import DagsterCommand

Query = Callable[[str], list[dict[str, Any]]]
EXPORT, LOAD = "exports/shop/order_totals", "snowflake/demo/public/order_totals"


def materialize(
    instance: dg.DagsterInstance, *assets: dg.AssetsDefinition, **options: Any
) -> dg.ExecuteInProcessResult:
    return dg.materialize([*assets], resources=dict(defs.resources or {}), instance=instance, **options)


def metadata(result: dg.ExecuteInProcessResult, key: str) -> dict[str, Any]:
    """Of the one materialization of an asset."""
    (found,) = [
        each.materialization
        for event in result.get_asset_materialization_events()
        if (each := event.step_materialization_data) and each.materialization.asset_key.to_user_string() == key
    ]
    return {name: value.value for name, value in found.metadata.items()}


def rows_of(relation: str) -> int:
    with psycopg.connect(autocommit=True) as connection:
        row = connection.execute(f"SELECT count(*) FROM {relation}").fetchone()
    assert row is not None
    return int(row[0])


def test_the_example_assets(instance: dg.DagsterInstance, snowflake: Query) -> None:
    result = materialize(instance, order_totals, order_totals_in_snowflake)
    rows = rows_of("shop.order_totals")
    assert rows > 0
    assert snowflake("SELECT COUNT(*) AS N FROM DEMO.PUBLIC.ORDER_TOTALS") == [{"n": rows}]
    exported, loaded = metadata(result, EXPORT), metadata(result, LOAD)
    assert (exported["dagster/row_count"], exported["materialize/rows"]) == (rows, rows)
    assert exported["dagster/uri"].startswith("s3://mz-exports/exports/shop.order_totals/")
    assert exported["materialize/manifest"] == exported["dagster/uri"] + "_manifest.json"
    assert exported["materialize/run_key"] == f"{result.run_id}/{EXPORT}"
    assert "order_id" in [column.name for column in exported["dagster/column_schema"].columns]
    assert (loaded["snowflake/rows_loaded"], loaded["dagster/table_name"]) == (rows, "DEMO.PUBLIC.ORDER_TOTALS")
    assert loaded["dagster/storage_kind"] == "snowflake"
    assert loaded["snowflake/manifest"] == exported["materialize/manifest"]
    checks = result.get_asset_check_evaluations()
    assert {each.check_name for each in checks} == {"counts_reconciled", "min_rows", "max_change"}
    assert all(each.passed and each.blocking for each in checks)
    of_export, of_load = [each for each in checks if each.check_name == "counts_reconciled"]
    assert {name: value.value for name, value in of_export.metadata.items()} == {
        "materialize/rows_copied": rows,
        "materialize/rows_in_files": rows,
    }
    assert {name: value.value for name, value in of_load.metadata.items()} == {
        "snowflake/rows_copied": rows,
        "snowflake/rows_in_files": rows,
        "snowflake/rows_loaded": rows,
    }


def test_nothing_happens_twice(instance: dg.DagsterInstance) -> None:
    first = materialize(instance, order_totals, order_totals_in_snowflake)
    # The load alone takes the manifest of the export's latest materialization, which is loaded already.
    alone = materialize(instance, order_totals, order_totals_in_snowflake, selection=[LOAD])
    assert metadata(alone, LOAD)["snowflake/repeated"] == 1
    assert metadata(alone, LOAD)["snowflake/manifest"] == metadata(first, LOAD)["snowflake/manifest"]
    # The export with the first run's key returns what that one exported.
    config = {"ops": {order_totals.op.name: {"config": {"run_key": f"{first.run_id}/{EXPORT}"}}}}
    again = materialize(instance, order_totals, run_config=config)
    assert metadata(again, EXPORT)["materialize/repeated"] == 1
    assert metadata(again, EXPORT)["materialize/manifest"] == metadata(first, EXPORT)["materialize/manifest"]


@pytest.fixture
def one_row_short(stack: LocalStack) -> Iterator[None]:
    """The next COPY INTO answers LOADED with one row less than it loaded."""
    environment = stack.environment
    url = f"http://{environment['SNOWFLAKE_HOST']}:{environment['SNOWFLAKE_PORT']}/local/faults"
    httpx.post(url, json={"copy_rows_loaded_delta": -1, "times": 1}).raise_for_status()
    yield
    httpx.delete(url).raise_for_status()


def test_counts_that_differ_fail_the_check_and_stop_what_comes_after(
    instance: dg.DagsterInstance, snowflake: Query, one_row_short: None
) -> None:
    load = build_load_asset(order_totals, stage="DEMO.PUBLIC.MZ_STAGE", table="DEMO.PUBLIC.NOT_RECONCILED")

    @dg.asset(deps=[load])
    def report() -> None:
        raise AssertionError("a table that is not reconciled was used")

    result = materialize(instance, order_totals, load, report, raise_on_error=False)
    assert not result.success
    (check,) = [each for each in result.get_asset_check_evaluations() if not each.passed]
    assert (check.check_name, check.asset_key) == ("counts_reconciled", load.key)
    assert check.metadata["error"].value == "ReconciliationError"
    materialized = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
    assert materialized == {EXPORT}
    assert [event.step_key for event in result.all_events if event.is_step_failure] == [load.op.name]
    assert "report" not in [event.step_key for event in result.all_events if event.is_step_start]
    found = snowflake("SELECT TABLE_NAME FROM DEMO.INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME = 'NOT_RECONCILED'")
    assert found == []


def test_the_command(dagster_command: DagsterCommand, snowflake: Query) -> None:
    snowflake("DROP TABLE IF EXISTS DEMO.PUBLIC.ORDER_TOTALS")
    dagster_command.run("asset", "materialize", "-m", "dagster_defs.definitions", "--select", f"{EXPORT},{LOAD}")
    assert snowflake("SELECT COUNT(*) AS N FROM DEMO.PUBLIC.ORDER_TOTALS") == [{"n": rows_of("shop.order_totals")}]
    assert "Asset check 'counts_reconciled'" in dagster_command.text()
    assert "copy: done in" in dagster_command.text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_terminating_the_run_cancels_the_copy(
    number: signal.Signals, dagster_command: DagsterCommand, environment: None
) -> None:
    runs = RunStore(ObjectStore(), parse_folder("s3://mz-exports/dagster/", field="to"))
    before = [record.run_key for record in runs.recent(1)[0]]
    file = str(Path(__file__).with_name("slow_assets.py"))
    process = dagster_command.start("asset", "materialize", "-f", file, "--select", "*")
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%killed_by_dagster%' "
        "AND pid <> pg_backend_pid() AND state = 'active'"
    )
    with psycopg.connect(autocommit=True) as connection:
        deadline = time.monotonic() + 90
        # The record is written before the COPY begins; what describes the query is active for a moment before that.
        while [record.run_key for record in runs.recent(1)[0]] == before or connection.execute(running).fetchone() == (
            0,
        ):
            assert process.poll() is None, dagster_command.text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(number)
        process.wait(60)
        assert connection.execute(running).fetchone() == (0,)
    (attempt,) = runs.recent(1)[0][0].attempts
    assert attempt.state == "failed"
    assert attempt.error is not None
    assert attempt.error["message"] == "Interrupted by DagsterExecutionInterruptedError; the COPY was cancelled."
    assert "up for retry" not in dagster_command.text().lower()
