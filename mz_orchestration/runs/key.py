"""The run key: the name of a logical run, and where its record lies.

Airflow's is ``dag_id/run_id/task_id/map_index``, Dagster's run and step, cron's pipeline and slot, or ``--run-key``.
"""

from __future__ import annotations

import hashlib

from mz_orchestration.objectstore.location import Location

RUNS_FOLDER = ".runs"


def run_key_hash(run_key: str) -> str:
    """32 hex digits that stand for a run key in object names."""
    return hashlib.sha256(run_key.encode()).hexdigest()[:32]


def record_location(base: Location, export: str, run_key: str) -> Location:
    """The object that holds the record of a run of an export: outside of every attempt's path."""
    return base.child(f"{RUNS_FOLDER}/{export}/{run_key_hash(run_key)}.json")
