"""What ``dg scaffold defs`` writes loads as it is, and holds no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster.components.testing.utils import DefsFolderSandbox

from mz_orchestration.dagster.components.export import MaterializeExportComponent
from mz_orchestration.dagster.components.pipeline import MaterializePipelineComponent
from mz_orchestration.dagster.components.sinks import MaterializeSinksComponent

PARAMS = {"object": "shop.orders", "to": "s3://exports/new/", "connection": "aws"}
LOADED = {**PARAMS, "table": "RAW.PUBLIC.ORDERS", "stage": "RAW.PUBLIC.STAGE"}


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (MaterializeExportComponent, {}),
        (MaterializeExportComponent, PARAMS),
        (MaterializeExportComponent, LOADED),
        (MaterializePipelineComponent, {}),
        (MaterializePipelineComponent, PARAMS),
        (MaterializeSinksComponent, {}),
        (MaterializeSinksComponent, {"sink": "shop.orders_sink"}),
    ],
)
def test_it_loads_once_the_variables_are_set(
    sandbox: DefsFolderSandbox, monkeypatch: pytest.MonkeyPatch, cls: Any, params: dict[str, str]
) -> None:
    path = sandbox.scaffold_component(component_cls=cls, defs_path="my_exports", scaffold_params=params)
    text = (path / "defs.yaml").read_text()
    written = yaml.safe_load(text)
    for name in written["requirements"]["env"]:
        assert f"{{{{ env('{name}') }}}}" in text
        monkeypatch.setenv(name, "content")
    for system, fields in written["attributes"].items():
        if system in ("materialize", "snowflake"):
            secret = {name: value for name, value in fields.items() if name in ("password", "private_key_file", "user")}
            assert all(value.startswith("{{ env('") for value in secret.values())
    with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
        dg.Definitions.validate_loadable(defs)
        keys = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
    assert ("snowflake/raw/public/orders" in keys) == (params is LOADED)
    if "object" in params:
        assert "exports/shop/orders" in keys
    assert ("materialize/shop/orders_sink" in keys) == ("sink" in params)


def test_what_is_commented_out_is_right_too(sandbox: DefsFolderSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sandbox.scaffold_component(component_cls=MaterializeExportComponent, defs_path="my_exports")
    file = path / "defs.yaml"
    lines = [line.replace("# ", "", 1) if line.startswith("  # ") and _is_yaml(line) else line for line in _lines(file)]
    file.write_text("\n".join(lines))
    for name in {*yaml.safe_load(file.read_text())["requirements"]["env"], *_OTHERS}:
        monkeypatch.setenv(name, "content")
    with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
        keys = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
    assert {"snowflake/raw/public/orders", "census/12345"} <= keys


_OTHERS = (
    "CENSUS_TOKEN",
    "CENSUS_GROUP_ID",
    "SNOWFLAKE_ACCOUNT",
    "SNOWFLAKE_USER",
    "SNOWFLAKE_PRIVATE_KEY_FILE",
    "SNOWFLAKE_WAREHOUSE",
)


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


def _is_yaml(line: str) -> bool:
    """Whether a comment holds a field or an item, and no sentence."""
    text = line.strip().removeprefix("# ").strip()
    return text.startswith("- ") or (text.partition(":")[0].replace("_", "").isalpha() and ":" in text)


def test_a_pipeline_file_that_is_there_stays(sandbox: DefsFolderSandbox) -> None:
    path = sandbox.defs_folder_path / "mine"
    path.mkdir(parents=True)
    (path / "pipeline.yaml").write_text("mine")
    sandbox.scaffold_component(component_cls=MaterializePipelineComponent, defs_path="mine")
    assert (path / "pipeline.yaml").read_text() == "mine"


def test_python_instead_of_yaml(sandbox: DefsFolderSandbox) -> None:
    path = sandbox.scaffold_component(
        component_cls=MaterializeExportComponent, defs_path="python", scaffold_format="python"
    )
    assert "MaterializeExportComponent" in (path / "component.py").read_text()
