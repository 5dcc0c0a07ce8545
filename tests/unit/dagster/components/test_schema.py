"""What editors and ``dg check yaml`` know of the attributes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from mz_orchestration.dagster.components.export import MaterializeExportComponent
from mz_orchestration.dagster.components.pipeline import MaterializePipelineComponent
from mz_orchestration.dagster.components.sinks import MaterializeSinksComponent

COMPONENTS = [MaterializeExportComponent, MaterializePipelineComponent, MaterializeSinksComponent]
# Described by Dagster, or not at all.
_DAGSTERS = ("PartitionsDefinitionModel", "AssetSpecUpdateKwargs")


def schema(component: Any) -> dict[str, Any]:
    found: dict[str, Any] = component.get_model_cls().model_json_schema()
    return found


def fields(found: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    models = {"": found, **found["$defs"]}
    for name, model in models.items():
        if not any(each in name for each in _DAGSTERS):
            for field, about in model.get("properties", {}).items():
                yield f"{name}.{field}", about


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_field_is_described(component: Any) -> None:
    # Those of CSV are the core's.
    lacking = [name for name, about in fields(schema(component)) if not about.get("description") and "Csv" not in name]
    assert lacking == []


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_is_described_in_its_first_paragraph(component: Any) -> None:
    assert component.get_description().splitlines()[0].endswith((".", ","))


@pytest.mark.parametrize(
    "item",
    [
        {"object": "shop.orders", "format": "parquet", "verify": "full", "timeout": "2h", "checks": {"min_rows": 1}},
        {"object": "shop.orders", "format": "{{ env('FORMAT') }}", "checks": {"min_rows": "{{ rows }}"}},
        {"object": "shop.orders", "schedule": {"cron": "@daily"}, "freshness": "{{ dg.FreshnessPolicy }}"},
        {"object": "shop.orders", "translation": {"group_name": "x"}, "automation_condition": "eager"},
    ],
)
def test_right_values_and_templates_pass(item: dict[str, Any]) -> None:
    attributes = {"defaults": {"to": "s3://exports/dagster/"}, "exports": [item], "materialize": {"port": "{{ port }}"}}
    jsonschema.validate(attributes, schema(MaterializeExportComponent))


@pytest.mark.parametrize(
    "item",
    [
        {"object": "shop.orders", "format": "orc"},
        {"object": "shop.orders", "objct": "x"},
        {"object": "shop.orders", "checks": {"min_rows": "many"}},
        {"object": "shop.orders", "verify": "closely"},
        {"object": "shop.orders", "schedule": "@daily"},
        {"object": "shop.orders", "freshness": {"fail": "1h"}},
        "shop.orders",
    ],
)
def test_wrong_values_do_not(item: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"defaults": {"to": "s3://b/x/"}, "exports": [item]}, schema(MaterializeExportComponent))


def test_what_is_wrong_in_a_list_is_told_of_the_one_field() -> None:
    items = [{"object": "shop.orders"}, {"object": "shop.x", "checks": {"min_row": 1}}]
    attributes = {"defaults": {"to": "s3://exports/dagster/"}, "exports": items}
    validator = jsonschema.Draft202012Validator(schema(MaterializeExportComponent))
    [error] = validator.iter_errors(attributes)
    assert list(error.absolute_path) == ["exports", 1, "checks"]
    assert "'min_row' was unexpected" in error.message
