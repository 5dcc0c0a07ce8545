"""Removing the System V segment that a killed PostgreSQL leaves behind: it outlives every process."""

from __future__ import annotations

import ctypes
from pathlib import Path

_SEGMENTS = Path("/proc/sysvipc/shm")
_IPC_RMID = 0
_KEY_LINE = 6


def remove_leftover(data: Path) -> None:
    """Remove the segment the pid file of a data directory names, if the server that wrote the file made it.

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
        found_key, found, _mode, _size, creator = map(int, line.split()[:5])
        if (found_key, found, creator) == (key, segment, postmaster):
            # Its children may still be on their way out: the segment goes when the last of them has gone.
            ctypes.CDLL(None).shmctl(segment, _IPC_RMID, None)
