"""Retention in a real bucket: what goes, what stays, and going on after it was stopped half-way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from mz_orchestration.errors import UnavailableError
from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.latest import read_latest
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.flow import Clock, run_coroutine
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location, parse_folder
from mz_orchestration.pipelines.nodes import find_manifest, run_node
from mz_orchestration.pipelines.planning import Plan, plan_pipeline
from mz_orchestration.pipelines.record import PipelineRecord, PipelineState
from mz_orchestration.pipelines.run import run_pipeline
from mz_orchestration.pipelines.spec import PipelineSpec
from mz_orchestration.pipelines.store import PipelineStore
from mz_orchestration.pipelines.tools import NodeResult, Tools
from mz_orchestration.runs.record import LoadEntry, LoadState
from mz_orchestration.runs.store import RunStore

TINY = "SELECT 1 AS one"


class Later(Clock):
    """Some days from now."""

    def __init__(self, days: float) -> None:
        self._ahead = timedelta(days=days)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead


class Stopping(ObjectStore):
    """Stops after so many deletions."""

    def __init__(self, deletions: int) -> None:
        super().__init__()
        self._left = deletions

    def delete(self, at: Location) -> None:
        if self._left == 0:
            raise UnavailableError(f"No more: {at}.")
        self._left -= 1
        super().delete(at)


def plan(name: str, exports: list[dict[str, Any]], folder: str = "", **limits: Any) -> Plan:
    data = {
        "name": name,
        "defaults": {"to": f"s3://mz-exports/retention/{folder or name}/", "connection": "local_s3"},
        "exports": exports,
        "retention": {"keep_last": 1, **limits},
    }
    return plan_pipeline(PipelineSpec.model_validate(data))


def export(the_plan: Plan, run_key: str, store: ObjectStore) -> Manifest:
    for node in the_plan.nodes[:-1]:
        run_coroutine(run_node(node, the_plan, run_key, Tools(store)))
    return find_manifest(the_plan.exports[0], the_plan, run_key, Tools(store))


def retain(the_plan: Plan, store: ObjectStore, days: float = 0) -> NodeResult:
    return run_coroutine(run_node(the_plan.node("retention"), the_plan, "now", Tools(store, clock=Later(days))))


def stopped(the_plan: Plan, deletions: int) -> UnavailableError | None:
    """What a retention that is stopped after so many deletions ends with."""
    try:
        retain(the_plan, Stopping(deletions))
    except UnavailableError as error:
        return error
    return None


@pytest.fixture
def names(store: ObjectStore) -> Callable[[Plan], set[str]]:
    """The names of all objects below a pipeline's folder."""

    def read(the_plan: Plan) -> set[str]:
        base = parse_folder(the_plan.spec.defaults.to, field="to")
        return {item.key.removeprefix(base.key) for item in store.list_objects(base)}

    return read


Names = Callable[[Plan], set[str]]


def test_old_runs_go_without_a_trace_and_everything_else_stays(store: ObjectStore, names: Names) -> None:
    the_plan = plan("plain", [{"name": "tiny", "query": TINY}], keep_last=2)
    stranger = run_export(
        ExportSpec(object="tiny", query=TINY, to=the_plan.spec.defaults.to, connection="local_s3"),
        run_key="plain/by hand/other task",
    ).manifest
    others = names(the_plan)
    manifests = [export(the_plan, str(day), store) for day in range(4)]
    stray = manifests[0].folder.child("a stray.txt")
    store.put(stray, b"not ours")
    result = retain(the_plan, store)
    assert result.metadata == {
        "runs_deleted": 2,
        "files_deleted": len(manifests[0].files) + len(manifests[1].files),
        "bytes_deleted": manifests[0].size + manifests[1].size,
        "runs_kept": 2,
        "files_kept": len(manifests[2].files) + len(manifests[3].files),
        "bytes_kept": manifests[2].size + manifests[3].size,
    }
    left = names(the_plan)
    assert others <= left
    assert {name for name in left if "manifest" in name} == {
        f"tiny/{each.folder.name}/_manifest.json" for each in (stranger, manifests[2], manifests[3])
    }
    # Three runs with manifest and record each, the pointer, and what somebody else put there.
    files = sum(len(each.files) for each in (stranger, manifests[2], manifests[3]))
    assert len(left) == files + 3 * 2 + 2
    assert store.head(stray) is not None
    again = retain(the_plan, store)
    assert again.repeated
    assert names(the_plan) == left


def test_the_young_stay_until_they_are_old(store: ObjectStore) -> None:
    the_plan = plan("young", [{"name": "tiny", "query": TINY}], keep_for="14d")
    for day in range(3):
        export(the_plan, str(day), store)
    assert retain(the_plan, store, days=13.9).metadata["runs_deleted"] == 0
    assert retain(the_plan, store, days=14.1).metadata["runs_deleted"] == 2


@pytest.mark.parametrize("state", [LoadState.STARTED, LoadState.FAILED])
def test_a_run_whose_load_has_not_succeeded_stays(store: ObjectStore, state: LoadState) -> None:
    the_plan = plan(f"load-{state}", [{"name": "tiny", "query": TINY}])
    manifest, *_ = [export(the_plan, str(day), store) for day in range(3)]
    runs = RunStore(store, the_plan.exports[0].spec.base)
    now = datetime.now(UTC)
    entry = LoadEntry(target="DEMO.PUBLIC.TINY", stage="S", state=state, started_at=now)
    runs.put_load(manifest.export, manifest.run_key, entry, now, begins=True)
    assert retain(the_plan, store).metadata["runs_deleted"] == 1
    assert store.head(manifest.location) is not None
    entry = entry.model_copy(update={"state": LoadState.SUCCEEDED})
    runs.put_load(manifest.export, manifest.run_key, entry, now)
    assert retain(the_plan, store).metadata["runs_deleted"] == 1
    assert store.head(manifest.location) is None


def test_what_readers_are_led_to_stays(store: ObjectStore) -> None:
    the_plan = plan("latest", [{"name": "tiny", "query": TINY}])
    first = export(the_plan, "1", store)
    at = first.folder.parent.child("_latest.json")
    pointer, _ = store.get(at)
    for day in (2, 3):
        export(the_plan, str(day), store)
    store.put(at, pointer)
    assert retain(the_plan, store).metadata["runs_deleted"] == 1
    assert read_latest(store, the_plan.exports[0].spec.base, first.export) == first


def test_what_cannot_be_believed_is_left_alone(store: ObjectStore) -> None:
    the_plan = plan("tampered", [{"name": "tiny", "query": TINY}])
    manifests = [export(the_plan, str(day), store) for day in range(3)]
    base = the_plan.exports[0].spec.base
    broken = base.child(f".runs/tiny/{'0' * 32}.json")
    store.put(broken, b"{")
    stored = RunStore(store, base).find("tiny", manifests[0].run_key)
    assert stored is not None
    # A list that leads out of the run's own folder.
    stored.record.manifest = {**manifests[0].to_data(), "path": manifests[2].path}
    RunStore(store, base).save(stored, datetime.now(UTC))
    result = retain(the_plan, store)
    assert (result.metadata["runs_deleted"], result.metadata["unreadable"]) == (1, 2)
    for manifest, there in zip(manifests, (True, False, True), strict=True):
        found = store.list_objects(manifest.folder)
        assert len(found) == (len(manifest.files) + 1 if there else 0)
    assert store.head(broken) is not None


def test_the_record_of_a_group_goes_with_the_last_of_its_members(store: ObjectStore, names: Names) -> None:
    members = [{"name": name, "query": TINY, "consistency_group": "pair"} for name in ("left", "right")]
    the_plan = plan("groups", members)
    export(the_plan, "1", store)
    newest = export(the_plan, "2", store)
    result = retain(the_plan, store)
    assert (result.metadata["runs_deleted"], result.metadata["runs_kept"]) == (2, 2)
    left = names(the_plan)
    assert len([name for name in left if name.startswith(".groups/")]) == 1
    assert len([name for name in left if name.startswith(".runs/")]) == 2
    assert find_manifest(the_plan.exports[0], the_plan, "2", Tools(store)) == newest


def test_stopped_anywhere_the_next_one_goes_on(store: ObjectStore, names: Names) -> None:
    members = [{"name": name, "query": TINY, "consistency_group": "pair"} for name in ("left", "right")]
    the_plan = plan("stopped", members)
    export(the_plan, "1", store)
    before_second = names(the_plan)
    export(the_plan, "2", store)
    old = {name for name in before_second if not name.endswith("_latest.json")}
    left, stops = set(old), 0
    while (error := stopped(the_plan, stops)) is not None:
        assert "old runs are deleted, then: No more" in error.message
        assert "goes on from there" in error.hint
        assert left >= (left := old & names(the_plan))
        stops += 1
    assert stops > 2
    assert not old & names(the_plan)
    assert find_manifest(the_plan.exports[0], the_plan, "2", Tools(store))


def test_records_of_pipeline_runs_go_with_their_files(store: ObjectStore) -> None:
    the_plan = plan("records", [{"name": "tiny", "query": TINY}], keep_last=2)
    for day in range(4):
        record = run_pipeline(the_plan, run_key=str(day))
        assert record.state is PipelineState.SUCCEEDED, record.failed
    base = the_plan.exports[0].spec.base
    left = {each.run_key for each in PipelineStore(store, base).recent("records", 10)}
    # The run itself is not over while its retention works: it is kept beside the newest that are.
    assert left == {"3", "2", "1"}


def test_a_run_in_progress_keeps_its_record(store: ObjectStore) -> None:
    the_plan = plan("progress", [{"name": "tiny", "query": TINY}])
    base = the_plan.exports[0].spec.base
    records = PipelineStore(store, base)
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    for i, state in enumerate(PipelineState):
        made = PipelineRecord(
            pipeline="progress", run_key=str(state), at=str(base), state=state, created_at=long_ago, updated_at=long_ago
        )
        made.created_at += timedelta(days=i)
        records.save(records.new(made), long_ago)
    retain(the_plan, store)
    left = {each.run_key for each in records.recent("progress", 10)}
    assert left == {"running", list(PipelineState)[-1]}


@pytest.mark.usefixtures("environment")
def test_a_bucket_that_keeps_versions_hides_what_was_deleted(store: ObjectStore) -> None:
    client = boto3.client("s3")
    bucket = "mz-versioned"
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    data = plan("versions", [{"name": "tiny", "query": TINY}]).spec.model_dump(mode="json", exclude_none=True)
    data["defaults"]["to"] = f"s3://{bucket}/retention/"
    the_plan = plan_pipeline(PipelineSpec.model_validate(data))
    old = export(the_plan, "1", store)
    export(the_plan, "2", store)
    assert retain(the_plan, store).metadata["runs_deleted"] == 1
    assert store.head(old.location) is None
    versions = client.list_object_versions(Bucket=bucket, Prefix=old.location.key)
    assert len(versions["Versions"]) == len(versions["DeleteMarkers"]) == 1
