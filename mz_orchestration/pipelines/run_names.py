"""Which run of a pipeline the record of an export belongs to."""

from __future__ import annotations

import re

from mz_orchestration.pipelines.planning import ExportNode
from mz_orchestration.pipelines.record import node_run_key
from mz_orchestration.runs.record import RunRecord

_GENERATION = re.compile(r"#\d+-[0-9a-f]*")


def logical_run(record: RunRecord, pipeline: str, export: ExportNode) -> str | None:
    """The run key of the pipeline's run; None where the record is not the pipeline's.

    A task of Airflow's may well be called as the pipeline is: so the whole key has to be one that the pipeline gives.
    """
    if record.group is None:
        return _between(record.run_key, pipeline, export.item)
    if export.group is None or not _GENERATION.fullmatch(record.run_key.removeprefix(record.group.run_key)):
        return None
    return _between(record.group.run_key, pipeline, export.group.removeprefix("group "))


def _between(run_key: str, pipeline: str, item: str) -> str | None:
    beginning, end = node_run_key(pipeline, "\0", item).split("\0")
    if len(run_key) > len(beginning) + len(end) and run_key.startswith(beginning) and run_key.endswith(end):
        return run_key[len(beginning) : len(run_key) - len(end)]
    return None
