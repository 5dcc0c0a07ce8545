"""Runs that overlap: of one export under different keys, and attempts of one run left behind by a killed process."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mz_orchestration.errors import AlreadyRunningError, DeadlineError, MzOrchestrationError, WrongEnvironmentError
from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.handle import cancel_export, start_export
from mz_orchestration.exports.policy import ExportPolicy
from mz_orchestration.exports.result import ExportResult
from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.local.materialize.faults import copy_faults
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.runs.record import AttemptState
from mz_orchestration.runs.store import RunStore

from .conftest import BASE, Brisk, Spec, active_copies

Sql = psycopg.Connection[Any]
KILLED = Path(__file__).parents[1] / "slice" / "killed_in_copy.py"


def leave_behind(spec: ExportSpec, run_key: str) -> None:
    """Run an export in a process that is killed while Materialize copies."""
    fields = json.dumps(spec.model_dump(exclude={"csv"}))
    subprocess.run([sys.executable, str(KILLED), fields, run_key], check=False, timeout=60)


@pytest.mark.parametrize("policy", ["skip", "fail"])
def test_a_second_run_does_not_begin(
    policy: Any, spec: Spec, materialize: Sql, store: ObjectStore, runs: RunStore
) -> None:
    name = f"overlap_{policy}"
    with copy_faults(materialize, slow_rows=0.002, target=f"/{name}/"):
        start_export(spec(name), run_key=f"{name}-1", store=store)
        with pytest.raises(AlreadyRunningError, match=f"run '{name}-1' of {name} has been in progress since"):
            run_export(spec(name), run_key=f"{name}-2", store=store, policy=ExportPolicy(if_running=policy))
    assert runs.find(name, f"{name}-2") is None
    done = run_export(spec(name), run_key=f"{name}-1", store=store, clock=Brisk())
    assert done.attempt == 1
    later = run_export(spec(name), run_key=f"{name}-2", store=store, policy=ExportPolicy(if_running=policy))
    assert later.attempt == 1


def test_a_second_run_waits(spec: Spec, materialize: Sql, store: ObjectStore) -> None:
    policy = ExportPolicy(if_running="wait")
    with copy_faults(materialize, slow_rows=0.001, target="/overlap_wait/"):
        start_export(spec("overlap_wait"), run_key="wait-1", store=store)
        second = run_export(spec("overlap_wait"), run_key="wait-2", store=store, clock=Brisk(), policy=policy)
    first = run_export(spec("overlap_wait"), run_key="wait-1", store=store, clock=Brisk())
    assert first.manifest.copied_at is not None
    assert second.manifest.copied_at is not None
    assert second.manifest.timestamp is not None
    # It began to read only when the first had been answered.
    assert second.manifest.timestamp >= first.manifest.copied_at.timestamp() * 1000 - 1


def test_waiting_has_a_deadline(spec: Spec, materialize: Sql, store: ObjectStore) -> None:
    slow = spec("overlap_deadline", timeout=60)
    with copy_faults(materialize, slow_rows=0.002, target="/overlap_deadline/"):
        start_export(slow, run_key="deadline-1", store=store)
        with pytest.raises(DeadlineError, match="'deadline-1' of overlap_deadline did not end"):
            run_export(
                spec("overlap_deadline", timeout=0.2),
                run_key="deadline-2",
                store=store,
                clock=Brisk(),
                policy=ExportPolicy(if_running="wait"),
            )


def test_of_two_that_begin_together_one_gives_way(spec: Spec, materialize: Sql, store: ObjectStore) -> None:
    outcomes: list[ExportResult | MzOrchestrationError] = []

    def export(key: str) -> None:
        try:
            policy = ExportPolicy(if_running="skip")
            outcomes.append(run_export(spec("overlap_race"), run_key=key, store=store, policy=policy))
        except MzOrchestrationError as error:
            outcomes.append(error)

    with copy_faults(materialize, slow_rows=0.001, target="/overlap_race/"):
        threads = [threading.Thread(target=export, args=(f"race-{number}",)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        "AlreadyRunningError",
        "AlreadyRunningError",
        "ExportResult",
    ]


@pytest.mark.parametrize("policy", ["cancel", "leave"])
def test_an_attempt_left_behind_is_not_waited_for(
    policy: Any, spec: Spec, materialize: Sql, store: ObjectStore, runs: RunStore, order_count: int
) -> None:
    name = f"behind_{policy}"
    with copy_faults(materialize, slow_rows=0.004, target=f"/{name}/", times=1):
        leave_behind(spec(name), name)
        assert active_copies(materialize, name) == 1
        result = run_export(
            spec(name), run_key=name, store=store, clock=Brisk(), policy=ExportPolicy(left_behind=policy)
        )
        still_running = active_copies(materialize, name)
    assert (result.attempt, result.adopted, result.manifest.copied) == (2, False, order_count)
    assert still_running == (policy == "leave")
    stored = runs.find(name, name)
    assert stored is not None
    assert stored.record.attempts[0].state is AttemptState.ABANDONED
    assert result.manifest.path == stored.record.attempts[1].path


@pytest.mark.parametrize("policy", ["skip", "fail"])
def test_the_same_run_twice_does_not_wait_if_told_so(
    policy: Any, spec: Spec, materialize: Sql, store: ObjectStore
) -> None:
    name = f"same_{policy}"
    with copy_faults(materialize, slow_rows=0.002, target=f"/{name}/"):
        leave_behind(spec(name), name)
        with pytest.raises(AlreadyRunningError, match="Attempt 1 of this run has been copying to"):
            run_export(spec(name), run_key=name, store=store, policy=ExportPolicy(if_running=policy))
    assert run_export(spec(name), run_key=name, store=store, clock=Brisk()).adopted


def test_the_command_skips_with_exit_code_0(spec: Spec, materialize: Sql, store: ObjectStore) -> None:
    # Longer than any command may take; ended by the cancel.
    with copy_faults(materialize, slow_rows=0.1, target="/overlap_cli/"):
        first = start_export(spec("overlap_cli"), run_key="cli-1", store=store)
        arguments = ["export", "overlap_cli", "--query", "SELECT 1 AS one", "--to", BASE, "--connection", "local_s3"]
        codes = {}
        for policy in ("skip", "fail"):
            done = subprocess.run(
                [sys.executable, "-m", "mz_orchestration.cli", *arguments, "--quiet", "--if-running", policy],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            codes[policy] = done.returncode
            assert "in progress since" in done.stderr
            assert done.stdout == ""
        assert cancel_export(first, store=store)
    assert codes == {"skip": 0, "fail": 5}


def test_files_are_adopted_with_the_columns_they_were_written_with(
    materialize: Sql, store: ObjectStore, spec: Spec
) -> None:
    """The view is recreated with its columns swapped while nobody waits for the COPY."""
    materialize.execute("CREATE SCHEMA swapped")
    materialize.execute("CREATE VIEW swapped.pair AS SELECT 'left' AS a, 'right' AS b FROM shop.orders")
    fields = spec("swapped.pair", query=None, format="csv")
    with copy_faults(materialize, slow_rows=0.002, target="/swapped.pair/", times=1):
        leave_behind(fields, "swapped")
        materialize.execute("DROP VIEW swapped.pair")
        materialize.execute("CREATE VIEW swapped.pair AS SELECT 'right' AS b, 'left' AS a FROM shop.orders")
        result = run_export(fields, run_key="swapped", store=store, clock=Brisk())
    assert result.adopted
    assert [column.name for column in result.manifest.columns] == ["a", "b"]
    bodies = [store.get(result.manifest.folder.child(file.name))[0] for file in result.manifest.files]
    assert set(b"".join(bodies).splitlines()) == {b"left,right"}


def test_another_materialize_knows_nothing_of_an_attempt(
    spec: Spec, store: ObjectStore, runs: RunStore, materialize: Sql
) -> None:
    with copy_faults(materialize, slow_rows=0.002, target="/elsewhere/", times=1):
        leave_behind(spec("elsewhere"), "elsewhere")
        stored = runs.find("elsewhere", "elsewhere")
        assert stored is not None
        stored.record.attempts[-1].environment = "aws-us-east-1-other-0"
        runs.save(stored, stored.record.updated_at)
        with pytest.raises(WrongEnvironmentError, match="aws-us-east-1-other-0"):
            run_export(spec("elsewhere"), run_key="elsewhere", store=store)
        # Another run key is free to begin, and sees no other run in progress.
        policy = ExportPolicy(if_running="fail")
        assert run_export(spec("elsewhere"), run_key="elsewhere-2", store=store, policy=policy).attempt == 1
