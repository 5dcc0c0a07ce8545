"""Things that killed and failed exports leave behind, and a clock that is late enough to sweep them."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mz_orchestration.exports.paths import attempt_location
from mz_orchestration.flow import Clock
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location, parse_folder
from mz_orchestration.runs.key import record_location
from mz_orchestration.runs.record import Attempt, AttemptState, RunRecord
from mz_orchestration.runs.store import RunStore, StoredRun

EXPORT = "shop.orders"
SENTINEL, DATA = "mz-t1-INCOMPLETE", "mz-t1-batch-0000-0000.parquet"


class Later(Clock):
    """Now and then some."""

    def __init__(self, **later: float) -> None:
        self.later = timedelta(**later)

    def now(self) -> datetime:
        return super().now() + self.later


@pytest.fixture(autouse=True)
def in_the_stack(environment: dict[str, str]) -> None:
    """Everything in this folder talks to the stack."""


@pytest.fixture
def base() -> Location:
    """A folder of the test's own."""
    return parse_folder(f"s3://mz-exports/sweep-{uuid.uuid4().hex[:8]}/", field="base")


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mz_orchestration.cli", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def everything(store: ObjectStore, base: Location) -> tuple[dict[str, str], set[str]]:
    """All that lies below a folder: ETags by key, and ids of unfinished uploads."""
    objects = {item.key: item.etag for item in store.list_objects(base)}
    return objects, {upload.upload_id for upload in store.list_uploads(base)}


def leave_attempt(
    store: ObjectStore,
    base: Location,
    key: str,
    state: str | None,
    *names: str,
    pid: int = 999_999,
    session: str = "gone",
    **fields: Any,
) -> Location:
    """A run's only attempt as it was left, and its record unless ``state`` is None."""
    now = Clock().now()
    location = attempt_location(base, EXPORT, key, 1, now)
    for name in names or (DATA, SENTINEL):
        store.put(location.child(name), b"x")
    if state is not None:
        closed = {"finished_at": now} if state in ("failed", "abandoned") else {}
        attempt = Attempt(
            **{
                "number": 1,
                "path": str(location),
                "state": AttemptState(state),
                "pid": pid,
                "session": session,
                "environment": materialize_id(),
                "started_at": now,
                **closed,
                **fields,
            }
        )
        save_record(store, base, key, attempt)
    return location


def save_record(store: ObjectStore, base: Location, key: str, *attempts: Attempt) -> None:
    now = Clock().now()
    record = RunRecord(
        run_key=key,
        export=EXPORT,
        object=EXPORT,
        spec_fingerprint="f",
        spec={},
        created_at=now,
        updated_at=now,
        attempts=list(attempts),
    )
    RunStore(store, base).save(StoredRun(record, record_location(base, EXPORT, key), None), now)


def leave_upload(store: ObjectStore, folder: Location, name: str = DATA) -> str:
    """A multipart upload that nobody goes on with."""
    answer = store.client.create_multipart_upload(Bucket=folder.bucket, Key=folder.key + name)
    store.client.upload_part(
        Bucket=folder.bucket, Key=folder.key + name, UploadId=answer["UploadId"], PartNumber=1, Body=b"part"
    )
    return answer["UploadId"]


def materialize_id() -> str:
    """The id of the stack's Materialize."""
    with psycopg.connect(autocommit=True) as connection:
        [[found]] = connection.execute("SELECT mz_environment_id()").fetchall()
        return str(found)
