"""What Materialize and the store may do to an export, and what the export says of it."""

from __future__ import annotations

import json
import time
from typing import Any

import psycopg
import pytest

from mz_orchestration.errors import (
    CredentialsError,
    DeadlineError,
    ExportError,
    UnavailableError,
    VerificationError,
)
from mz_orchestration.exports import publish
from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.latest import Latest, point_to_latest, read_latest
from mz_orchestration.exports.policy import ExportPolicy
from mz_orchestration.exports.stored_manifest import check_against_store
from mz_orchestration.exports.verify_level import VerifyLevel
from mz_orchestration.local.faults import Answer, FaultProxy, Match, Reset, StaleListing, Truncate
from mz_orchestration.local.materialize.faults import copy_faults
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import parse_folder
from mz_orchestration.runs.record import AttemptState
from mz_orchestration.runs.store import RunStore
from mz_orchestration.snowflake.load import run_load
from mz_orchestration.snowflake.spec import load_spec

from .conftest import BASE, Brisk, Spec, active_copies

Sql = psycopg.Connection[Any]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"sentinel_deleted_though_failed": True}, "InternalError"),
        ({"partial_files": 1}, "InternalError"),
        ({"fail_with": "no space left on device"}, "no space left on device"),
    ],
)
def test_a_copy_that_fails_is_no_export_whatever_it_leaves(
    fault: dict[str, Any], says: str, spec: Spec, materialize: Sql, store: ObjectStore, runs: RunStore, order_count: int
) -> None:
    name = f"fails_{next(iter(fault))}"
    with copy_faults(materialize, **fault, target=f"/{name}/", times=1), pytest.raises(ExportError, match=says):
        run_export(spec(name), run_key=name, store=store)
    stored = runs.find(name, name)
    assert stored is not None
    assert stored.record.manifest is None
    assert stored.record.attempts[-1].state is AttemptState.FAILED
    result = run_export(spec(name), run_key=name, store=store)
    assert (result.attempt, result.manifest.rows, result.manifest.copied) == (2, order_count, order_count)


def test_a_replica_that_starts_over_counts_once(
    spec: Spec, materialize: Sql, store: ObjectStore, order_count: int
) -> None:
    with copy_faults(materialize, restart_same_id=True, target="/restart/"):
        result = run_export(spec("restart"), run_key="restart", store=store)
    assert (result.attempt, result.manifest.rows) == (1, order_count)
    keys = [file.name for file in result.manifest.files]
    assert len(keys) == len(set(keys))


def test_the_deadline_holds_although_a_cancel_is_lost(
    spec: Spec, materialize: Sql, store: ObjectStore, order_count: int
) -> None:
    with (
        copy_faults(materialize, cancel_lost_in_preflight=2.0, slow_rows=0.01, target="/deadline/"),
        pytest.raises(DeadlineError, match=r"longer than"),
    ):
        run_export(spec("deadline", timeout=0.5), run_key="deadline", store=store)
    assert active_copies(materialize, "deadline") == 0
    result = run_export(spec("deadline", timeout=600), run_key="deadline", store=store)
    assert (result.attempt, result.manifest.rows) == (2, order_count)


def wait_until_rewritten(store: ObjectStore, folder: Any, etags: set[str]) -> None:
    deadline = time.monotonic() + 20
    while {item.etag for item in store.list_objects(folder) if "-batch-" in item.key} & etags:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_files_that_a_late_replica_puts_once_more_are_loaded_with_a_warning(
    spec: Spec, materialize: Sql, store: ObjectStore, order_count: int
) -> None:
    with copy_faults(materialize, second_replica=0.5, target="/replica/"):
        result = run_export(spec("replica"), run_key="replica", store=store)
        wait_until_rewritten(store, result.manifest.folder, {file.etag for file in result.manifest.files})
    warnings = check_against_store(store, result.manifest, None)
    assert warnings
    notes: list[str] = []
    load = run_load(
        load_spec(manifest=result.manifest_url, stage="DEMO.PUBLIC.MZ_STAGE", table="DEMO.PUBLIC.REPLICA"),
        store=store,
        on_event=lambda event: notes.append(event.message),
    )
    assert load.rows == order_count
    assert set(warnings) <= set(notes)


def test_a_busy_store_is_asked_again(spec: Spec, web: FaultProxy, proxied_store: ObjectStore, order_count: int) -> None:
    with (
        web.fault(Answer(503), times=2) as slow_down,
        web.fault(Answer(500), match=Match(method="PUT"), times=1) as internal,
        web.fault(Reset(), match=Match(method="GET", query="list-type"), times=1) as reset,
        web.fault(Truncate(after_bytes=10), match=Match(method="GET", path=r"\.parquet$"), times=1) as cut,
    ):
        result = run_export(spec("busy"), run_key="busy", store=proxied_store)
    assert [fault.hits for fault in (slow_down, internal, reset, cut)] == [2, 1, 1, 1]
    assert result.manifest.rows == order_count


def test_a_store_that_stays_busy_ends_the_call_but_not_the_export(
    spec: Spec, web: FaultProxy, proxied_store: ObjectStore, store: ObjectStore, order_count: int
) -> None:
    with (
        web.fault(Answer(429), match=Match(method="GET", path=r"\.parquet$")),
        pytest.raises(UnavailableError) as raised,
    ):
        run_export(spec("too_busy"), run_key="too-busy", store=proxied_store)
    assert raised.value.retryable
    result = run_export(spec("too_busy"), run_key="too-busy", store=store)
    assert (result.attempt, result.manifest.copied) == (1, order_count)


def test_a_store_that_refuses_to_list_is_never_a_finished_export(
    spec: Spec, web: FaultProxy, proxied_store: ObjectStore, store: ObjectStore
) -> None:
    with (
        web.fault(Answer(403), match=Match(method="GET", query="list-type")),
        pytest.raises(CredentialsError, match="refused to list"),
    ):
        run_export(spec("forbidden"), run_key="forbidden", store=proxied_store)
    assert run_export(spec("forbidden"), run_key="forbidden", store=store).attempt == 1


def test_a_listing_that_lags_behind_is_waited_for(
    spec: Spec, web: FaultProxy, proxied_store: ObjectStore, materialize: Sql, order_count: int
) -> None:
    """A store that lists with a delay: the sentinel seems to be there although the COPY was answered."""
    name = "stale"
    base = parse_folder(BASE, field="base")

    class Later(Brisk):
        pauses = 0

        def sleep(self, seconds: float) -> None:
            self.pauses += 1
            if self.pauses == 3:
                web.clear()
            super().sleep(seconds)

    clock = Later()

    def listen(event: Any) -> None:
        if (event.step, event.state) == ("copy", "started"):
            # What the folder looks like before anything is in it is what will be served after the COPY.
            web.add(StaleListing(), match=Match(query="list-type", path=base.bucket))
            proxied_store.list_objects(parse_folder(event.message.rpartition(" ")[2], field="path"))

    result = run_export(spec(name), run_key=name, store=proxied_store, clock=clock, on_event=listen)
    assert clock.pauses >= 3
    assert result.manifest.rows == order_count


def test_a_listing_that_never_agrees_is_an_error(
    spec: Spec, web: FaultProxy, proxied_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "SENTINEL_GRACE", 0.5)

    def listen(event: Any) -> None:
        if (event.step, event.state) == ("copy", "started"):
            web.add(StaleListing(), match=Match(query="list-type"))
            proxied_store.list_objects(parse_folder(event.message.rpartition(" ")[2], field="path"))

    with pytest.raises(VerificationError, match="holds no data file"):
        run_export(spec("never"), run_key="never", store=proxied_store, clock=Brisk(), on_event=listen)


@pytest.mark.parametrize("level", list(VerifyLevel))
@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_how_closely_files_are_looked_at(
    level: VerifyLevel, format: str, spec: Spec, store: ObjectStore, order_count: int
) -> None:
    name = f"level_{level}_{format}"
    policy = ExportPolicy(verify=level)
    result = run_export(spec(name, format=format), run_key=name, store=store, policy=policy)
    manifest = result.manifest
    assert (manifest.verified, manifest.rows, manifest.copied) == (level, order_count, order_count)
    counts = [file.rows for file in manifest.files]
    assert counts == [None] * len(counts) if level is VerifyLevel.LISTING else sum(map(int, counts)) == order_count  # type: ignore[arg-type]


def test_the_manifest_says_where_everything_came_from(
    spec: Spec, materialize: Sql, store: ObjectStore, order_count: int
) -> None:
    before = materialize.execute("SELECT mz_now()::text").fetchone()
    result = run_export(spec("described"), run_key="described", store=store, policy=ExportPolicy(count=True))
    after = materialize.execute("SELECT mz_now()::text").fetchone()
    manifest = result.manifest
    assert before is not None
    assert after is not None
    assert manifest.timestamp is not None
    assert int(before[0]) <= manifest.timestamp <= int(after[0])
    assert (manifest.copied, manifest.counted, manifest.rows) == (order_count,) * 3
    assert manifest.cluster == "quickstart"
    assert manifest.materialize_version.startswith("v")
    assert manifest.copied_at is not None
    assert manifest.started_at <= manifest.copied_at <= manifest.finished_at
    stored = json.loads(store.get(manifest.location)[0])
    assert [column["name"] for column in stored["columns"]] == [column.name for column in manifest.columns]


def test_the_pointer_leads_to_the_newest_export_only(spec: Spec, store: ObjectStore) -> None:
    base = parse_folder(BASE, field="base")
    first = run_export(spec("pointed"), run_key="pointed-1", store=store).manifest
    assert read_latest(store, base, "pointed") == first
    second = run_export(spec("pointed"), run_key="pointed-2", store=store).manifest
    assert read_latest(store, base, "pointed") == second
    # An old run that ends late does not take readers back.
    assert not point_to_latest(store, first)
    assert read_latest(store, base, "pointed") == second
    at = base.child("pointed/_latest.json")
    store.put(at, b"not ours")
    with pytest.raises(VerificationError, match="is not a pointer to a manifest"):
        read_latest(store, base, "pointed")
    assert point_to_latest(store, second)
    assert Latest.model_validate_json(store.get(at)[0]).manifest == str(second.location)
    load = run_load(load_spec(manifest=str(at), stage="DEMO.PUBLIC.MZ_STAGE", table="DEMO.PUBLIC.POINTED"), store=store)
    assert load.manifest == second
