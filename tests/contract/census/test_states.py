"""Every end a run can have, and what is not known to be one."""

from __future__ import annotations

import pytest

from mz_orchestration.census.sync import run_sync
from mz_orchestration.errors import DeadlineError, RejectedRecordsError, SyncError

from .conftest import Census, FastClock, both_versions, sync_spec

pytestmark = both_versions


def test_completed(census: Census) -> None:
    sync = census.new_sync()
    result = run_sync(sync_spec(sync=sync), census=census.config, clock=FastClock())
    facts = result.to_metadata()
    assert facts["status"] == "completed"
    assert facts["records_processed"] == facts["source_records"] == census.rows
    assert (facts["records_failed"], facts["records_invalid"]) == (0, 0)
    assert (facts["attached"], facts["repeated"]) == (0, 0)
    assert facts["url"] == f"{census.config.host}/syncs/{sync}/sync-history"
    assert facts["sync_run"] == census.runs(sync)[0]["id"]
    assert census.triggers(sync) == 1


def test_what_has_not_changed_is_not_sent_again_unless_asked_for(census: Census) -> None:
    sync = census.new_sync()
    sent = [
        run_sync(sync_spec(sync=sync, full=full), census=census.config, clock=FastClock()).run
        for full in (False, False, True)
    ]
    assert [run.records_processed for run in sent] == [census.rows, 0, census.rows]
    assert [run.full_sync for run in sent][1:] == [False, True]


def test_failed(census: Census) -> None:
    sync = census.new_sync()
    census.fault(sync, fail_run={"code": "destination_down", "message": "Braze is away", "detail": "503"})
    with pytest.raises(SyncError) as caught:
        run_sync(sync_spec(sync=sync), census=census.config, clock=FastClock())
    assert "failed: code destination_down, Braze is away, 503." in caught.value.message
    assert f"/syncs/{sync}/" in caught.value.hint
    assert caught.value.retryable


@pytest.mark.parametrize("policy", ["fail", "accept"])
def test_completed_but_cancelled(census: Census, policy: str) -> None:
    sync = census.new_sync()
    census.fault(sync, cancel_run=True)
    spec = sync_spec(sync=sync, on_cancelled=policy)
    if policy == "accept":
        assert run_sync(spec, census=census.config, clock=FastClock()).to_metadata()["status"] == "cancelled"
    else:
        with pytest.raises(SyncError, match="was cancelled in Census"):
            run_sync(spec, census=census.config, clock=FastClock())
    assert census.runs(sync)[0]["status"] == "completed"


def test_a_status_nobody_knows_is_still_running(census: Census) -> None:
    sync, clock = census.new_sync(), FastClock()
    census.fault(sync, run_status={"hibernating": 0.3})
    result = run_sync(sync_spec(sync=sync), census=census.config, clock=clock, on_event=clock.listen)
    assert result.run.status == "completed"
    assert len([text for text in clock.notes if "'hibernating'" in text and "warning" in text]) == 1


def test_until_the_deadline_then_ours_is_cancelled(census: Census) -> None:
    sync, clock = census.new_sync(), FastClock()
    census.fault(sync, run_status={"hibernating": 60})
    with pytest.raises(DeadlineError) as caught:
        run_sync(sync_spec(sync=sync, timeout=20), census=census.config, clock=clock, on_event=clock.listen)
    assert "still 'hibernating' after 20 s" in caught.value.message
    assert caught.value.retryable
    assert census.runs(sync)[0]["canceled"]
    assert "was cancelled and has ended" in clock.notes[-1]


@pytest.mark.parametrize(
    ("bad", "limits", "fine"),
    [
        ({"failed_records": 1}, {}, False),
        ({"failed_records": 1}, {"max_failed": 1}, True),
        ({"failed_records": 2}, {"max_failed": 1}, False),
        ({"failed_records": 1}, {"max_failed_ratio": 0.5}, True),
        ({"failed_records": 1}, {"max_failed_ratio": 0.01}, False),
        ({"invalid_records": 1}, {}, False),
        ({"invalid_records": 1}, {"max_failed": 5}, False),
        ({"invalid_records": 1}, {"max_invalid": 1}, True),
        ({"invalid_records": 1}, {"max_invalid_ratio": 0.5}, True),
    ],
)
def test_bad_records(census: Census, bad: dict[str, int], limits: dict[str, float], fine: bool) -> None:
    sync = census.new_sync()
    census.fault(sync, **bad)
    spec = sync_spec(sync=sync, **limits)
    if fine:
        run = run_sync(spec, census=census.config, clock=FastClock()).run
        assert (run.records_failed, run.source_record_invalids) == (
            bad.get("failed_records", 0),
            bad.get("invalid_records", 0),
        )
    else:
        with pytest.raises(RejectedRecordsError) as caught:
            run_sync(spec, census=census.config, clock=FastClock())
        kind = "records_failed" if "failed_records" in bad else "records_invalid"
        assert caught.value.details[kind] == next(iter(bad.values()))
