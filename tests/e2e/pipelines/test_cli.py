"""``mz-orchestration pipeline`` and ``explain`` as they are typed: what they print, and how they end."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner, Result

from mz_orchestration.cli.main import app
from mz_orchestration.exports.attempts import session_tag
from mz_orchestration.local.materialize.faults import copy_faults
from mz_orchestration.local.stack import LocalStack

Sql = psycopg.Connection[Any]
COMMAND = [sys.executable, "-m", "mz_orchestration.cli"]


@pytest.fixture(autouse=True)
def folder(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder without settings."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, name: str, parts: str) -> Path:
    """A pipeline file."""
    file = folder / f"{name}.yaml"
    head = (
        f"name: {name}\ndefaults: {{to: s3://mz-exports/cli-pipelines/, connection: local_s3, "
        "stage: DEMO.PUBLIC.MZ_STAGE}\n"
    )
    file.write_text(head + parts)
    return file


def command(*arguments: object, code: int = 0) -> Result:
    """The command, in this process."""
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == code, (done.stdout, done.stderr)
    return done


def copied(stack: LocalStack, mark: str) -> list[str]:
    """The COPYs whose path holds a mark, in the order in which they ended."""
    entries = [json.loads(line) for line in (stack.folder / "statements.jsonl").read_text().splitlines()]
    return [entry["sql"] for entry in entries if entry["sql"].startswith("COPY (") and mark in entry["sql"]]


TWO = """\
exports:
  - {object: shop.customers}
  - {name: orders_of_two, object: shop.orders, where: customer_id = 2}
loads:
  - {export: shop.customers, table: DEMO.PUBLIC.CLI_CUSTOMERS}
"""


def test_a_run_prints_its_counts_and_does_nothing_twice(folder: Path) -> None:
    file = write(folder, "counts", TWO)
    done = command("pipeline", "run", file, "--run-key", "k")
    rows = re.search(r"^load DEMO.PUBLIC.CLI_CUSTOMERS: copied=(\d+) footer_rows=\1 loaded_rows=\1 ", done.stdout, re.M)
    assert rows, done.stdout
    assert "export shop.customers: running" in done.stderr
    assert "wait for the sentinel to be gone" in done.stderr
    again = command("pipeline", "run", file, "--run-key", "k", "--quiet")
    assert (again.stdout, again.stderr) == ("", "")
    as_json = json.loads(command("pipeline", "run", file, "--run-key", "k", "--json").stdout)
    assert as_json["state"] == "succeeded"
    assert all(node["repeated"] for node in as_json["nodes"])
    listed = command("pipeline", "runs", file).stdout
    assert re.search(r"^k +succeeded ", listed, re.M), listed


def test_failures_are_told_with_a_way_out_and_the_rest_is_done(folder: Path) -> None:
    parts = TWO.replace("{object: shop.customers}", "{object: shop.custmers}").replace(
        "export: shop.customers", "export: shop.custmers"
    )
    file = write(folder, "failing", parts)
    done = command("pipeline", "run", file, "--run-key", "a key", code=2)
    assert "export orders_of_two: rows=" in done.stdout
    assert "failed: export shop.custmers: Materialize: unknown catalog item 'shop.custmers'." in done.stderr
    assert "not done, since what they need has failed: load DEMO.PUBLIC.CLI_CUSTOMERS" in done.stderr
    assert f"again: mz-orchestration pipeline run {file} --run-key 'a key'" in done.stderr
    said = command("explain", "a key", "--file", file).stdout.splitlines()
    assert said[0] == "run a key of pipeline failing: failed"
    assert "    why: Materialize: unknown catalog item 'shop.custmers'." in said
    assert "    that means: nothing was loaded from it; its path is not used again" in said
    assert any(line.startswith("  blocked   load DEMO.PUBLIC.CLI_CUSTOMERS") for line in said)
    assert said[-1] == f"next: mz-orchestration pipeline run {file} --run-key 'a key'"
    resumed = command("pipeline", "run", file, "--resume", code=2)
    assert "run key a key" in resumed.stderr


def test_a_check_that_fails_ends_with_4_and_blocks_the_load(folder: Path) -> None:
    parts = TWO.replace("{object: shop.customers}", "{object: shop.customers, checks: {min_rows: 1000000}}")
    file = write(folder, "checked", parts)
    done = command("pipeline", "run", file, "--run-key", "k", code=4)
    assert "check shop.customers" in done.stderr
    assert "min_rows is 1000000" in done.stderr
    explained = json.loads(command("explain", "k", "--file", file, "--json").stdout)
    states = {node["name"]: node["state"] for node in explained["pipelines"][0]["nodes"]}
    assert states["load DEMO.PUBLIC.CLI_CUSTOMERS"] == "blocked"


def test_parts_of_it_by_name(folder: Path) -> None:
    file = write(folder, "parts", TWO)
    done = command("pipeline", "run", file, "--run-key", "k", "--only", "orders_of_two")
    assert done.stdout.startswith("export orders_of_two: rows=")
    assert "customers" not in done.stdout
    whole = command("pipeline", "run", file, "--run-key", "k")
    assert "export orders_of_two: done before" in whole.stderr
    assert "load DEMO.PUBLIC.CLI_CUSTOMERS: copied=" in whole.stdout
    wrong = command("pipeline", "run", file, "--only", "orders_of_too", code=2)
    assert "did you mean 'orders_of_two'" in wrong.stderr


@pytest.mark.parametrize("format", ["logfmt", "json"])
def test_logs_for_machines_have_one_line_for_each_step(folder: Path, format: str) -> None:
    file = write(folder, f"logs_{format}", TWO)
    done = command("pipeline", "run", file, "--run-key", "k y", "--log-format", format)
    lines = done.stderr.splitlines()
    read = [json.loads(line) for line in lines] if format == "json" else [dict(_logfmt(line)) for line in lines]
    assert all({"ts", "level", "pipeline", "run_key", "message"} <= set(entry) for entry in read)
    assert {entry["run_key"] for entry in read} == {"k y"}
    copies = [entry for entry in read if entry.get("step") == "copy" and entry.get("state") == "finished"]
    assert {entry["node"] for entry in copies} > {"export shop.customers", "export orders_of_two"}
    assert all(int(entry["copied"]) >= 0 for entry in copies if entry["node"].startswith("export"))
    assert [entry["state"] for entry in read if entry.get("node", "").startswith("load") and "step" not in entry] == [
        "running",
        "succeeded",
    ]


def _logfmt(line: str) -> list[tuple[str, str]]:
    pairs = re.findall(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|\S*)', line)
    assert " ".join(f"{name}={value}" for name, value in pairs) == line
    return [(name, json.loads(value) if value.startswith('"') else value) for name, value in pairs]


def test_a_live_table_on_a_terminal(folder: Path) -> None:
    file = write(folder, "table", TWO)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "pipeline", "run", str(file), "--run-key", "k"],
        stderr=theirs,
        stdout=subprocess.PIPE,
        stdin=theirs,
        text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "110", "LINES": "40"},
    ) as process:
        os.close(theirs)
        shown = b""
        until = time.monotonic() + 100
        while time.monotonic() < until:
            if select.select([ours], [], [], 0.5)[0]:
                try:
                    piece = os.read(ours, 65536)
                except OSError:
                    break
                if not piece:
                    break
                shown += piece
        output, _ = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 0
    text = shown.decode()
    assert "PART" in text
    assert "\x1b[?25l" in text
    # The cursor is there again, and the last picture shows all that was done.
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    last = text[text.rindex("PART") :]
    assert last.count("succeeded") == 3
    assert "loaded_rows=" in output


def test_a_run_that_is_killed_is_gone_on_with_and_finished_parts_are_not_repeated(
    folder: Path, materialize: Sql, stack: LocalStack
) -> None:
    parts = """\
exports:
  - {name: quick_one, query: SELECT 1 AS a}
  - {name: slow_one, object: shop.orders, where: id > 0}
loads:
  - {export: quick_one, table: DEMO.PUBLIC.CLI_QUICK}
  - {export: slow_one, table: DEMO.PUBLIC.CLI_SLOW}
"""
    file = write(folder, "killed", parts)
    with copy_faults(materialize, slow_rows=0.006, target="/slow_one/"):
        with subprocess.Popen(
            [*COMMAND, "pipeline", "run", str(file), "--run-key", "k", "--log-format", "json"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                entry = json.loads(line)
                if entry.get("node") == "load DEMO.PUBLIC.CLI_QUICK" and entry.get("state") == "succeeded":
                    break
            process.send_signal(signal.SIGKILL)
        explained = command("explain", "k", "--file", file).stdout
        assert (
            "its process was killed, or could not write its record; what is left is done by the next command"
            in explained
        )
    before = len(copied(stack, "/quick_one/"))
    done = command("pipeline", "run", file, "--run-key", "k")
    assert "load DEMO.PUBLIC.CLI_QUICK: done before" in done.stderr
    assert re.search(r"^load DEMO.PUBLIC.CLI_SLOW: copied=\w+ footer_rows=(\d+) loaded_rows=\1 ", done.stdout, re.M)
    assert len(copied(stack, "/quick_one/")) == before == 1


def test_sigterm_cancels_what_runs_and_says_how_to_go_on(folder: Path, materialize: Sql) -> None:
    parts = "exports:\n  - {name: long_one, object: shop.orders, where: id > 0}\n"
    file = write(folder, "stopped", parts)
    with copy_faults(materialize, slow_rows=0.05, target="/long_one/"):
        with subprocess.Popen(
            [*COMMAND, "pipeline", "run", str(file), "--run-key", "k", "--log-format", "json"],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                entry = json.loads(line)
                if entry.get("step") == "record" and entry.get("state") == "finished":
                    break
            _until_copying(materialize)
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 143
        assert f"again: mz-orchestration pipeline run {file} --run-key k" in errors
        assert _copying(materialize) == 0
    explained = command("explain", "k", "--file", file).stdout
    assert "run k of pipeline stopped: interrupted" in explained
    assert "  interrupted export long_one" in explained
    command("pipeline", "run", file, "--run-key", "k")


def _copying(materialize: Sql) -> int:
    row = materialize.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND application_name = %s",
        (session_tag("stopped/k/long_one"),),
    ).fetchone()
    assert row is not None
    return int(row[0])


def _until_copying(materialize: Sql) -> None:
    until = time.monotonic() + 30
    while _copying(materialize) == 0:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_one_run_of_a_pipeline_at_a_time(folder: Path, materialize: Sql) -> None:
    parts = "exports:\n  - {name: busy_one, object: shop.orders, where: id > 0}\n"
    file = write(folder, "busy", parts)
    with copy_faults(materialize, slow_rows=0.01, target="/busy_one/"):
        with subprocess.Popen(
            [*COMMAND, "pipeline", "run", str(file), "--run-key", "first", "--log-format", "json"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stderr is not None
            process.stderr.readline()
            refused = command("pipeline", "run", file, "--run-key", "second", code=5)
            assert "The run 'first' of busy is in progress: process" in refused.stderr
            skipped = command("pipeline", "run", file, "--run-key", "second", "--if-running", "skip")
            assert skipped.stdout == ""
            assert "skipped: The run 'first'" in skipped.stderr
            assert "in progress, by process" in command("explain", "first", "--file", file).stdout
            process.stderr.read()
        assert process.returncode == 0
    waited = command("pipeline", "run", file, "--run-key", "second", "--if-running", "wait")
    assert "busy_one: rows=" in waited.stdout


def test_what_is_wrong_with_files(folder: Path) -> None:
    good, bad = write(folder, "good", TWO), write(folder, "bad", TWO.replace("loads:", "laods:"))
    done = command("pipeline", "validate", good, bad, folder / "missing.yaml", code=2)
    assert done.stdout == f"{good}: ok (2 exports, 1 load)\n"
    assert f"error: {bad}:6: laods: there is no such field; did you mean 'loads'?" in done.stderr
    assert "There is no pipeline file" in done.stderr
    assert f"{bad}:6" in command("pipeline", "run", bad, code=2).stderr


def test_the_plan_contacts_nothing(folder: Path, stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in stack.environment:
        monkeypatch.delenv(name, raising=False)
    parts = TWO + "syncs:\n  - {sync: 1, after: [DEMO.PUBLIC.CLI_CUSTOMERS]}\nretention: {keep_last: 2}\n"
    parts += "notifications: {heartbeat: 'https://example.com/s3cret'}\n"
    said = command("pipeline", "plan", write(folder, "planned", parts)).stdout
    assert "  3  load DEMO.PUBLIC.CLI_CUSTOMERS  after export shop.customers" in said
    assert 'COPY "shop"."customers" TO \'s3://mz-exports/cli-pipelines/shop.customers/' in said
    assert "WHERE (customer_id = 2\n)" in said
    assert "POST /syncs/1/trigger" in said
    assert "s3cret" not in said
    assert "s3://bucket/known-once-exported" not in said
    only = command("pipeline", "plan", folder / "planned.yaml", "--only", "orders_of_two").stdout
    assert "== load" not in only


def test_the_schema_is_printed_or_written(folder: Path) -> None:
    printed = command("pipeline", "schema").stdout
    assert json.loads(printed)["title"] == "mz-orchestration pipeline"
    command("pipeline", "schema", folder / "s.json")
    assert (folder / "s.json").read_text() == printed


def test_explaining_what_is_not_there_names_what_comes_close(folder: Path) -> None:
    file = write(folder, "close", TWO)
    command("pipeline", "run", file, "--run-key", "nightly-2026-11-23", "--only", "orders_of_two")
    said = command("explain", "nightly-2026-11-32", "--file", file, code=2).stderr
    assert "Is it 'nightly-2026-11-23'" in said
    export = command("explain", "close/nightly-2026-11-23/orders_of_two", "--file", file).stdout
    assert export.startswith("run close/nightly-2026-11-23/orders_of_two  orders_of_two  exported")
