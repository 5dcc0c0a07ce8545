"""Exports that follow dbt models: each model with ``meta: {export: true}`` is exported after dbt has built it.

dbt's own artefact says which they are; dbt itself is not needed here. In a project with dagster-dbt the models are
assets of that, under the same keys, and ``eager`` exports each when its model has been built anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dagster import AssetKey, AssetSpec, AutomationCondition, Definitions

from mz_orchestration.dagster import DagsterMaterializeTranslator, ExportProps, ObjectProps, build_export_assets
from mz_orchestration.dagster.translator import Props
from mz_orchestration.exports.spec import export_spec

MANIFEST = Path(__file__).parents[1] / "dbt_manifest.json"


def exported_models(manifest: Path) -> Iterator[dict[str, Any]]:
    """The models of a dbt manifest that are to be exported."""
    for node in json.loads(manifest.read_text())["nodes"].values():
        if node["resource_type"] == "model" and node["config"]["meta"].get("export"):
            yield node


MODELS = {node["relation_name"]: node for node in exported_models(MANIFEST)}


def model_key(node: dict[str, Any]) -> AssetKey:
    """The key that dagster-dbt gives a model, unless its translator is told otherwise."""
    config = node["config"]
    if given := config["meta"].get("dagster", {}).get("asset_key"):
        return AssetKey(given)
    if node.get("version"):
        return AssetKey(node["alias"])
    # The schema as configured on the model, not the one that it ends up in.
    return AssetKey([part for part in (config.get("schema"), node["name"]) if part])


class FollowsDbt(DagsterMaterializeTranslator):
    """Objects of Materialize that dbt makes have the keys that dagster-dbt gives its models."""

    def get_asset_spec(self, props: Props) -> AssetSpec:
        """The asset: a model's own, or the export of one, in a folder of keys of its own."""
        spec = super().get_asset_spec(props)
        if isinstance(props, ObjectProps) and props.object in MODELS:
            return spec.replace_attributes(key=model_key(MODELS[props.object]))
        if isinstance(props, ExportProps):
            condition = AutomationCondition.eager()
            return spec.replace_attributes(key=spec.key.with_prefix("dbt"), automation_condition=condition)
        return spec


defs = Definitions(
    assets=build_export_assets(
        [export_spec(object=name, to="s3://mz-exports/dbt/", connection="local_s3") for name in MODELS],
        translator=FollowsDbt(),
        group_name="dbt",
    )
)
