"""Components over the local stack: from ``defs.yaml`` to rows in Snowflake and records in Census' destination."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import psycopg
from dagster.components.testing import create_defs_folder_sandbox

from mz_orchestration.dagster.components.export import MaterializeExportComponent
from mz_orchestration.dagster.components.pipeline import MaterializePipelineComponent

Query = Callable[[str], list[dict[str, Any]]]
ATTRIBUTES = """\
type: {type}
attributes:
  resources: environment
  # Named here as well as in the environment: what is given goes before what is there.
  materialize:
    host: "{{{{ env('PGHOST') }}}}"
    port: "{{{{ env('PGPORT') }}}}"
    user: "{{{{ env('PGUSER') }}}}"
    password: "{{{{ env('PGPASSWORD', 'none') }}}}"
    database: "{{{{ env('PGDATABASE') }}}}"
  defaults: {{to: "s3://mz-exports/components/", connection: local_s3, stage: DEMO.PUBLIC.MZ_STAGE}}
  exports:
    - {{object: shop.order_lines, consistency_group: orders, checks: {{min_rows: 1}}}}
    - {{object: shop.order_totals, consistency_group: orders}}
    - {{name: germans, object: shop.customers, where: "country = 'DE'", checks: {{max_rows: {max_rows}}}}}
  loads:
    - {{export: shop.order_totals, table: DEMO.PUBLIC.ORDER_TOTALS}}
    - {{export: germans, table: DEMO.PUBLIC.C_GERMANS, automation_condition: eager}}
  syncs:
    - {{sync: 1, after: [DEMO.PUBLIC.ORDER_TOTALS]}}
  retention: {{keep_last: 2}}
"""
FILE = """\
name: by-component
defaults: {to: "${MZ_EXPORTS}", connection: local_s3, stage: DEMO.PUBLIC.MZ_STAGE}
exports:
  - {object: shop.customers, checks: {min_rows: 1}}
loads:
  - {export: shop.customers, table: DEMO.PUBLIC.C_CUSTOMERS}
"""


def run(cls: type[Any], text: str, instance: dg.DagsterInstance, **files: str) -> dg.ExecuteInProcessResult:
    """Materialize all of a component that is the only one of a project."""
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.defs_folder_path / "shop"
        path.mkdir()
        (path / "defs.yaml").write_text(text)
        for name, content in files.items():
            (path / f"{name}.yaml").write_text(content)
        with sandbox.build_all_defs() as defs:
            return defs.resolve_implicit_global_asset_job_def().execute_in_process(
                instance=instance, raise_on_error=False
            )


def rows_of(relation: str) -> int:
    with psycopg.connect(autocommit=True) as connection:
        row = connection.execute(f"SELECT count(*) FROM {relation}").fetchone()
    assert row is not None
    return int(row[0])


def export_component(instance: dg.DagsterInstance, *, max_rows: int) -> dg.ExecuteInProcessResult:
    cls = MaterializeExportComponent
    return run(cls, ATTRIBUTES.format(type=f"{cls.__module__}.{cls.__qualname__}", max_rows=max_rows), instance)


def materialized(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    return {
        data.materialization.asset_key.to_user_string(): {
            name: value.value for name, value in data.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
        if (data := event.step_materialization_data)
    }


def test_exports_loads_and_syncs_of_a_defs_yaml(instance: dg.DagsterInstance, snowflake: Query) -> None:
    result = export_component(instance, max_rows=10**6)
    assert result.success
    said = materialized(result)
    for asset, table, relation in (
        ("exports/shop/order_totals", "ORDER_TOTALS", "shop.order_totals"),
        ("exports/germans", "C_GERMANS", "shop.customers WHERE country = 'DE'"),
    ):
        rows = rows_of(relation)
        assert said[asset]["dagster/row_count"] == rows > 0
        assert snowflake(f"SELECT COUNT(*) AS N FROM DEMO.PUBLIC.{table}") == [{"n": rows}]
    assert (
        said["exports/shop/order_lines"]["materialize/timestamp"]
        == said["exports/shop/order_totals"]["materialize/timestamp"]
    )
    assert said["census/1"]["census/status"] == "completed"
    assert "pipelines/shop/retention" in said


def test_a_check_of_a_defs_yaml_blocks_its_load(instance: dg.DagsterInstance) -> None:
    result = export_component(instance, max_rows=0)
    assert not result.success
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert [(check.asset_key.to_user_string(), check.check_name) for check in failed] == [
        ("exports/germans", "max_rows")
    ]
    said = materialized(result)
    assert "snowflake/demo/public/c_germans" not in said
    assert "snowflake/demo/public/order_totals" in said


def test_a_pipeline_file(instance: dg.DagsterInstance, snowflake: Query, monkeypatch: Any) -> None:
    monkeypatch.setenv("MZ_EXPORTS", "s3://mz-exports/components/file/")
    cls = MaterializePipelineComponent
    result = run(
        cls,
        f"type: {cls.__module__}.{cls.__qualname__}\nattributes: {{path: pipeline.yaml, resources: environment}}\n",
        instance,
        pipeline=FILE,
    )
    assert result.success
    rows = rows_of("shop.customers")
    assert snowflake("SELECT COUNT(*) AS N FROM DEMO.PUBLIC.C_CUSTOMERS") == [{"n": rows}]
    assert materialized(result)["exports/shop/customers"]["dagster/row_count"] == rows > 0
