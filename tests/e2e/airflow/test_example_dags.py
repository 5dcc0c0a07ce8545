"""The example DAGs: they import without connections, and what they load is in the target."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from mz_orchestration.local.stack import LocalStack

from .dag_runs import run_dags, settings

DAGS = Path(__file__).parents[3] / "dags"
NAMES = sorted(file.stem for file in DAGS.glob("*.py"))
TRANSFER = "materialize_to_snowflake"
Query = Callable[[str], list[dict[str, Any]]]

# Whatever is said about our own files is an error.
IMPORT = """
import json, sys, warnings
from airflow.dag_processing.dagbag import DagBag
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    bag = DagBag(sys.argv[1])
ours = [f"{each.filename}: {each.message}" for each in caught if "mz_orchestration" in each.filename]
said = [warning for found in bag.captured_warnings.values() for warning in found]
print(json.dumps({"errors": bag.import_errors, "dags": sorted(bag.dag_ids), "warnings": ours + said}))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="module")
def runs(stack: LocalStack, home: Path) -> dict[str, Any]:
    """One run of each example that needs no event to start; the transfer's twice."""
    names = [name for name in NAMES if name not in ("materialize_event_driven", "materialize_sink_watch")]
    return run_dags([DAGS / f"{name}.py" for name in (*names, TRANSFER)], stack, home)


def rows_of(connection: psycopg.Connection[Any], name: str) -> int:
    row = connection.execute(SQL("SELECT count(*) FROM {}").format(Identifier("shop", name))).fetchone()
    assert row is not None
    assert row[0] > 0
    return int(row[0])


def test_they_import_with_no_connection_defined(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, str(DAGS)],
        env=settings(home / "unconnected", DAGS),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"errors": {}, "dags": NAMES, "warnings": []}


def test_they_are_short_enough_to_copy() -> None:
    assert {name: n for name in NAMES if (n := len((DAGS / f"{name}.py").read_text().splitlines())) > 45} == {}


def test_the_transfer(
    runs: dict[str, Any], stack: LocalStack, materialize: psycopg.Connection[Any], home: Path
) -> None:
    run, again = runs[TRANSFER]
    result = run["tasks"]["order_totals"]["result"]
    rows = rows_of(materialize, "order_totals")
    assert (result["export"]["rows"], result["export"]["repeated"]) == (rows, 0)
    assert [result["load"][name] for name in ("rows_copied", "rows_in_files", "rows_loaded")] == [rows] * 3
    assert result["load"]["run_key"] == "materialize_to_snowflake/20261120T020000"
    event, *_ = run["asset_events"]
    assert (event["manifest"], event["rows"]) == (result["export"]["manifest"], rows)
    # The same run again: nothing is exported, nothing is loaded.
    repeated = again["tasks"]["order_totals"]["result"]
    assert (again["run_id"], repeated["export"]["repeated"], repeated["load"]["repeated"]) == (run["run_id"], 1, 1)
    assert repeated["export"]["manifest"] == result["export"]["manifest"]
    log = (home / "log.txt").read_text()
    assert "copy: done in" in log
    for secret in ("PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "SNOWFLAKE_PASSWORD", "CENSUS_API_TOKEN"):
        assert stack.environment[secret] not in log


def test_the_group_with_census(runs: dict[str, Any], stack: LocalStack, snowflake: Query) -> None:
    tasks = runs["materialize_to_census"][0]["tasks"]
    exported, synced = tasks["order_totals.export"]["result"], tasks["order_totals.sync"]["result"]
    assert tasks["order_totals.load"]["result"]["rows_loaded"] == exported["rows"]
    assert tasks["order_totals.clean_up"]["result"]["files"] == exported["files"]
    assert synced["status"] == "completed"
    # Whatever is in the table is at the destination, with the same sum.
    address = f"{stack.environment['CENSUS_URL']}/local/destinations/Braze"
    answer = httpx.get(address, params={"object": "order"}, trust_env=False).json()
    (table,) = snowflake("SELECT COUNT(*) AS N FROM DEMO.PUBLIC.ORDER_TOTALS")
    assert answer["count"] == table["n"] == exported["rows"]
    ids = snowflake("SELECT ORDER_ID FROM DEMO.PUBLIC.ORDER_TOTALS")
    assert {record["key"] for record in answer["records"]} == {str(each["order_id"]) for each in ids}


def test_the_pipeline(runs: dict[str, Any], snowflake: Query, materialize: psycopg.Connection[Any]) -> None:
    tasks = runs["materialize_pipeline"][0]["tasks"]
    assert set(tasks) == {
        "group_orders",
        "check_shop.customers",
        "check_shop.order_totals",
        "load_DEMO.PUBLIC.CUSTOMERS",
        "load_DEMO.PUBLIC.ORDER_TOTALS",
        "sync_1",
        "retention",
    }
    customers = rows_of(materialize, "customers")
    assert tasks["load_DEMO.PUBLIC.CUSTOMERS"]["result"]["rows_loaded"] == customers
    assert snowflake("SELECT COUNT(*) AS N FROM DEMO.PUBLIC.CUSTOMERS") == [{"n": customers}]
    orders = rows_of(materialize, "order_totals")
    assert snowflake("SELECT COUNT(*) AS N, COUNT(DISTINCT ORDER_ID) AS D FROM DEMO.PUBLIC.ORDER_TOTALS") == [
        {"n": orders, "d": orders}
    ]


def test_the_tasks_of_plain_functions(
    runs: dict[str, Any], snowflake: Query, materialize: psycopg.Connection[Any]
) -> None:
    loaded = runs["materialize_taskflow"][0]["tasks"]["load"]["result"]
    rows = rows_of(materialize, "customers")
    assert loaded["rows_loaded"] == rows
    assert snowflake("SELECT COUNT(*) AS N FROM DEMO.PUBLIC.CUSTOMERS_BY_TASKS") == [{"n": rows}]
