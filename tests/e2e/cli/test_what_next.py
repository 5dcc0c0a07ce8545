"""What a command says to do next can be done."""

from __future__ import annotations

import json
import shlex
from typing import Any

import boto3
import pytest

from mz_orchestration.local.materialize.faults import copy_faults
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import parse_folder

from .conftest import BASE, TO, Invoke

STAGE = "DEMO.PUBLIC.MZ_STAGE"


def command_after(label: str, output: str) -> list[str]:
    """The arguments of the command that a line begins with a label for."""
    [line] = [line.strip() for line in output.splitlines() if line.strip().startswith(label)]
    words = shlex.split(line.removeprefix(label))
    assert words[0] == "mz-orchestration"
    return words[1:]


def test_what_was_listed_only_is_not_offered_for_loading(invoke: Invoke) -> None:
    run_key = "listed only"
    exported = invoke("export", "shop.orders", *TO, "--run-key", run_key, "--verify", "listing", "--timeout", "900")
    shown = invoke("runs", "show", run_key, "--at", BASE)
    for output in (exported.stdout, shown.stdout):
        assert "listed only" in output
        assert " load s3://" not in output
        again = command_after("to load it:", output)
        assert again[again.index("--timeout") + 1] == "900"
    assert json.loads(invoke("runs", "show", run_key, "--at", BASE, "--json").stdout)["runs"][0]["next"] is None
    closer = invoke(*command_after("to load it:", shown.stdout))
    load = command_after("next:", closer.stdout)
    load = [{"STAGE": STAGE, "TABLE": "DEMO.PUBLIC.CLI_CLOSER"}.get(word, word) for word in load]
    assert "reconciled: " in invoke(*load).stdout


def test_several_objects_listed_only(invoke: Invoke) -> None:
    names = ["shop.orders", "shop.customers"]
    done = invoke("export", *names, *TO, "--run-key", "listed group", "--verify", "listing", "--max-parallel", "2")
    again = command_after("to load it:", done.stdout)
    assert again[1:3] == names
    assert invoke(*again).stdout.count("next: mz-orchestration load ") == 2


def test_a_finished_run_does_not_get_closer_verified(invoke: Invoke) -> None:
    arguments = ["export", "shop.orders", *TO, "--run-key", "closer"]
    assert "verified" not in invoke(*arguments).stderr.partition("finish ")[2]
    again = invoke(*arguments, "--verify", "full", "--count", "--quiet")
    assert "was verified at level footers, not full and was not counted" in again.stderr
    assert again.stdout.strip().endswith("_manifest.json")
    assert "was verified at level" not in invoke(*arguments).stderr
    assert json.loads(invoke(*arguments, "--json").stdout)["verified"] == "footers"


def test_the_record_of_a_group_is_no_manifest(invoke: Invoke) -> None:
    names = ["shop.orders", "shop.customers"]
    result = json.loads(invoke("export", *names, *TO, "--run-key", "a group", "--json").stdout)
    load = ["load", result["group"], "--stage", STAGE, "--table", "DEMO.PUBLIC.CLI_GROUP"]
    refused = invoke(*load, code=2).stderr
    assert "is the record of a group of exports, not a manifest" in refused
    for export in result["exports"]:
        assert export["manifest"] in refused
    assert "is the record of a group" in invoke(*load, "--dry-run", code=2).stderr
    gone = result["group"].replace(".json", "0.json")
    assert "no object at" in invoke("load", gone, *load[2:], code=2).stderr


def test_the_next_command_of_an_unfinished_run_says_all_again(invoke: Invoke) -> None:
    base, names = "s3://mz-exports/cli-again/", ["shop.orders", "shop.customers"]
    casts = ["shop.orders.id=text", "shop.customers.id=text"]
    options = ["--timeout", "0.5", "--left-behind", "leave", "--consistency", "transaction", "--verify", "full"]
    arguments = [*names, "--to", base, "--connection", "local_s3", "--cast", casts[0], "--cast", casts[1], *options]
    with copy_faults(preflight_delay=5, target="/cli-again/"):
        failed = invoke("export", *arguments, "--run-key", "slow", code=5)
    said = command_after("again:", failed.stderr)
    assert sorted(said) == sorted(["export", *arguments, "--run-key", "slow"])
    [run, *_] = json.loads(invoke("runs", "--at", base, "--json").stdout)["runs"]
    shown = invoke("runs", "show", run["run_key"], "--at", base).stdout
    assert command_after("next:", shown) == said


@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_records_that_cannot_be_read_are_not_no_runs(invoke: Invoke, store: ObjectStore, json_too: list[str]) -> None:
    base = "s3://mz-exports/cli-unreadable/"
    store.put(parse_folder(base, field="").child(".runs/shop.orders/00000000000000000000000000000000.json"), b"{}")
    done = invoke("runs", "--at", base, *json_too, code=4)
    assert "no runs" not in done.output
    assert "is not a run record" in done.stderr
    assert "no runs below" in invoke("runs", "--at", "s3://mz-exports/cli-nothing/").stdout


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("_manifest.json", "Wait for the folder: s3://mz-exports/cli-wait/a/"),
        ("mz-t17-INCOMPLETE", "Wait for the folder: s3://mz-exports/cli-wait/a/"),
        ("_latest.json", "Name the folder of one export"),
    ],
)
def test_a_wait_for_an_object_is_refused(invoke: Invoke, name: str, way_out: str) -> None:
    assert way_out in invoke("wait", f"s3://mz-exports/cli-wait/a/{name}", code=2).stderr


def test_the_again_of_a_wait_has_its_options(invoke: Invoke) -> None:
    options = ["--deadline", "0.3", "--start-deadline", "0.2", "--poll", "0.1", "--settle", "0.5"]
    options += ["--abandoned-after", "7200"]
    done = invoke("wait", "s3://mz-exports/cli-wait/nothing/", *options, code=5)
    assert command_after("again:", done.stderr) == ["wait", "s3://mz-exports/cli-wait/nothing/", *options]


def test_a_skipped_run_says_so_in_json(invoke: Invoke, environment: dict[str, str], store: ObjectStore) -> None:
    """The turn is somebody's who has a session."""
    import psycopg

    arguments = ["export", "shop.orders", *TO, "--if-running", "skip"]
    with psycopg.connect(autocommit=True) as other:
        [[session]] = other.execute(
            "SELECT id::text FROM mz_internal.mz_sessions WHERE connection_id::bigint = pg_backend_pid()"
        ).fetchall()
        [[materialize]] = other.execute("SELECT mz_environment_id()").fetchall()
        turn: dict[str, Any] = {"run_key": "other", "session": session, "environment": materialize}
        turn["taken_at"] = "2026-11-22T00:00:00Z"
        at = parse_folder(BASE, field="").child(".turns/shop.orders.json")
        store.put(at, json.dumps(turn).encode())
        try:
            assert "'other'" in json.loads(invoke(*arguments, "--json").stdout)["skipped"]
            assert invoke(*arguments, "--quiet").stdout == ""
        finally:
            boto3.client("s3").delete_object(Bucket=at.bucket, Key=at.key)
