"""The example that is started by events, in a real Airflow whose triggerer is killed."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.local.airflow import LocalAirflow
from mz_orchestration.local.stack import LocalStack

EXAMPLE = Path(__file__).parents[3] / "dags" / "materialize_event_driven.py"
ROWS = "SELECT count(*) AS rows_loaded FROM DEMO.PUBLIC.ORDER_TOTALS_BY_EVENT"
SETTINGS = {
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    # Another triggerer takes over the sooner.
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
}
Query = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def airflow_services(stack: LocalStack, tmp_path: Path) -> Iterator[LocalAirflow]:
    dags = tmp_path / "dags"
    dags.mkdir()
    shutil.copy(EXAMPLE, dags)
    with LocalAirflow(tmp_path / "airflow", dags, stack.environment, SETTINGS) as services:
        yield services


def answer(services: LocalAirflow, path: str) -> Any:
    with urllib.request.urlopen(f"{services.url}/auth/token") as reply:
        token = json.load(reply)["access_token"]
    request = urllib.request.Request(f"{services.url}/api/v2{path}", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


def states(services: LocalAirflow) -> list[str]:
    """Of the runs of the example."""
    return [run["state"] for run in answer(services, "/dags/materialize_event_driven/dagRuns")["dag_runs"]]


def has_looked(services: LocalAirflow) -> bool:
    """Whether the watcher has kept what it saw."""
    with closing(sqlite3.connect(f"file:{services.home}/airflow.db?mode=ro", uri=True)) as database:
        return bool(database.execute("SELECT count(*) FROM asset_state_store").fetchone()[0])


def kill_triggerer(services: LocalAirflow) -> None:
    """With -9, it and its runner."""
    killed = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("AIRFLOW_HOME") == str(services.home) and "triggerer" in process.cmdline():
                for each in (*process.children(recursive=True), process):
                    each.kill()
                    killed += 1
    assert killed >= 2


def until(services: LocalAirflow, condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, f"{what}: {services.log.read_text(errors='replace')[-4000:]}"
        time.sleep(0.5)


@pytest.mark.usefixtures("environment")
def test_each_export_starts_one_run_though_the_triggerer_is_killed(
    airflow_services: LocalAirflow, snowflake: Query
) -> None:
    services = airflow_services

    def export(run_key: str) -> int:
        spec = export_spec(object="shop.order_totals", to="s3://mz-exports/airflow/", connection="local_s3")
        return run_export(spec, run_key=run_key).manifest.rows

    # What is complete at the watcher's first look is not its business.
    export("before the watcher")
    services.start()
    until(services, lambda: has_looked(services), "the watcher's first look")
    rows = export("watched")
    until(services, lambda: states(services) == ["success"], "the first run")
    assert snowflake(ROWS) == [{"rows_loaded": rows}]

    kill_triggerer(services)
    export("while nobody watches")
    services.run("triggerer")
    until(services, lambda: states(services) == ["success", "success"], "the second run")
    told = [event["extra"]["payload"]["id"] for event in answer(services, "/assets/events")["asset_events"]]
    assert len(set(told)) == len(told) == 2
