"""What docs/airflow.md shows is true: its DAGs run, its names exist, its connections are the parsers'."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mz_orchestration.airflow import connections
from mz_orchestration.airflow.get_provider_info import get_provider_info
from mz_orchestration.airflow.hooks.forms import FORMS
from mz_orchestration.exports.watch.arrival import Arrival
from mz_orchestration.local.seed import seed_sinks
from mz_orchestration.local.stack import LocalStack

from .dag_runs import run_dags

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/airflow.md").read_text()
EXECUTED = re.findall(r"<!-- executed by tests -->\n```python\n(.*?)```", PAGE, re.DOTALL)
IMPORTED = re.findall(r"<!-- imported by tests -->\n```python\n(.*?)```", PAGE, re.DOTALL)
# What the sensor of the page waits for, on the day of the runs.
BY_OTHERS = (
    "COPY (SELECT * FROM shop.customers) TO 's3://mz-exports/by-others/20261120/' "
    "WITH (AWS CONNECTION = local_s3, FORMAT = 'parquet')"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def runs(stack: LocalStack, home: Path) -> Iterator[dict[str, Any]]:
    """One run of each DAG of the page."""
    environment = stack.environment
    connection = psycopg.connect(
        host=environment["PGHOST"],
        port=environment["PGPORT"],
        user=environment["PGUSER"],
        password=environment["PGPASSWORD"],
        dbname=environment["PGDATABASE"],
        autocommit=True,
    )
    # A second try of this file finds it there.
    with suppress(psycopg.errors.InternalError_):
        connection.execute(BY_OTHERS)
    (home / "dags").mkdir(exist_ok=True)
    files = [home / f"dags/block{number}.py" for number in range(len(EXECUTED))]
    for file, block in zip(files, EXECUTED, strict=True):
        file.write_text(block)
    seed_sinks(stack.state)
    yield run_dags(files, stack, home)
    connection.execute("DROP CLUSTER sinks CASCADE")
    connection.execute("DROP CONNECTION shop.kafka, shop.lake")
    connection.close()


def results(runs: dict[str, Any], dag_id: str) -> dict[str, Any]:
    return {name: task["result"] for name, task in runs[dag_id][0]["tasks"].items()}


def test_every_dag_of_the_page_runs(runs: dict[str, Any]) -> None:
    assert set(runs) == {
        "three_tasks",
        "by_others",
        "sql",
        "patient",
        "mapped",
        "group",
        "with_assets",
        "after_the_sink",
    }


def test_what_they_come_to(runs: dict[str, Any]) -> None:
    three = results(runs, "three_tasks")
    assert three["load"]["rows_loaded"] == three["export"]["rows"] > 0
    assert three["sync"]["status"] == "completed"
    waited = results(runs, "by_others")["wait"]
    assert (waited["path"], waited["files"] > 0) == ("s3://mz-exports/by-others/20261120/", True)
    mapped = [each["load"] for each in results(runs, "mapped").values()]
    assert sorted(each["target"].split(".")[-1] for each in mapped) == ['"MAPPED_CUSTOMERS"', '"MAPPED_ORDERS"']
    assert {each["run_key"].rpartition("/")[2] for each in mapped} == {"shop.customers", "shop.order_totals"}
    group = results(runs, "group")
    assert group["customers.load"]["rows_loaded"] == group["customers.export"]["rows"]
    assert group["customers.clean_up"]["files"] == group["customers.export"]["files"]
    events = runs["with_assets"][0]["asset_events"]
    exported = results(runs, "with_assets")["export"]
    assert [event["manifest"] for event in events] == [exported["manifest"]] * 2


def test_the_dag_that_s3_starts_is_taken() -> None:
    [block] = IMPORTED
    names: dict[str, Any] = {}
    exec(compile(block, "told_by_s3.py", "exec"), names)
    [watcher] = names["exported"].watchers
    assert watcher.trigger.folder == "s3://mz-exports/airflow/"


def test_every_python_block_is_run_or_is_part_of_an_example() -> None:
    example = (ROOT / "dags/materialize_to_snowflake.py").read_text()
    rest = set(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)) - set(EXECUTED) - set(IMPORTED)
    assert len(rest) == 1
    # There it is an argument.
    assert all(block.strip().replace(" = ", "=", 1) in example for block in rest)


def test_every_operator_is_there_and_named() -> None:
    named = re.findall(r"^\| `((?:transfers|operators|sensors|pipelines)\.[\w.]+)` ", PAGE, re.MULTILINE)
    for name in named:
        module, _, cls = name.rpartition(".")
        assert hasattr(importlib.import_module(f"mz_orchestration.airflow.{module}"), cls), name
    info = get_provider_info()
    modules = {each for kind in ("operators", "sensors") for entry in info[kind] for each in entry["python-modules"]}
    modules |= {entry["python-module"] for entry in info["transfers"]}
    assert modules == {f"mz_orchestration.airflow.{name.rpartition('.')[0]}" for name in named}


def test_every_extra_is_named() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    source = inspect.getsource(connections.object_store_config)
    read = set(re.findall(r'"(\w+)"', source[source.index("names = ") :]))
    read |= {*FORMS["materialize"]["conn-fields"], *FORMS["census"]["conn-fields"], *connections._SNOWFLAKE_EXTRAS}
    assert read <= named


def test_every_message_in_the_table_is_one_of_ours() -> None:
    section = PAGE[PAGE.index("## When something is wrong") :]
    source = "".join(file.read_text() for file in (ROOT / "mz_orchestration/airflow").rglob("*.py"))
    for message in re.findall(r"^\| `([^`]+)` \| ", section, re.MULTILINE):
        parts = [part.strip(" '") for part in message.split("…")]
        assert all(part in source for part in parts), message


def test_the_payload_is_what_watchers_tell() -> None:
    table = PAGE[PAGE.index("| field | |") : PAGE.index("An export is told of at least once")]
    named = {
        name for row in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert named == set(re.findall(r'"(\w+)":', inspect.getsource(Arrival.to_payload)))
