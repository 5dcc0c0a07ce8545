"""What runs do: read, compare, deliver; and every way they end."""

from __future__ import annotations

import pytest

from .conftest import Census, Table, eventually


def counts(run: dict[str, object]) -> tuple[object, ...]:
    """Of the source: all, changed, deleted, invalid; sent, arrived, rejected."""
    of_source = tuple(run[f"source_record_{name}"] for name in ("count", "updates", "deletes", "invalids"))
    return (*of_source, run["records_processed"], run["records_updated"], run["records_failed"])


def test_a_run_from_start_to_end(both: Census, table: Table) -> None:
    sync = both.create(table.settings())
    both.fault(sync=sync, queued_seconds=0.4, working_seconds=0.4)
    run = both.trigger(sync)
    queued = both.run(run)
    assert (queued["status"], queued["records_processed"], queued["completed_at"]) == ("queued", None, None)
    assert both.get(f"/syncs/{sync}")["status"] == "Working"
    working = both.wait(run, "working")
    assert working["current_step"]
    done = both.wait(run)
    assert (done["status"], done["canceled"], done["full_sync"], done["error_code"]) == ("completed", False, True, None)
    assert counts(done) == (3, 3, 0, 0, 3, 3, 0)
    assert done["records_invalid"] == 0
    assert done["created_at"] < working["updated_at"] <= done["completed_at"]
    assert done["sync_trigger_reason"]["ui_tag"] == "Manual"
    assert both.get(f"/syncs/{sync}/sync_runs") == [done]
    assert both.get(f"/syncs/{sync}")["status"] == "Ready"
    assert both.arrived(table.object) == {
        "1": {"external_id": 1, "name": "Zoë"},
        "2": {"external_id": 2, "name": None},
        "3": {"external_id": 3, "name": "Ada"},
    }


def test_only_what_changed_is_sent(census: Census, table: Table) -> None:
    sync = census.create(table.settings())
    census.ran(sync)
    assert counts(census.ran(sync)) == (3, 0, 0, 0, 0, 0, 0)
    table.execute("UPDATE {} SET name = 'Bob' WHERE id = 2")
    table.execute("INSERT INTO {} VALUES (4, 'Eve')")
    table.execute("DELETE FROM {} WHERE id = 3")
    run = census.ran(sync)
    assert counts(run) == (3, 2, 1, 0, 2, 2, 0)
    assert run["full_sync"] is False
    # Update or create: nothing is deleted there.
    assert {key: record["name"] for key, record in census.arrived(table.object).items()} == {
        "1": "Zoë",
        "2": "Bob",
        "3": "Ada",
        "4": "Eve",
    }
    full = census.ran(sync, force_full_sync="true")
    assert counts(full) == (3, 0, 0, 0, 3, 3, 0)
    assert full["full_sync"] is True


def test_a_full_run_is_not_asked_for_in_the_body_nor_of_append(census: Census, table: Table) -> None:
    sync = census.create(table.settings())
    census.ran(sync)
    run = census.http.post(f"/syncs/{sync}/trigger", json={"force_full_sync": True}).json()["data"]["sync_run_id"]
    assert census.wait(run)["full_sync"] is False
    assert census.http.post(f"/syncs/{sync}/trigger", params={"force_full_sync": "yes"}).status_code == 422
    append = census.create(table.settings(operation="append"))
    refused = census.http.post(f"/syncs/{append}/trigger", params={"force_full_sync": "true"})
    assert refused.status_code == 422
    assert "append" in refused.json()["message"]
    assert census.get(f"/syncs/{append}/sync_runs") == []
    assert census.ran(append)["full_sync"] is False


def test_a_mirror_deletes(census: Census, table: Table) -> None:
    sync = census.create(table.settings(operation="mirror"))
    census.ran(sync)
    table.execute("DELETE FROM {} WHERE id < 3")
    assert counts(census.ran(sync)) == (1, 0, 2, 0, 2, 2, 0)
    assert list(census.arrived(table.object)) == ["3"]


def test_rows_without_a_key_of_their_own_are_invalid(census: Census, table: Table) -> None:
    table.execute("INSERT INTO {} VALUES (NULL, 'nobody'), (3, 'another 3')")
    sync = census.create(table.settings())
    run = census.ran(sync)
    assert counts(run) == (5, 2, 0, 3, 2, 2, 0)
    assert run["records_invalid"] == 3
    assert list(census.arrived(table.object)) == ["1", "2"]


def test_the_destination_rejects_and_the_next_run_tries_again(census: Census, table: Table) -> None:
    sync = census.create(table.settings())
    destination = f"{census.base}/local/destinations/Braze"
    assert census.http.post(destination, json={"rules": {"name": ".+"}}).status_code == 200
    assert counts(census.ran(sync)) == (3, 3, 0, 0, 3, 2, 1)
    assert counts(census.ran(sync)) == (3, 1, 0, 0, 1, 0, 1)
    census.http.post(destination, json={"rules": {}})
    assert counts(census.ran(sync)) == (3, 1, 0, 0, 1, 1, 0)
    assert list(census.arrived(table.object)) == ["1", "2", "3"]
    for wrong in ({"rules": {"name": "("}}, {"rules": 1}, {"rules": {"name": 1}}):
        assert census.http.post(destination, json=wrong).status_code == 400
    assert census.http.get(f"{census.base}/local/destinations/Salesforce").status_code == 404


def test_snowflake_as_the_source(census: Census, snowflake_table: Table) -> None:
    sync = census.create(snowflake_table.settings())
    assert counts(census.ran(sync)) == (3, 3, 0, 0, 3, 3, 0)
    snowflake_table.execute("UPDATE {} SET NAME = 'Bob' WHERE ID = 2")
    assert counts(census.ran(sync)) == (3, 1, 0, 0, 1, 1, 0)
    assert census.arrived(snowflake_table.object)["2"] == {"external_id": 2, "name": "Bob"}


@pytest.mark.parametrize("source", ["table", "snowflake_table"])
def test_a_source_that_is_not_there(census: Census, source: str, request: pytest.FixtureRequest) -> None:
    table: Table = request.getfixturevalue(source)
    wrong_column = table.settings()
    wrong_column["mappings"][1]["from"]["data"] = "nonsense"
    for settings, code in ((wrong_column, "SOURCE_COLUMN_NOT_FOUND"), (table.settings(), "SOURCE_OBJECT_NOT_FOUND")):
        if settings is not wrong_column:
            table.execute("DROP TABLE {}")
        run = census.ran(census.create(settings))
        assert (run["status"], run["error_code"], run["records_processed"]) == ("failed", code, None)
        assert table.name in run["error_message"]
        assert run["error_detail"]
        # As in the API's own examples.
        assert run["completed_at"] is None


@pytest.mark.parametrize("kind", ["VIEW", "MATERIALIZED VIEW"])
def test_views_of_materialize(census: Census, table: Table, kind: str) -> None:
    table.execute(f"CREATE {kind} {{}}_v AS SELECT * FROM {{0}}".replace("{}_v", "{0}_v"))
    settings = table.settings()
    settings["source_attributes"]["object"]["table_name"] += "_v"
    assert census.ran(census.create(settings))["records_updated"] == 3


def test_an_overlap_ends_skipped(both: Census, table: Table) -> None:
    sync = both.create(table.settings())
    both.fault(sync=sync, queued_seconds=0.05, working_seconds=0.8)
    first, second = both.trigger(sync), both.trigger(sync)
    assert both.wait(second)["status"] == "skipped"
    assert both.run(first)["status"] == "working"
    skipped = both.run(second)
    assert (skipped["records_processed"], skipped["completed_at"], skipped["error_code"]) == (None, None, None)
    assert both.wait(first)["status"] == "completed"
    assert [run["id"] for run in both.get(f"/syncs/{sync}/sync_runs")] == [second, first]


@pytest.mark.parametrize("status", ["queued", "working"])
def test_a_cancelled_run_completes_and_delivers_nothing(both: Census, table: Table, status: str) -> None:
    sync = both.create(table.settings())
    both.fault(sync=sync, queued_seconds=5 if status == "queued" else 0, working_seconds=5)
    run = both.trigger(sync)
    both.wait(run, status)
    assert both.http.post(f"/sync_runs/{run}/cancel").json() == {"status": "cancelled", "data": {}}
    ended = both.wait(run)
    assert (ended["status"], ended["canceled"], ended["records_updated"]) == ("completed", True, None)
    assert ended["completed_at"]
    assert both.arrived(table.object) == {}
    assert both.http.post(f"/sync_runs/{run}/cancel").status_code == 404
    both.fault(sync=sync, queued_seconds=0, working_seconds=0)
    assert counts(both.ran(sync)) == (3, 3, 0, 0, 3, 3, 0)


def test_a_schedule_runs_by_itself_and_skips(census: Census, table: Table) -> None:
    table.execute("CREATE MATERIALIZED VIEW {0}_mv AS SELECT * FROM {0}")
    settings = table.settings(schedule_frequency="continuous", paused=True)
    settings["source_attributes"]["object"]["table_name"] += "_mv"
    sync = census.create(settings)
    census.fault(sync=sync, poll_seconds=0.2, working_seconds=0.5)
    assert census.http.patch(f"/syncs/{sync}", json={"paused": False}).json()["data"]["paused"] is False
    try:
        skipped = eventually(
            lambda: [run for run in census.get(f"/syncs/{sync}/sync_runs") if run["status"] == "skipped"]
        )
        assert skipped[0]["sync_trigger_reason"]["ui_tag"] == "Schedule"
        assert skipped[0]["scheduled_execution_time"]
    finally:
        census.http.patch(f"/syncs/{sync}", json={"paused": True})
    eventually(lambda: all(run["status"] in ("completed", "skipped") for run in census.get(f"/syncs/{sync}/sync_runs")))
    assert len(census.arrived(table.object)) == 3
