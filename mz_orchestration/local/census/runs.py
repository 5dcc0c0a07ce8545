"""One run of a sync, with every field the API shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mz_orchestration.local.census.answers import now
from mz_orchestration.local.census.delivery import Counts
from mz_orchestration.local.census.faults import Failure

#: A run in one of these is over.
ENDED = frozenset({"completed", "failed", "skipped"})


@dataclass
class Run:
    """A run.

    Attributes:
        reason: What started it: a tag and a text for people.
    """

    id: int
    sync_id: int
    full: bool
    reason: tuple[str, str]
    scheduled: str | None = None
    status: str = "queued"
    canceled: bool = False
    step: str | None = None
    counts: Counts = field(default_factory=Counts)
    failure: Failure | None = None
    created_at: str = field(default_factory=now)
    updated_at: str = field(default_factory=now)
    completed_at: str | None = None

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self.status not in ENDED

    def become(self, status: str, step: str | None = None) -> None:
        """Change the status."""
        self.status, self.step, self.updated_at = status, step, now()
        # Of failed and skipped runs the API's own examples show no such time.
        if status == "completed":
            self.completed_at = self.updated_at

    def shown(self) -> dict[str, Any]:
        """The run as the API shows it."""
        failure, counts = self.failure, self.counts
        return {
            "id": self.id,
            "sync_id": self.sync_id,
            "status": self.status,
            "canceled": self.canceled,
            "full_sync": self.full,
            "source_record_count": counts.source,
            "source_record_updates": counts.updates,
            "source_record_deletes": counts.deletes,
            "source_record_invalids": counts.invalid,
            "records_invalid": counts.invalid,
            "records_processed": counts.processed,
            "records_updated": counts.updated,
            "records_failed": counts.failed,
            "error_code": failure.code if failure else None,
            "error_message": failure.message if failure else None,
            "error_detail": failure.detail if failure else None,
            "current_step": self.step,
            "sync_trigger_reason": {"ui_tag": self.reason[0], "ui_detail": self.reason[1]},
            "scheduled_execution_time": self.scheduled,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "completed_at": self.completed_at,
        }
