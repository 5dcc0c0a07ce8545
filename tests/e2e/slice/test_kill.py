"""Killed by SIGKILL before and after every step: the next run finishes, and loads once.

The cases come from the steps' own enumerations, so a new step has its cases at once.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mz_orchestration.exports.export import ExportStep, run_export
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import parse_folder
from mz_orchestration.runs.store import RunStore
from mz_orchestration.snowflake.load import LoadStep, run_load
from mz_orchestration.snowflake.spec import load_spec

from .conftest import BASE, STAGE, Query

MOMENTS = ("started", "finished")


def killed(action: str, spec: dict[str, Any], run_key: str, step: str, moment: str) -> None:
    script = Path(__file__).with_name("killed.py")
    done = subprocess.run(
        [sys.executable, str(script), action, json.dumps(spec), run_key, step, moment],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def export_fields(name: str) -> dict[str, Any]:
    return {"object": name, "query": "SELECT * FROM shop.orders", "to": BASE, "connection": "local_s3"}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", list(ExportStep))
def test_export(step: ExportStep, moment: str, store: ObjectStore, snowflake: Query) -> None:
    key, fields = f"kill-export-{step}-{moment}", export_fields(f"kill_{step}_{moment}")
    killed("export", fields, key, step, moment)
    result = run_export(export_spec(**fields), run_key=key, store=store)
    rows = result.manifest.rows
    assert rows > 0
    assert result.repeated == ((step, moment) == (ExportStep.FINISH, "finished"))
    # Once COPY had answered, its files are used, not written again.
    if list(ExportStep).index(step) > list(ExportStep).index(ExportStep.COPY):
        assert result.attempt == 1
        assert result.manifest.copied == rows
    table = f"DEMO.PUBLIC.KILL_{step.upper()}_{moment.upper()}"
    load = run_load(load_spec(manifest=result.manifest_url, stage=STAGE, table=table), store=store)
    assert load.rows == rows == snowflake(f"SELECT COUNT(*) AS N FROM {table}")[0]["n"]
    assert run_export(export_spec(**fields), run_key=key, store=store).manifest == result.manifest


@pytest.mark.parametrize("exists", [False, True], ids=["new table", "existing table"])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", list(LoadStep))
def test_load(
    step: LoadStep,
    moment: str,
    exists: bool,
    store: ObjectStore,
    snowflake: Query,
    statements: Callable[[str], list[str]],
) -> None:
    name = f"KILL_LOAD_{step}_{moment}_{exists}".upper()
    table = f"DEMO.PUBLIC.{name}"
    if exists:
        earlier = run_export(export_spec(**export_fields("kill_load")), run_key=f"{name}-earlier", store=store)
        run_load(load_spec(manifest=earlier.manifest_url, stage=STAGE, table=table), store=store)

    export = run_export(export_spec(**export_fields("kill_load")), run_key=name, store=store)
    fields = {"manifest": export.manifest_url, "stage": STAGE, "table": table}
    killed("load", fields, "", step, moment)
    result = run_load(load_spec(**fields), store=store)

    published = list(LoadStep).index(step) + (moment == "finished") > list(LoadStep).index(LoadStep.PUBLISH)
    assert result.repeated == published
    assert result.rows == export.manifest.rows == snowflake(f"SELECT COUNT(*) AS N FROM {table}")[0]["n"]
    publishes = [text for text in statements(f'"{name}"') if "SWAP WITH" in text or "RENAME TO" in text]
    assert len(publishes) == 1 + exists
    left = snowflake(f"SELECT TABLE_NAME FROM DEMO.INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME LIKE '{name}%'")
    assert [row["table_name"] for row in left] == [name]
    record = RunStore(store, parse_folder(BASE, field="base")).find("kill_load", name)
    assert record is not None
    assert record.record.state == "loaded"
