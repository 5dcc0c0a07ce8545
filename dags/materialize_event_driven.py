"""Whoever exports the order totals, and whenever: once an export is complete and verified, it is loaded."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from mz_orchestration.airflow.transfers.export_to_snowflake import MaterializeExportToSnowflakeOperator
from mz_orchestration.airflow.triggers.sentinel_events import SentinelRemovedEventTrigger

order_totals = Asset(
    name="order_totals_export",
    watchers=[
        AssetWatcher(
            name="sentinel_removed",
            trigger=SentinelRemovedEventTrigger(
                folder="s3://mz-exports/airflow/", export="shop.order_totals", require="manifest"
            ),
        )
    ],
)

with DAG(
    dag_id="materialize_event_driven",
    schedule=[order_totals],
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3},
    tags=["materialize", "snowflake"],
) as dag:

    @task
    def newest_manifest(triggering_asset_events: Any = None) -> str:
        """One run may be given several exports; each holds all the rows, so the newest will do."""
        payloads = [event.extra["payload"] for event in triggering_asset_events[order_totals]]
        manifest: str = max(payloads, key=lambda payload: payload["completed_at"])["manifest"]
        return manifest

    MaterializeExportToSnowflakeOperator(
        task_id="load",
        manifest=newest_manifest(),
        stage="DEMO.PUBLIC.MZ_STAGE",
        table="DEMO.PUBLIC.ORDER_TOTALS_BY_EVENT",
    )
