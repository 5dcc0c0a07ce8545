"""Start, look at and stop a local stack from Python: for tests, demos and the command line.

```python
with LocalStack() as stack:
    stack.start(Path(".mz-local"))
    os.environ.update(stack.environment)
```
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from mz_orchestration.local import processes
from mz_orchestration.local.environment import environment
from mz_orchestration.local.errors import LocalStackError, NotRunning
from mz_orchestration.local.servers import DEFAULT_PORT_BASE, SERVERS
from mz_orchestration.local.state import DEFAULT_FOLDER, HOST, Folder, Server, State

# Above the supervisor's own deadlines, so that its reason arrives first.
START_DEADLINE = 240.0
STOP_DEADLINE = 45.0


def running(folder: Path) -> State:
    """Return the state of the stack that is up in a folder.

    Args:
        folder: The state folder.

    Raises:
        NotRunning: None is up, or it is still starting.
    """
    home = Folder(folder)
    state = home.read()
    if state is None:
        raise NotRunning(home.path, changing=home.holder())
    return state


def listening(server: Server) -> bool:
    """Return whether a server accepts connections now.

    Args:
        server: One of the servers of a running stack.
    """
    try:
        with socket.create_connection((HOST, server.port), timeout=2):
            return True
    except OSError:
        return False


def start_detached(
    folder: Path,
    *,
    port_base: int = DEFAULT_PORT_BASE,
    servers: Sequence[str] = tuple(SERVERS),
    say: Callable[[str], None] = lambda text: None,
) -> State:
    """Start a stack that outlives the caller, and return when everything listens and is set up.

    Args:
        folder: The state folder.
        port_base: Port of the first server; 0 takes free ports.
        servers: Names of the servers to start.
        say: Called with each sentence about the start.

    Raises:
        AlreadyRunning: A stack is already up in the folder.
        LocalStackError: It could not start; nothing is left running.
    """
    home = Folder(folder)
    home.create()
    home.check_free()
    command = [sys.executable, "-m", "mz_orchestration.local.supervisor", "--dir", str(home.path)]
    with home.supervisor_log.open("ab") as log:
        supervisor = subprocess.Popen(
            [*command, "--port-base", str(port_base), "--servers", ",".join(servers)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    try:
        _hear(supervisor, say, home)
    except BaseException:
        _end(supervisor)
        raise
    state = home.read()
    if state is None:
        raise LocalStackError(f"the stack ended as soon as it was ready; see {home.supervisor_log}")
    return state


def stop(folder: Path) -> bool:
    """Stop the stack of a folder and return when no process of it is left.

    Args:
        folder: The state folder.

    Returns:
        Whether anything was running.

    Raises:
        LocalStackError: Something is still there.
    """
    from mz_orchestration.local.materialize.postgres import Postgres

    home = Folder(folder)
    token = home.token()
    if token is None:
        return False
    was_running = _stop_supervisor(home)
    leftovers = processes.end(token, grace=3.0)
    # After SIGKILL of everything there are still the files and the shared memory of PostgreSQL.
    Postgres(home.path / "materialize").clean_up_earlier_run()
    home.remove_state()
    return was_running or bool(leftovers)


class LocalStack:
    """A detached stack as a context manager; leaving it stops the stack."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._state: State | None = None

    def start(
        self,
        dir: Path = DEFAULT_FOLDER,
        port_base: int = 0,
        *,
        servers: Sequence[str] = tuple(SERVERS),
    ) -> LocalStack:
        """Start the stack and wait until it is ready.

        Args:
            dir: The state folder.
            port_base: Port of the first server; 0 takes free ports.
            servers: Names of the servers to start.

        Raises:
            LocalStackError: It could not start.
        """
        self._state = start_detached(dir, port_base=port_base, servers=servers)
        self._folder = dir
        return self

    def stop(self) -> None:
        """Stop the stack; does nothing if it is not up."""
        if self._folder is not None:
            stop(self._folder)
        self._folder = self._state = None

    @property
    def state(self) -> State:
        """What runs: ports, process ids, secrets.

        Raises:
            LocalStackError: The stack was not started.
        """
        if self._state is None:
            raise LocalStackError("this LocalStack was not started: call start() first")
        return self._state

    @property
    def folder(self) -> Path:
        """Where the stack keeps its state, logs and the records of statements and requests.

        Raises:
            LocalStackError: The stack was not started.
        """
        if self._folder is None:
            raise LocalStackError("this LocalStack was not started: call start() first")
        return self._folder

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead each ecosystem's tools to the stack."""
        return environment(self.state)

    def __enter__(self) -> LocalStack:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _hear(supervisor: subprocess.Popen[bytes], say: Callable[[str], None], home: Folder) -> None:
    """Listen to the supervisor until it says that it is ready or has failed."""
    lines: queue.Queue[bytes] = queue.Queue()

    def read() -> None:
        assert supervisor.stdout is not None
        for line in supervisor.stdout:
            lines.put(line)
        lines.put(b"")

    threading.Thread(target=read, daemon=True).start()
    until = time.monotonic() + START_DEADLINE
    while True:
        try:
            line = lines.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise LocalStackError(
                f"the stack was not ready within {START_DEADLINE:g} s and was stopped; see {home.logs}"
            ) from None
        if not line:
            raise LocalStackError(f"the supervisor ended without a word; see {home.supervisor_log}")
        message = json.loads(line)
        if "say" in message:
            say(message["say"])
        elif "ready" in message:
            return
        else:
            raise LocalStackError(message["failed"])


def _end(supervisor: subprocess.Popen[bytes]) -> None:
    supervisor.terminate()
    try:
        supervisor.wait(STOP_DEADLINE)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        supervisor.wait()


def _stop_supervisor(home: Folder) -> bool:
    """Ask the holder of the folder to end, and after the deadline kill it; return whether there was one."""
    asked: set[int] = set()
    until = time.monotonic() + STOP_DEADLINE
    while (pid := home.holder()) is not None:
        if time.monotonic() >= until + 5:
            raise LocalStackError(f"the supervisor, process {pid}, did not end after SIGKILL")
        late = time.monotonic() >= until
        # The lock proves that this process lives and is a supervisor; 0 means it has not written its id yet.
        if pid and (late or pid not in asked):
            asked.add(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(0.05)
    # It lets go of the lock just before it ends.
    while any(map(_alive, asked)) and time.monotonic() < until:
        time.sleep(0.02)
    return bool(asked)


def _alive(pid: int) -> bool:
    # A supervisor this very process started stays a zombie until somebody asks for it.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not processes.is_zombie(pid)
