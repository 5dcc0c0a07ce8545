"""What the README shows is true: its shell runs, its Python is the files', its figures are the benchmark's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mz_orchestration.cli import output
from mz_orchestration.local.stack import LocalStack

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", blocks("bash"))
def test_shell(block: str, stack: LocalStack, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=tmp_path,
        env={**os.environ, **stack.environment, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"copied=(\d+) footer_rows=\1 loaded_rows=\1 ", done.stdout)
    assert re.search(r"^sync.*status=completed|^synced: ", done.stdout, re.MULTILINE)


def test_python_blocks_are_the_files_that_other_tests_run() -> None:
    shown = blocks("python")
    files = [
        path.read_text() for path in (ROOT / "dags/materialize_to_snowflake.py", ROOT / "dagster_defs/to_snowflake.py")
    ]
    assert len(shown) == len(files)
    for block, file in zip(shown, files, strict=True):
        assert block in file


def test_exit_codes_are_the_commands() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \| ", README, re.MULTILINE)
    shown = {code for row in rows for code in re.findall(r"\d+", row)}
    documented = set(re.findall(r"^(\d+) ", output.__doc__ or "", re.MULTILINE))
    assert documented <= shown


def test_figures_are_the_last_benchmarks() -> None:
    results = json.loads((ROOT / "benchmarks/results.json").read_text())
    for export in results["exports"]:
        assert f"| {export['rows']:,} | {max(export['peak_above_idle_mib'])} | {export['run_ratio_median']}" in README
