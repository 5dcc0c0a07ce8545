"""A pipeline file as a DAG over the local stack: what init writes, and what goes wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer
from typer.testing import CliRunner

from mz_orchestration.cli.init import init

from .conftest import Airflow

Query = Callable[[str], list[dict[str, Any]]]

DAG = """
from datetime import UTC, datetime
from mz_orchestration.airflow.pipelines import dag_from_pipeline
dag = dag_from_pipeline({file!r}, start_date=datetime(2026, 1, 1, tzinfo=UTC), snowflake_conn_id="nowhere")
"""


@pytest.fixture
def dag_of(tmp_path: Path) -> Callable[[str], Path]:
    """A DAG file of a pipeline, in which Snowflake's connection does not exist."""

    def write(pipeline: str) -> Path:
        (tmp_path / "pipeline.yaml").write_text(pipeline)
        (tmp_path / "dags").mkdir()
        (tmp_path / "dags/own.py").write_text(DAG.format(file=str(tmp_path / "pipeline.yaml")))
        return tmp_path / "dags/own.py"

    return write


def test_what_init_writes(airflow: Airflow, tmp_path: Path, snowflake: Query) -> None:
    app = typer.Typer()
    app.command()(init)
    flags = "--to|s3://mz-exports/by-airflow/|--connection|local_s3|--object|shop.customers|--object|shop.order_totals"
    more = "--stage|DEMO.PUBLIC.MZ_STAGE|--schema|DEMO.PUBLIC|--sync|1|--for|airflow"
    result = CliRunner().invoke(app, [str(tmp_path / "project"), *flags.split("|"), *more.split("|")])
    assert result.exit_code == 0, result.output
    first, second = airflow.run(tmp_path / "project/dags/nightly.py", times=2)
    assert (first["state"], second["state"]) == ("success", "success"), airflow.text()[-3000:]
    assert set(first["tasks"]) == {
        "group_nightly",
        "check_shop.customers",
        "check_shop.order_totals",
        "load_DEMO.PUBLIC.CUSTOMERS",
        "load_DEMO.PUBLIC.ORDER_TOTALS",
        "sync_1",
    }
    loaded = first["tasks"]["load_DEMO.PUBLIC.CUSTOMERS"]["result"]
    assert loaded["rows_loaded"] > 0
    assert snowflake("SELECT COUNT(*) AS N FROM DEMO.PUBLIC.CUSTOMERS") == [{"n": loaded["rows_loaded"]}]
    # The same run again finds everything under its run key.
    for task in ("group_nightly", "load_DEMO.PUBLIC.CUSTOMERS", "sync_1"):
        assert second["tasks"][task]["result"]["repeated"] == 1, task
    assert f"nightly/nightly/{first['run_id']}/" in loaded["run_key"]
    assert "copy: done in" in airflow.text()


def test_a_failing_part_stops_what_needs_it_and_nothing_else(airflow: Airflow, dag_of: Callable[[str], Path]) -> None:
    file = dag_of(
        """
name: partly
defaults: {to: "s3://mz-exports/by-airflow/", connection: local_s3, stage: DEMO.PUBLIC.MZ_STAGE}
exports:
  - {object: shop.customers, checks: {min_rows: 1000000000}}
  - {object: shop.order_totals}
loads:
  - {export: shop.customers, table: DEMO.PUBLIC.X}
  - {export: shop.order_totals, table: DEMO.PUBLIC.Y}
"""
    )
    (run,) = airflow.run(file)
    assert {name: task["state"] for name, task in run["tasks"].items()} == {
        "export_shop.customers": "success",
        "check_shop.customers": "failed",
        "load_DEMO.PUBLIC.X": "upstream_failed",
        "export_shop.order_totals": "success",
        # Exports do not need the connection that does not exist.
        "load_DEMO.PUBLIC.Y": "failed",
    }
    assert "There is no Airflow connection 'nowhere'" in airflow.text()


def test_killing_a_task_cancels_its_copy(
    airflow: Airflow, dag_of: Callable[[str], Path], materialize: psycopg.Connection[Any]
) -> None:
    file = dag_of(
        """
name: killed
defaults: {to: "s3://mz-exports/by-airflow/", connection: local_s3}
exports:
  - name: slow
    query: SELECT i AS id, pg_sleep(0.01)::text AS killed_in_a_pipeline FROM generate_series(1, 100000) AS s(i)
"""
    )
    process = airflow.start(file)
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%killed_in_a_pipeline%' "
        "AND pid <> pg_backend_pid() AND state = 'active'"
    )
    deadline = time.monotonic() + 60
    while materialize.execute(running).fetchone() == (0,):
        assert process.poll() is None, airflow.text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, airflow.text()[-3000:]
    assert materialize.execute(running).fetchone() == (0,)
    assert airflow.answers()[0]["tasks"]["export_slow"]["state"] == "failed"


def test_parsing_the_file_loads_no_client(airflow: Airflow, dag_of: Callable[[str], Path]) -> None:
    file = dag_of(
        """
name: parsed
defaults: {to: "s3://mz-exports/by-airflow/", connection: local_s3, stage: DEMO.PUBLIC.MZ_STAGE}
exports: [{object: shop.customers, where: "id > 1"}]
loads: [{export: shop.customers, table: DEMO.PUBLIC.X}]
syncs: [{sync: 1, after: [DEMO.PUBLIC.X]}]
"""
    )
    code = (
        f"import json, runpy, sys; dag = runpy.run_path({str(file)!r})['dag']; "
        "heavy = [each for each in ('boto3', 'pyarrow', 'snowflake', 'duckdb') if each in sys.modules]; "
        "print(json.dumps([dag.fileloc, dag.max_active_runs, heavy]))"
    )
    # No server can be reached: nothing is asked.
    environment = {**airflow.environment, "PGPORT": "1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [str(file), 1, []]
