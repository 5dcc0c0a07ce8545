"""Errors of the local stack, each a sentence a person can act on."""

from __future__ import annotations

from pathlib import Path

from mz_orchestration.errors import MzOrchestrationError


class LocalStackError(MzOrchestrationError):
    """The local stack cannot do what was asked; the message says why and what to do."""


class AlreadyRunning(LocalStackError):
    """A stack is already up in the folder.

    Args:
        folder: The state folder.
        pid: Process id of its supervisor, 0 if it has not written it yet.
    """

    def __init__(self, folder: Path, pid: int) -> None:
        self.folder = folder
        self.pid = pid
        holder = f"process {pid}" if pid else "a process that is just starting"
        super().__init__(
            f"a local stack is already running in {folder} ({holder}). See it with "
            f"'mz-orchestration local status --dir {folder}', stop it with "
            f"'mz-orchestration local down --dir {folder}', or choose another --dir."
        )


class NotRunning(LocalStackError):
    """No stack is up in the folder.

    Args:
        folder: The state folder.
        changing: Process id of a supervisor that is starting or stopping, 0 if it is unknown, None if there is none.
    """

    def __init__(self, folder: Path, *, changing: int | None = None) -> None:
        self.folder = folder
        super().__init__(
            f"the local stack in {folder} is just starting or stopping (process {changing or 'unknown'}); "
            "try again in a few seconds."
            if changing is not None
            else f"no local stack is running in {folder}. Start one with "
            f"'mz-orchestration local up --dir {folder} --detach'."
        )
