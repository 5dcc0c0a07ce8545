"""Removing the System V segment that a killed PostgreSQL leaves behind: it outlives every process."""

from __future__ import annotations

import ctypes
from pathlib import Path

_SEGMENTS = Path("/proc/sysvipc/shm")
_IPC_RMID = 0
_KEY_LINE = 6


def remove_leftover(data: Path) -> None:
    """Remove the segment the pid file of a data directory names, if its server made it and nobody uses it.

    Args:
        data: The data directory of a server that has ended.
    """
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        postmaster, (key, segment) = int(lines[0]), map(int, lines[_KEY_LINE].split())
        segments = _SEGMENTS.read_text().splitlines()[1:]
    except (OSError, ValueError, IndexError):
        # Not started, ended in order (the file is gone), or a system that tells nothing of its segments.
        return
    for line in segments:
        # Numbers are reused: only who made the segment tells whose it is.
        found_key, found, _mode, _size, creator, _last, attached = map(int, line.split()[:7])
        if (found_key, found, creator, attached) == (key, segment, postmaster, 0):
            ctypes.CDLL(None).shmctl(segment, _IPC_RMID, None)
