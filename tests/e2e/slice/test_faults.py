"""Snowflake answers wrongly; Ctrl-C and SIGTERM arrive in the middle; two processes meet."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import httpx
import psycopg
import pytest

from mz_orchestration.errors import MzOrchestrationError, VerificationError
from mz_orchestration.exports.export import ExportContext, ExportStep, export_flow, run_export
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.flow import Clock, arun
from mz_orchestration.materialize.session import Session
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import parse_folder
from mz_orchestration.runs.record import AttemptState, LoadState
from mz_orchestration.runs.store import RunStore
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
    target = f'"DEMO"."PUBLIC"."{name}"'
    assert f"""--stage '"DEMO"."PUBLIC"."MZ_STAGE"' --table '{target}'""" in shown.stdout
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
    assert "interrupted." in said
    assert "the COPY has ended" in said
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


def test_cancelling_an_async_export_cancels_the_copy(store: ObjectStore, materialize: psycopg.Connection[Any]) -> None:
    spec = export_spec(object="slow_async", query=SLOW.replace("slept", "napped"), to=BASE, connection="local_s3")
    began = asyncio.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def listen(event: Any) -> None:
            if (event.step, event.state) == (ExportStep.COPY, "started"):
                loop.call_soon_threadsafe(began.set)

        context = ExportContext(Clock(), listen, lambda tag: Session(application_name=tag), store)
        task = asyncio.create_task(arun(export_flow(spec, "async-cancel", context)))
        await began.wait()
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    running = materialize.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%napped%' "
        "AND pid <> pg_backend_pid() AND state = 'active'"
    ).fetchone()
    assert running == (0,)


def test_a_session_that_came_later_under_the_same_id_is_let_alone(
    store: ObjectStore, materialize: psycopg.Connection[Any]
) -> None:
    """Ids of backends come round again: only the session's own id says that it is still there."""
    fields = {"object": "reused", "query": "SELECT id FROM shop.orders", "to": BASE, "connection": "local_s3"}
    with pytest.raises(Interrupt):
        run_export(export_spec(**fields), run_key="reused", store=store, on_event=interrupt_at("copy", "started"))
    runs = RunStore(store, parse_folder(BASE, field=""))
    stored = runs.find("reused", "reused")
    assert stored is not None
    attempt = stored.record.attempts[-1]
    attempt.state, attempt.pid = AttemptState.STARTED, materialize.info.backend_pid
    runs.save(stored, datetime.now(UTC))
    result = run_export(export_spec(**fields), run_key="reused", store=store)
    assert (result.attempt, result.adopted) == (2, False)
    assert materialize.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("change", ["TRUNCATE TABLE {}", "DELETE FROM {} WHERE ID < 100"])
def test_a_table_changed_since_is_loaded_again(command: Command, snowflake: Query, change: str) -> None:
    table = f"DEMO.PUBLIC.CHANGED_{change[:4]}"
    result = command.exported("changed", "--query", "SELECT id FROM shop.orders", "--run-key", f"changed-{change}")
    assert command.load(result["manifest"], table).returncode == 0
    snowflake(change.format(table))
    done = command.load(result["manifest"], table)
    assert done.returncode == 0
    assert "was changed after this manifest was published" in done.stderr
    assert snowflake(f"SELECT COUNT(*) AS N FROM {table}")[0]["n"] == result["rows"]


def test_an_older_manifest_does_not_silently_replace_a_newer_one(command: Command, snowflake: Query) -> None:
    table = "DEMO.PUBLIC.NEWER"
    old = command.exported("newer", "--query", "SELECT 1 AS day", "--run-key", "newer-1")
    new = command.exported("newer", "--query", "SELECT 2 AS day", "--run-key", "newer-2")
    for manifest in (old["manifest"], new["manifest"]):
        assert command.load(manifest, table).returncode == 0
    again = command.load(old["manifest"], table)
    assert again.returncode == 0
    assert "loaded before, and another manifest since; nothing done" in again.stdout
    assert "reconciled" not in again.stdout
    assert snowflake(f"SELECT DAY FROM {table}") == [{"day": 2}]
    assert command.load(old["manifest"], table, "--again").returncode == 0
    assert snowflake(f"SELECT DAY FROM {table}") == [{"day": 1}]


@pytest.mark.parametrize("exists", [True, False])
def test_two_loads_of_one_manifest_at_once(command: Command, snowflake: Query, exists: bool) -> None:
    table = f"DEMO.PUBLIC.AT_ONCE_{exists}".upper()
    if exists:
        snowflake(f"CREATE TABLE {table} (ID NUMBER(38,0))")
    result = command.exported("at_once", "--query", "SELECT id FROM shop.orders", "--run-key", f"at-once-{exists}")
    arguments = ["load", result["manifest"], "--stage", STAGE, "--table", table]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "mz_orchestration.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    said = [process.communicate(timeout=90)[1] for process in processes]
    codes = [process.returncode for process in processes]
    assert 0 in codes, said
    assert set(codes) <= {0, 5}, said
    assert command.load(result["manifest"], table).returncode == 0
    assert snowflake(f"SELECT COUNT(*) AS N FROM {table}")[0]["n"] == result["rows"]
    assert "loaded" in command("runs", "show", f"at-once-{exists}", "--at", BASE).stdout.splitlines()[0]


@pytest.mark.parametrize("state", [LoadState.FAILED, LoadState.STARTED])
def test_a_record_cannot_make_us_touch_another_table(store: ObjectStore, snowflake: Query, state: LoadState) -> None:
    table = f"FORGED_{state}".upper()
    precious = f"DEMO.PUBLIC.{table}__MZ_PRECIOUS"
    snowflake(f"CREATE TABLE {precious} (ID NUMBER(38,0))")
    spec = export_spec(object="forged", query="SELECT id FROM shop.orders", to=BASE, connection="local_s3")
    export = run_export(spec, run_key=f"forged-{state}", store=store)
    load = load_spec(manifest=export.manifest_url, stage=STAGE, table=f"DEMO.PUBLIC.{table}")
    with pytest.raises(Interrupt):
        run_load(load, store=store, on_event=interrupt_at(LoadStep.RECONCILE, "started"))
    runs = RunStore(store, parse_folder(BASE, field=""))
    stored = runs.find("forged", f"forged-{state}")
    assert stored is not None
    entry = stored.record.loads[f'"DEMO"."PUBLIC"."{table}"']
    assert len(entry.query_ids) == 1
    entry.state, entry.load, entry.leftovers = state, "PRECIOUS", ["PRECIOUS"]
    runs.save(stored, datetime.now(UTC))
    with pytest.raises(VerificationError, match="is not a run record"):
        run_load(load, store=store)
    assert snowflake(f"SELECT COUNT(*) AS N FROM {precious}") == [{"n": 0}]


def test_files_that_are_gone_are_exported_again(store: ObjectStore) -> None:
    spec = export_spec(object="swept", query="SELECT id FROM shop.orders", to=BASE, connection="local_s3")
    first = run_export(spec, run_key="swept", store=store)
    boto3.client("s3").delete_object(Bucket=first.manifest.folder.bucket, Key=first.manifest.location.key)
    second = run_export(spec, run_key="swept", store=store)
    assert (second.attempt, second.repeated) == (2, False)


def test_one_bad_record_does_not_hide_the_others(command: Command, store: ObjectStore) -> None:
    base = "s3://mz-exports/bad-record/"
    key = "odd [red]key[/red] \x1b[31m"
    done = command.export("q", "--query", "SELECT 1 AS one", "--run-key", key, to=base)
    assert done.returncode == 0, done.stderr
    store.put(parse_folder(base, field="").child(".runs/q/bad.json"), b'{"version": 2}')
    listed = command("runs", "--at", base, COLUMNS="200")
    assert listed.returncode == 0
    assert "odd [red]key[/red] \\x1b[31m" in listed.stdout
    assert "unreadable: " in listed.stderr
    assert "\x1b" not in listed.stdout + command("runs", "show", key, "--at", base).stdout


def test_stopping_while_a_left_behind_copy_is_waited_for_cancels_it(
    store: ObjectStore, materialize: psycopg.Connection[Any]
) -> None:
    query = SLOW.replace("slept", "dozed")
    fields = {"object": "left", "query": query, "to": BASE, "connection": "local_s3"}
    script = Path(__file__).with_name("killed_in_copy.py")
    subprocess.run([sys.executable, str(script), json.dumps(fields), "left"], check=False, timeout=60)
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%dozed%' "
        "AND pid <> pg_backend_pid() AND state = 'active'"
    )
    assert materialize.execute(running).fetchone() == (1,)

    class Impatient(Clock):
        pauses = 0

        def sleep(self, seconds: float) -> None:
            self.pauses += 1
            if self.pauses == 1:
                raise Interrupt
            super().sleep(min(seconds, 0.2))

    with pytest.raises(Interrupt):
        run_export(export_spec(**fields), run_key="left", store=store, clock=Impatient())
    assert materialize.execute(running).fetchone() == (0,)
    stored = RunStore(store, parse_folder(BASE, field="")).find("left", "left")
    assert stored is not None
    assert stored.record.attempts[-1].state is AttemptState.FAILED


@pytest.mark.parametrize(
    "query",
    [
        "SELECT md5(name || 'TopSecretKey77') FROM shop.nothing",
        "SELECT md5(nothing || 'TopSecretKey77') FROM shop.orders",
        "SELECT (1 / (id - id))::text || 'TopSecretKey77' AS x FROM shop.orders",
    ],
)
def test_the_text_of_a_query_does_not_reach_a_traceback(store: ObjectStore, query: str) -> None:
    spec = export_spec(object="secret", query=query, to=BASE, connection="local_s3")
    with pytest.raises(MzOrchestrationError) as raised:
        run_export(spec, run_key=f"secret-{hash(query)}", store=store)
    assert "TopSecretKey77" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("arguments", [["load", "s3://mz-exports/x/_manifest.json", "--stage", "S", "--table", "T"]])
def test_a_missing_connector_is_named(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'snowflake': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from mz_orchestration.cli.main import main\n"
        f"sys.argv = ['mz-orchestration', *{arguments!r}]\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert "pip install 'mz-orchestration[snowflake]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_local_stack_is_named(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('duckdb', 'moto'): raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from mz_orchestration.cli.main import main\n"
        "sys.argv = ['mz-orchestration', 'local', 'up']\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.returncode == 2, done.stderr
    assert "duckdb, moto" in done.stderr
    assert "pip install 'mz-orchestration[local]'" in done.stderr
