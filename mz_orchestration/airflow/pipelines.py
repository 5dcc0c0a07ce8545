"""A pipeline file as a DAG: one task for each of its parts, in the order that the file asks for."""

from __future__ import annotations

import hashlib
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import DAG, BaseOperatorLink

from mz_orchestration.airflow.links import LINKS
from mz_orchestration.airflow.operators.base import MaterializeJobOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from mz_orchestration.airflow.jobs.base import Job
    from mz_orchestration.pipelines.planning import Plan

# Airflow takes up to 250 characters.
_LONGEST_ID = 200


class MaterializePipelineOperator(MaterializeJobOperator):
    """
    Carry out one part of a pipeline: an export, a group of exports, checks, a load, a sync, or retention.

    Safe to retry: the retry returns what is finished, picks up what the earlier try left behind, or starts a new
    attempt. Nothing is handed over by XCom: what an export wrote is found under the run key.

    :param plan: the pipeline, from ``read_pipeline``.
    :param node: name of the part, as ``mz-orchestration pipeline plan`` shows it.
    :param run_key: names the run of the whole pipeline; ``dag_id/run_id`` by default. (templated)
    :param materialize_conn_id: connection to Materialize. (templated)
    :param aws_conn_id: connection to the object store; None leaves it to boto3. (templated)
    :param snowflake_conn_id: connection to Snowflake. (templated)
    :param census_conn_id: connection to Census. (templated)
    :return: what came of it, as a small dictionary.
    """

    template_fields: Sequence[str] = (
        "run_key",
        "materialize_conn_id",
        "aws_conn_id",
        "snowflake_conn_id",
        "census_conn_id",
    )
    operator_extra_links: Collection[BaseOperatorLink] = tuple(link() for link in LINKS.values())
    # All parts share the run key of the pipeline.
    runs_again: ClassVar[bool] = False

    def __init__(
        self,
        *,
        plan: Plan,
        node: str,
        materialize_conn_id: str = "materialize_default",
        aws_conn_id: str | None = "aws_default",
        snowflake_conn_id: str = "snowflake_default",
        census_conn_id: str = "census_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.node = node
        self.materialize_conn_id = materialize_conn_id
        self.aws_conn_id = aws_conn_id
        self.snowflake_conn_id = snowflake_conn_id
        self.census_conn_id = census_conn_id

    def job(self, run_key: str) -> Job:
        """Return the part."""
        from mz_orchestration.airflow.jobs.node import NodeJob

        # Notifications are the command line's, and their addresses may be secret.
        pipeline = self.plan.spec.model_dump(mode="json", exclude={"notifications"}, exclude_unset=True)
        return NodeJob(
            pipeline,
            self.node,
            run_key,
            self.materialize_conn_id,
            self.aws_conn_id,
            self.snowflake_conn_id,
            self.census_conn_id,
        )

    def default_run_key(self, context: Context) -> str:
        """Return a name that all parts of a run share."""
        ti = context["ti"]
        mapped = f"/{ti.map_index}" if ti.map_index is not None and ti.map_index >= 0 else ""
        return f"{ti.dag_id}/{ti.run_id}{mapped}"


def dag_from_pipeline(
    path: Path | str,
    *,
    dag_id: str | None = None,
    run_key: str | None = None,
    materialize_conn_id: str = "materialize_default",
    aws_conn_id: str | None = "aws_default",
    snowflake_conn_id: str = "snowflake_default",
    census_conn_id: str = "census_default",
    **dag_arguments: Any,
) -> DAG:
    """
    Make a DAG of a pipeline file; contacts nothing.

    One run at a time, and as many tasks at a time as the file's ``concurrency`` says, unless ``max_active_runs`` or
    ``max_active_tasks`` say otherwise. The file's notifications are the command line's: use Airflow's own.

    :param path: the pipeline file.
    :param dag_id: the pipeline's name by default.
    :param run_key: names the run of the whole pipeline; ``dag_id/run_id`` by default. (templated)
    :param materialize_conn_id: connection to Materialize.
    :param aws_conn_id: connection to the object store; None leaves it to boto3.
    :param snowflake_conn_id: connection to Snowflake; looked up by loads only.
    :param census_conn_id: connection to Census; looked up by syncs only.
    :param dag_arguments: as for ``DAG``: ``schedule``, ``start_date``, ``default_args`` and so on.
    :raises ConfigurationError: the file has mistakes; each is named with its line.
    """
    from mz_orchestration.pipelines.reading import read_pipeline

    plan = read_pipeline(path)
    dag = DAG(
        dag_id or plan.spec.name,
        **{"max_active_runs": 1, "max_active_tasks": plan.spec.defaults.concurrency, "schedule": None} | dag_arguments,
    )
    # Airflow takes the file that calls DAG() for the DAG's own.
    dag.fileloc = sys._getframe(1).f_code.co_filename
    ids = _task_ids(node.name for node in plan.nodes)
    tasks: dict[str, MaterializePipelineOperator] = {}
    for node in plan.nodes:
        task = tasks[node.name] = MaterializePipelineOperator(
            dag=dag,
            task_id=ids[node.name],
            task_display_name=node.name,
            plan=plan,
            node=node.name,
            run_key=run_key,
            materialize_conn_id=materialize_conn_id,
            aws_conn_id=aws_conn_id,
            snowflake_conn_id=snowflake_conn_id,
            census_conn_id=census_conn_id,
        )
        for need in node.needs:
            task.set_upstream(tasks[need])
    return dag


def _task_ids(names: Iterable[str]) -> dict[str, str]:
    """Ids that hold what Airflow takes; a name that would not be told from another by it gets a hash of itself."""
    names = list(names)
    plain = {name: re.sub(r"[^A-Za-z0-9_.-]+", "_", name) for name in names}
    uses = Counter(plain.values())
    return {
        name: each
        if uses[each] == 1 and len(each) <= _LONGEST_ID
        else f"{each[:_LONGEST_ID]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        for name, each in plain.items()
    }
