"""Transfers in a DAG over the local stack: templates, errors, retries, and a task that is killed."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mz_orchestration.local.stack import LocalStack
from mz_orchestration.objectstore.client import ObjectStore, ObjectStoreConfig
from mz_orchestration.objectstore.location import parse_folder
from mz_orchestration.runs.store import RunStore

from .conftest import Airflow

Query = Callable[[str], list[dict[str, Any]]]

DAG = """
from datetime import UTC, datetime, timedelta
from airflow.sdk import DAG, Asset
from mz_orchestration.airflow.transfers.materialize_to_snowflake import MaterializeToSnowflakeOperator

with DAG("variant", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
    MaterializeToSnowflakeOperator(**{
        "task_id": "transfer",
        "object": "shop.customers",
        "to": "s3://mz-exports/airflow/",
        "connection": "local_s3",
        "stage": "DEMO.PUBLIC.MZ_STAGE",
        "table": "DEMO.PUBLIC.VARIANT",
        "run_key": "{{ ds }}/{{ params.name }}",
        "params": {"name": "variant"},
        "retry_delay": timedelta(0),
        "outlets": [Asset("variant")],
    } | ARGUMENTS)
"""


@pytest.fixture
def dag_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a DAG with one task, varied by the operator's arguments."""

    def write(**arguments: Any) -> Path:
        folder = tmp_path / "dags"
        folder.mkdir()
        file = folder / "variant.py"
        file.write_text(DAG.replace("ARGUMENTS", repr(arguments)))
        return file

    return write


def store_of(stack: LocalStack) -> ObjectStore:
    names = {"endpoint_url": "AWS_ENDPOINT_URL", "region_name": "AWS_REGION"}
    names |= {"aws_access_key_id": "AWS_ACCESS_KEY_ID", "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY"}
    return ObjectStore(ObjectStoreConfig(**{name: stack.environment[key] for name, key in names.items()}))


def connect(stack: LocalStack) -> psycopg.Connection[Any]:
    environment = stack.environment
    return psycopg.connect(
        host=environment["PGHOST"],
        port=environment["PGPORT"],
        user=environment["PGUSER"],
        password=environment["PGPASSWORD"],
        dbname=environment["PGDATABASE"],
        autocommit=True,
    )


def test_templates_reach_every_argument(airflow: Airflow, dag_file: Callable[..., Path], snowflake: Query) -> None:
    file = dag_file(
        params={"name": "CSV"},
        query="SELECT id, name FROM shop.customers WHERE id <= {{ 10 }}",
        object="some_customers_{{ params.name }}",
        to="s3://mz-exports/airflow/{{ ds_nodash }}/",
        table="DEMO.PUBLIC.T_{{ params.name }}",
        format="{{ params.name | lower }}",
        csv={"delimiter": "{{ '|' }}", "header": True},
        cluster="{{ '' }}",
        export_timeout="{{ 60 * 10 }}",
    )
    (run,) = airflow.run(file)
    result = run["tasks"]["transfer"]["result"]
    assert result["export"]["path"].startswith("s3://mz-exports/airflow/20261120/some_customers_csv/")
    assert (result["export"]["run_key"], result["export"]["format"]) == ("2026-11-20/CSV", "csv")
    (event,) = run["asset_events"]
    assert {name: event[name] for name in ("manifest", "rows", "bytes", "timestamp")} == {
        name: result["export"][name] for name in ("manifest", "rows", "bytes", "timestamp")
    }
    assert (event["target"], event["superseded"]) == (result["load"]["target"], 0)
    assert snowflake("SELECT COUNT(*) AS N FROM DEMO.PUBLIC.T_CSV") == [{"n": result["export"]["rows"]}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"object": "shop.nothing"}, "unknown catalog item"),
        ({"snowflake_conn_id": "nowhere"}, "There is no Airflow connection 'nowhere'"),
    ],
)
def test_what_cannot_be_helped_is_not_retried(
    arguments: dict[str, Any], message: str, airflow: Airflow, dag_file: Callable[..., Path]
) -> None:
    (run,) = airflow.run(dag_file(retries=2, **arguments))
    assert (run["state"], run["tasks"]["transfer"]["tries"]) == ("failed", 1)
    assert message in airflow.text()


def test_what_may_pass_is_retried(airflow: Airflow, stack: LocalStack, dag_file: Callable[..., Path]) -> None:
    connection = json.loads(stack.environment["AIRFLOW_CONN_MATERIALIZE_DEFAULT"])
    nobody_listens = json.dumps({**connection, "port": 1})
    (run,) = airflow.run(dag_file(retries=1), AIRFLOW_CONN_MATERIALIZE_DEFAULT=nobody_listens)
    assert (run["state"], run["tasks"]["transfer"]["tries"]) == ("failed", 2)
    assert "UnavailableSystemError" in airflow.text()


def test_killing_the_task_cancels_the_copy(airflow: Airflow, stack: LocalStack, dag_file: Callable[..., Path]) -> None:
    slow = "SELECT i AS id, pg_sleep(0.01)::text AS killed_by_airflow FROM generate_series(1, 100000) AS s(i)"
    process = airflow.start(dag_file(object="killed", query=slow, run_key="killed"))
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%killed_by_airflow%' "
        "AND pid <> pg_backend_pid() AND state = 'active'"
    )
    with connect(stack) as connection:
        deadline = time.monotonic() + 60
        while connection.execute(running).fetchone() == (0,):
            assert process.poll() is None, airflow.text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        # The task ends by itself: nobody had to kill it.
        assert process.wait(30) == 0, airflow.text()[-3000:]
        assert connection.execute(running).fetchone() == (0,)
    assert airflow.answers()[0]["tasks"]["transfer"]["state"] == "failed"
    stored = RunStore(store_of(stack), parse_folder("s3://mz-exports/airflow/", field="to")).find("killed", "killed")
    assert stored is not None
    (attempt,) = stored.record.attempts
    assert attempt.state == "failed"
    assert attempt.error is not None
    assert attempt.error["message"] == "Interrupted by TaskKilledError; the COPY was cancelled."
