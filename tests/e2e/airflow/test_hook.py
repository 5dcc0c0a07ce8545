"""The hook as Airflow's generic SQL operators and the form's Test button use it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from .conftest import Airflow

SCRIPT = """
import json
from airflow.sdk import BaseHook
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

hook = BaseHook.get_hook("materialize_default")
operator = SQLExecuteQueryOperator(task_id="t", conn_id="materialize_default", sql="SELECT 40 + 2")
hook.run("CREATE TABLE IF NOT EXISTS shop.by_hook (a int)", autocommit=True)
print(json.dumps({
    "class": type(hook).__name__,
    "test": hook.test_connection(),
    "first": hook.get_first("SELECT count(*) FROM shop.by_hook WHERE a = %s", parameters=(1,)),
    "operator": operator.get_db_hook().get_records("SELECT 40 + 2"),
    "cluster": hook.get_first("SHOW cluster"),
}))
"""


def run(airflow: Airflow, **extra: str) -> dict[str, Any]:
    connection = json.loads(airflow.environment["AIRFLOW_CONN_MATERIALIZE_DEFAULT"])
    variable = json.dumps({**connection, "extra": extra})
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**airflow.environment, "AIRFLOW_CONN_MATERIALIZE_DEFAULT": variable},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_the_hook(airflow: Airflow) -> None:
    answer = run(airflow, cluster="quickstart")
    assert answer["class"] == "MaterializeHook"
    working, message = answer["test"]
    assert working, message
    assert message.startswith("Connected to Materialize")
    assert (answer["first"], answer["operator"], answer["cluster"]) == ([0], [[42]], ["quickstart"])
