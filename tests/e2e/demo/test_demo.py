"""The demo, as ``make demo`` runs it, with fewer rows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def demo(folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mz_orchestration.cli", "local", "demo", "--dir", str(folder), "--rows", "3000"]
    return subprocess.Popen(
        [*command, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def left_over(folder: Path) -> list[str]:
    """Command lines of processes that still mention the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


def test_the_whole_way(tmp_path: Path) -> None:
    out, err = demo(tmp_path / "stack").communicate(timeout=150)
    assert "load DEMO.PUBLIC.ORDER_LINES: copied=3000 footer_rows=3000 loaded_rows=3000 files=" in out, err
    assert "status=completed" in out
    assert out.count("(done before)") == 7
    assert "DIFFERENT" not in out
    assert out.count("  same") == 10
    assert "What to try next" in err
    assert left_over(tmp_path) == []


def test_keep_leaves_the_stack_up(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    process = demo(folder, "--keep")
    process.communicate(timeout=150)
    assert process.returncode == 0
    local = [sys.executable, "-m", "mz_orchestration.cli", "local"]
    assert subprocess.run([*local, "status", "--dir", str(folder)], capture_output=True, check=False).returncode == 0
    assert subprocess.run([*local, "down", "--dir", str(folder)], capture_output=True, check=False).returncode == 0
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_stops_what_it_started(tmp_path: Path, number: signal.Signals) -> None:
    process = demo(tmp_path / "stack")
    deadline = time.monotonic() + 60
    while not (tmp_path / "stack" / "state.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    # As a terminal does it: every process of the foreground group gets the signal.
    os.killpg(process.pid, number)
    process.communicate(timeout=90)
    assert process.returncode != 0
    assert left_over(tmp_path) == []
