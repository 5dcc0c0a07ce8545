"""What docs/census.md shows is true: its blocks run, its options and exit codes are there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.main import get_command

from mz_orchestration.census.config import SETTINGS, V1_ENDS
from mz_orchestration.census.judge import verdict
from mz_orchestration.census.models import SyncRun
from mz_orchestration.census.record import SYNCS_FOLDER
from mz_orchestration.census.spec import sync_spec
from mz_orchestration.census.sync import run_sync
from mz_orchestration.cli.census import app
from mz_orchestration.cli.output import exit_code
from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.snowflake.load import run_load
from mz_orchestration.snowflake.spec import load_spec

PAGE = (Path(__file__).parents[3] / "docs/census.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"<!-- executed by tests -->\n```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_blocks_run(environment: dict[str, str], tmp_path: Path) -> None:
    [shell], [python] = blocks("bash"), blocks("python")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run: dict[str, Any] = {
        "env": {**os.environ, "PATH": path}, "cwd": tmp_path, "capture_output": True, "text": True, "timeout": 90
    }  # fmt: skip
    done = subprocess.run(["bash", "-c", shell], check=False, **run)
    assert done.returncode == 0, done.stderr
    assert "synced: sync 1 " in done.stdout
    done = subprocess.run([sys.executable, "-c", python], check=False, **run)
    assert done.returncode == 0, done.stderr
    first, names, failed = done.stdout.splitlines()
    assert " completed " in first
    assert "order_totals to Braze" in names
    assert failed == "0"


def delivered(environment: dict[str, str], kind: str) -> int:
    """How many records of a kind are at the destination."""
    address = f"{environment['CENSUS_URL']}/local/destinations/Braze"
    return int(httpx.get(address, params={"object": kind}).json()["count"])


@pytest.mark.parametrize(
    ("sync", "kind", "source"), [("1", "order", "shop.order_totals"), ("2", "user", "shop.customers")]
)
def test_both_routes_deliver_what_materialize_has(
    environment: dict[str, str], materialize: Any, sync: str, kind: str, source: str
) -> None:
    if sync == "1":
        export = run_export(
            export_spec(object=source, to="s3://mz-exports/census-docs/", connection="local_s3"), run_key="route"
        )
        stage, table = "DEMO.PUBLIC.MZ_STAGE", "DEMO.PUBLIC.ORDER_TOTALS"
        run_load(load_spec(manifest=export.manifest_url, stage=stage, table=table))
    rows = materialize.execute(f"SELECT count(*) FROM {source}").fetchone()[0]
    result = run_sync(sync_spec(sync=sync, full=True))
    assert result.run.records_processed == result.run.source_record_count == rows > 0
    assert delivered(environment, kind) == rows


def test_options_and_variables_are_there() -> None:
    commands: Any = get_command(app)
    options = {name for each in commands.commands.values() for option in each.params for name in option.opts}
    named = set(
        re.findall(
            r"(?<![\w-])--[a-z-]+", "\n".join(re.findall(r"^.*(?:census|--max|--on|--full|--timeout).*$", PAGE, re.M))
        )
    )
    assert named - {"--to", "--connection", "--quiet", "--stage", "--table"} <= options
    sync = {name for option in commands.commands["sync"].params for name in option.opts if name.startswith("--")}
    assert sync - {"--json", "--quiet"} <= named
    assert set(re.findall(r"`(CENSUS_\w+)`", PAGE)) == set(SETTINGS.values())
    assert f"{V1_ENDS:%-d %B %Y}" in PAGE
    assert f"`<at>/{SYNCS_FOLDER}/<sync>/`" in PAGE


@pytest.mark.parametrize(
    ("row", "run"),
    [
        ("completed, too many", {"status": "completed", "records_failed": 1}),
        ("completed, and cancelled", {"status": "completed", "canceled": True}),
        ("failed", {"status": "failed"}),
    ],
)
def test_exit_codes(row: str, run: dict[str, Any]) -> None:
    [line] = [line for line in PAGE.splitlines() if line.startswith(f"| {row} |")]
    error = verdict(SyncRun.model_validate({"id": 1, **run}), sync_spec(sync=1), "")
    assert error is not None
    assert line.endswith(f"| {exit_code(error)} |")
