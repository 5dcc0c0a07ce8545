"""Snowflake answers wrongly; Ctrl-C and SIGTERM arrive in the middle; two processes meet."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from mz_orchestration.exports.export import ExportStep, run_export
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.snowflake.load import LoadStep, run_load
from mz_orchestration.snowflake.spec import load_spec

from .conftest import BASE, STAGE, Command, Query


@pytest.fixture
def one_row_short(environment: dict[str, str]) -> Iterator[None]:
    """The next COPY INTO answers LOADED with one row less than it loaded."""
    url = f"http://{environment['SNOWFLAKE_HOST']}:{environment['SNOWFLAKE_PORT']}/local/faults"
    httpx.post(url, json={"copy_rows_loaded_delta": -1, "times": 1}).raise_for_status()
    yield
    httpx.delete(url).raise_for_status()


@pytest.mark.parametrize("exists", [True, False])
def test_a_corrupted_answer_publishes_nothing(
    exists: bool, command: Command, snowflake: Query, one_row_short: None
) -> None:
    name = f"CORRUPTED_{exists}".upper()
    if exists:
        snowflake(f"CREATE TABLE DEMO.PUBLIC.{name} (ID NUMBER(38,0))")
        snowflake(f"INSERT INTO DEMO.PUBLIC.{name} VALUES (42)")
    result = command.exported("short", "--query", "SELECT id FROM shop.orders", "--run-key", name)
    done = command.load(result["manifest"], f"DEMO.PUBLIC.{name}")
    assert done.returncode == 4, done.stderr
    assert "rows loaded" in done.stderr
    assert "Nothing was published" in done.stderr
    if exists:
        assert snowflake(f"SELECT ID FROM DEMO.PUBLIC.{name}") == [{"id": 42}]
    else:
        assert snowflake(f"SELECT * FROM DEMO.INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME = '{name}'") == []
    shown = command("runs", "show", name, "--at", BASE)
    assert "failed" in shown.stdout
    assert "rows loaded" in shown.stdout
    # The next run has a true answer, and cleans up the staging table that was left to be looked at.
    again = command.load(result["manifest"], f"DEMO.PUBLIC.{name}")
    assert again.returncode == 0, again.stderr
    left = snowflake(f"SELECT TABLE_NAME FROM DEMO.INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME LIKE '{name}%'")
    assert left == [{"table_name": name}]


SLOW = "SELECT i AS id, pg_sleep(0.01)::text AS slept FROM generate_series(1, 100000) AS s(i)"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_copy_is_cancelled(
    number: signal.Signals, code: int, command: Command, materialize: psycopg.Connection[Any]
) -> None:
    key = f"interrupted-{number}"
    arguments = ["export", "slow", "--query", SLOW, "--to", BASE, "--connection", "local_s3", "--run-key", key]
    process = subprocess.Popen(
        [sys.executable, "-m", "mz_orchestration.cli", *arguments], stderr=subprocess.PIPE, text=True
    )
    _wait_for(lambda: "started" in command("runs", "show", key, "--at", BASE).stdout)
    time.sleep(0.5)
    process.send_signal(number)
    _, said = process.communicate(timeout=90)
    assert process.returncode == code, said
    assert "has been cancelled" in said
    assert f"--run-key {key}" in said
    running = materialize.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%slept%' "
        "AND pid <> pg_backend_pid() AND state = 'active'"
    ).fetchone()
    assert running == (0,)
    assert "failed" in command("runs", "show", key, "--at", BASE).stdout


class Interrupt(BaseException):
    """As an orchestrator raises in the middle of a step."""


def interrupt_at(step: str, moment: str) -> Callable[[Any], None]:
    def listen(event: Any) -> None:
        if (event.step, event.state) == (step, moment):
            raise Interrupt

    return listen


@pytest.mark.parametrize("step", list(ExportStep))
def test_an_interrupt_in_each_step_of_an_export(step: ExportStep, store: ObjectStore) -> None:
    fields = {"object": f"int_{step}", "query": "SELECT id FROM shop.orders", "to": BASE, "connection": "local_s3"}
    spec, key = export_spec(**fields), f"interrupt-{step}"
    with pytest.raises(Interrupt):
        run_export(spec, run_key=key, store=store, on_event=interrupt_at(step, "started"))
    assert run_export(spec, run_key=key, store=store).manifest.rows > 0


@pytest.mark.parametrize("step", list(LoadStep))
def test_an_interrupt_in_each_step_of_a_load(step: LoadStep, store: ObjectStore, snowflake: Query) -> None:
    spec = export_spec(object="int_load", query="SELECT id FROM shop.orders", to=BASE, connection="local_s3")
    export = run_export(spec, run_key=f"interrupt-load-{step}", store=store)
    table = f"DEMO.PUBLIC.INT_LOAD_{step.upper()}"
    load = load_spec(manifest=export.manifest_url, stage=STAGE, table=table)
    with pytest.raises(Interrupt):
        run_load(load, store=store, on_event=interrupt_at(step, "started"))
    assert run_load(load, store=store).rows == export.manifest.rows
    assert snowflake(f"SELECT COUNT(*) AS N FROM {table}")[0]["n"] == export.manifest.rows


def test_the_deadline_cancels(command: Command) -> None:
    done = command.export("slow", "--query", SLOW, "--timeout", "1", "--run-key", "deadline")
    assert done.returncode == 5
    assert "longer than 1 seconds" in done.stderr
    shown = command("runs", "show", "deadline", "--at", BASE)
    assert "failed" in shown.stdout
    assert "why: The COPY was cancelled because it took longer" in shown.stdout
    assert "next: mz-orchestration export slow --to" in shown.stdout


def test_a_lost_process_whose_copy_runs_on_is_adopted(store: ObjectStore) -> None:
    """Killed in mid-COPY: Materialize goes on, and the next run takes the files instead of exporting again."""
    query = "SELECT i AS id, pg_sleep(0.001)::text AS slept FROM generate_series(1, 2000) AS s(i)"
    fields = {"object": "adopted", "query": query, "to": BASE, "connection": "local_s3"}
    script = Path(__file__).with_name("killed_in_copy.py")
    subprocess.run([sys.executable, str(script), json.dumps(fields), "adopted"], check=False, timeout=60)
    result = run_export(export_spec(**fields), run_key="adopted", store=store)
    assert (result.adopted, result.attempt, result.manifest.rows) == (True, 1, 2000)
    assert result.manifest.copied is None


def test_two_processes_on_one_run(store: ObjectStore) -> None:
    """The second to write the record learns of the first; neither harms the other."""
    fields = {"object": "twice", "query": SLOW.replace("100000", "200"), "to": BASE, "connection": "local_s3"}
    arguments = ["export", "twice", "--query", fields["query"], "--to", BASE, "--connection", "local_s3"]
    commands = [
        subprocess.Popen(
            [sys.executable, "-m", "mz_orchestration.cli", *arguments, "--run-key", "twice"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    codes = sorted((process.communicate(timeout=60), process.returncode)[1] for process in commands)
    assert codes in ([0, 0], [0, 5])
    result = run_export(export_spec(**fields), run_key="twice", store=store)
    assert (result.repeated, result.manifest.rows) == (True, 200)


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
