"""Every night: the order totals leave Materialize, land in S3, are verified, and replace a table in Snowflake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

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
    )
