"""The example code location as ``dg`` sees it, and what its recipes promise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_defs.definitions import defs
from dagster_defs.defs.dbt_models import model_key

PROJECT = Path(__file__).parents[3]


def dg_command(home: Path, *arguments: str) -> str:
    """What ``dg ...`` prints in the checkout."""
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "dagster_dg_cli.cli", *arguments],
        cwd=PROJECT,
        env={**os.environ, "DAGSTER_HOME": str(home), "VIRTUAL_ENV": sys.prefix, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_dg_checks_and_lists_them(tmp_path: Path) -> None:
    dg_command(tmp_path, "check", "yaml")
    dg_command(tmp_path, "check", "defs")
    listed = dg_command(tmp_path, "list", "defs", "--json")
    found = json.loads(listed[listed.index("{") :])
    assert {"order_totals_daily", "nightly_schedule", "hourly_schedule"} <= {
        each["name"] for each in found["schedules"]
    }
    keys = {each["asset_key"] for each in found["assets"]}
    assert {"exports/shop/order_totals", "census/1", "nightly/exports/shop/customers"} <= keys


def test_an_export_follows_the_dbt_model_it_is_of() -> None:
    graph = defs.resolve_asset_graph()
    export = dg.AssetKey(["dbt", "exports", "materialize", "shop", "order_totals"])
    assert graph.get(export).parent_keys == {dg.AssetKey("order_totals")}


@pytest.mark.parametrize(
    ("model", "key"),
    [
        ({"name": "orders", "config": {"schema": None, "meta": {}}}, ["orders"]),
        ({"name": "orders", "config": {"schema": "staging", "meta": {}}}, ["staging", "orders"]),
        ({"name": "orders", "version": 2, "alias": "orders_v2", "config": {"meta": {}}}, ["orders_v2"]),
        ({"name": "orders", "config": {"meta": {"dagster": {"asset_key": ["a", "b"]}}}}, ["a", "b"]),
    ],
)
def test_keys_are_those_of_dagster_dbt(model: dict[str, Any], key: list[str]) -> None:
    assert model_key(model) == dg.AssetKey(key)
