"""Several objects at one logical timestamp, while a writer keeps moving money between two tables."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet
import pytest

from mz_orchestration.errors import AlreadyRunningError, ConfigurationError, ExportError, RunConflictError
from mz_orchestration.exports import group
from mz_orchestration.exports.context import HeldRead
from mz_orchestration.exports.export import export_context, export_flow
from mz_orchestration.exports.group import run_exports
from mz_orchestration.exports.group_record import find_group
from mz_orchestration.exports.policy import ExportPolicy
from mz_orchestration.exports.result import ExportResult
from mz_orchestration.exports.spec import ExportSpec, export_spec
from mz_orchestration.flow import run
from mz_orchestration.local.faults import Delay, FaultProxy, Match
from mz_orchestration.local.materialize.faults import copy_faults
from mz_orchestration.materialize.session import Reading
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import parse_folder, parse_location
from mz_orchestration.runs.record import GroupEntry

from .conftest import BASE, active_copies

Sql = psycopg.Connection[Any]
ACCOUNTS = 20
TOTAL = 2 * ACCOUNTS * 100


@pytest.fixture(scope="module", autouse=True)
def bank(stack: Any) -> None:
    environment = stack.environment
    with psycopg.connect(
        host=environment["PGHOST"],
        port=environment["PGPORT"],
        user=environment["PGUSER"],
        password=environment["PGPASSWORD"],
        dbname=environment["PGDATABASE"],
        autocommit=True,
    ) as connection:
        connection.execute("CREATE SCHEMA bank")
        for table in ("checking", "savings"):
            connection.execute(f"CREATE TABLE bank.{table} (id integer, amount integer)")
            connection.execute(f"INSERT INTO bank.{table} SELECT i, 100 FROM generate_series(1, {ACCOUNTS}) AS s(i)")


@contextmanager
def busy_bank() -> Iterator[None]:
    """A session that moves money from one table to the other, a transaction at a time."""
    stop = threading.Event()

    def work() -> None:
        with psycopg.connect() as connection:
            amount = 1
            while not stop.is_set():
                connection.execute("UPDATE bank.checking SET amount = amount - %s WHERE id = 1", (amount,))
                connection.execute("UPDATE bank.savings SET amount = amount + %s WHERE id = 1", (amount,))
                connection.commit()
                amount += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


def specs(*names: str, **fields: Any) -> list[ExportSpec]:
    given = {"to": BASE + "groups/", "connection": "local_s3", **fields}
    return [export_spec(object=name, **given) for name in names or ("bank.checking", "bank.savings")]


def total(store: ObjectStore, exports: tuple[ExportResult, ...]) -> int:
    amounts = 0
    for export in exports:
        for file in export.manifest.files:
            body, _ = store.get(export.manifest.folder.child(file.name))
            amounts += sum(pyarrow.parquet.read_table(io.BytesIO(body)).column("amount").to_pylist())
    return amounts


@pytest.mark.parametrize("mode", ["held", "transaction"])
def test_all_see_one_timestamp(mode: Any, materialize: Sql, store: ObjectStore) -> None:
    with copy_faults(materialize, slow_rows=0.01, target="/groups/bank."), busy_bank():
        result = run_exports(specs(), run_key=f"bank-{mode}", mode=mode, store=store)
    assert total(store, result.exports) == TOTAL
    assert {export.manifest.timestamp for export in result.exports} == {result.timestamp}
    again = run_exports(specs(), run_key=f"bank-{mode}", mode=mode, store=store)
    assert [export.manifest for export in again.exports] == [export.manifest for export in result.exports]
    assert again.to_metadata()["repeated"] == 1


def test_exports_of_their_own_do_not(materialize: Sql, store: ObjectStore) -> None:
    """What the timestamp is for: without it, the same writer leads to other sums."""
    from mz_orchestration.exports.export import run_export

    sums = set()
    with busy_bank():
        for number in range(5):
            each = [run_export(spec, run_key=f"bank-apart-{number}", store=store) for spec in specs()]
            sums.add(total(store, tuple(each)))
    assert sums != {TOTAL}


def test_as_many_at_a_time_as_allowed(materialize: Sql, store: ObjectStore) -> None:
    views = [f"bank.v{number}" for number in range(5)]
    for view in views:
        materialize.execute(f"CREATE VIEW {view} AS SELECT * FROM bank.checking")
    running = 0
    most = 0
    lock = threading.Lock()

    def listen(event: Any) -> None:
        nonlocal running, most
        if event.step == "copy" and event.state in ("started", "finished"):
            with lock:
                running += 1 if event.state == "started" else -1
                most = max(most, running)

    with copy_faults(materialize, slow_rows=0.02, target="/groups/bank.v"):
        result = run_exports(specs(*views), run_key="bank-many", max_parallel=2, store=store, on_event=listen)
    assert most == 2
    assert len({export.manifest.timestamp for export in result.exports}) == 1


@pytest.mark.parametrize("mode", ["held", "transaction"])
def test_one_failure_ends_all_and_the_next_call_starts_a_new_generation(
    mode: Any, materialize: Sql, store: ObjectStore
) -> None:
    with (
        copy_faults(materialize, fail_with="no space left", target="/groups/bank.savings/", times=1),
        pytest.raises(ExportError, match="no space left"),
    ):
        run_exports(specs(), run_key=f"bank-failure-{mode}", mode=mode, store=store)
    with busy_bank():
        result = run_exports(specs(), run_key=f"bank-failure-{mode}", mode=mode, store=store)
    assert total(store, result.exports) == TOTAL
    [key] = {export.manifest.run_key for export in result.exports}
    assert key.startswith(f"bank-failure-{mode}#2-")


def test_killed_in_the_middle(materialize: Sql, store: ObjectStore) -> None:
    """SIGKILL while the first COPY runs and the second has not begun: a later timestamp for both."""
    script = Path(__file__).with_name("killed_group.py")
    with copy_faults(materialize, slow_rows=0.05, target="/groups/bank.checking/", times=1):
        fields = json.dumps([spec.model_dump(exclude={"csv"}) for spec in specs()])
        done = subprocess.run([sys.executable, str(script), fields, "bank-killed"], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    with busy_bank():
        result = run_exports(specs(), run_key="bank-killed", store=store)
    assert total(store, result.exports) == TOTAL
    [key] = {export.manifest.run_key for export in result.exports}
    assert key.startswith("bank-killed#2-")


def test_killed_when_all_have_begun(materialize: Sql, store: ObjectStore) -> None:
    """SIGKILL while both COPYs run: both are adopted, with the timestamp they began with."""
    script = Path(__file__).with_name("killed_group.py")
    fields = json.dumps([spec.model_dump(exclude={"csv"}) for spec in specs()])
    with copy_faults(materialize, slow_rows=0.1, target="/groups/bank."), busy_bank():
        done = subprocess.run([sys.executable, str(script), fields, "bank-begun", "2"], check=False, timeout=60)
        assert done.returncode == -signal.SIGKILL
        result = run_exports(specs(), run_key="bank-begun", store=store)
    assert total(store, result.exports) == TOTAL
    assert [export.adopted for export in result.exports] == [True, True]
    assert {export.manifest.timestamp for export in result.exports} == {result.timestamp}


def test_a_timestamp_that_nobody_holds_is_refused_in_words(materialize: Sql, store: ObjectStore) -> None:
    [spec] = specs("bank.checking")
    context = export_context(spec, store=store)
    held = HeldRead(Reading(1_700_000_000_000, "v0"), GroupEntry(run_key="old", objects=("bank.checking",)))
    with pytest.raises(ExportError, match="1700000000000") as raised:
        run(export_flow(spec, "bank-too-old", context, held))
    assert "nobody holds" in str(raised.value)
    assert raised.value.retryable


def test_what_cannot_be_one_group(store: ObjectStore) -> None:
    with pytest.raises(ConfigurationError, match=r"Named twice: bank.checking"):
        run_exports(specs("bank.checking", "bank.checking"), run_key="x", store=store)
    with pytest.raises(ConfigurationError, match="go to one folder"):
        run_exports([*specs("a"), *specs("b", to=BASE)], run_key="x", store=store)
    with pytest.raises(ConfigurationError, match="one cluster"):
        run_exports([*specs("a"), *specs("b", cluster="c")], run_key="x", mode="transaction", store=store)
    with pytest.raises(ConfigurationError, match="nothing to export"):
        run_exports([], run_key="x", store=store)


def test_a_run_key_is_for_one_group(store: ObjectStore) -> None:
    run_exports(specs(), run_key="bank-key", store=store)
    with pytest.raises(RunConflictError, match="a group of other exports"):
        run_exports(specs("bank.checking"), run_key="bank-key", store=store)


def test_the_command_exports_several_objects_together(store: ObjectStore) -> None:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mz_orchestration.cli", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    to = BASE + "groups/"
    common = ["export", "bank.checking", "bank.savings", "--to", to, "--connection", "local_s3", "--run-key", "cli"]
    with busy_bank():
        done = command(*common, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert {export["timestamp"] for export in answer["exports"]} == {answer["timestamp"]}
    quiet = command(*common, "--quiet").stdout.splitlines()
    assert quiet == [export["manifest"] for export in answer["exports"]]
    shown = command("runs", "show", "cli", "--at", to).stdout
    assert re.search(r"^run cli#1-\w+  bank.checking  exported", shown, re.MULTILINE)


def member_key(store: ObjectStore, key: str) -> str:
    group = find_group(store, parse_folder(BASE + "groups/", field="base"), key)
    return group.member_key() if group else "none yet"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_cancels_every_copy(
    number: signal.Signals, code: int, materialize: Sql, store: ObjectStore
) -> None:
    to = BASE + "groups/"
    key = f"interrupted-{code}"
    common = ["export", "bank.checking", "bank.savings", "--to", to, "--connection", "local_s3", "--run-key", key]
    with copy_faults(materialize, slow_rows=0.5, target="/groups/bank."):
        process = subprocess.Popen(
            [sys.executable, "-m", "mz_orchestration.cli", *common], stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 30
        while active_copies(materialize, member_key(store, key)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == code, said
        assert active_copies(materialize, member_key(store, key)) == 0
    assert f"again: mz-orchestration export bank.checking bank.savings --to {to}" in said


@pytest.mark.parametrize("mode", ["held", "transaction"])
def test_a_count_reads_at_the_groups_timestamp(mode: Any, materialize: Sql, store: ObjectStore) -> None:
    with busy_bank():
        result = run_exports(
            specs(), run_key=f"bank-count-{mode}", mode=mode, store=store, policy=ExportPolicy(count=True)
        )
    assert [export.manifest.counted for export in result.exports] == [ACCOUNTS, ACCOUNTS]
    assert total(store, result.exports) == TOTAL


@pytest.mark.parametrize("policy", ["wait", "skip", None])
def test_a_second_call_lets_the_first_finish(policy: Any, materialize: Sql, store: ObjectStore) -> None:
    key = f"bank-twice-{policy}"
    outcomes: list[Any] = []

    def first() -> None:
        outcomes.append(run_exports(specs(), run_key=key, max_parallel=1, store=store))

    with copy_faults(materialize, slow_rows=0.05, target="/groups/bank."):
        thread = threading.Thread(target=first)
        thread.start()
        deadline = time.monotonic() + 30
        while active_copies(materialize, member_key(store, key)) < 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if policy == "skip":
            with pytest.raises(AlreadyRunningError, match="has been working on the group"):
                run_exports(specs(), run_key=key, store=store, policy=ExportPolicy(if_running="skip"))
            thread.join(60)
        else:
            second = run_exports(specs(), run_key=key, store=store, policy=ExportPolicy(if_running=policy))
            thread.join(60)
            assert [e.manifest for e in second.exports] == [e.manifest for e in outcomes[0].exports]
    assert len(outcomes) == 1


def test_a_transaction_is_kept_alive_between_its_copies(
    web: FaultProxy, proxied_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c idle_in_transaction_session_timeout=1500ms")
    monkeypatch.setattr(group, "_KEEP_ALIVE", 0.3)
    with web.fault(Delay(2.5), match=Match(method="GET", path=r"\.parquet$"), times=1) as slow:
        result = run_exports(specs(), run_key="bank-slow", mode="transaction", store=proxied_store)
    assert slow.hits == 1
    assert {export.manifest.timestamp for export in result.exports} == {result.timestamp}


def test_a_failure_names_its_object(materialize: Sql, store: ObjectStore) -> None:
    with (
        copy_faults(materialize, fail_with="boom", target="/groups/bank.savings/", times=1),
        pytest.raises(ExportError, match=r"^bank.savings: .*boom") as raised,
    ):
        run_exports(specs(), run_key="bank-named", store=store)
    assert raised.value.details["object"] == "bank.savings"


def test_a_record_that_was_lost_does_not_mix_timestamps(materialize: Sql, store: ObjectStore) -> None:
    first = run_exports(specs(), run_key="bank-lost-record", store=store)
    store.delete(parse_location(first.record_url, field="record"))
    second = run_exports(specs(), run_key="bank-lost-record", store=store)
    assert {export.manifest.timestamp for export in second.exports} == {second.timestamp}
    assert not any(export.repeated for export in second.exports)


def test_many_counts_in_one_session_do_not_cancel_each_other(materialize: Sql, store: ObjectStore) -> None:
    views = [f"bank.slow{number}" for number in range(4)]
    for view in views:
        materialize.execute(f"CREATE VIEW {view} AS SELECT * FROM bank.checking WHERE pg_sleep(0.02) IS NOT NULL")
    result = run_exports(specs(*views), run_key="bank-counts", store=store, policy=ExportPolicy(count=True))
    assert [export.manifest.counted for export in result.exports] == [ACCOUNTS] * 4
