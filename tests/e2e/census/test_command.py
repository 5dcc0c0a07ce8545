"""``mz-orchestration census``: what it prints, and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from mz_orchestration.census.client import CensusClient
from mz_orchestration.local.stack import LocalStack

from .conftest import Command

AT = "s3://mz-exports/census-command/"


@pytest.fixture
def fault(environment: dict[str, str]) -> Callable[..., None]:
    def post(**rule: Any) -> None:
        httpx.post(f"{environment['CENSUS_URL']}/local/faults", json=rule).raise_for_status()

    return post


@pytest.fixture
def sync(environment: dict[str, str]) -> str:
    """A copy of the sync that reads Materialize, for one test alone."""
    url, headers = f"{environment['CENSUS_URL']}/api/v2", {"Authorization": f"Bearer {environment['CENSUS_API_TOKEN']}"}
    syncs = httpx.get(f"{url}/syncs", params={"group_id": "local"}, headers=headers).json()["data"]
    [model] = [each for each in syncs if each["label"] == "customers to Braze"]
    fields = ("operation", "source_attributes", "destination_attributes", "mappings")
    made = httpx.post(
        f"{url}/syncs", json={"label": "a \x1b[31m copy", **{name: model[name] for name in fields}}, headers=headers
    )
    made.raise_for_status()
    return str(made.json()["data"]["sync_id"])


def test_a_sync_and_what_is_listed_afterwards(command: Command, sync: str) -> None:
    done = command("sync", sync, "--run-key", "night", "--at", AT)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"synced: sync {sync}  run ")
    assert "failed=0 invalid=0" in done.stdout
    assert [line.split()[0] for line in done.stderr.splitlines() if " s  " in line] == [
        "read", "overlap", "record", "trigger", "wait", "finish"
    ]  # fmt: skip
    again = command("sync", sync, "--run-key", "night", "--at", AT, "--json")
    assert json.loads(again.stdout)["repeated"] == 1

    listed = command("list")
    assert listed.exit_code == 0, listed.stderr
    [line] = [line for line in listed.stdout.splitlines() if line.split()[0] == sync]
    assert "customers" in line
    assert "completed" in line
    assert "\x1b" not in listed.stdout
    [row] = [row for row in json.loads(command("list", "--json").stdout)["syncs"] if row["id"] == sync]
    assert (row["state"], row["schedule"]) == ("completed", "none")

    runs = json.loads(command("runs", sync, "--json").stdout)["runs"]
    assert [run["status"] for run in runs] == ["completed"]
    assert f"run {runs[0]['id']} had ended before" in command("cancel", runs[0]["id"]).stdout


def test_all_are_tried_and_the_worst_counts(command: Command, sync: str, fault: Callable[..., None]) -> None:
    fault(sync=sync, failed_records=1, times=1)
    done = command("sync", sync, "999", sync, "--json")
    assert done.exit_code == 2
    first, second, third = json.loads(done.stdout)["syncs"]
    assert first["error"]["type"] == "RejectedRecordsError"
    assert second["error"]["type"] == "NotFoundError"
    assert third["status"] == "completed"
    assert "1 of " in done.stderr


def test_failed_and_unknown_are_to_be_run_again(command: Command, sync: str, fault: Callable[..., None]) -> None:
    fault(sync=sync, fail_run={"code": "oops", "message": "no \x1b[2J luck"}, times=1)
    failed = command("sync", sync, "-q")
    assert failed.exit_code == 5
    assert "code oops" in failed.stderr
    assert "\x1b" not in failed.stderr
    fault(sync=sync, working_seconds=5)
    late = command("sync", sync, "--timeout", "1", "--max-failed-ratio", "0.123456789")
    assert late.exit_code == 5
    assert f"again: mz-orchestration census sync {sync} --max-failed-ratio 0.123456789 --timeout 1\n" in late.stderr


def test_a_cancel_that_is_refused_is_said_to_be(command: Command, sync: str, fault: Callable[..., None]) -> None:
    fault(sync=sync, working_seconds=20)
    with CensusClient() as client:
        run = client.trigger(sync)
    fault(sync=sync, method="POST", path="/cancel", status=403, times=1)
    refused = command("cancel", run)
    assert refused.exit_code == 3
    assert "refuses" in refused.stderr
    done = command("cancel", run)
    assert (done.exit_code, done.stdout) == (0, f"run {run} has ended: cancelled\n")


def test_a_folder_without_a_run_key(command: Command, sync: str) -> None:
    """In the environment it is for other commands; said here, it is meant."""
    assert command("sync", sync, "-q", MZ_ORCHESTRATION_TO=AT).exit_code == 0
    assert "run_key is missing" in command("sync", sync, "--at", AT).stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sync", "../1"), "sync:"),
        (("sync", "1", "--max-failed", "-1"), "max_failed:"),
        (("sync", "1", "--max-invalid-ratio", "2"), "max_invalid_ratio:"),
        (("sync", "1", "--on-overlap", "queue"), "on_overlap:"),
        (("sync", "1", "--run-key", "night"), "at is missing"),
        (("sync", "1", "--at", AT), "run_key is missing"),
        (("sync", "--", "-1"), "sync:"),
    ],
)
def test_bad_input(command: Command, arguments: tuple[str, ...], said: str) -> None:
    done = command(*arguments)
    assert done.exit_code == 2
    assert said in done.stderr


def test_settings_that_are_missing_or_wrong(command: Command, environment: dict[str, str]) -> None:
    assert command("list", CENSUS_API_TOKEN="").exit_code == 2
    assert command("list", CENSUS_GROUP_ID="").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [("list",), ("runs", "1"), ("cancel", "1"), ("sync", "1"), ("sync", "1", "-q"), ("sync", "1", "--json")],
    ids=" ".join,
)
def test_the_end_of_v1_is_said(command: Command, arguments: tuple[str, ...]) -> None:
    refused = command(*arguments, CENSUS_API_TOKEN="wrong", CENSUS_API_VERSION="v1")
    assert refused.exit_code == 3
    assert refused.stderr.count("15 January 2027") == 1


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_cancels_its_run(
    stack: LocalStack, sync: str, fault: Callable[..., None], sent: signal.Signals, code: int
) -> None:
    fault(sync=sync, working_seconds=20)
    child = subprocess.Popen(
        [sys.executable, "-m", "mz_orchestration.cli", "census", "sync", sync],
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with CensusClient() as client:
        until = time.monotonic() + 30
        while (run := client.last_run(sync)) is None:
            assert time.monotonic() < until
            time.sleep(0.1)
        child.send_signal(sent)
        _, errors = child.communicate(timeout=30)
        assert child.returncode == code, errors
        assert f"run {run.id} was cancelled and has ended" in errors
        assert client.run(run.id).canceled
