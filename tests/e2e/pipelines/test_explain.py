"""A group, its loads and a Census sync in one file; and what ``explain`` says of them, red and green."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from mz_orchestration.cli.main import app

AT = "s3://mz-exports/explained/"
FILE = f"""\
name: explained
defaults: {{to: {AT}, connection: local_s3, stage: DEMO.PUBLIC.MZ_STAGE}}
exports:
  - {{object: shop.customers, consistency_group: pair}}
  - {{object: shop.order_totals, consistency_group: pair}}
  - {{name: one, query: SELECT 1 AS id}}
loads:
  - {{export: shop.customers, table: DEMO.PUBLIC.EXPLAINED, strategy: overwrite}}
  - {{export: one, table: DEMO.PUBLIC.EXPLAINED_ONE}}
syncs:
  - {{sync: SYNC, after: [DEMO.PUBLIC.EXPLAINED]}}
"""


@pytest.fixture
def sync(environment: dict[str, str]) -> str:
    """A sync for one test alone."""
    url, headers = f"{environment['CENSUS_URL']}/api/v2", {"Authorization": f"Bearer {environment['CENSUS_API_TOKEN']}"}
    syncs = httpx.get(f"{url}/syncs", params={"group_id": "local"}, headers=headers).json()["data"]
    [model] = [each for each in syncs if each["label"] == "customers to Braze"]
    fields = ("operation", "source_attributes", "destination_attributes", "mappings")
    made = httpx.post(f"{url}/syncs", json={"label": "own", **{name: model[name] for name in fields}}, headers=headers)
    return str(made.raise_for_status().json()["data"]["sync_id"])


def command(*arguments: object, code: int = 0) -> Result:
    """The command, in this process."""
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == code, (done.stdout, done.stderr)
    return done


def _nodes(run_key: str) -> list[dict[str, Any]]:
    [found] = json.loads(command("explain", run_key, "--at", AT, "--json").stdout)["pipelines"]
    return list(found["nodes"])


def test_a_failed_sync_is_explained_and_the_command_it_names_does_only_that(sync: str, tmp_path: Path) -> None:
    file = tmp_path / "explained.yaml"
    file.write_text(FILE.replace("SYNC", "987654321"))
    failed = command("pipeline", "run", file, "--run-key", "k", code=2)
    assert "failed: sync 987654321:" in failed.stderr
    assert "load DEMO.PUBLIC.EXPLAINED: copied=" in failed.stdout
    red = command("explain", "k", "--at", AT).stdout.splitlines()
    assert red[0] == "run k of pipeline explained: failed"
    [named] = [line for line in red if line.startswith("next: ")]
    assert named == f"next: mz-orchestration pipeline run {file} --run-key k"

    file.write_text(FILE.replace("SYNC", sync))
    done = command(*shlex.split(named)[2:])
    for part in ("group pair", "export one", "load DEMO.PUBLIC.EXPLAINED", "load DEMO.PUBLIC.EXPLAINED_ONE"):
        assert f"{part}: done before" in done.stderr
    assert f"sync {sync}: sync_run=" in done.stdout
    assert "records_failed=0 records_invalid=0" in done.stdout

    green = command("explain", "k", "--file", file).stdout.splitlines()
    assert green[0] == "run k of pipeline explained: succeeded"
    assert green[-1] == "nothing to do"
    [part_key] = [node["run_key"] for node in _nodes("k") if node["name"] == f"sync {sync}"]
    of_sync = command("explain", part_key, "--at", AT).stdout.splitlines()
    assert of_sync[0].startswith(f"run {part_key} of the Census sync {sync} at http")
    assert of_sync[-1] == "nothing to do"
    [found] = json.loads(command("explain", part_key, "--at", AT, "--json").stdout)["syncs"]
    assert found["next"] is None


def test_a_group_of_a_pipeline_is_explained_by_its_members(tmp_path: Path, environment: dict[str, str]) -> None:
    file = tmp_path / "explained.yaml"
    file.write_text(FILE.replace("SYNC", "1"))
    command("pipeline", "run", file, "--run-key", "g", "--only", "shop.customers")
    said = command("explain", "explained/g/pair", "--at", AT).stdout
    assert said.count("\n  rows      ") == 2
    assert "shop.order_totals  exported" in said


def test_a_new_run_key_is_made_and_a_second_resume_has_nothing_to_do(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    file = tmp_path / "explained.yaml"
    file.write_text(
        FILE.replace("explained\n", "resumed\n").replace("SYNC", "1").replace("AS id}", "AS id, checks: {min_rows: 5}}")
    )
    command("pipeline", "run", file, "--only", "one", code=4)
    file.write_text(file.read_text().replace("min_rows: 5", "min_rows: 1"))
    resumed = command("pipeline", "run", file, "--resume", "--json")
    # The failed run was of one part only, and so is what is left of it.
    assert [n["name"] for n in json.loads(resumed.stdout)["nodes"] if n["state"] == "succeeded"] == [
        "export one",
        "check one",
    ]
    assert "nothing to resume" in command("pipeline", "run", file, "--resume", code=2).stderr
