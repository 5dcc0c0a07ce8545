"""One export by an operator's ``execute`` in this process: first of one row, then of the table.

The first export pays for what the operator imports when it runs; the second is what the rows cost.

Usage: airflow_export_worker.py ours|stock TABLE FOLDER
"""

from __future__ import annotations

import gc
import json
import logging
import resource
import sys
import time
from pathlib import Path
from typing import Any

from airflow_context import context

BUCKET = "mz-exports"


def ours(object: str, query: str | None, folder: str) -> Any:
    from mz_orchestration.airflow.transfers.materialize_to_s3 import MaterializeToS3Operator

    return MaterializeToS3Operator(
        task_id="task", object=object, query=query, to=f"s3://{BUCKET}/{folder}", connection="local_s3"
    )


def stock(object: str, query: str | None, folder: str) -> Any:
    from airflow.providers.amazon.aws.transfers.sql_to_s3 import SqlToS3Operator

    return SqlToS3Operator(
        task_id="task",
        query=query or f"SELECT * FROM {object}",
        s3_bucket=BUCKET,
        s3_key=f"{folder}{object}.parquet",
        sql_conn_id="postgres_default",
        file_format="parquet",
    )


def resident(field: str) -> float:
    """MiB of VmRSS or VmHWM."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(field)).split()[1]) / 1024


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measured(operator: Any, run_id: str) -> dict[str, Any]:
    gc.collect()
    idle = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    before, began = cpu(), time.monotonic()
    operator.execute(context(run_id))
    return {
        "seconds": time.monotonic() - began,
        "cpu_seconds": cpu() - before,
        "idle_mib": idle,
        "peak_above_idle_mib": resident("VmHWM") - idle,
        "peak_mib": resident("VmHWM"),
    }


def main(side: str, table: str, folder: str) -> None:
    logging.disable(logging.INFO)
    make = {"ours": ours, "stock": stock}[side]
    run_id = folder.replace("/", "-")
    one = make("one", "SELECT 1 AS one", f"{folder}one/")
    all_rows = make(table, None, f"{folder}all/")
    print(json.dumps({"first": measured(one, f"{run_id}one"), "rows": measured(all_rows, f"{run_id}all")}))


main(*sys.argv[1:])
