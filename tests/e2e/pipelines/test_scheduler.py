"""Which nodes run when: the order, the places, what a failure and an interrupt stop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mz_orchestration.errors import ConfigurationError, LoadError, RunConflictError
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.pipelines import run as running
from mz_orchestration.pipelines.lease import lease_location, read_lease
from mz_orchestration.pipelines.nodes import base_of
from mz_orchestration.pipelines.planning import ExportNode, GroupNode, Node, Plan, plan_pipeline
from mz_orchestration.pipelines.record import NodeState, PipelineRecord, PipelineState
from mz_orchestration.pipelines.run import run_pipeline
from mz_orchestration.pipelines.spec import PipelineSpec
from mz_orchestration.pipelines.store import PipelineStore
from mz_orchestration.pipelines.tools import NodeResult, Tools

Behaviour = Callable[[Node], Any]


class Bench:
    """Stands in for the work of nodes, so that a test can say how long each takes and how it ends."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.at_once: dict[str, int] = {}
        self.most = 0
        self.ended: list[str] = []
        self.behaviour: Behaviour = lambda node: None

    async def run_node(self, node: Node, plan: Plan, run_key: str, tools: Tools) -> NodeResult:
        self.calls.append(node.name)
        self.at_once[node.name] = min(len(node.members), node.max_parallel) if isinstance(node, GroupNode) else 1
        self.most = max(self.most, sum(self.at_once.values()))
        try:
            await asyncio.sleep(0.01)
            outcome = self.behaviour(node)
            if asyncio.iscoroutine(outcome):
                await outcome
        finally:
            del self.at_once[node.name]
            self.ended.append(node.name)
        return NodeResult(f"did {node.name}", {"rows": 1})


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Bench:
    there = Bench()
    monkeypatch.setattr(running, "run_node", there.run_node)
    return there


def plan(name: str, *, exports: int = 2, concurrency: int = 4, grouped: int = 0, **more: Any) -> Plan:
    """A pipeline of exports e0 ..., each with a load into a table of its own."""
    items: list[dict[str, Any]] = [{"name": f"e{i}", "object": f"shop.o{i}"} for i in range(exports)]
    items += [{"name": f"g{i}", "object": f"shop.g{i}", "consistency_group": "all"} for i in range(grouped)]
    return plan_pipeline(
        PipelineSpec(
            name=name,
            defaults={
                "to": "s3://mz-exports/scheduler/",
                "connection": "local_s3",
                "stage": "DEMO.PUBLIC.MZ_STAGE",
                "concurrency": concurrency,
            },  # type: ignore[arg-type]
            exports=items,  # type: ignore[arg-type]
            loads=[{"export": item["name"], "table": f"T{n}"} for n, item in enumerate(items)],  # type: ignore[arg-type]
            **more,
        )
    )


def states(record: PipelineRecord) -> dict[str, str]:
    return {node.name: node.state.value for node in record.nodes}


def test_loads_follow_their_exports(bench: Bench) -> None:
    record = run_pipeline(plan("order", exports=3), run_key="1")
    assert record.state is PipelineState.SUCCEEDED
    for i in range(3):
        assert bench.calls.index(f"export e{i}") < bench.calls.index(f"load T{i}")
    assert len(bench.calls) == 6


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_run_at_a_time_than_there_are_places(bench: Bench, concurrency: int) -> None:
    run_pipeline(plan(f"places{concurrency}", exports=7, grouped=2, concurrency=concurrency), run_key="1")
    assert bench.most == concurrency


def test_a_failure_blocks_what_needs_it_and_nothing_else(bench: Bench) -> None:
    def behave(node: Node) -> None:
        if node.name == "export e0":
            raise LoadError("no such thing", hint="make it")

    bench.behaviour = behave
    record = run_pipeline(plan("failure"), run_key="1")
    assert record.state is PipelineState.FAILED
    assert states(record) == {
        "export e0": "failed",
        "export e1": "succeeded",
        "load T0": "blocked",
        "load T1": "succeeded",
    }
    assert [node.name for node in record.failed] == ["export e0"]
    assert record.failed[0].error is not None
    assert record.failed[0].error["hint"] == "make it"


def test_a_bug_in_one_node_does_not_stop_the_others(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def behave(node: Node) -> None:
        if node.name == "load T0":
            raise KeyError("password=hunter2")

    bench.behaviour = behave
    record = run_pipeline(plan("bug"), run_key="1")
    assert states(record)["load T1"] == "succeeded"
    assert record.failed[0].error is not None
    assert "KeyError" in record.failed[0].error["message"]
    assert record.failed[0].error["type"] == "UnexpectedError"
    assert "hunter2" not in record.model_dump_json()
    assert "Traceback" in caplog.text


def test_the_next_call_does_what_is_left(bench: Bench, store: ObjectStore) -> None:
    def behave(node: Node) -> None:
        if node.name == "load T0":
            raise LoadError("not today")

    bench.behaviour = behave
    the_plan = plan("left")
    run_pipeline(the_plan, run_key="1")
    bench.calls.clear()
    bench.behaviour = lambda node: None
    record = run_pipeline(the_plan, run_key="1")
    assert bench.calls == ["load T0"]
    assert record.state is PipelineState.SUCCEEDED
    bench.calls.clear()
    assert run_pipeline(the_plan, run_key="1").state is PipelineState.SUCCEEDED
    assert bench.calls == []
    stored = PipelineStore(store, base_of(the_plan)).find("left", "1")
    assert stored is not None
    entry = stored.record.entry("load T0")
    assert entry is not None
    assert entry.line == "did load T0"


def test_done_work_that_has_changed_since_is_refused(bench: Bench) -> None:
    run_pipeline(plan("changed"), run_key="1")
    other = plan("changed")
    [load] = [node for node in other.nodes if node.name == "load T0"]
    object.__setattr__(load, "spec", load.spec.model_copy(update={"table": "OTHER"}))  # type: ignore[attr-defined]
    with pytest.raises(RunConflictError, match="'load T0' was done when it said something else"):
        run_pipeline(other, run_key="1")
    run_pipeline(other, run_key="2")


def test_a_check_that_has_changed_since_is_made_again(bench: Bench) -> None:
    def checked(rows: int) -> Plan:
        return plan_pipeline(
            PipelineSpec(
                name="rechecked",
                defaults={
                    "to": "s3://mz-exports/scheduler/",
                    "connection": "local_s3",
                    "checks": {"min_rows": rows},
                },  # type: ignore[arg-type]
                exports=[{"object": "shop.o"}],  # type: ignore[arg-type]
            )
        )

    run_pipeline(checked(1), run_key="1")
    bench.calls.clear()
    run_pipeline(checked(2), run_key="1")
    assert bench.calls == ["check shop.o"]


def test_only_what_was_asked_for_and_what_that_needs(bench: Bench) -> None:
    record = run_pipeline(plan("some", exports=3, retention={"keep_last": 1}), run_key="1", only=["T1"])
    assert bench.calls == ["export e1", "load T1"]
    assert record.state is PipelineState.SUCCEEDED
    assert states(record)["load T0"] == "pending"
    with pytest.raises(ConfigurationError, match="did you mean 'e1'"):
        run_pipeline(plan("some", exports=3), run_key="1", only=["e11"])


class Stop(BaseException):
    """An orchestrator's own interrupt."""


@pytest.fixture
def interrupt() -> Iterator[Callable[[], None]]:
    """Interrupts the main thread from any other."""

    def stop(*_: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGUSR1, stop)
    yield lambda: os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_an_interrupt_ends_what_runs_and_says_so(
    bench: Bench, store: ObjectStore, interrupt: Callable[[], None]
) -> None:
    async def forever() -> None:
        if len(bench.at_once) == 2:
            interrupt()
        await asyncio.sleep(60)

    bench.behaviour = lambda node: forever() if isinstance(node, ExportNode) else None
    the_plan = plan("interrupted")
    with pytest.raises(Stop):
        run_pipeline(the_plan, run_key="1")
    assert sorted(bench.ended) == ["export e0", "export e1"]
    stored = PipelineStore(store, base_of(the_plan)).find("interrupted", "1")
    assert stored is not None
    assert stored.record.state is PipelineState.INTERRUPTED
    assert {node.state for node in stored.record.nodes} == {NodeState.INTERRUPTED, NodeState.PENDING}
    lease, _ = read_lease(store, lease_location(base_of(the_plan), "interrupted"))
    assert lease is not None
    assert lease.released


def test_whoever_lost_the_lease_stops(bench: Bench, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "BEAT", 0.05)
    the_plan = plan("lost")
    at = lease_location(base_of(the_plan), "lost")

    async def steal() -> None:
        lease, _ = read_lease(store, at)
        assert lease is not None
        store.put(at, lease.model_copy(update={"run_key": "thief"}).model_dump_json().encode())
        await asyncio.sleep(60)

    bench.behaviour = lambda node: steal() if node.name == "export e0" else None
    with pytest.raises(RunConflictError, match="taken over"):
        run_pipeline(the_plan, run_key="1")
    lease, _ = read_lease(store, at)
    assert lease is not None
    assert lease.run_key == "thief"
    assert not lease.released


def test_an_empty_run_key_is_refused(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="run key is empty"):
        run_pipeline(plan("empty"), run_key=" ")
    assert bench.calls == []


def test_missing_settings_are_found_out_before_anything_runs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SNOWFLAKE_ACCOUNT")
    with pytest.raises(ConfigurationError, match="SNOWFLAKE_ACCOUNT"):
        run_pipeline(plan("settings"), run_key="1")
    assert bench.calls == []


def test_what_was_done_and_is_no_part_any_more_is_refused(bench: Bench) -> None:
    run_pipeline(plan("shrunk", exports=3), run_key="1")
    with pytest.raises(RunConflictError, match="'export e2' was done, and there is no such part any more"):
        run_pipeline(plan("shrunk", exports=2), run_key="1")


def test_a_listener_that_cannot_write_ends_nothing(bench: Bench) -> None:
    def full(*_: object) -> None:
        raise BrokenPipeError

    assert run_pipeline(plan("deaf"), run_key="1", on_node=full, on_event=full).state is PipelineState.SUCCEEDED
