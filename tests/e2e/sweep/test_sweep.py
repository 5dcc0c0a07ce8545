"""What a sweep removes, and that it leaves everything else as it was."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from datetime import timedelta

import pytest

from mz_orchestration.errors import MzOrchestrationError
from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.exports.stored_manifest import check_against_store, read_manifest
from mz_orchestration.exports.sweep import sweep, sweep_flow
from mz_orchestration.exports.sweep.look import SweepContext
from mz_orchestration.flow import Clock, arun
from mz_orchestration.materialize.session import Session
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location, parse_location
from mz_orchestration.progress import ignore
from mz_orchestration.runs.store import RunStore

from .conftest import DATA, EXPORT, SENTINEL, Later, everything, leave_attempt, leave_upload

Command = Callable[..., subprocess.CompletedProcess[str]]
NOW = timedelta(0)


def finished_run(base: Location, key: str) -> Location:
    spec = export_spec(object=EXPORT, to=str(base), connection="local_s3")
    return parse_location(run_export(spec, run_key=key).manifest_url, field="manifest")


def test_failed_attempts_go_and_nothing_else(base: Location, store: ObjectStore, command: Command) -> None:
    manifest = finished_run(base, "finished")
    divides = "SELECT 1 / (order_id - order_id) AS x FROM shop.order_lines"
    with pytest.raises(MzOrchestrationError):
        run_export(export_spec(object="fails", query=divides, to=str(base), connection="local_s3"), run_key="fails")
    [left] = [key for key in everything(store, base)[0] if "/fails/" in key and "/.runs/" not in key]
    assert left.endswith("-INCOMPLETE")
    failed = leave_attempt(store, base, "failed", "failed", DATA, SENTINEL, "readme.md")
    leave_upload(store, failed)
    stale = leave_upload(store, manifest.parent)
    film = leave_upload(store, failed, "film.mp4")
    store.put(base.child("notes.txt"), b"keep")
    leave_attempt(store, base, "open", "started")
    before = everything(store, base)

    shown = command("sweep", str(base), "--older-than", "0", "--json")
    assert shown.returncode == 0, shown.stderr
    plan = json.loads(shown.stdout)
    assert everything(store, base) == before
    assert (plan["deleted"], plan["found"], plan["done"]) == (0, 3, 0)
    assert (plan["folders"][1]["path"], plan["folders"][1]["files"]) == (str(failed), 2)
    assert [item["upload_id"] for item in plan["uploads"]] == [stale]
    # Notes and the readme; the upload of a film; the attempt whose end nobody wrote down.
    assert (plan["others"], plan["other_uploads"], plan["finished"]) == (2, 1, 1)
    assert [(item["fate"], "state started" in item["why"]) for item in plan["kept"]] == [("young", True)]

    done = command("sweep", str(base), "--older-than", "0", "--delete", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "removed: 3 of 3" in done.stdout
    gone = {left, failed.key + DATA, failed.key + SENTINEL}
    objects, uploads = everything(store, base)
    assert objects == {key: etag for key, etag in before[0].items() if key not in gone}
    assert uploads == {film}
    assert "to remove: 0" in command("sweep", str(base), "--older-than", "0", "--quiet").stdout

    check_against_store(store, read_manifest(store, manifest), None)
    assert run_export(export_spec(object=EXPORT, to=str(base), connection="local_s3"), run_key="finished").repeated


def test_an_attempt_nobody_closed_is_closed_first(base: Location, store: ObjectStore) -> None:
    location = leave_attempt(store, base, "killed", "started")
    unknown = leave_attempt(store, base, "no-record", None)
    later = Later(days=2)
    result = sweep(str(base), delete=True, clock=later)
    assert sorted(item.path for item in result.folders if item.done) == sorted([str(location), str(unknown)])
    assert result.problems == ()
    assert [key.rpartition("/")[2][-5:] for key in everything(store, base)[0]] == [".json"]
    stored = RunStore(store, base).find(EXPORT, "killed")
    assert stored is not None
    [attempt] = stored.record.attempts
    assert (attempt.state, stored.record.state) == ("abandoned", "failed")
    assert attempt.error is not None
    assert "Swept" in attempt.error["message"]
    assert sweep(str(base), delete=True, clock=later).found == 0


def test_one_export_of_several(base: Location, store: ObjectStore) -> None:
    leave_attempt(store, base, "a", "failed")
    other = base.child("shop.lines/20200101T000000Z-00000000-01/" + SENTINEL)
    store.put(other, b"")
    result = sweep(str(base.child(EXPORT)), older_than=NOW, delete=True)
    assert [item.done for item in result.folders] == [True]
    assert other.key in everything(store, base)[0]


def test_on_an_event_loop(base: Location, store: ObjectStore) -> None:
    leave_attempt(store, base, "a", "failed")
    context = SweepContext(Clock(), ignore, store, Session)
    result = asyncio.run(arun(sweep_flow(base, context, older_than=NOW, delete=True)))
    assert result.to_metadata()["done"] == 1


def test_an_empty_folder(base: Location, command: Command) -> None:
    done = command("sweep", str(base), "--json")
    assert (done.returncode, json.loads(done.stdout)["found"]) == (0, 0)


@pytest.mark.parametrize("arguments", [["s3://mz-exports/x/", "--older-than", "soon"], ["s3://no-such-bucket/x/"]])
def test_bad_input(arguments: list[str], command: Command) -> None:
    assert command("sweep", *arguments).returncode == 2
