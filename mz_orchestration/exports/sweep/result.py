"""What a sweep found and did, for people and machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from mz_orchestration.errors import MzOrchestrationError


@dataclass(frozen=True, slots=True)
class SweptFolder:
    """An abandoned attempt; ``done`` once its files and uploads are gone."""

    path: str
    why: str
    idle_seconds: float
    files: int
    bytes: int
    uploads: int
    done: bool = False


@dataclass(frozen=True, slots=True)
class SweptUpload:
    """A stale multipart upload into a finished attempt's folder."""

    url: str
    upload_id: str
    initiated: datetime
    idle_seconds: float
    done: bool = False


@dataclass(frozen=True, slots=True)
class SweptSession:
    """A session of ours that nobody waits for any more; ``done`` once it is gone."""

    pid: int
    path: str
    run_key: str
    why: str
    running_seconds: float
    done: bool = False


@dataclass(frozen=True, slots=True)
class KeptFolder:
    """An attempt without a manifest that is kept, for now or because it cannot be judged."""

    path: str
    fate: str
    why: str


@dataclass(frozen=True, slots=True)
class SweepResult:
    """A sweep's findings.

    Attributes:
        where: The folder swept.
        deleted: Whether anything was to be done; False for a dry run.
        folders: Abandoned attempts.
        uploads: Stale uploads elsewhere.
        sessions: Orphaned sessions.
        kept: Unfinished attempts that are left alone.
        finished: How many finished attempts there are.
        others: How many objects are not ours.
        other_uploads: How many unfinished uploads are not ours.
        problems: What could not be looked at or done; the rest went on.
        seconds: Duration.
    """

    where: str
    deleted: bool
    older_than_seconds: float
    folders: tuple[SweptFolder, ...]
    uploads: tuple[SweptUpload, ...]
    sessions: tuple[SweptSession, ...]
    kept: tuple[KeptFolder, ...]
    finished: int
    others: int
    other_uploads: int
    problems: tuple[MzOrchestrationError, ...]
    seconds: float

    @property
    def found(self) -> int:
        """How many things there are to sweep."""
        return len(self.folders) + len(self.uploads) + len(self.sessions)

    @property
    def done(self) -> int:
        """How many of them were swept."""
        done = [*(item.done for item in self.folders), *(item.done for item in self.uploads)]
        return sum((*done, *(item.done for item in self.sessions)))

    @property
    def bytes(self) -> int:
        """Size of the abandoned files; parts of uploads are not counted, no listing shows them."""
        return sum(folder.bytes for folder in self.folders)

    def to_metadata(self) -> dict[str, int | float | str]:
        """Small values for XCom and asset events."""
        return {
            "where": self.where,
            "deleted": int(self.deleted),
            "found": self.found,
            "done": self.done,
            "folders": len(self.folders),
            "files": sum(folder.files for folder in self.folders),
            "bytes": self.bytes,
            "uploads": len(self.uploads) + sum(folder.uploads for folder in self.folders),
            "sessions": len(self.sessions),
            "kept": len(self.kept),
            "finished": self.finished,
            "others": self.others,
            "problems": len(self.problems),
            "seconds": round(self.seconds, 3),
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything, JSON-ready but for moments."""
        return {
            **self.to_metadata(),
            "older_than_seconds": self.older_than_seconds,
            "other_uploads": self.other_uploads,
            "folders": [asdict(item) for item in self.folders],
            "uploads": [asdict(item) for item in self.uploads],
            "sessions": [asdict(item) for item in self.sessions],
            "kept": [asdict(item) for item in self.kept],
            "problems": [error.to_dict() for error in self.problems],
        }
