"""What a run has come to, and whether that is good enough."""

from __future__ import annotations

from typing import Any

import pytest

from mz_orchestration.census.judge import RunState, is_active, state_of, verdict
from mz_orchestration.census.models import SyncRun
from mz_orchestration.census.spec import sync_spec
from mz_orchestration.errors import RejectedRecordsError

URL = "https://census.example.com/syncs/1/sync-history"
COMPLETE = {"records_processed": 10, "records_failed": 0, "source_record_count": 20, "source_record_invalids": 0}


def a_run(status: str, **fields: Any) -> SyncRun:
    return SyncRun.model_validate({"id": 5, "sync_id": 1, "status": status, **fields})


@pytest.mark.parametrize(
    ("status", "canceled", "state"),
    [
        ("queued", False, RunState.RUNNING),
        ("preparing", False, RunState.RUNNING),
        ("working", False, RunState.RUNNING),
        ("working", True, RunState.RUNNING),
        ("hibernating", False, RunState.RUNNING),
        ("", False, RunState.RUNNING),
        ("COMPLETED", False, RunState.RUNNING),
        ("completed", False, RunState.COMPLETED),
        ("completed", None, RunState.COMPLETED),
        ("completed", True, RunState.CANCELLED),
        ("failed", False, RunState.FAILED),
        ("failed", True, RunState.CANCELLED),
        ("completed", "yes", RunState.CANCELLED),
        ("completed", 0, RunState.CANCELLED),
        ("skipped", False, RunState.SKIPPED),
        ("cancelled", False, RunState.CANCELLED),
        ("canceled", None, RunState.CANCELLED),
    ],
)
def test_states(status: str, canceled: Any, state: RunState) -> None:
    assert state_of(a_run(status, canceled=canceled)) is state


def test_what_is_in_the_way() -> None:
    ended = "2026-11-23T02:00:00Z"
    assert is_active(a_run("queued"))
    assert is_active(a_run("hibernating"))
    assert is_active(a_run("working", completed_at=ended))
    assert not is_active(a_run("hibernating", completed_at=ended))
    assert not is_active(a_run("skipped"))


@pytest.mark.parametrize(
    ("limits", "counts", "said"),
    [
        ({}, {}, None),
        ({}, {"records_failed": 1}, "1 of 10 records were rejected by the destination, and 0 may be"),
        ({}, {"source_record_invalids": 2}, "2 of 20 records of the source are invalid, and 0 may be"),
        ({"max_failed": 1}, {"records_failed": 1}, None),
        ({"max_failed": 1}, {"records_failed": 2}, "2 of 10"),
        ({"max_failed_ratio": 0.2}, {"records_failed": 2}, None),
        ({"max_failed_ratio": 0.2}, {"records_failed": 3}, "a share of 0.3, and 0.2 may be"),
        ({"max_failed": 5, "max_failed_ratio": 0.2}, {"records_failed": 3}, "a share of 0.3"),
        ({"max_failed": 2, "max_failed_ratio": 0.9}, {"records_failed": 3}, "and 2 may be"),
        ({"max_failed": 9}, {"source_record_invalids": 1}, "invalid, and 0 may be"),
        ({"max_invalid": 1}, {"source_record_invalids": 1}, None),
        ({"max_invalid_ratio": 0.05}, {"source_record_invalids": 1}, None),
        ({"max_invalid_ratio": 0.05}, {"source_record_invalids": 2}, "a share of 0.1"),
        # Of how many is not known, or cannot be: they may be all.
        ({"max_failed_ratio": 0.5}, {"records_failed": 1, "records_processed": None}, "unknown number"),
        ({"max_failed_ratio": 0.5}, {"records_failed": 1, "records_processed": 0}, "a share of 1"),
        ({"max_failed_ratio": 1}, {"records_failed": 12}, None),
        # Without a count nobody knows; whoever accepts any number need not.
        ({}, {"records_failed": None}, "does not say"),
        ({"max_failed": 100}, {"records_failed": None}, "does not say"),
        ({"max_failed_ratio": 1}, {"records_failed": None}, None),
        ({"max_failed": 0, "max_failed_ratio": 1}, {"records_failed": None}, "does not say"),
        ({}, {"source_record_invalids": None}, "how many records of the source are invalid"),
        ({"max_invalid": 3, "max_invalid_ratio": 1}, {"source_record_invalids": "few"}, "does not say"),
        ({"max_invalid_ratio": 1}, {"source_record_invalids": None}, None),
        # No count at all, and none that can be divided.
        ({"max_failed_ratio": 0.5}, {"records_failed": 10**400}, "does not say"),
        ({"max_failed_ratio": 0.5}, {"records_failed": 1, "records_processed": 10**400}, "unknown number"),
    ],
)
def test_thresholds(limits: dict[str, Any], counts: dict[str, Any], said: str | None) -> None:
    error = verdict(a_run("completed", **{**COMPLETE, **counts}), sync_spec(sync=1, **limits), URL)
    if said is None:
        assert error is None
    else:
        assert isinstance(error, RejectedRecordsError)
        assert said in error.message
        assert URL in error.hint
        assert not error.retryable


def test_both_findings_are_named() -> None:
    error = verdict(
        a_run("completed", **{**COMPLETE, "records_failed": 1, "source_record_invalids": 2}), sync_spec(sync=1), URL
    )
    assert error is not None
    assert "rejected" in error.message
    assert "invalid" in error.message


def test_a_failed_run_says_why() -> None:
    failed = a_run("failed", error_code="source_missing", error_message="no table", error_detail="x\x1b[31m")
    error = verdict(failed, sync_spec(sync=1), URL)
    assert error is not None
    assert error.message == r"Run 5 of the Census sync 1 failed: code source_missing, no table, x\x1b[31m."
    assert URL in error.hint
    silent = verdict(a_run("failed"), sync_spec(sync=1), URL)
    assert silent is not None
    assert "does not say why" in silent.message


def test_a_cancelled_run_is_no_success_unless_accepted() -> None:
    cancelled = a_run("completed", canceled=True, records_processed=3)
    error = verdict(cancelled, sync_spec(sync=1), URL)
    assert error is not None
    assert "cancelled in Census after 3 records" in error.message
    assert verdict(cancelled, sync_spec(sync=1, on_cancelled="accept"), URL) is None


def test_a_skipped_run_did_nothing() -> None:
    error = verdict(a_run("skipped"), sync_spec(sync=1, max_failed_ratio=1), URL)
    assert error is not None
    assert error.retryable


@pytest.mark.parametrize(("policy", "advised"), [("wait", False), ("fail", True), ("attach", True)])
def test_the_policy_that_is_set_is_no_advice(policy: str, advised: bool) -> None:
    error = verdict(a_run("skipped"), sync_spec(sync=1, on_overlap=policy), URL)
    assert error is not None
    assert ("on_overlap: wait" in error.hint) == advised


def test_a_full_sync_that_was_none() -> None:
    spec = sync_spec(sync=1, full=True)
    error = verdict(a_run("completed", **COMPLETE, full_sync=False), spec, URL)
    assert error is not None
    assert "all records were asked for" in error.message
    assert verdict(a_run("completed", **COMPLETE, full_sync=True), spec, URL) is None
    assert verdict(a_run("completed", **COMPLETE), spec, URL) is None
