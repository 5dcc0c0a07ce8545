"""``completion_sensor: true``: a sensor for each folder, over the component's own exports and loads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg

from mz_orchestration.dagster.components.sensors import completion_sensors
from mz_orchestration.dagster.pipelines import plan_specs
from mz_orchestration.pipelines.reading import parse_pipeline

Load = Callable[..., tuple[Any, dg.Definitions]]
ATTRIBUTES = """
resources: environment
defaults: {to: "s3://bucket/nightly/", connection: c, stage: S}
completion_sensor: true
exports:
  - {object: shop.orders}
  - {object: shop.customers, to: "s3://bucket/other/"}
loads:
  - {export: shop.orders, table: DB.PUBLIC.ORDERS}
"""


def test_one_for_each_folder_stopped_until_it_is_started(load: Load) -> None:
    _, defs = load(ATTRIBUTES)
    sensors = {each.name: each for each in defs.sensors or () if isinstance(each, dg.SensorDefinition)}
    assert set(sensors) == {"nightly_elsewhere_1", "nightly_elsewhere_2"}
    assert {each.default_status for each in sensors.values()} == {dg.DefaultSensorStatus.STOPPED}
    # The component's own store: nothing is asked of the project.
    assert all(not each.required_resource_keys for each in sensors.values())
    assert [each.name for each in sensors.values() if each.targets] == ["nightly_elsewhere_1"]


def test_none_unless_it_is_asked_for(load: Load) -> None:
    _, defs = load(ATTRIBUTES.replace("completion_sensor: true", ""))
    assert not defs.sensors


def test_a_plan_of_one_folder_has_one_by_its_name() -> None:
    text = "name: n\ndefaults: {to: s3://bucket/folder/, connection: c}\nexports: [{object: a.b}]\n"
    plan = parse_pipeline(text, source="n.yaml", environment={})
    assert [each.name for each in completion_sensors(plan, plan_specs(plan), None)] == ["n_elsewhere"]
