"""``mz-orchestration local dagster``, as people run it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mz_orchestration.local.dagster import LocalDagster
from mz_orchestration.local.errors import LocalStackError
from mz_orchestration.local.orchestrator import ask
from mz_orchestration.local.stack import LocalStack, listening

PROJECT = Path(__file__).parents[3]
MODULE = "dagster_defs.definitions"
JOBS = """
query {
  repositoryOrError(repositorySelector: {repositoryName: "__repository__", repositoryLocationName: "LOCATION"}) {
    ... on Repository { jobs { name } sensors { name } }
  }
}
"""


def group(number: int) -> list[str]:
    """The living processes of a process group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_beside_the_stack_until_it_is_ended(stack: LocalStack, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mz_orchestration.cli", "local", "dagster", "--dir", str(stack.folder)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
        # As from a shell, whose background jobs ignore it; pytest may be one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        (url,) = re.findall(r"http://127\.0\.0\.1:\d+", said)
        found = ask(f"{url}/graphql", {"query": JOBS.replace("LOCATION", MODULE)})["data"]["repositoryOrError"]
        assert "order_totals_to_snowflake" in [job["name"] for job in found["jobs"]]
        assert "export_completion" in [sensor["name"] for sensor in found["sensors"]]
        (dev,) = psutil.Process(process.pid).children()
        # Itself, the UI, the daemon, and two for the definitions.
        assert len(group(dev.pid)) >= 5
        # Two in one folder would share a database.
        with pytest.raises(LocalStackError, match=r"runs in .* already"):
            LocalDagster(stack.folder / "dagster", MODULE, stack.environment, PROJECT).start()
    finally:
        process.send_signal(number)
        assert process.wait(60) == 0
    assert group(dev.pid) == []
    # It was up before, so it stays up.
    assert all(listening(server) for server in stack.state.servers.values())


def test_what_keeps_it_from_starting_is_said(stack: LocalStack, tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match=r"no module nothing\.definitions in .*"):
        LocalDagster(tmp_path / "home", "nothing.definitions", stack.environment, tmp_path).start()
    (tmp_path / "broken.py").write_text("raise ValueError('broken on purpose')\n")
    dagster = LocalDagster(tmp_path / "home", "broken", stack.environment, tmp_path)
    with pytest.raises(LocalStackError, match=r"cannot load broken(?s:.*)broken on purpose"):
        dagster.start()
    # Nothing of it answers any more.
    assert dagster.health() == {}
