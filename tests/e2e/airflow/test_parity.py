"""Whether a task waits in a worker or in the triggerer: the same end, error, result, links and asset event."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import requests
from airflow.sdk import AssetAlias

from mz_orchestration.airflow.exceptions import RetryableError, UnavailableSystemError
from mz_orchestration.airflow.operators.base import MaterializeJobOperator
from mz_orchestration.airflow.operators.census import CensusSyncOperator
from mz_orchestration.airflow.pipelines import MaterializePipelineOperator
from mz_orchestration.airflow.transfers.export_to_snowflake import MaterializeExportToSnowflakeOperator
from mz_orchestration.airflow.transfers.materialize_to_s3 import MaterializeToS3Operator
from mz_orchestration.airflow.transfers.materialize_to_snowflake import MaterializeToSnowflakeOperator
from mz_orchestration.airflow.version_compat import AirflowFailException, AirflowTaskTimeout
from mz_orchestration.pipelines.nodes import kind_of
from mz_orchestration.pipelines.reading import parse_pipeline

from .driving import OUTLET, Ending, context_of, drive

MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
EXPORT = {"object": "shop.customers", "to": "s3://mz-exports/parity/", "connection": "local_s3"}
TARGET = {"stage": "DEMO.PUBLIC.MZ_STAGE"}
SLOW = "SELECT i AS id, pg_sleep(0.01)::text AS slow FROM generate_series(1, 100000) AS s(i)"
Vary = Callable[..., dict[str, Any]]


@pytest.fixture
def vary(deferrable: bool) -> Vary:
    """Arguments of a task of its own."""

    def arguments(**more: Any) -> dict[str, Any]:
        return {
            "task_id": "task",
            "run_key": uuid.uuid4().hex,
            "deferrable": deferrable,
            "outlets": [OUTLET],
            **more,
        }

    return arguments


@MODES
def test_exports_that_succeed(environment: dict[str, str], vary: Vary, deferrable: bool) -> None:
    ending = drive(MaterializeToS3Operator(**vary(**EXPORT, verify="full", count=True, casts={"id": "text"})))
    assert ending.error is None
    assert (ending.state, ending.deferrals) == ("success", int(deferrable))
    assert set(ending.links) == set()  # the local store has no console
    assert ending.result["rows"] == ending.extra["rows"] > 0
    assert set(ending.result) - set(ending.extra) == {"attempt", "repeated", "adopted", "seconds"}


@MODES
def test_links_of_systems_that_have_consoles(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, vary: Vary
) -> None:
    connection = json.loads(environment["AIRFLOW_CONN_MATERIALIZE_DEFAULT"])
    connection["extra"] = {**connection.get("extra", {}), "console_url": "https://console.example.com/"}
    monkeypatch.setenv("AIRFLOW_CONN_MATERIALIZE_DEFAULT", json.dumps(connection))
    ending = drive(MaterializeToSnowflakeOperator(**vary(**EXPORT, **TARGET, table="DEMO.PUBLIC.LINKED")))
    assert ending.error is None
    assert ending.links["_link_MaterializeConsoleLink"] == "https://console.example.com/"
    ids = ending.result["load"]["query_ids"].split(",")
    assert f"/queries/{ids[-1]}/detail" in ending.links["_link_SnowflakeQueryLink"]


@MODES
def test_transfers_that_succeed_and_are_repeated(environment: dict[str, str], vary: Vary) -> None:
    arguments = vary(**EXPORT, **TARGET, table=f"DEMO.PUBLIC.PARITY_{uuid.uuid4().hex[:8]}")
    first, second = (drive(MaterializeToSnowflakeOperator(**arguments)) for _ in range(2))
    assert (first.error, second.error) == (None, None)
    rows = first.result["export"]["rows"]
    assert [first.result["load"][name] for name in ("rows_copied", "rows_in_files", "rows_loaded")] == [rows] * 3
    assert (second.result["export"]["repeated"], second.result["load"]["repeated"]) == (1, 1)
    assert first.extra == second.extra
    assert first.extra["manifest"] == first.result["export"]["manifest"]


@MODES
def test_an_alias_stands_for_the_path_of_the_run(environment: dict[str, str], vary: Vary) -> None:
    alias, context = AssetAlias("exported"), context_of("task")
    ending = drive(MaterializeToS3Operator(**vary(**EXPORT) | {"outlets": [alias]}), context)
    ((asset, extra),) = context["outlet_events"][alias].added
    assert asset.uri.rstrip("/") == ending.result["path"].rstrip("/")
    assert extra["manifest"] == ending.result["manifest"]


@MODES
def test_lineage(environment: dict[str, str], vary: Vary) -> None:
    operator = MaterializeToSnowflakeOperator(**vary(**EXPORT, **TARGET, table="DEMO.PUBLIC.LINEAGE"))
    assert operator.get_openlineage_facets_on_complete(None) is None
    rows = drive(operator).result["load"]["rows_loaded"]
    lineage = operator.get_openlineage_facets_on_complete(None)
    assert lineage is not None
    (read,), (written,) = lineage.inputs, lineage.outputs
    where = json.loads(environment["AIRFLOW_CONN_MATERIALIZE_DEFAULT"])
    assert (read.namespace, read.name) == (
        f"materialize://{where['host']}:{where['port']}",
        "materialize.shop.customers",
    )
    assert written.name == "DEMO.PUBLIC.LINEAGE"
    assert written.namespace == f"snowflake://{environment['SNOWFLAKE_ACCOUNT']}"
    assert written.outputFacets["outputStatistics"].rowCount == rows


@MODES
def test_loads_of_a_manifest_by_other_strategies(environment: dict[str, str], vary: Vary) -> None:
    export = drive(MaterializeToS3Operator(**vary(**EXPORT)))
    table = f"DEMO.PUBLIC.PARITY_{uuid.uuid4().hex[:8]}"
    arguments = vary(**TARGET, table=table, manifest=export.result["manifest"], strategy="merge", keys="id")
    ending = drive(MaterializeExportToSnowflakeOperator(**arguments))
    assert ending.error is None
    assert (ending.result["rows_loaded"], ending.result["strategy"]) == (export.result["rows"], "merge")
    assert ending.extra["timestamp"] == export.extra["timestamp"]


@MODES
def test_syncs(environment: dict[str, str], vary: Vary, deferrable: bool) -> None:
    ending = drive(CensusSyncOperator(**vary(sync=2, at="s3://mz-exports/parity/", full=True)))
    assert ending.error is None
    assert (ending.result["status"], ending.deferrals) == ("completed", int(deferrable))
    assert ending.links["_link_CensusSyncLink"] == ending.result["url"]
    assert ending.extra["records_processed"] == ending.result["records_processed"] > 0


@MODES
def test_a_sync_without_a_record_stays_in_the_worker(environment: dict[str, str], vary: Vary) -> None:
    ending = drive(CensusSyncOperator(**vary(sync=2)))
    assert (ending.state, ending.deferrals) == ("success", 0)


@MODES
@pytest.mark.parametrize(
    ("more", "kind", "message"),
    [
        ({"object": "shop.nothing"}, AirflowFailException, "unknown catalog item"),
        ({"to": "s3://no-such-bucket-here/x/"}, AirflowFailException, "no-such-bucket-here"),
        ({"materialize_conn_id": "nowhere"}, AirflowFailException, "There is no Airflow connection 'nowhere'"),
        ({"materialize_conn_id": "closed"}, UnavailableSystemError, "Materialize cannot be reached"),
        ({"query": SLOW, "object": "parity_slow", "export_timeout": 1}, RetryableError, "longer than 1 seconds"),
    ],
    ids=["object", "bucket", "connection", "unreachable", "deadline"],
)
def test_exports_that_fail(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    vary: Vary,
    more: dict[str, Any],
    kind: type[Exception],
    message: str,
) -> None:
    closed = {**json.loads(environment["AIRFLOW_CONN_MATERIALIZE_DEFAULT"]), "port": 1}
    monkeypatch.setenv("AIRFLOW_CONN_CLOSED", json.dumps(closed))
    ending = drive(MaterializeToS3Operator(**vary(**{**EXPORT, **more})))
    assert type(ending.error) is kind
    assert message in str(ending.error)
    assert (ending.result, ending.extra) == (None, {})
    assert environment["PGPASSWORD"] not in str(ending.error)


@MODES
def test_execution_timeout(environment: dict[str, str], materialize: psycopg.Connection[Any], vary: Vary) -> None:
    marker = uuid.uuid4().hex
    query = SLOW.replace("slow", f"timeout_{marker}")
    arguments = vary(**{**EXPORT, "object": "parity_timeout", "query": query})
    operator = MaterializeToS3Operator(**arguments, execution_timeout=timedelta(seconds=2))
    ending = drive(operator)
    assert type(ending.error) is AirflowTaskTimeout
    running = materialize.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s AND pid <> pg_backend_pid() AND state = 'active'",
        [f"%timeout_{marker}%"],
    ).fetchone()
    assert running == (0,)


@MODES
def test_a_load_that_lost_rows(environment: dict[str, str], vary: Vary) -> None:
    url = f"http://{environment['SNOWFLAKE_HOST']}:{environment['SNOWFLAKE_PORT']}/local/faults"
    requests.post(url, json={"copy_rows_loaded_delta": -1, "times": 1}, timeout=5).raise_for_status()
    try:
        ending = drive(MaterializeToSnowflakeOperator(**vary(**EXPORT, **TARGET, table="DEMO.PUBLIC.NEVER")))
    finally:
        requests.delete(url, timeout=5)
    assert type(ending.error) is AirflowFailException
    assert "rows" in str(ending.error)
    assert ending.extra == {}


class Memory(dict[str, Any]):
    """Airflow's memory of a task over retries and clears."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value


@MODES
def test_a_cleared_task(environment: dict[str, str], vary: Vary) -> None:
    memory = Memory()
    arguments = vary(**EXPORT, on_clear="again")

    def run(max_tries: int) -> Ending:
        context = context_of("task", task_state_store=memory)
        # A clear raises it.
        context["ti"].max_tries = max_tries
        return drive(MaterializeToS3Operator(**arguments), context)

    first, retried, cleared = run(2), run(2), run(3)
    assert first.error is retried.error is cleared.error is None
    # Its success was never reported: that is no wish to do it again.
    assert (retried.result["repeated"], retried.result["manifest"]) == (1, first.result["manifest"])
    assert (cleared.result["repeated"], cleared.result["run_key"]) == (0, f"{arguments['run_key']}#1")
    assert run(3).result["manifest"] == cleared.result["manifest"]
    before_3_3 = drive(MaterializeToS3Operator(**arguments))
    assert type(before_3_3.error) is AirflowFailException
    assert "on_clear" in str(before_3_3.error)


@MODES
@pytest.mark.parametrize(
    ("operator", "more", "message"),
    [
        (MaterializeToS3Operator, {**EXPORT, "on_clear": "agian"}, "'agian' is neither"),
        (MaterializeToS3Operator, {**EXPORT, "run_key": "\ud800"}, "run_key: .* is not text"),
        (
            MaterializeExportToSnowflakeOperator,
            {"manifest": "s3://b/x/_manifest.json", "stage": "S", "table": "T", "on_clear": "again"},
            "means nothing to",
        ),
        (
            MaterializePipelineOperator,
            {"plan": None, "node": "export shop.customers", "on_clear": "again"},
            "means nothing to",
        ),
    ],
    ids=["typo", "surrogate", "load", "pipeline"],
)
def test_what_names_no_run(
    environment: dict[str, str], vary: Vary, operator: type[MaterializeJobOperator], more: dict[str, Any], message: str
) -> None:
    ending = drive(operator(**vary(**more)), context_of("task", task_state_store=Memory()))
    assert type(ending.error) is AirflowFailException
    assert re.search(message, str(ending.error))


@MODES
def test_a_run_key_that_was_rendered_to_a_number(environment: dict[str, str], vary: Vary) -> None:
    number = uuid.uuid4().int % 10**9
    ending = drive(MaterializeToS3Operator(**vary(**EXPORT) | {"run_key": number}))
    assert ending.result["run_key"] == str(number)


@MODES
def test_a_backfill_is_refused_unless_it_is_asked_for(environment: dict[str, str], vary: Vary) -> None:
    def backfill() -> dict[str, Any]:
        return context_of("task", dag_run=SimpleNamespace(run_type="backfill"))

    refused = drive(MaterializeToS3Operator(**vary(**EXPORT)), backfill())
    assert type(refused.error) is AirflowFailException
    assert "allow_backfill" in str(refused.error)
    assert drive(MaterializeToS3Operator(**vary(**EXPORT, allow_backfill=True)), backfill()).state == "success"


PIPELINE = """
name: parity
defaults:
  to: s3://mz-exports/parity-pipeline/
  connection: local_s3
exports:
  - object: shop.customers
    checks: {min_rows: 1}
loads:
  - export: shop.customers
    stage: DEMO.PUBLIC.MZ_STAGE
    table: DEMO.PUBLIC.PARITY_PIPELINE
syncs:
  - sync: 2
    after: [shop.customers]
retention:
  keep_last: 3
"""


@MODES
def test_every_part_of_a_pipeline(environment: dict[str, str], vary: Vary, deferrable: bool) -> None:
    plan = parse_pipeline(PIPELINE, source="parity.yaml")
    arguments = vary()
    endings = {
        node.name: drive(MaterializePipelineOperator(**{**arguments, "plan": plan, "node": node.name}))
        for node in plan.nodes
    }
    assert {name: str(each.error) for name, each in endings.items() if each.error} == {}
    assert {each.deferrals for each in endings.values()} == {int(deferrable)}
    assert {kind_of(node) for node in plan.nodes} == {"export", "check", "load", "sync", "retention"}
    assert endings["load DEMO.PUBLIC.PARITY_PIPELINE"].result["rows_loaded"] > 0
    load = endings["load DEMO.PUBLIC.PARITY_PIPELINE"]
    assert load.extra["rows"] == load.result["rows_loaded"]
    assert load.result["query_ids"] in load.links["_link_SnowflakeQueryLink"]
