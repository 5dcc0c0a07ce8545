"""The components as ``dg`` sees them: on a project of somebody's, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

COMPONENT = "mz_orchestration.dagster.MaterializeExportComponent"
PIPELINE = "mz_orchestration.dagster.MaterializePipelineComponent"
VARIABLES = {name: "content" for name in ("MZ_HOST", "MZ_USER", "MZ_PASSWORD")}
PYPROJECT = """\
[project]
name = "shop"
version = "0.1"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "shop"
"""
DEFINITIONS = """\
from pathlib import Path

import dagster as dg


@dg.definitions
def defs():
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""


@dataclass(frozen=True)
class Project:
    """A project as ``create-dagster`` makes it."""

    root: Path

    @property
    def defs(self) -> Path:
        return self.root / "src" / "shop" / "defs"

    def dg(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """``dg ...`` in the project."""
        home = self.root / "home"
        home.mkdir(exist_ok=True)
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        known = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        return subprocess.run(
            [sys.executable, "-m", "dagster_dg_cli.cli", *arguments],
            cwd=self.root,
            env={
                **known,
                "DAGSTER_HOME": str(home),
                "PYTHONPATH": str(self.root / "src"),
                "VIRTUAL_ENV": sys.prefix,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    found = Project(tmp_path)
    found.defs.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    for file in (found.defs / "__init__.py", found.defs.parent / "__init__.py"):
        file.touch()
    (found.defs.parent / "definitions.py").write_text(DEFINITIONS)
    return found


def test_they_are_listed_with_their_summaries(project: Project) -> None:
    listed = project.dg("list", "components", "--json")
    assert listed.returncode == 0, listed.stderr
    # Dagster greets whoever comes with a new home.
    items = json.loads(listed.stdout[listed.stdout.index('{"items"') :])["items"]
    summaries = {item["key"]: item["summary"] for item in items}
    assert summaries[COMPONENT].startswith("Exports from Materialize to an object store, verified")
    assert summaries[PIPELINE].startswith("Exports, checks, loads and syncs of a pipeline file")


def test_what_is_scaffolded_is_checked_and_loaded(project: Project) -> None:
    made = project.dg("scaffold", "defs", COMPONENT, "my_exports", "--object", "shop.orders")
    assert made.returncode == 0, made.stdout + made.stderr
    checked = project.dg("check", "yaml", "--validate-requirements")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    loaded = project.dg("check", "defs", **VARIABLES)
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr


def test_mistakes_are_told_with_file_and_line(project: Project) -> None:
    folder = project.defs / "wrong"
    folder.mkdir()
    (folder / "defs.yaml").write_text(
        f"type: {COMPONENT}\n"
        "attributes:\n"
        "  defaults: {to: s3://exports/dagster/, connection: aws}\n"
        "  resources: environment\n"
        "  exports:\n"
        "    - object: shop.orders\n"
        "      checks: {min_rows: 3, max_rows: 2}\n"
        "    - object: shop.customers\n"
        "      format: orc\n"
    )
    checked = project.dg("check", "yaml")
    assert checked.returncode != 0
    assert "wrong/defs.yaml:9" in checked.stdout + checked.stderr
    (folder / "defs.yaml").write_text((folder / "defs.yaml").read_text().replace("format: orc", "format: csv"))
    loaded = project.dg("check", "defs")
    assert loaded.returncode != 0
    assert "wrong/defs.yaml:7: exports[0].checks: min_rows 3 is more than max_rows 2." in loaded.stdout + loaded.stderr
