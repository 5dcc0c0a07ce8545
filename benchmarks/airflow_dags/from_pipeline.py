"""The job of dags/materialize_to_snowflake.py as a pipeline file."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from mz_orchestration.airflow.pipelines import dag_from_pipeline

dag = dag_from_pipeline(
    Path(__file__).with_name("pipeline.yaml"),
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
)
