"""Run two DAGs, one of common-sql's operators, one under the retry policy; states and tries are the last line printed.

The ``retry_delay`` of the failing tasks is an hour: only the policy's delays let their run end in time.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.sql.operators.sql import (
    BranchSQLOperator,
    SQLColumnCheckOperator,
    SQLExecuteQueryOperator,
)
from airflow.providers.common.sql.sensors.sql import SqlSensor
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, task
from airflow.utils.db import initdb

from mz_orchestration.airflow.exceptions import as_airflow_errors
from mz_orchestration.airflow.retry_policy import materialize_retry_policy
from mz_orchestration.errors import CredentialsError, ExportError, UnavailableError

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINE: dict[str, Any] = {"conn_id": "materialize_default"}

with DAG("sql", schedule=None, start_date=START) as sql:
    (
        SqlSensor(task_id="sensor", **MINE, sql="SELECT count(*) FROM orders")
        >> SQLExecuteQueryOperator(
            task_id="execute",
            **MINE,
            sql="CREATE TABLE by_dag (a int); INSERT INTO by_dag SELECT 1",
            split_statements=True,
            autocommit=True,
        )
        >> SQLColumnCheckOperator(
            task_id="check", **MINE, table="by_dag", column_mapping={"a": {"max": {"equal_to": 1}}}
        )
        >> BranchSQLOperator(
            task_id="branch",
            **MINE,
            sql="SELECT count(*) > 0 FROM by_dag",
            follow_task_ids_if_true=["rows"],
            follow_task_ids_if_false=["no_rows"],
        )
        >> [EmptyOperator(task_id="rows"), EmptyOperator(task_id="no_rows")]
    )

with DAG(
    "retries",
    schedule=None,
    start_date=START,
    default_args={
        "retries": 1,
        "retry_delay": timedelta(hours=1),
        "retry_policy": materialize_retry_policy(delay=SECOND, unavailable_delay=SECOND),
    },
) as retries:

    @task
    def refused() -> None:
        raise CredentialsError("The password is wrong.")

    @task
    def away(ti: Any = None) -> None:
        if ti.try_number == 1:
            raise UnavailableError("The server is away.")

    @task
    def as_operators_raise_it() -> None:
        with as_airflow_errors():
            raise ExportError("It failed for now.", retryable=True)

    refused()
    away()
    as_operators_raise_it()

if __name__ == "__main__":
    initdb()
    runs = {dag.dag_id: dag.test() for dag in (sql, retries)}
    print(
        json.dumps(
            {
                dag_id: {ti.task_id: [str(ti.state), ti.try_number] for ti in run.get_task_instances()}
                for dag_id, run in runs.items()
            }
        )
    )
