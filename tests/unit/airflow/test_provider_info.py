from __future__ import annotations

import importlib
import importlib.metadata
import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from mz_orchestration.airflow.get_provider_info import get_provider_info


def test_it_is_what_airflow_expects() -> None:
    schema = json.loads((files("airflow") / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_the_parts_the_runtime_schema_leaves_out() -> None:
    """Forms of connections are checked only by the schema for authors."""
    schema = json.loads((files("airflow") / "provider.yaml.schema.json").read_text())
    for connection_type in get_provider_info()["connection-types"]:
        jsonschema.validate(connection_type, schema["properties"]["connection-types"]["items"])


def test_the_entry_point_leads_to_it() -> None:
    (entry_point,) = (
        each
        for each in importlib.metadata.entry_points(group="apache_airflow_provider")
        if each.value.startswith("mz_orchestration.")
    )
    assert entry_point.load() is get_provider_info


def names(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [name for each in value.values() for name in names(each)]
    if isinstance(value, list):
        return [name for each in value for name in names(each)]
    return [value] if isinstance(value, str) and value.startswith("mz_orchestration.") else []


@pytest.mark.parametrize("name", names(get_provider_info()))
def test_every_module_and_class_it_names_exists(name: str) -> None:
    module, _, last = name.rpartition(".")
    found = getattr(importlib.import_module(module), last, None)
    assert found is not None or importlib.import_module(name)
