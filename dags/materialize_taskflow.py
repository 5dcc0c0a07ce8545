"""The plain functions in tasks of your own, with Airflow's connections and retries."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task

from mz_orchestration.airflow.connections import resolve
from mz_orchestration.airflow.exceptions import as_airflow_errors

with DAG(dag_id="materialize_taskflow", schedule=None, tags=["materialize", "snowflake"]) as dag:

    @task(retries=3)
    def export(name: str, run_id: str | None = None) -> str:
        """Export an object; a retry finds what an earlier try began under the run key."""
        from mz_orchestration.exports.export import run_export
        from mz_orchestration.exports.spec import export_spec

        with as_airflow_errors():
            systems = resolve({"materialize": "materialize_default", "aws": "aws_default"})
            spec = export_spec(object=name, to="s3://mz-exports/taskflow/", connection="local_s3")
            run_key = f"taskflow/{run_id}/{name}"
            result = run_export(spec, run_key=run_key, materialize=systems.materialize, store=systems.store())
        return result.manifest_url

    @task(retries=3)
    def load(manifest: str) -> dict[str, Any]:
        """Load it; what the table has had is not loaded again."""
        from mz_orchestration.snowflake.load import run_load
        from mz_orchestration.snowflake.spec import load_spec

        with as_airflow_errors():
            systems = resolve({"snowflake": "snowflake_default", "aws": "aws_default"})
            spec = load_spec(manifest=manifest, stage="DEMO.PUBLIC.MZ_STAGE", table="DEMO.PUBLIC.CUSTOMERS_BY_TASKS")
            result = run_load(spec, snowflake=systems.snowflake, store=systems.store())
        return dict(result.to_metadata())

    load(export("shop.customers"))
