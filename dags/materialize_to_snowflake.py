"""Every night: the order totals leave Materialize, land in S3, are verified, and replace a table in Snowflake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Asset

from mz_orchestration.airflow.assets.materialize import materialize_asset
from mz_orchestration.airflow.transfers.materialize_to_snowflake import MaterializeToSnowflakeOperator

with DAG(
    dag_id="materialize_to_snowflake",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    tags=["materialize", "snowflake"],
) as dag:
    MaterializeToSnowflakeOperator(
        task_id="order_totals",
        object="shop.order_totals",
        to="s3://mz-exports/airflow/",
        connection="local_s3",
        stage="DEMO.PUBLIC.MZ_STAGE",
        table="DEMO.PUBLIC.ORDER_TOTALS",
        # Runs that somebody starts by hand may have no interval.
        run_key="{{ dag.dag_id }}/{{ data_interval_start | default(dag_run.run_after) | ts_nodash }}",
        inlets=[materialize_asset("shop.order_totals", host="materialize.example.com")],
        outlets=[Asset("order_totals_in_snowflake")],
    )
