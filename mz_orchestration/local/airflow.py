"""Airflow beside the local stack: ``airflow standalone`` on SQLite, on free ports, with the stack's connections.

Airflow runs in processes of its own and is never imported here. `standalone` ends cleanly by SIGINT only, and does not
end what it started when it is killed; so each command leads a process group, by which what is left is found. (Not by a
token in the environment, as with the stack's servers: those that rename themselves overwrite it.)
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
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from mz_orchestration.local.errors import LocalStackError
from mz_orchestration.local.state import HOST

START_DEADLINE = 120.0
_STOP_DEADLINE = 30.0
_COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")
_TAIL = 2_000


class LocalAirflow:
    """Airflow's scheduler, triggerer, DAG processor and API as a context manager; leaving it stops them.

    Args:
        home: Becomes ``AIRFLOW_HOME``; made if it does not exist. What is in it is kept, runs and all.
        dags: Folder of DAG files.
        environment: Variables for all its processes, with the connections.
        settings: Airflow's own settings, ``AIRFLOW__SECTION__OPTION``, over those set here.
    """

    def __init__(
        self, home: Path, dags: Path, environment: Mapping[str, str], settings: Mapping[str, str] | None = None
    ) -> None:
        self.home = home.resolve()
        self._dags = dags.resolve()
        self._process: subprocess.Popen[bytes] | None = None
        self._started: list[subprocess.Popen[bytes]] = []
        self._lock: IO[bytes] | None = None
        port, worker_logs, triggerer_logs = _free_ports(3)
        self.url = f"http://{HOST}:{port}"
        self.environment: dict[str, str] = {
            **os.environ,
            **environment,
            # `standalone` starts the others by their name.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            # Every one of its commands prints some that only its authors can do something about.
            "PYTHONWARNINGS": "ignore",
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self._dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            # Everybody who reaches the port is an administrator: it is bound to this machine only.
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__API__HOST": HOST,
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(triggerer_logs),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            **(settings or {}),
        }

    @property
    def log(self) -> Path:
        """What all its processes print."""
        return self.home / "standalone.log"

    def start(self, say: Callable[[str], None] = lambda text: None, deadline: float = START_DEADLINE) -> Self:
        """Start it, and return when all its parts are healthy.

        Args:
            say: Called with each sentence about the start.
            deadline: Seconds that may take.

        Raises:
            LocalStackError: Airflow is not installed, or did not get ready; nothing is left running.
        """
        if importlib.util.find_spec("airflow") is None:
            raise LocalStackError("Airflow is not installed: pip install 'mz-orchestration[airflow,local]'")
        if not self._dags.is_dir():
            raise LocalStackError(f"there is no folder of DAGs at {self._dags}")
        self.home.mkdir(parents=True, exist_ok=True)
        self._take_home()
        say(f"Starting Airflow in {self.home} ...")
        try:
            self._process = self.run("standalone")
            self._wait_healthy(time.monotonic() + deadline)
        except BaseException:
            self.stop()
            raise
        return self

    def run(self, *command: str) -> subprocess.Popen[bytes]:
        """Start an Airflow command in its environment, in a session of its own; its output goes to the log."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", *command],
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
            raise LocalStackError(f"Airflow has ended with code {code}; see {self.log}{self._tail()}")

    def health(self) -> dict[str, str]:
        """The status of its parts, by their names; empty while the API does not answer."""
        try:
            with _open(f"{self.url}/api/v2/monitor/health") as answer:
                found = json.load(answer)
        except (OSError, ValueError):
            return {}
        return {name: str((found.get(name) or {}).get("status")) for name in _COMPONENTS}

    def stop(self) -> None:
        """Stop it: politely, then by force; returns when no process of it is left."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_DEADLINE)
        until = time.monotonic() + _STOP_DEADLINE
        for process in self._started:
            while _kill_group(process.pid) and time.monotonic() < until:
                process.poll()
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
        self._lock = (self.home / "standalone.lock").open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            self._lock = None
            raise LocalStackError(
                f"an Airflow runs in {self.home} already: stop it, or choose another folder"
            ) from None

    def _wait_healthy(self, until: float) -> None:
        assert self._process is not None
        while True:
            status = self.health()
            if status and all(each == "healthy" for each in status.values()):
                return
            if self._process.poll() is not None:
                raise LocalStackError(f"Airflow ended while it was starting; see {self.log}{self._tail()}")
            if time.monotonic() >= until:
                ill = ", ".join(f"{name}: {each}" for name, each in status.items()) or "the API does not answer"
                raise LocalStackError(f"Airflow did not get ready in time ({ill}); see {self.log}{self._tail()}")
            time.sleep(0.5)

    def _tail(self) -> str:
        try:
            return f"\n{self.log.read_text(errors='replace')[-_TAIL:]}"
        except OSError:
            return ""


def _heed_interrupts() -> None:
    """Started in the background of a shell, we may have been told to ignore them, and Airflow would be, too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _kill_group(group: int) -> bool:
    """Kill what is left of a process group, and say whether there was anything."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def _open(url: str) -> contextlib.closing[urllib.request._UrlopenRet]:
    # The address is our own server's: no proxy of the environment stands between.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return contextlib.closing(opener.open(url, timeout=5))
