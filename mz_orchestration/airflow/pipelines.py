"""A pipeline file as a DAG: one task for each of its parts, in the order that the file asks for."""

from __future__ import annotations

import hashlib
import logging
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator

from mz_orchestration.airflow.exceptions import TaskKilledError, as_airflow_errors

if TYPE_CHECKING:
    from airflow.sdk import Context

    from mz_orchestration.pipelines.planning import Node, Plan
    from mz_orchestration.pipelines.tools import Tools
    from mz_orchestration.progress import Event

# Airflow takes up to 250 characters.
_LONGEST_ID = 200


class MaterializePipelineOperator(BaseOperator):
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
    ui_color = "#e6e0ff"

    # The thread in which on_kill may interrupt the work, while there is any.
    _working_in: int | None = None

    def __init__(
        self,
        *,
        plan: Plan,
        node: str,
        run_key: str | None = None,
        materialize_conn_id: str = "materialize_default",
        aws_conn_id: str | None = "aws_default",
        snowflake_conn_id: str = "snowflake_default",
        census_conn_id: str = "census_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.node = node
        self.run_key = run_key
        self.materialize_conn_id = materialize_conn_id
        self.aws_conn_id = aws_conn_id
        self.snowflake_conn_id = snowflake_conn_id
        self.census_conn_id = census_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Carry the part out."""
        from mz_orchestration.flow import run_coroutine
        from mz_orchestration.pipelines.nodes import run_node

        # The connector tells of every request it makes.
        logging.getLogger("snowflake.connector").setLevel(logging.WARNING)
        self._working_in = threading.get_ident()
        try:
            with as_airflow_errors():
                node = self.plan.node(self.node)
                result = run_coroutine(run_node(node, self.plan, self._run_key(context), self._tools(node)))
        finally:
            self._working_in = None
        self.log.info("%s: %s", self.node, result.line)
        return dict(result.metadata)

    def on_kill(self) -> None:
        """
        Cancel what is running remotely.

        Airflow calls this from the signal handler in the thread that runs ``execute``; raising here interrupts its
        wait, which cancels what runs on the way out.
        """
        if self._working_in == threading.get_ident():
            # Once: a second signal must not interrupt the cancelling.
            self._working_in = None
            raise TaskKilledError("The task was killed; what it runs is being cancelled.")

    def _tools(self, node: Node) -> Tools:
        """What the part works with; connections that it does not need are not looked up."""
        from mz_orchestration.airflow import connections
        from mz_orchestration.objectstore.client import ObjectStore
        from mz_orchestration.pipelines.nodes import with_settings
        from mz_orchestration.pipelines.planning import CheckNode, ExportNode, GroupNode, LoadNode, SyncNode
        from mz_orchestration.pipelines.tools import Tools

        materialize = snowflake = census = None
        match node:
            case CheckNode() if node.export.checks.max_lag is None:
                pass  # it reads records only
            case ExportNode() | GroupNode() | CheckNode():
                materialize = connections.materialize_config(connections.get_connection(self.materialize_conn_id))
            case LoadNode():
                snowflake = connections.snowflake_config(connections.get_connection(self.snowflake_conn_id))
            case SyncNode():
                census = connections.census_config(connections.get_connection(self.census_conn_id))
        store = ObjectStore(
            connections.object_store_config(connections.get_connection(self.aws_conn_id)) if self.aws_conn_id else None
        )
        tools = Tools(store, materialize, snowflake, census, on_event=self._log_event)
        return with_settings(tools, [node])

    def _run_key(self, context: Context) -> str:
        if self.run_key:
            return self.run_key
        ti = context["ti"]
        return f"{ti.dag_id}/{ti.run_id}"

    def _log_event(self, event: Event) -> None:
        self.log.info("%s", event.line())


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
