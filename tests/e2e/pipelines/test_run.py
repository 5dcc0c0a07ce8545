"""Pipelines that export, check and load for real: what is in Snowflake afterwards, and what a second call does."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from mz_orchestration.errors import RunConflictError
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.pipelines.nodes import find_manifest
from mz_orchestration.pipelines.planning import Plan, plan_pipeline
from mz_orchestration.pipelines.record import NodeState, PipelineState
from mz_orchestration.pipelines.run import run_pipeline
from mz_orchestration.pipelines.spec import PipelineSpec
from mz_orchestration.pipelines.tools import Tools
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.quoting import Sql as Raw
from mz_orchestration.snowflake.quoting import compose, identifier, parse_name
from mz_orchestration.snowflake.session import SnowflakeSession

Sql = psycopg.Connection[Any]


def plan(name: str, **parts: Any) -> Plan:
    defaults = {
        "to": "s3://mz-exports/pipelines/",
        "connection": "local_s3",
        "stage": "DEMO.PUBLIC.MZ_STAGE",
        **parts.pop("defaults", {}),
    }
    return plan_pipeline(PipelineSpec(name=name, defaults=defaults, **parts))  # type: ignore[arg-type]


def in_snowflake(table: str, select: str) -> Any:
    with SnowflakeSession(SnowflakeConfig.from_environment()) as session:
        name = identifier(*parse_name(table, field="table"))
        return session.query(compose("SELECT {} AS ANSWER FROM {}", Raw(select), Raw(name))).rows[0]["answer"]


def copies(stack: LocalStack) -> int:
    lines = (stack.folder / "statements.jsonl").read_text().splitlines()
    said = [json.loads(line) for line in lines]
    return sum("COPY (" in str(each.get("statement", each.get("sql", ""))) for each in said)


@pytest.mark.usefixtures("environment")
def test_rows_arrive_at_one_timestamp_and_nothing_is_done_twice(
    store: ObjectStore, materialize: Sql, stack: LocalStack
) -> None:
    the_plan = plan(
        "whole",
        exports=[
            {"object": "shop.order_lines", "consistency_group": "orders"},
            {"object": "shop.order_totals", "consistency_group": "orders"},
            {"name": "germans", "object": "shop.customers", "where": "country = 'DE' -- there"},
        ],
        loads=[
            {"export": "shop.order_lines", "table": "DEMO.PUBLIC.P_LINES", "strategy": "overwrite"},
            {
                "export": "shop.order_totals",
                "table": "DEMO.PUBLIC.P_TOTALS",
                "strategy": "merge",
                "keys": ["order_id"],
            },
            {"export": "germans", "table": "DEMO.PUBLIC.P_GERMANS"},
        ],
    )
    before = copies(stack)
    record = run_pipeline(the_plan, run_key="2026-11-23")
    assert record.state is PipelineState.SUCCEEDED, record.failed
    manifests = [find_manifest(export, the_plan, "2026-11-23", Tools(store)) for export in the_plan.exports]
    assert manifests[0].timestamp == manifests[1].timestamp
    for table, query, answer in (
        ("P_LINES", "SELECT sum(net_amount) FROM shop.order_lines", "SUM(NET_AMOUNT)"),
        ("P_TOTALS", "SELECT count(*) FROM shop.order_totals", "COUNT(*)"),
        ("P_GERMANS", "SELECT count(*) FROM shop.customers WHERE country = 'DE'", "COUNT_IF(COUNTRY = 'DE')"),
    ):
        [expected] = materialize.execute(query).fetchone() or ()  # type: ignore[call-overload]
        assert in_snowflake(f"DEMO.PUBLIC.{table}", answer) == expected
    after = copies(stack)
    assert after - before == 3
    again = run_pipeline(the_plan, run_key="2026-11-23")
    assert again.state is PipelineState.SUCCEEDED
    assert all(node.repeated for node in again.nodes)
    assert [node.model_copy(update={"repeated": False}) for node in again.nodes] == record.nodes
    assert copies(stack) == after
    line = record.entry("load DEMO.PUBLIC.P_LINES")
    assert line is not None
    rows = manifests[0].rows
    assert f"copied={rows} footer_rows={rows} loaded_rows={rows}" in line.line


@pytest.mark.usefixtures("environment")
def test_a_missing_object_stops_only_what_needs_it_and_is_done_once_it_is_there(materialize: Sql) -> None:
    the_plan = plan(
        "missing",
        exports=[{"object": "shop.late"}, {"object": "shop.customers"}],
        loads=[
            {"export": "shop.late", "table": "DEMO.PUBLIC.P_LATE"},
            {"export": "shop.customers", "table": "DEMO.PUBLIC.P_CUSTOMERS"},
        ],
    )
    record = run_pipeline(the_plan, run_key="1")
    assert record.state is PipelineState.FAILED
    assert {node.name: node.state for node in record.nodes} == {
        "export shop.late": NodeState.FAILED,
        "export shop.customers": NodeState.SUCCEEDED,
        "load DEMO.PUBLIC.P_LATE": NodeState.BLOCKED,
        "load DEMO.PUBLIC.P_CUSTOMERS": NodeState.SUCCEEDED,
    }
    materialize.execute("CREATE TABLE shop.late (id bigint)")
    try:
        materialize.execute("INSERT INTO shop.late VALUES (1), (2)")
        record = run_pipeline(the_plan, run_key="1")
    finally:
        materialize.execute("DROP TABLE shop.late")
    assert record.state is PipelineState.SUCCEEDED, record.failed
    assert in_snowflake("DEMO.PUBLIC.P_LATE", "COUNT(*)") == 2
    customers = record.entry("load DEMO.PUBLIC.P_CUSTOMERS")
    assert customers is not None
    assert customers.started_at is not None


@pytest.mark.usefixtures("environment")
def test_a_load_alone_wants_its_export_first(store: ObjectStore) -> None:
    from mz_orchestration.errors import NotFoundError
    from mz_orchestration.flow import run_coroutine
    from mz_orchestration.pipelines.nodes import run_node

    the_plan = plan(
        "alone",
        exports=[{"object": "shop.customers", "consistency_group": "g"}],
        loads=[{"export": "shop.customers", "table": "DEMO.PUBLIC.P_ALONE"}],
    )
    load = the_plan.node("load DEMO.PUBLIC.P_ALONE")
    with pytest.raises(NotFoundError, match="has not been exported in the run 'r'") as raised:
        run_coroutine(run_node(load, the_plan, "r", Tools(store)))
    assert "group g" in raised.value.hint


@pytest.mark.usefixtures("environment")
def test_a_group_that_never_began_may_be_corrected_under_its_run_key() -> None:
    def grouped(*objects: str) -> Plan:
        return plan("corrected", exports=[{"object": name, "consistency_group": "g"} for name in objects])

    record = run_pipeline(grouped("shop.customers", "shop.ordres"), run_key="1")
    assert record.state is PipelineState.FAILED
    record = run_pipeline(grouped("shop.customers", "shop.orders"), run_key="1")
    assert record.state is PipelineState.SUCCEEDED, record.failed
    with pytest.raises(RunConflictError, match="'group g' was done when it said something else"):
        run_pipeline(grouped("shop.customers", "shop.payments"), run_key="1")


@pytest.mark.usefixtures("environment")
def test_an_export_may_have_any_name(store: ObjectStore) -> None:
    name = 'German "customers" 2026; %s'
    the_plan = plan(
        "named",
        exports=[{"name": name, "query": "SELECT 1 AS a"}],
        loads=[{"export": name, "table": "DEMO.PUBLIC.P_NAMED"}],
    )
    record = run_pipeline(the_plan, run_key="1")
    assert record.state is PipelineState.SUCCEEDED, record.failed
    assert find_manifest(the_plan.exports[0], the_plan, "1", Tools(store)).rows == 1
