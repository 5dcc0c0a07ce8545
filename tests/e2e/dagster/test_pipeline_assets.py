"""A pipeline file as assets, in this process over the local stack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from mz_orchestration.dagster import (
    CensusResource,
    MaterializeResource,
    ObjectStoreResource,
    SnowflakeResource,
    build_pipeline_assets,
)

Query = Callable[[str], list[dict[str, Any]]]
FROM_THE_ENVIRONMENT = {
    "materialize": MaterializeResource(),
    "object_store": ObjectStoreResource(),
    "snowflake": SnowflakeResource(),
    "census": CensusResource(),
}
LINES, TOTALS, GERMANS = "exports/shop/order_lines", "exports/shop/order_totals", "exports/germans"
FILE = """
name: by-dagster
defaults: {to: "s3://mz-exports/by-dagster/", connection: local_s3, stage: DEMO.PUBLIC.MZ_STAGE}
exports:
  - {object: shop.order_lines, consistency_group: orders, checks: {min_rows: MIN_ROWS}}
  - {object: shop.order_totals, consistency_group: orders}
  - {name: germans, object: shop.customers, where: "country = 'DE'"}
loads:
  - {export: shop.order_lines, table: DEMO.PUBLIC.D_LINES, strategy: overwrite}
  - {export: shop.order_totals, table: DEMO.PUBLIC.D_TOTALS, strategy: merge, keys: [order_id]}
  - {export: germans, table: DEMO.PUBLIC.D_GERMANS}
retention: {keep_last: 2}
"""


@pytest.fixture
def assets(tmp_path: Path) -> Callable[..., list[dg.AssetsDefinition]]:
    def build(min_rows: int = 1) -> list[dg.AssetsDefinition]:
        file = tmp_path / "pipeline.yaml"
        file.write_text(FILE.replace("MIN_ROWS", str(min_rows)))
        return build_pipeline_assets(file)

    return build


def materialize(
    instance: dg.DagsterInstance, assets: list[dg.AssetsDefinition], **options: Any
) -> dg.ExecuteInProcessResult:
    return dg.materialize(assets, resources=FROM_THE_ENVIRONMENT, instance=instance, raise_on_error=False, **options)


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Of all materializations, by asset."""
    return {
        data.materialization.asset_key.to_user_string(): {
            name: value.value for name, value in data.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
        if (data := event.step_materialization_data)
    }


def rows_of(relation: str) -> int:
    with psycopg.connect(autocommit=True) as connection:
        row = connection.execute(f"SELECT count(*) FROM {relation}").fetchone()
    assert row is not None
    return int(row[0])


def test_every_part_is_an_asset_in_the_order_of_the_file(assets: Callable[..., list[dg.AssetsDefinition]]) -> None:
    graph = dg.Definitions(assets=assets(), resources=FROM_THE_ENVIRONMENT).resolve_asset_graph()
    parents = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.materializable_asset_keys
    }
    assert parents.pop("pipelines/by_dagster/retention") == set(parents)
    assert parents == {
        LINES: {"materialize/shop/order_lines"},
        TOTALS: {"materialize/shop/order_totals"},
        GERMANS: {"materialize/shop/customers"},
        "snowflake/demo/public/d_lines": {LINES},
        "snowflake/demo/public/d_totals": {TOTALS},
        "snowflake/demo/public/d_germans": {GERMANS},
    }
    checks = {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys}
    assert checks == {(LINES, "min_rows"), *((asset, "counts_reconciled") for asset in parents)}


def test_a_run_and_a_load_alone(
    instance: dg.DagsterInstance, assets: Callable[..., list[dg.AssetsDefinition]], snowflake: Query
) -> None:
    result = materialize(instance, assets())
    assert result.success
    said = metadata(result)
    for asset, table, relation in (
        (LINES, "D_LINES", "shop.order_lines"),
        (TOTALS, "D_TOTALS", "shop.order_totals"),
        (GERMANS, "D_GERMANS", "shop.customers WHERE country = 'DE'"),
    ):
        rows = rows_of(relation)
        assert said[asset]["dagster/row_count"] == rows > 0
        assert said[f"snowflake/demo/public/{table.lower()}"]["snowflake/rows_loaded"] == rows
        assert snowflake(f"SELECT COUNT(*) AS N FROM DEMO.PUBLIC.{table}") == [{"n": rows}]
    assert said[LINES]["materialize/timestamp"] == said[TOTALS]["materialize/timestamp"]
    assert said[GERMANS]["materialize/run_key"] == f"by-dagster/{result.run_id}/germans"
    assert {(check.check_name, check.passed) for check in result.get_asset_check_evaluations()} == {
        ("min_rows", True),
        ("counts_reconciled", True),
    }
    # A load by itself takes what its export wrote last, which is loaded already.
    alone = materialize(instance, assets(), selection=["snowflake/demo/public/d_lines"])
    assert alone.success
    assert metadata(alone)["snowflake/demo/public/d_lines"]["snowflake/repeated"] == 1


def test_a_failed_check_blocks_its_load_and_nothing_else(
    instance: dg.DagsterInstance, assets: Callable[..., list[dg.AssetsDefinition]]
) -> None:
    result = materialize(instance, assets(min_rows=10**9))
    assert not result.success
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert [(check.asset_key.to_user_string(), check.check_name) for check in failed] == [(LINES, "min_rows")]
    assert failed[0].metadata["error"].value == "CheckError"
    loads = {asset for asset in metadata(result) if asset.startswith("snowflake/")}
    assert loads == {"snowflake/demo/public/d_totals", "snowflake/demo/public/d_germans"}
    # Nor can the load be had by itself.
    alone = materialize(instance, assets(min_rows=10**9), selection=["snowflake/demo/public/d_lines"])
    assert not alone.success
    assert metadata(alone) == {}


def test_a_load_without_its_export_says_what_to_do(
    instance: dg.DagsterInstance, assets: Callable[..., list[dg.AssetsDefinition]]
) -> None:
    result = materialize(instance, assets(), selection=["snowflake/demo/public/d_germans"])
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "has not been materialized with a manifest yet. Materialize it first" in str(failure.event_specific_data)
