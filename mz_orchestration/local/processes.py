"""Finding and ending the processes of one state folder, also those whose supervisor was killed.

Every process of a stack carries the folder's token in its environment, and its children inherit it. A process
without the token is never touched, whatever its number was yesterday.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from mz_orchestration.local.errors import LocalStackError

TOKEN_VARIABLE = "MZ_LOCAL_STACK_TOKEN"
_PROC = Path("/proc")


def marked(token: str) -> list[int]:
    """Return the ids of all living processes that carry the token.

    Args:
        token: The token of a state folder.
    """
    mark = f"{TOKEN_VARIABLE}={token}".encode()
    return sorted(pid for pid, text in _environments() if mark in text and pid != os.getpid())


def end(token: str, *, grace: float, deadline: float = 10.0) -> list[int]:
    """End all processes that carry the token: politely first, then by force.

    Args:
        token: The token of a state folder.
        grace: Seconds they get after SIGTERM before SIGKILL.
        deadline: Seconds after SIGKILL before giving up.

    Returns:
        The ids that were found at first.

    Raises:
        LocalStackError: Some are still there.
    """
    found = marked(token)
    _send(found, signal.SIGTERM, token)
    left = _wait_gone(token, grace)
    if left:
        _send(left, signal.SIGKILL, token)
        left = _wait_gone(token, deadline)
    if left:
        numbers = ", ".join(map(str, left))
        raise LocalStackError(
            f"processes {numbers} did not end within {deadline:g} s after SIGKILL. Look at them with ps, then run "
            "'mz-orchestration local down' again."
        )
    return found


def is_zombie(pid: int) -> bool:
    """Return whether the process has ended and only waits for its parent to take note."""
    try:
        # The state follows the command's name, which is in parentheses and may hold any character.
        return (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[:1] == [b"Z"]
    except OSError:
        return False


def _wait_gone(token: str, seconds: float) -> list[int]:
    until = time.monotonic() + seconds
    while left := marked(token):
        if time.monotonic() >= until:
            return left
        time.sleep(0.05)
    return []


def _send(pids: Iterable[int], number: signal.Signals, token: str) -> None:
    for pid in pids:
        # Looked up again at the last moment: ids are reused.
        if pid in _marked_among([pid], token):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def _marked_among(pids: Iterable[int], token: str) -> set[int]:
    mark = f"{TOKEN_VARIABLE}={token}".encode()
    return {pid for pid, text in _environments(pids) if mark in text}


def _environments(pids: Iterable[int] | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield (process id, bytes that contain its environment); dead and foreign processes yield nothing."""
    if not _PROC.is_dir():
        yield from _environments_from_ps(pids)
        return
    for pid in pids if pids is not None else (int(p.name) for p in _PROC.iterdir() if p.name.isdigit()):
        try:
            yield pid, (_PROC / str(pid) / "environ").read_bytes()
        except OSError:
            continue


def _environments_from_ps(pids: Iterable[int] | None) -> Iterator[tuple[int, bytes]]:
    # Systems without /proc: their ps prints the environment of the caller's own processes after the command.
    options = ["-axEww"] if sys.platform == "darwin" else ["axeww"]
    wanted = None if pids is None else set(pids)
    listing = subprocess.run(["ps", *options, "-o", "pid=,command="], capture_output=True, check=True, timeout=10)
    for line in listing.stdout.splitlines():
        number, _, text = line.strip().partition(b" ")
        if wanted is None or int(number) in wanted:
            yield int(number), text
