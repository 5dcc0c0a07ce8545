"""Every hour: the order totals go by Snowflake to where Census sends them; their files are deleted in the end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from mz_orchestration.airflow.task_groups import export_load_sync

with DAG(
    dag_id="materialize_to_census",
    schedule="0 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    tags=["materialize", "snowflake", "census"],
) as dag:
    export_load_sync(
        "order_totals",
        export={"object": "shop.order_totals", "to": "s3://mz-exports/census/", "connection": "local_s3"},
        load={"stage": "DEMO.PUBLIC.MZ_STAGE", "table": "DEMO.PUBLIC.ORDER_TOTALS"},
        sync={"sync": 1, "at": "s3://mz-exports/census/"},
    )
