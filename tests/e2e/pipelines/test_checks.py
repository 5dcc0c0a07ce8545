"""Checks of real exports: what stops a pipeline, what is remembered, and the ways out that the errors name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from mz_orchestration.errors import CheckError, MzOrchestrationError, NotFoundError, VerificationError
from mz_orchestration.flow import run_coroutine
from mz_orchestration.local.materialize.faults import copy_faults
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import parse_location
from mz_orchestration.pipelines.nodes import run_node
from mz_orchestration.pipelines.planning import Plan, plan_pipeline
from mz_orchestration.pipelines.spec import PipelineSpec
from mz_orchestration.pipelines.tools import NodeResult, Tools

Sql = psycopg.Connection[Any]
BASE = "s3://mz-exports/checks/"


@pytest.fixture
def table(materialize: Sql) -> Iterator[Sql]:
    """The table shop.checked with ten rows."""
    materialize.execute("CREATE TABLE shop.checked (id bigint)")
    materialize.execute("INSERT INTO shop.checked SELECT generate_series(1, 10)")
    yield materialize
    materialize.execute("DROP TABLE shop.checked CASCADE")


def plan(name: str, object: str = "shop.checked", **checks: Any) -> Plan:
    data = {
        "name": name,
        "defaults": {"to": BASE, "connection": "local_s3"},
        "exports": [{"object": object, "checks": checks}],
    }
    return plan_pipeline(PipelineSpec.model_validate(data))


def export(the_plan: Plan, run_key: str, store: ObjectStore) -> None:
    run_coroutine(run_node(the_plan.exports[0], the_plan, run_key, Tools(store)))


def check(the_plan: Plan, run_key: str, store: ObjectStore) -> NodeResult:
    node = the_plan.node(f"check {the_plan.exports[0].item}")
    return run_coroutine(run_node(node, the_plan, run_key, Tools(store)))


def refused(the_plan: Plan, run_key: str, store: ObjectStore, kind: type[MzOrchestrationError] = CheckError) -> Any:
    with pytest.raises(kind) as raised:
        check(the_plan, run_key, store)
    return raised.value


def test_a_jump_is_stopped_every_time_until_it_is_accepted(table: Sql, store: ObjectStore) -> None:
    strict = plan("jump", min_rows=1, max_change="20%")
    export(strict, "1", store)
    first = check(strict, "1", store)
    assert first.line == "rows=10, no earlier run to compare with"
    assert not first.repeated
    table.execute("INSERT INTO shop.checked SELECT generate_series(11, 12)")
    export(strict, "2", store)
    assert check(strict, "2", store).metadata == {
        "rows": 12,
        "earlier_rows": 10,
        "earlier_run": "1",
        "change": "+20.00%",
    }
    table.execute("INSERT INTO shop.checked SELECT generate_series(13, 24)")
    export(strict, "3", store)
    for _ in range(2):
        error = refused(strict, "3", store)
        assert error.message == (
            "shop.checked: It has 24 rows, and the run '2', the last before it that passed, had 12: "
            "+100.00% where max_change allows 20%."
        )
        assert not error.retryable
        assert error.details["checks"] == "max_change"
    # A run that is repeated is compared with the same one as ever.
    again = check(strict, "2", store)
    assert again.metadata["earlier_run"] == "1"
    assert again.repeated
    # Both ways out that the error names.
    loose = plan("jump", min_rows=1, max_change="100%")
    assert check(loose, "3", store).metadata["earlier_run"] == "2"
    assert f"delete {BASE}.checks/jump/shop.checked.json" in error.hint
    assert "raise max_change for this run" in error.hint
    store.delete(parse_location(f"{BASE}.checks/jump/shop.checked.json", field="history"))
    assert "no earlier run" in check(strict, "3", store).line


def test_a_history_that_is_none_says_the_way_out(table: Sql, store: ObjectStore) -> None:
    the_plan = plan("broken", min_rows=1)
    export(the_plan, "1", store)
    at = parse_location(f"{BASE}.checks/broken/shop.checked.json", field="history")
    for body in (b"{", b'{"pipeline": "another", "export": "shop.checked"}'):
        store.put(at, body)
        error = refused(the_plan, "1", store, VerificationError)
        assert str(at) in error.message
        assert "Delete that object" in error.hint
    store.delete(at)
    check(the_plan, "1", store)


def test_lag_is_asked_for_when_the_check_is_made(table: Sql, store: ObjectStore) -> None:
    table.execute("CREATE VIEW shop.checked_view AS SELECT count(*) AS n FROM shop.checked")
    the_plan = plan("late", "shop.checked_view", max_lag="5m")
    export(the_plan, "1", store)
    with copy_faults(table, lag=600, lag_of="shop.checked"):
        error = refused(the_plan, "1", store)
        assert "shop.checked lags 600 s, and max_lag is 300 s" in error.message
        assert "another run key" in error.hint
        assert not error.retryable
    with copy_faults(table, lag="unknown", lag_of="shop.checked"):
        assert "does not say how far shop.checked lags" in refused(the_plan, "1", store).message
    assert check(the_plan, "1", store).metadata["lag_seconds"] == 1.0


def test_what_does_not_pass_by_waiting_is_not_waited_for(table: Sql, store: ObjectStore) -> None:
    the_plan = plan("both", min_rows=11, max_lag="5m")
    export(the_plan, "1", store)
    with copy_faults(table, lag=600, lag_of="shop.checked"):
        error = refused(the_plan, "1", store)
    assert error.details["checks"] == "min_rows, max_lag"
    assert not error.retryable


def test_a_check_wants_its_export_first(table: Sql, store: ObjectStore) -> None:
    assert "has not been exported" in refused(plan("first", min_rows=1), "1", store, NotFoundError).message
