"""Every night: all that pipelines/nightly.yaml says, a task for each of its parts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from mz_orchestration.airflow.pipelines import dag_from_pipeline

dag = dag_from_pipeline(
    Path(__file__).with_name("pipelines") / "nightly.yaml",
    dag_id="materialize_pipeline",
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    tags=["materialize", "snowflake", "census"],
)
