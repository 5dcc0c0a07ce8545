"""What the state of a run means, and whether its counts are good enough."""

from __future__ import annotations

from enum import StrEnum

from mz_orchestration.census.answers import shown
from mz_orchestration.census.models import SyncRun
from mz_orchestration.census.spec import SyncSpec
from mz_orchestration.errors import Detail, RejectedRecordsError, SyncError


class RunState(StrEnum):
    """What a run has come to."""

    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    SKIPPED = "skipped"  # another run of the sync was active; this one did nothing


# `preparing` was another name of queued for a while.
_RUNNING = {"queued", "preparing", "working"}
_ENDED = {"completed": RunState.COMPLETED, "failed": RunState.FAILED, "skipped": RunState.SKIPPED}


def is_known(run: SyncRun) -> bool:
    """Whether the run's status is one that Census documents or has documented."""
    return run.status in _RUNNING or run.status in _ENDED or run.status in ("canceled", "cancelled")


def state_of(run: SyncRun) -> RunState:
    """What a run has come to. A status that is not known is no end: to take it for one has been wrong before."""
    if run.status in ("canceled", "cancelled"):
        return RunState.CANCELLED
    state = _ENDED.get(run.status, RunState.RUNNING)
    # A flag beside the status: a cancelled run is said to be completed. While it works, it has not ended yet.
    return RunState.CANCELLED if run.canceled and state is not RunState.RUNNING else state


def is_active(run: SyncRun) -> bool:
    """Whether a run of others is in the way of ours. One with a strange status that has an end is not."""
    return state_of(run) is RunState.RUNNING and (is_known(run) or run.completed_at is None)


def verdict(run: SyncRun, spec: SyncSpec, url: str) -> SyncError | None:
    """Why a run that has ended is no success; None if it is one.

    Args:
        run: The run.
        spec: What is accepted.
        url: Where a person can look at it.
    """
    state, name = state_of(run), f"Run {run.id} of the Census sync {spec.sync}"
    details = _details(run)
    if state is RunState.FAILED:
        parts = [run.error_code and f"code {run.error_code}", run.error_message, run.error_detail]
        said = ", ".join(shown(part) for part in parts if part) or "Census does not say why"
        hint = f"See {url}; once the cause is gone, run it again."
        # What fails is mostly the source or the destination of the moment; and a run that has failed is over.
        return SyncError(f"{name} failed: {said.rstrip('.')}.", hint=hint, retryable=True, details=details)
    if state is RunState.CANCELLED and spec.on_cancelled == "fail":
        return SyncError(
            f"{name} was cancelled in Census after {_number(run.records_processed)} records.",
            hint=f"Run it again, or accept that with on_cancelled: accept. See {url}.",
            details=details,
        )
    if state is RunState.SKIPPED:
        wait = "" if spec.on_overlap == "wait" else ", or wait for the other run with on_overlap: wait"
        return SyncError(
            f"{name} was skipped, since another run of it was active; it sent nothing.",
            hint=f"Run it again{wait}. See {url}.",
            retryable=True,
            details=details,
        )
    if state is not RunState.COMPLETED:
        return None
    if spec.full and run.full_sync is False:
        return SyncError(
            f"{name} completed, but sent only what had changed, and all records were asked for.",
            hint=f"Run it again; if that stays so, the sync cannot send all records: leave out full. See {url}.",
            details=details,
        )
    return _too_many(run, spec, name, url)


def _too_many(run: SyncRun, spec: SyncSpec, name: str, url: str) -> SyncError | None:
    failed, invalid = run.records_failed, run.source_record_invalids
    # Every version of the API has these counts: without them nobody knows that the records arrived.
    if failed is None and not _any_number(spec.failed_limit, spec.max_failed_ratio):
        return _unknown("were rejected", "max_failed_ratio: 1 and no max_failed", run, name, url)
    if invalid is None and not _any_number(spec.invalid_limit, spec.max_invalid_ratio):
        return _unknown("of the source are invalid", "max_invalid_ratio: 1 and no max_invalid", run, name, url)
    found = [
        *_over(
            "were rejected by the destination", failed, run.records_processed, spec.failed_limit, spec.max_failed_ratio
        ),
        *_over(
            "of the source are invalid", invalid, run.source_record_count, spec.invalid_limit, spec.max_invalid_ratio
        ),
    ]
    if not found:
        return None
    return RejectedRecordsError(
        f"{name} completed, but {' and '.join(found)}.",
        hint=f"See {url}; Census tries rejected records again in the next run. "
        "If some are fine, allow them: max_failed, max_failed_ratio, max_invalid, max_invalid_ratio.",
        details=_details(run),
    )


def _any_number(limit: int | None, ratio: float | None) -> bool:
    return limit is None and ratio == 1


def _unknown(what: str, way_out: str, run: SyncRun, name: str, url: str) -> SyncError:
    return RejectedRecordsError(
        f"{name} completed, but Census does not say how many records {what}.",
        hint=f"See {url}. If any number is fine, say {way_out}.",
        details=_details(run),
    )


def _over(what: str, count: int | None, total: int | None, limit: int | None, ratio: float | None) -> list[str]:
    if not count:
        return []
    # Of an unknown total, or of fewer than were rejected, they may be all.
    share = min(1.0, count / total) if total else 1.0
    if limit is not None and count > limit:
        return [f"{count} of {_number(total)} records {what}, and {limit} may be"]
    if ratio is not None and share > ratio:
        return [f"{count} of {_number(total)} records {what}, a share of {share:.4g}, and {ratio:g} may be"]
    return []


def _number(count: int | None) -> str:
    return "an unknown number of" if count is None else str(count)


def _details(run: SyncRun) -> dict[str, Detail]:
    return {
        "sync_run": run.id,
        "status": run.status,
        "error_code": run.error_code,
        "records_processed": run.records_processed,
        "records_failed": run.records_failed,
        "records_invalid": run.source_record_invalids,
    }
