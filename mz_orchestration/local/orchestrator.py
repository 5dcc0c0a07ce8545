"""An orchestrator beside the local stack: its processes, its folder, and an end that leaves nothing behind.

It runs in processes of its own and is never imported here. Airflow and Dagster both end cleanly by SIGINT only, and do
not end what they started when they are killed; so each command leads a process group, by which what is left is found.
(Not by a token in the environment, as with the stack's servers: those that rename themselves overwrite it.)
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar, Self

from mz_orchestration.local.errors import LocalStackError
from mz_orchestration.local.state import HOST

START_DEADLINE = 120.0
_STOP_DEADLINE = 30.0
_TAIL = 2_000


class LocalOrchestrator(ABC):
    """An orchestrator as a context manager; leaving it stops all its processes.

    Args:
        home: Its folder, made if it does not exist. What is in it is kept, runs and all.
        environment: Variables for all its processes, over those of this one.
    """

    #: What people call it; the module that runs it is its name in lower case, and so is the extra.
    title: ClassVar[str]
    #: The command that runs all of it.
    command: ClassVar[tuple[str, ...]]

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self.home = home.resolve()
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._started: list[subprocess.Popen[bytes]] = []
        self._lock: IO[bytes] | None = None
        self.environment: dict[str, str] = {
            **os.environ,
            # They start their parts by name.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            # Each of their commands prints some that only its authors can do something about.
            "PYTHONWARNINGS": "ignore",
            **environment,
        }

    @property
    def log(self) -> Path:
        """What all its processes print."""
        return self.home / f"{self.command[0]}.log"

    @abstractmethod
    def check(self) -> None:
        """Find out whether it can be started.

        Raises:
            LocalStackError: It cannot; the sentence says why.
        """

    @abstractmethod
    def prepare(self) -> None:
        """Write what it needs into its folder, which is there and ours now."""

    @abstractmethod
    def health(self) -> dict[str, str]:
        """The status of its parts by their names, ``healthy`` or what is wrong; empty while it does not answer."""

    @property
    def options(self) -> list[str]:
        """Arguments of the command."""
        return []

    def start(self, say: Callable[[str], None] = lambda text: None, deadline: float = START_DEADLINE) -> Self:
        """Start it, and return when all its parts are healthy.

        Args:
            say: Called with each sentence about the start.
            deadline: Seconds that may take.

        Raises:
            LocalStackError: It is not installed, or did not get ready; nothing is left running.
        """
        module = self.title.lower()
        if importlib.util.find_spec(module) is None:
            raise LocalStackError(f"{self.title} is not installed: pip install 'mz-orchestration[{module},local]'")
        self.check()
        self.home.mkdir(parents=True, exist_ok=True)
        self._take_home()
        say(f"Starting {self.title} in {self.home} ...")
        try:
            self.prepare()
            self._process = self.run(*self.command, *self.options)
            self._wait_healthy(time.monotonic() + deadline)
        except BaseException:
            self.stop()
            raise
        return self

    def run(self, *command: str) -> subprocess.Popen[bytes]:
        """Start one of its commands in its environment, in a session of its own; its output goes to the log."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", self.title.lower(), *command],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_heed_interrupts,
                # Whoever outlives us holds the folder still.
                pass_fds=(self._lock.fileno(),) if self._lock is not None else (),
            )
        self._started.append(process)
        return process

    def wait(self) -> None:
        """Wait until it ends by itself, which it does when it fails.

        Raises:
            LocalStackError: It has ended.
        """
        if self._process is not None:
            code = self._process.wait()
            raise LocalStackError(f"{self.title} has ended with code {code}; see {self.log}{self._tail()}")

    def stop(self) -> None:
        """Stop it: politely, then by force.

        Raises:
            LocalStackError: Processes of it are left.
        """
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_DEADLINE)
        until = time.monotonic() + _STOP_DEADLINE
        left = list(self._started)
        while left := [process for process in left if _kill_group(process)]:
            if time.monotonic() >= until:
                groups = ", ".join(str(process.pid) for process in left)
                raise LocalStackError(f"processes of {self.title} do not end; look at the process groups {groups}")
            time.sleep(0.05)
        self._process = None
        self._started.clear()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _take_home(self) -> None:
        self._lock = (self.home / f"{self.command[0]}.lock").open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            self._lock = None
            raise LocalStackError(
                f"{self.title} runs in {self.home} already: stop it, or choose another folder"
            ) from None

    def _wait_healthy(self, until: float) -> None:
        assert self._process is not None
        while True:
            status = self.health()
            if status and all(each == "healthy" for each in status.values()):
                return
            if self._process.poll() is not None:
                raise LocalStackError(f"{self.title} ended while it was starting; see {self.log}{self._tail()}")
            if time.monotonic() >= until:
                ill = ", ".join(f"{name}: {each}" for name, each in status.items()) or "it does not answer"
                raise LocalStackError(f"{self.title} did not get ready in time ({ill}); see {self.log}{self._tail()}")
            time.sleep(0.5)

    def _tail(self) -> str:
        try:
            return f"\n{self.log.read_text(errors='replace')[-_TAIL:]}"
        except OSError:
            return ""


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on at the moment.

    Args:
        count: How many.
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def ask(url: str, body: object = None) -> Any:
    """What a server on this machine answers in JSON; None if it does not.

    Args:
        url: The server's own: no proxy of the environment stands between.
        body: Sent as JSON by POST; by GET if left out.
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with contextlib.closing(opener.open(request, timeout=5)) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


def _heed_interrupts() -> None:
    """Started in the background of a shell, we may have been told to ignore them, and what we start would, too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _kill_group(process: subprocess.Popen[bytes]) -> bool:
    """Kill what is left of a command's process group, and say whether there was anything."""
    process.poll()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
