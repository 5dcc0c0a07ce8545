"""What docs/exports.md shows is true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from typer.main import get_group

from mz_orchestration.cli.main import app

PAGE = (Path(__file__).parents[3] / "docs/exports.md").read_text()


def test_the_python_runs() -> None:
    [block] = re.findall(r"<!-- executed by tests -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", block], env=dict(os.environ), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    path, state, result = done.stdout.splitlines()
    assert path.startswith("s3://mz-exports/docs/shop.orders/")
    assert state in ("running", "ended", "succeeded")
    assert result.endswith(f"{path}_manifest.json")


def test_every_option_named_is_there() -> None:
    commands = get_group(app).commands
    known = {option for name in ("export", "sweep") for each in commands[name].params for option in each.opts}
    known |= {
        option for name in ("export", "sweep") for each in commands[name].params for option in each.secondary_opts
    }
    known |= {"--at"}
    named = set(re.findall(r"--[a-z][a-z-]+", PAGE))
    assert named <= known, named - known
