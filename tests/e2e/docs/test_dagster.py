"""What docs/dagster.md shows is true: its assets run, its components load, its names exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing import create_defs_folder_sandbox

import mz_orchestration.dagster as ours
from mz_orchestration.dagster import CensusResource, MaterializeResource, ObjectStoreResource, SnowflakeResource

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/dagster.md").read_text()
EXECUTED = re.findall(r"<!-- executed by tests -->\n```python\n(.*?)```", PAGE, re.DOTALL)
RESOURCES = {
    "materialize": MaterializeResource(),
    "object_store": ObjectStoreResource(),
    "snowflake": SnowflakeResource(),
    "census": CensusResource(),
}


def executed(block: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "block"}
    exec(compile(block, "docs/dagster.md", "exec"), names)
    return names


def assets_of(names: dict[str, Any]) -> list[Any]:
    """What a code location would find in a module with these names."""
    if isinstance(defs := names.get("defs"), dg.Definitions):
        return [*(defs.assets or ())]
    listed = [each for value in names.values() if isinstance(value, list) for each in value]
    return [each for each in [*names.values(), *listed] if isinstance(each, dg.AssetsDefinition)]


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("block", EXECUTED, ids=range(len(EXECUTED)))
def test_the_assets_run(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "docs")
    assets = assets_of(executed(block))
    made = [each for each in assets if isinstance(each, dg.AssetsDefinition)]
    wanted = {key.to_user_string() for each in made for key in each.keys}
    assert wanted
    with dg.instance_for_test() as instance:
        result = dg.materialize(assets, resources=RESOURCES, instance=instance)
        found = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
        assert found == wanted
        assert all(check.passed for check in result.get_asset_check_evaluations())


@pytest.mark.usefixtures("environment")
def test_the_component_loads() -> None:
    (text,) = re.findall(r"<!-- loaded by tests -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.defs_folder_path / "nightly"
        path.mkdir()
        (path / "defs.yaml").write_text(text)
        with sandbox.build_all_defs() as defs:
            dg.Definitions.validate_loadable(defs)
            keys = {key.to_user_string() for key in defs.resolve_asset_graph().materializable_asset_keys}
            assert {"exports/shop/customers", "snowflake/demo/public/c_totals", "census/1"} <= keys
            assert {each.name for each in defs.schedules or ()} == {"nightly_schedule", "nightly_0_x_x_x_x_schedule"}
            assert [each.name for each in defs.sensors or ()] == ["nightly_elsewhere"]


def test_the_component_of_sinks_loads() -> None:
    (text,) = re.findall(r"<!-- loaded by tests: sinks -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.defs_folder_path / "sinks"
        path.mkdir()
        (path / "defs.yaml").write_text(text)
        with sandbox.build_all_defs() as defs:
            assert [each.name for each in defs.sensors or ()] == ["sinks_health"]


@pytest.mark.usefixtures("environment")
def test_what_is_discovered(tmp_path: Path) -> None:
    (text,) = re.findall(r"<!-- discovered by tests -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.defs_folder_path / "found"
        path.mkdir()
        (path / "defs.yaml").write_text(text)
        with sandbox.build_component_tree() as tree:
            component = tree.load_component(path, ours.MaterializeDiscoveryComponent)
            component.write_state_to_path(tmp_path / "state")
            state = (tmp_path / "state").read_text()
    assert '"shop.order_totals"' in state


def test_every_name_is_there() -> None:
    named = set(re.findall(r"`@?((?:build|materialize)_\w+)(?:\([^`]*\))?`", PAGE))
    assert named <= set(ours.__all__), named - set(ours.__all__)
    assert {name for name in ours.__all__ if name.startswith("build_")} <= named
