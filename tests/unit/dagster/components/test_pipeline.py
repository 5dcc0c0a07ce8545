"""The component of a pipeline file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mz_orchestration.dagster.components.pipeline import MaterializePipelineComponent

Load = Callable[..., tuple[Any, dg.Definitions]]
FILE = """
name: orders
defaults: {to: "${FOLDER}", connection: aws, stage: RAW.PUBLIC.STAGE}
exports:
  - {object: shop.orders, checks: {min_rows: 1}}
loads:
  - {export: shop.orders, table: RAW.PUBLIC.ORDERS}
"""
ORDERS, TABLE = "exports/shop/orders", "snowflake/raw/public/orders"
OPTIONS = """
path: nightly.yaml
resources: environment
schedule: {cron: "0 2 * * *"}
freshness: {fail_window: 26h}
automation_condition: eager
translation: {group_name: "{{ 'raw' if props.spec.table is defined else 'lake' }}"}
pool: exports
"""


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDER", "s3://exports/nightly/")


def test_the_file_as_it_is_for_cron_and_airflow(load: Load) -> None:
    _, defs = load(OPTIONS, cls=MaterializePipelineComponent, nightly=FILE)
    specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    assert {ORDERS, TABLE} <= specs.keys()
    assert [specs[key].group_name for key in (ORDERS, TABLE)] == ["lake", "raw"]
    assert all(specs[key].freshness_policy is not None for key in (ORDERS, TABLE))
    assert [schedule.name for schedule in defs.schedules or ()] == ["orders_schedule"]
    made = [each for each in defs.assets or () if isinstance(each, dg.AssetsDefinition) and each.is_executable]
    assert {each.op.pool for each in made} == {"exports"}


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (FILE.replace("min_rows", "min_row"), "nightly.yaml:5: exports[0].checks.min_row: there is no such field"),
        (
            FILE.replace("FOLDER", "NOWHERE"),
            "nightly.yaml:3: defaults.to: ${NOWHERE}: the environment variable NOWHERE",
        ),
    ],
)
def test_its_mistakes_are_told_with_its_own_lines(refusal: Callable[..., str], file: str, told: str) -> None:
    assert told in refusal(OPTIONS, cls=MaterializePipelineComponent, nightly=file)


def test_a_file_that_is_not_there_is_named(refusal: Callable[..., str]) -> None:
    assert "There is no pipeline file nightly.yaml" in refusal(OPTIONS, cls=MaterializePipelineComponent)


def test_in_python_the_path_may_be_absolute(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(FILE)
    component = MaterializePipelineComponent(path=str(file), resources="environment")
    defs = component.build_defs(dg.ComponentTree.for_test().load_context)
    assert ORDERS in {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
