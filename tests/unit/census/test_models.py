"""What Census answers is read whatever is missing or new in it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mz_orchestration.census.models import Sync, SyncRun


def test_a_run_of_v1() -> None:
    run = SyncRun.model_validate(
        {
            "id": 94,
            "sync_id": 52,
            "source_record_count": 1,
            "records_processed": 1,
            "records_failed": 0,
            "records_invalid": 3,
            "created_at": "2021-10-20T02:51:07.546Z",
            "error_code": 500,
            "status": "completed",
            "canceled": False,
            "full_sync": True,
            "sync_trigger_reason": {"ui_tag": "Manual"},
            "new": ["field"],
        }
    )
    assert (run.id, run.sync_id, run.source_record_invalids, run.error_code) == ("94", "52", 3, "500")
    assert run.created_at is not None
    assert run.created_at.utcoffset() is not None
    assert run.records_updated is None


@pytest.mark.parametrize(
    ("both", "count"), [((2, 2), 2), ((None, 3), 3), ((4, None), 4), ((0, 5), 0), ((None, None), None)]
)
def test_the_twin_of_the_invalid_count(both: tuple[int | None, int | None], count: int | None) -> None:
    new, old = both
    run = SyncRun.model_validate(
        {"id": 1, "status": "completed", "source_record_invalids": new, "records_invalid": old}
    )
    assert run.source_record_invalids == count


def test_what_cannot_be_read_is_unknown() -> None:
    run = SyncRun.model_validate(
        {"id": "a-b", "status": "x", "records_failed": "many", "records_processed": -1, "created_at": "soon",
         "full_sync": "no", "error_message": {"a": 1}, "records_updated": True, "source_record_count": 10**400}
    )  # fmt: skip
    assert (run.records_failed, run.records_processed, run.created_at, run.full_sync) == (None, None, None, None)
    assert run.source_record_count is None
    assert (run.error_message, run.records_updated) == (None, None)


def test_what_is_read_can_be_written_down() -> None:
    run = SyncRun.model_validate(
        {"id": 1, "status": "x", "error_message": "\ud800!", "sync_trigger_reason": {"\ud800": "\udfff", "b": [[]]},
         "completed_at": 1e400}
    )  # fmt: skip
    assert SyncRun.model_validate_json(run.model_dump_json()) == run
    assert (run.error_message, run.completed_at) == ("?!", None)


@pytest.mark.parametrize(
    "wrong", [{"id": 1}, {"status": "x"}, {"id": "../1", "status": "x"}, {"id": True, "status": "x"}]
)
def test_nothing_can_do_without_an_id_and_a_status(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SyncRun.model_validate(wrong)


def test_a_run_survives_being_written_down() -> None:
    run = SyncRun.model_validate({"id": 7, "status": "completed", "records_invalid": 2, "completed_at": "2026-01-01"})
    assert SyncRun.model_validate_json(run.model_dump_json()) == run


@pytest.mark.parametrize(
    ("fields", "schedule", "others"),
    [
        ({"schedule_frequency": "never"}, None, ()),
        ({"schedule_frequency": "manual"}, None, ()),
        ({}, None, ()),
        ({"schedule_frequency": "hourly", "trigger_on_dbt_cloud_rebuild": True}, "hourly", ("dbt_cloud",)),
        ({"mode": {"triggers": {"schedule": {"frequency": "daily"}, "fivetran": {"id": 1}}}}, "daily", ("fivetran",)),
        ({"mode": {"triggers": {"sync_sequence": {"sync_id": 1}, "dbt_cloud": None}}}, None, ("sync_sequence",)),
        ({"mode": "live"}, None, ()),
    ],
)  # fmt: skip
def test_what_starts_a_sync(fields: dict[str, object], schedule: str | None, others: tuple[str, ...]) -> None:
    sync = Sync.model_validate({"id": 1, **fields})
    assert (sync.schedule, sync.other_triggers) == (schedule, others)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ({"type": "table", "table_catalog": "D", "table_schema": "P", "table_name": "T"}, "D.P.T"),
        ({"type": "table", "table_catalog": None, "table_schema": "shop", "table_name": "t"}, "shop.t"),
        ({"type": "model", "id": 15, "name": "totals"}, "totals"),
        ({"type": "model", "id": 15}, "model 15"),
        ({}, ""),
        (None, ""),
    ],
)
def test_source_objects(source: object, shown: str) -> None:
    assert Sync.model_validate({"id": 1, "source_attributes": {"object": source}}).source_object == shown


def test_names() -> None:
    assert Sync.model_validate({"id": 1, "label": None}).name == "sync 1"
    assert Sync.model_validate({"id": 1, "label": "totals"}).name == "totals"
    assert Sync.model_validate({"id": 1, "name": "totals"}).name == "totals"
