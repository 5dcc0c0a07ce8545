"""One stack for the tests that only look, a folder of one's own for those that kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mz_orchestration.local import processes
from mz_orchestration.local.stack import LocalStack, stop
from mz_orchestration.local.state import Folder

CLI = [sys.executable, "-c", "from mz_orchestration.cli.local import app; app(prog_name='local')"]


def run(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CLI, *arguments], capture_output=True, text=True, timeout=timeout, check=False)


def eventually(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"{what}: not within {seconds} s"
        time.sleep(0.05)


def processes_of(folder: Path) -> list[int]:
    token = Folder(folder).token()
    return processes.marked(token) if token else []


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists() or processes.is_zombie(pid)


class Foreground:
    """``local up`` in the foreground, with what it prints."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.output = folder.with_suffix(".out")
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*CLI, "up", "--dir", str(folder), "--port-base", "0", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def text(self) -> str:
        return self.output.read_text()

    def wait_until_up(self) -> None:
        eventually(lambda: "Ctrl-C stops it" in self.text() or self.process.poll() is not None, "the stack is up", 90)
        assert self.process.poll() is None, self.text()

    def send(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A state folder whose stack is gone after the test, whatever the test did."""
    path = tmp_path / "state of mz"
    yield path
    stop(path)
    assert processes_of(path) == []


@pytest.fixture
def foreground(folder: Path) -> Iterator[Callable[..., Foreground]]:
    """Start ``local up`` in the foreground."""
    started: list[Foreground] = []

    def start(*arguments: str) -> Foreground:
        started.append(Foreground(folder, *arguments))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A whole stack, shared by a module's tests."""
    with LocalStack() as local:
        yield local.start(tmp_path_factory.mktemp("stack") / "mz")


def kill_all(folder: Path, *others: int) -> None:
    for pid in (*others, *processes_of(folder)):
        os.kill(pid, signal.SIGKILL)
