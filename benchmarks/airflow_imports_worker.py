"""What one import or one parse takes in this process, above Airflow's own names; runs under either environment.

Usage: airflow_imports_worker.py import MODULE ... | parse DAG_FILE
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import airflow.sdk
import airflow.triggers.base

# What any DAG file and any provider imports, airflow.triggers.base besides: the base of all figures.
for name in ("DAG", "Asset", "BaseHook", "BaseOperator", "BaseOperatorLink", "BaseSensorOperator", "task"):
    getattr(airflow.sdk, name)

HEAVY = ("pyarrow", "pandas", "boto3", "snowflake.connector", "psycopg", "psycopg2", "httpx", "duckdb")


def resident() -> float:
    """MiB of memory."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def measured(work: Any) -> dict[str, Any]:
    known, memory = set(sys.modules), resident()
    began, cpu = time.perf_counter(), time.process_time()
    work()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    new = set(sys.modules) - known
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "modules": len(new),
        "rss_mib": resident() - memory,
        "heavy": [name for name in HEAVY if name in new],
    }


def parse(file: str) -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=file)
    if bag.import_errors or not bag.dags:
        raise SystemExit(f"{file}: {bag.import_errors or 'no DAG'}")


def main(kind: str, *names: str) -> None:
    if kind == "import":
        answer = measured(lambda: [importlib.import_module(name) for name in names])
    else:
        importlib.import_module("airflow.dag_processing.dagbag")  # a DAG processor has it already
        answer = measured(lambda: parse(*names))
        # Stock providers are imported beforehand by the DAG processor, see parsing_pre_import_modules.
        answer["again_seconds"] = measured(lambda: parse(*names))["seconds"]
    print(json.dumps(answer))


main(*sys.argv[1:])
