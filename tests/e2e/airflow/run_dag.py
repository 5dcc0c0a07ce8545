"""Run a file's DAG by ``dag.test()`` and write down how it ended and what its tasks returned; started by the tests.

Usage: run_dag.py DAG_FILE ANSWER_FILE TIMES
"""

from __future__ import annotations

import json
import runpy
import sys
from datetime import UTC, datetime
from pathlib import Path

from airflow.models.asset import AssetEvent
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from sqlalchemy import select


def main(file: str, answer: str, times: str) -> None:
    initdb()
    dag = runpy.run_path(file)["dag"]
    # The same moment gives the same run id.
    moment = datetime(2026, 11, 20, 2, tzinfo=UTC)
    runs = []
    for _ in range(int(times)):
        run = dag.test(logical_date=moment, run_after=moment)
        tasks = {
            ti.task_id: {"state": ti.state, "tries": ti.try_number, "result": ti.xcom_pull(task_ids=ti.task_id)}
            for ti in run.get_task_instances()
        }
        with create_session() as session:
            events = session.scalars(select(AssetEvent.extra).where(AssetEvent.source_run_id == run.run_id)).all()
        runs.append({"run_id": run.run_id, "state": run.state, "tasks": tasks, "asset_events": list(events)})
        Path(answer).write_text(json.dumps(runs))


main(*sys.argv[1:])
