"""Who may import whom, and what importing costs; each in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
HEAVY = ["boto3", "botocore", "duckdb", "moto", "psycopg", "pyarrow", "snowflake", "sqlglot"]

# A finder of our own comes first and refuses; what is installed cannot get past it.
BLOCKED = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Refuse())
"""

WALK = """
import importlib, pkgutil
for prefix in {packages!r}:
    package = importlib.import_module(prefix)
    for module in pkgutil.walk_packages(package.__path__, prefix + "."):
        if not any(module.name.startswith(each) for each in {without!r}) and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
"""


def run(code: str, home: Path) -> str:
    settings = {"AIRFLOW_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "yes", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **settings},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(statement: str, names: list[str], home: Path) -> list[str]:
    """Which of some top-level packages a statement makes Python load."""
    code = f"import json, sys\n{statement}\nprint(json.dumps([name for name in {names!r} if name in sys.modules]))"
    answer: list[str] = json.loads(run(code, home).splitlines()[-1])
    return answer


@pytest.mark.parametrize(
    ("packages", "without", "blocked"),
    [
        (
            ["mz_orchestration"],
            ["mz_orchestration.airflow", "mz_orchestration.dagster"],
            ["airflow", "dagster"],
        ),
        (["mz_orchestration.airflow"], [], ["dagster"]),
        (["mz_orchestration.dagster"], [], ["airflow"]),
    ],
    ids=["core", "airflow", "dagster"],
)
def test_every_module_imports_without(
    packages: list[str], without: list[str], blocked: list[str], tmp_path: Path
) -> None:
    run(BLOCKED.format(names=set(blocked)) + WALK.format(packages=packages, without=without), tmp_path)


def test_the_blocking_blocks(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="dagster is blocked"):
        run(BLOCKED.format(names={"dagster"}) + "import mz_orchestration.dagster.resources", tmp_path)


@pytest.mark.parametrize("blocked", ["snowflake", "boto3", "psycopg"])
def test_a_code_location_and_a_dag_load_without_the_clients(blocked: str, tmp_path: Path) -> None:
    airflow = "import mz_orchestration.airflow.transfers.materialize_to_snowflake"
    run(f"{BLOCKED.format(names={blocked})}{airflow}\nfrom mz_orchestration.dagster import *", tmp_path)


def test_the_module_that_every_dg_command_loads_costs_nothing(tmp_path: Path) -> None:
    assert loaded("import mz_orchestration.dagster", [*HEAVY, "pydantic", "dagster"], tmp_path) == []


def test_the_package_costs_nothing(tmp_path: Path) -> None:
    assert loaded("import mz_orchestration", [*HEAVY, "pydantic", "airflow", "dagster"], tmp_path) == []


def test_the_provider_info_does_not_import_airflow(tmp_path: Path) -> None:
    statement = "from mz_orchestration.airflow.get_provider_info import get_provider_info; get_provider_info()"
    assert loaded(statement, [*HEAVY, "airflow"], tmp_path) == []


def test_parsing_the_dag_loads_no_client(tmp_path: Path) -> None:
    statement = "import runpy; runpy.run_path('dags/materialize_to_snowflake.py')"
    assert loaded(statement, [*HEAVY, "airflow"], tmp_path) == ["airflow"]


def test_loading_the_code_location_loads_no_client(tmp_path: Path) -> None:
    assert loaded("import dagster_defs.definitions", [*HEAVY, "dagster"], tmp_path) == ["dagster"]


def test_the_arrows_point_one_way() -> None:
    """The contracts that pyproject.toml states."""
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [command, "--no-cache"], cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout
