"""The hook as Airflow's generic SQL operators and the form's Test button use it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from .conftest import Airflow

SCRIPT = """
import json
from airflow.sdk import BaseHook
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from sqlalchemy import text

hook = BaseHook.get_hook("materialize_default")
operator = SQLExecuteQueryOperator(task_id="t", conn_id="materialize_default", sql="SELECT 40 + 2")
hook.run("CREATE TABLE IF NOT EXISTS shop.by_hook (a int)", autocommit=True)
print(json.dumps({
    "class": type(hook).__name__,
    "test": hook.test_connection(),
    "first": hook.get_first("SELECT count(*) FROM shop.by_hook WHERE a = %s", parameters=(1,)),
    "operator": operator.get_db_hook().get_records("SELECT 40 + 2"),
    "cluster": hook.get_first("SHOW cluster"),
    "engine": hook.get_sqlalchemy_engine().connect().execute(text("SELECT 40 + 2")).scalar(),
}))
"""
TEST = """
import json
from airflow.sdk import BaseHook

print(json.dumps(BaseHook.get_hook("materialize_default").test_connection()))
"""


@pytest.fixture(autouse=True)
def cluster(airflow: Airflow) -> Iterator[None]:
    """A cluster other than the default."""
    environment = airflow.environment
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    with psycopg.connect(**{key: environment[name] for key, name in names.items()}, autocommit=True) as connection:
        connection.execute("CREATE CLUSTER by_hook (SIZE = '25cc')")
        yield
        connection.execute("DROP CLUSTER by_hook")


def execute(script: str, airflow: Airflow, **extra: str) -> Any:
    """What the script's last line says, with extras in the connection."""
    connection = json.loads(airflow.environment["AIRFLOW_CONN_MATERIALIZE_DEFAULT"])
    variable = json.dumps({**connection, "extra": extra})
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**airflow.environment, "AIRFLOW_CONN_MATERIALIZE_DEFAULT": variable},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_hook(airflow: Airflow) -> None:
    answer = execute(SCRIPT, airflow, cluster="by_hook")
    assert answer["class"] == "MaterializeHook"
    working, message = answer["test"]
    assert working, message
    assert message.startswith("Connected to Materialize")
    assert (answer["first"], answer["operator"], answer["cluster"]) == ([0], [[42]], ["by_hook"])
    assert answer["engine"] == 42


def test_an_unknown_cluster_does_not_pass_the_test(airflow: Airflow) -> None:
    done = execute(TEST, airflow, cluster="nope")
    assert done == [False, "Materialize: unknown cluster 'nope'. SHOW CLUSTERS lists what there is."]
