"""One part of a pipeline file as a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from mz_orchestration.airflow.jobs.base import Job, Links, Listener, Outcome
from mz_orchestration.airflow.jobs.export import ExportJob
from mz_orchestration.airflow.jobs.load import LoadJob
from mz_orchestration.airflow.jobs.sync import SyncJob

if TYPE_CHECKING:
    from mz_orchestration.airflow.connections import Systems
    from mz_orchestration.pipelines.planning import ExportNode, LoadNode, Node, Plan


@dataclass(frozen=True)
class NodeJob(Job):
    """Carry out an export, a group of exports, checks, a load, a sync, or retention.

    :param pipeline: the file, filled in, without what only our own scheduler uses.
    :param node: name of the part.
    :param run_key: names the logical run of the whole pipeline.
    :param materialize_conn_id: connection to Materialize.
    :param aws_conn_id: connection to the object store; None leaves it to boto3.
    :param snowflake_conn_id: connection to Snowflake.
    :param census_conn_id: connection to Census.
    :param waits_for_own: attempts that this try has begun are waited for, whatever the file says of earlier ones.
    """

    kind: ClassVar[str] = "node"

    pipeline: dict[str, Any]
    node: str
    run_key: str
    materialize_conn_id: str = "materialize_default"
    aws_conn_id: str | None = "aws_default"
    snowflake_conn_id: str = "snowflake_default"
    census_conn_id: str = "census_default"
    waits_for_own: bool = False

    def connections(self) -> Mapping[str, str | None]:
        """Those that the part needs."""
        from mz_orchestration.pipelines.planning import CheckNode, ExportNode, GroupNode, LoadNode, SyncNode

        needs: dict[str, str | None] = {"aws": self.aws_conn_id}
        match self._node:
            case CheckNode() as node if node.export.checks.max_lag is None:
                pass  # it reads records only
            case ExportNode() | GroupNode() | CheckNode():
                needs["materialize"] = self.materialize_conn_id
            case LoadNode():
                needs["snowflake"] = self.snowflake_conn_id
            case SyncNode():
                needs["census"] = self.census_conn_id
        return needs

    def check(self) -> None:
        """Find mistakes; the file has been checked when the DAG was made."""
        from mz_orchestration.pipelines.planning import LoadNode
        from mz_orchestration.snowflake.session import require_connector

        if isinstance(self._node, LoadNode):
            require_connector()

    def seconds(self) -> float:
        """The deadlines of the part's own actions."""
        from mz_orchestration.pipelines.planning import ExportNode, GroupNode, LoadNode, SyncNode

        match self._node:
            case ExportNode() as node:
                return node.spec.timeout
            case GroupNode() as node:
                # As many at a time as the file says, which may be one.
                return sum(member.spec.timeout for member in node.members)
            case LoadNode() as node:
                return 2 * node.spec.timeout
            case SyncNode() as node:
                return node.spec.timeout
        return 3600.0

    def links(self, systems: Systems) -> Links:
        """Those of the job that the part amounts to."""
        job = self._like(self._node)
        return {} if job is None else job.links(systems)

    def resumed(self, systems: Systems, since: datetime) -> Self:
        """Wait for the attempts that this try has begun."""
        store = systems.store()
        own = any(export.began_since(store, since) for export in self._exports(systems))
        return replace(self, waits_for_own=own)

    async def carry_out(self, systems: Systems, listener: Listener) -> Outcome:
        """Carry the part out; what is finished of it is returned as it is."""
        from mz_orchestration.flow import acall
        from mz_orchestration.pipelines.nodes import run_node
        from mz_orchestration.pipelines.planning import LoadNode
        from mz_orchestration.pipelines.tools import Tools

        if (job := self._like(self._node)) is not None:
            return await job.carry_out(systems, listener)
        if isinstance(self._node, LoadNode):
            load = await acall(self._load, self._node, systems)
            return await load.carry_out(systems, listener)
        tools = Tools(
            systems.store(), systems.materialize, systems.snowflake, systems.census, on_event=listener.on_event
        )
        result = await run_node(self._node, self._plan, self.run_key, tools)
        return Outcome(dict(result.metadata), dict(result.metadata))

    def cancel(self, systems: Systems, listener: Listener) -> list[str]:
        """Cancel what any process runs of the part."""
        from mz_orchestration.errors import NotFoundError
        from mz_orchestration.pipelines.planning import LoadNode

        node = self._node
        if isinstance(node, LoadNode):
            try:
                return self._load(node, systems).cancel(systems, listener)
            except NotFoundError:
                return []
        job = self._like(node)
        jobs: Sequence[Job] = self._exports(systems) if job is None else [job]
        return [what for each in jobs for what in each.cancel(systems, listener)]

    def _exports(self, systems: Systems) -> list[ExportJob]:
        """The exports that the part amounts to; those of a group by the run keys that its record names."""
        from mz_orchestration.exports.group_record import find_group
        from mz_orchestration.pipelines.nodes import own_run_key
        from mz_orchestration.pipelines.planning import ExportNode, GroupNode

        node = self._node
        key = own_run_key(node, self._plan, self.run_key)
        match node:
            case ExportNode():
                return [self._export(node, key)]
            case GroupNode():
                group = find_group(systems.store(), node.members[0].spec.base, key)
                return [] if group is None else [self._export(each, group.member_key()) for each in node.members]
        return []

    def _load(self, node: LoadNode, systems: Systems) -> LoadJob:
        """
        The load of what the export of this run wrote.

        :raises NotFoundError: it has not been exported.
        """
        from mz_orchestration.pipelines.nodes import find_manifest
        from mz_orchestration.pipelines.tools import Tools

        manifest = find_manifest(node.export, self._plan, self.run_key, Tools(systems.store()))
        fields = node.of(str(manifest.location)).model_dump(mode="json")
        return LoadJob(fields, self.snowflake_conn_id, self.aws_conn_id)

    def _like(self, node: Node) -> Job | None:
        """The job of another kind that the part amounts to, if there is one."""
        from mz_orchestration.pipelines.nodes import base_of, own_run_key
        from mz_orchestration.pipelines.planning import ExportNode, SyncNode

        plan = self._plan
        match node:
            case ExportNode():
                return self._export(node, own_run_key(node, plan, self.run_key))
            case SyncNode():
                return SyncJob(
                    node.spec.model_dump(mode="json"),
                    own_run_key(node, plan, self.run_key),
                    str(base_of(plan)),
                    self.census_conn_id,
                    self.aws_conn_id,
                )
        return None

    def _export(self, node: ExportNode, run_key: str) -> ExportJob:
        return ExportJob(
            node.spec.model_dump(mode="json"),
            run_key,
            node.policy.model_dump(mode="json"),
            self.materialize_conn_id,
            self.aws_conn_id,
        )

    @cached_property
    def _plan(self) -> Plan:
        from mz_orchestration.pipelines.planning import plan_pipeline
        from mz_orchestration.pipelines.spec import PipelineSpec
        from mz_orchestration.validation import validated

        return plan_pipeline(validated(PipelineSpec, **self.pipeline))

    @cached_property
    def _node(self) -> Node:
        from mz_orchestration.pipelines.planning import ExportNode, GroupNode

        def waiting(export: ExportNode) -> ExportNode:
            return replace(export, policy=export.policy.for_own_attempt())

        match self._plan.node(self.node):
            case ExportNode() as node if self.waits_for_own:
                return waiting(node)
            case GroupNode() as node if self.waits_for_own:
                return replace(node, members=tuple(waiting(each) for each in node.members))
            case node:
                return node
