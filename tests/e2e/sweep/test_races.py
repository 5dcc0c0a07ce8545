"""The store refuses, Materialize is away, the sweep is interrupted, and others are at work meanwhile."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from mz_orchestration.exports.sweep import sweep
from mz_orchestration.exports.sweep.look import SweepStep
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location
from mz_orchestration.progress import Event
from mz_orchestration.runs.store import RunStore

from .conftest import DATA, EXPORT, SENTINEL, Later, everything, leave_attempt

Command = Callable[..., subprocess.CompletedProcess[str]]
NOW = timedelta(0)


@pytest.fixture
def refuse_deletes(store: ObjectStore) -> Iterator[Callable[[Location], None]]:
    """Makes the store refuse to delete below a folder."""

    def refuse(folder: Location) -> None:
        statement = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:DeleteObject",
            "Resource": f"arn:aws:s3:::{folder.bucket}/{folder.key}*",
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        store.client.put_bucket_policy(Bucket=folder.bucket, Policy=policy)

    yield refuse
    store.client.delete_bucket_policy(Bucket="mz-exports")


def test_a_refused_delete_does_not_stop_the_others(
    base: Location, store: ObjectStore, command: Command, refuse_deletes: Callable[[Location], None]
) -> None:
    refused = leave_attempt(store, base, "a", "failed")
    leave_attempt(store, base, "b", "failed")
    refuse_deletes(refused)
    done = command("sweep", str(base), "--older-than", "0", "--delete", "--json")
    assert done.returncode == 3, done.stderr
    result = json.loads(done.stdout)
    assert {item["path"]: item["done"] for item in result["folders"]}.pop(str(refused)) is False
    assert (result["done"], result["problems"][0]["type"]) == (1, "CredentialsError")
    assert "s3:DeleteObject" in done.stderr
    assert store.head(refused.child(SENTINEL)) is not None


def test_without_materialize_what_may_run_is_kept(
    base: Location, store: ObjectStore, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_attempt(store, base, "failed", "failed")
    open_attempt = leave_attempt(store, base, "open", "started")
    monkeypatch.setenv("PGPORT", "1")
    result = sweep(str(base), delete=True, clock=Later(days=9))
    assert [error.retryable for error in result.problems] == [True]
    assert [(item.path, item.fate) for item in result.kept] == [(str(open_attempt), "live")]
    assert result.done == 1
    # Said beforehand, that is no problem.
    quiet = command("sweep", str(base), "--no-sessions")
    assert quiet.returncode == 0
    assert "Materialize was not asked" in quiet.stderr
    assert command("sweep", str(base)).returncode == 5


def test_a_record_that_cannot_be_read_keeps_its_attempt(base: Location, store: ObjectStore) -> None:
    location = leave_attempt(store, base, "a", "failed")
    [record] = [key for key in everything(store, base)[0] if "/.runs/" in key]
    store.put(Location(base.bucket, record), b"{}")
    result = sweep(str(base), delete=True, clock=Later(days=9))
    assert [(item.path, item.fate) for item in result.kept] == [(str(location), "unclear")]
    assert (result.found, len(result.problems)) == (0, 1)
    assert store.head(location.child(DATA)) is not None


class Meddling(ObjectStore):
    """The store, with something that happens right before the first request of a kind."""

    def __init__(self, method: str, meddle: Callable[[], None]) -> None:
        super().__init__()
        self._method, self._meddle = method, meddle

    def put(self, at: Location, *arguments: Any, **keywords: Any) -> str:
        self._before("put")
        return super().put(at, *arguments, **keywords)

    def delete(self, at: Location) -> None:
        self._before(f"delete {at.name}")
        super().delete(at)

    def _before(self, method: str) -> None:
        if method == self._method:
            self._method = ""
            self._meddle()


def test_a_run_that_goes_on_meanwhile_wins(base: Location, store: ObjectStore) -> None:
    """Another process writes the record between our reading it and our closing the attempt."""
    location = leave_attempt(store, base, "a", "started")

    def go_on() -> None:
        runs = RunStore(store, base)
        stored = runs.find(EXPORT, "a")
        assert stored is not None
        runs.save(stored, stored.record.updated_at + timedelta(seconds=1))

    result = sweep(str(base), delete=True, store=Meddling("put", go_on), clock=Later(days=2))
    assert [(item.path, item.fate) for item in result.kept] == [(str(location), "live")]
    assert (result.folders, result.problems) == ((), ())
    assert store.head(location.child(DATA)) is not None


@pytest.mark.parametrize("moment", ["before it is looked at again", "after it is marked"])
def test_a_manifest_that_appears_meanwhile_keeps_its_files(moment: str, base: Location, store: ObjectStore) -> None:
    location = leave_attempt(store, base, "a", "started")

    def publish() -> None:
        store.put(location.child("_manifest.json"), b"{}")

    def listen(event: Event) -> None:
        if moment.startswith("before") and (event.step, event.state) == (SweepStep.REMOVE, "started"):
            publish()

    meddling = Meddling("put" if moment.startswith("after") else "", publish)
    result = sweep(str(base), delete=True, store=meddling, on_event=listen, clock=Later(days=2))
    assert [(item.path, item.fate) for item in result.kept] == [(str(location), "finished")]
    assert store.head(location.child(DATA)) is not None


class Interrupt(BaseException):
    """As a person or an orchestrator stops a sweep."""


def test_an_interrupted_sweep_leaves_the_sentinel_and_is_repeated(base: Location, store: ObjectStore) -> None:
    names = [f"mz-t1-batch-0000-{number:04}.parquet" for number in range(30)]
    location = leave_attempt(store, base, "a", "started", *names, SENTINEL)

    def interrupt() -> None:
        raise Interrupt

    later = Later(days=2)
    with pytest.raises(Interrupt):
        sweep(str(base), delete=True, store=Meddling(f"delete {names[3]}", interrupt), clock=later)
    assert store.head(location.child(SENTINEL)) is not None
    assert store.head(location.child(names[3])) is not None
    assert store.head(location.child(names[0])) is None
    result = sweep(str(base), delete=True, clock=later)
    assert [item.done for item in result.folders] == [True]
    assert store.list_objects(location) == []
