from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import mz_orchestration.airflow
from mz_orchestration.airflow.get_provider_info import get_provider_info

AUTHORS = json.loads((files("airflow") / "provider.yaml.schema.json").read_text())


def test_it_is_what_airflow_expects() -> None:
    schema = json.loads((files("airflow") / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


@pytest.mark.parametrize("key", sorted(get_provider_info()))
def test_each_part_is_what_airflow_expects_of_authors(key: str) -> None:
    """The schema for authors is stricter, and the only one that knows the forms of connections."""
    part = AUTHORS["properties"][key]
    jsonschema.validate(get_provider_info()[key], {**part, "definitions": AUTHORS.get("definitions", {})})


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


@pytest.mark.parametrize("folder", ["hooks", "operators", "sensors", "triggers", "transfers"])
def test_every_module_with_something_to_use_is_named(folder: str) -> None:
    home = Path(mz_orchestration.airflow.__file__).parent
    suffix = {"transfers": "Operator"}.get(folder, folder.capitalize().rstrip("s"))
    # Not the bases, which begin with what they are for.
    public = re.compile(rf"^class (?!\w*(?:Job|Target)Operator|Looking)[A-Z]\w*{suffix}\(", re.MULTILINE)
    modules = {
        f"mz_orchestration.airflow.{folder}.{path.stem}"
        for path in (home / folder).glob("*.py")
        if public.search(path.read_text())
    }
    assert modules
    assert modules <= set(names(get_provider_info()))


def test_integrations_are_declared_before_they_are_used() -> None:
    info = get_provider_info()
    declared = {each["integration-name"] for each in info["integrations"]}
    parts = ("hooks", "operators", "sensors", "triggers")
    used = {each["integration-name"] for part in parts for each in info[part]}
    used |= {each[f"{end}-integration-name"] for each in info["transfers"] for end in ("source", "target")}
    assert used == declared


@pytest.mark.parametrize("option", get_provider_info()["config"]["materialize"]["options"])
def test_every_setting_is_read_by_something(option: str) -> None:
    home = Path(mz_orchestration.airflow.__file__).parent
    others = (path for path in home.rglob("*.py") if path.name != "get_provider_info.py")
    reads = re.compile(rf"""\(\s*"materialize",\s*"{option}\"""")
    assert [path.name for path in others if reads.search(path.read_text())]
