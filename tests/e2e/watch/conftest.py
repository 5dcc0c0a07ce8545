"""Waits against the stack's bucket, with exports played by the tests: a sentinel, data, and the sentinel's deletion."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from mz_orchestration.local.stack import LocalStack
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location

BUCKET = "mz-exports"
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def in_the_stack(environment: dict[str, str]) -> None:
    """Everything in this folder talks to the stack."""


class Export:
    """An export whose steps the test takes one by one."""

    def __init__(self, store: ObjectStore, folder: Location, bucket: str = BUCKET) -> None:
        self.s3 = store.client
        self.folder = folder
        self.sentinel = f"{folder.key}mz-t12-INCOMPLETE"

    def begin(self) -> Export:
        self.s3.put_object(Bucket=self.folder.bucket, Key=self.sentinel, Body=b"")
        return self

    def write(self, number: int = 0) -> Export:
        key = f"{self.folder.key}mz-t12-batch-{number:04d}-0000.parquet"
        self.s3.put_object(Bucket=self.folder.bucket, Key=key, Body=b"data")
        return self

    def end(self) -> Export:
        self.s3.delete_object(Bucket=self.folder.bucket, Key=self.sentinel)
        return self


@pytest.fixture
def base() -> Location:
    """A folder of one's own."""
    return Location(BUCKET, f"watch/{next(_numbers):04d}/")


@pytest.fixture
def new_export(store: ObjectStore, base: Location) -> Callable[..., Export]:
    return lambda name="one": Export(store, base.child(f"{name}/"))


@pytest.fixture
def requests(stack: LocalStack) -> Callable[[Location], list[str]]:
    """The requests the bucket has answered: ``HEAD`` with keys, ``LIST``; of LISTs the prefix is not written down."""

    def read(below: Location) -> list[str]:
        lines = (stack.folder / "s3_requests.jsonl").read_text().splitlines()
        found = []
        for entry in map(json.loads, lines):
            if entry["method"] == "HEAD" and entry["path"].startswith(f"/{below.bucket}/{below.key}"):
                found.append("HEAD")
            elif "list-type" in entry["query"]:
                found.append("LIST")
        return found

    return read


class Command:
    """``mz-orchestration wait`` as a child process."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.process = Popen(
            [sys.executable, "-m", "mz_orchestration.cli", "wait", *arguments],
            env={**os.environ, **environment},
            cwd=folder,
            stdout=PIPE,
            stderr=PIPE,
            text=True,
        )

    def says(self, text: str) -> None:
        """Read standard error up to a line with a text."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if text in line:
                return
        raise AssertionError(f"it never said {text!r}")

    def ended(self) -> tuple[int, str, str]:
        output, errors = self.process.communicate(timeout=60)
        return self.process.returncode, output, errors


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    started: list[Command] = []

    def start(*arguments: str, **environment: str) -> Command:
        started.append(Command(tmp_path, *arguments, **environment))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()
