"""Carrying out one node of a pipeline, for whoever decides when: our own scheduler, Airflow's or Dagster's.

Nothing is handed from node to node: what an export wrote is found under its run key. So a node can be carried out by
another process than the one before it, and again at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from mz_orchestration.errors import NotFoundError
from mz_orchestration.exports.group_record import find_group
from mz_orchestration.exports.manifest import Manifest, parse_manifest
from mz_orchestration.flow import acall, arun
from mz_orchestration.objectstore.location import Location, parse_folder
from mz_orchestration.pipelines.planning import (
    CheckNode,
    ExportNode,
    GroupNode,
    LoadNode,
    Node,
    Plan,
    RetentionNode,
    SyncNode,
)
from mz_orchestration.pipelines.record import node_run_key
from mz_orchestration.pipelines.tools import NodeResult, Tools
from mz_orchestration.runs.store import RunStore


async def run_node(node: Node, plan: Plan, run_key: str, tools: Tools) -> NodeResult:
    """Carry one node out; safe to call again with the same run key.

    Args:
        node: One of the plan's.
        plan: The plan.
        run_key: Names the logical run of the whole pipeline.
        tools: What to work with.

    Raises:
        NotFoundError: An export that it needs has not been finished under this run key.
        MzOrchestrationError: Its class, ``retryable`` and ``hint`` say what to do.
    """
    match node:
        case ExportNode():
            return await _export(node, plan, run_key, tools)
        case GroupNode():
            return await _group(node, plan, run_key, tools)
        case CheckNode():
            return await _check(node, plan, run_key, tools)
        case LoadNode():
            return await _load(node, plan, run_key, tools)
        case SyncNode():
            return await _sync(node, plan, run_key, tools)
        case RetentionNode():
            return await _retention(node, plan, tools)
    raise TypeError(f"{type(node).__name__} is no node of a pipeline")


def with_settings(tools: Tools, nodes: Iterable[Node]) -> Tools:
    """The tools, with the settings that the nodes need taken from the environment where they were left out.

    Contacts nothing: what is missing is found out before hours are spent on what comes first.

    Raises:
        ConfigurationError: Settings are missing or wrong.
    """
    kinds = {type(node) for node in nodes}
    if LoadNode in kinds and tools.snowflake is None:
        from mz_orchestration.snowflake.config import SnowflakeConfig
        from mz_orchestration.snowflake.session import require_connector

        require_connector()
        tools = replace(tools, snowflake=SnowflakeConfig.from_environment())
    if SyncNode in kinds and tools.census is None:
        from mz_orchestration.census.config import CensusConfig

        tools = replace(tools, census=CensusConfig.from_environment())
    return tools


def kind_of(node: Node) -> str:
    """``export``, ``group``, ``check``, ``load``, ``sync`` or ``retention``."""
    return type(node).__name__.removesuffix("Node").lower()


def own_run_key(node: Node, plan: Plan, run_key: str) -> str:
    """The run key under which a node's own record is found; the pipeline's where it has none of its own."""
    match node:
        case ExportNode() | GroupNode() | SyncNode():
            return node_run_key(plan.spec.name, run_key, node.item)
        case CheckNode() | LoadNode():
            return own_run_key(node.export, plan, run_key)
    return run_key


def fingerprint(node: Node) -> str:
    """A hash of what a node is to do, whatever time it gets for it."""
    match node:
        case ExportNode():
            data: Any = node.spec.fingerprint()
        case GroupNode():
            data = sorted(member.spec.fingerprint() for member in node.members)
        case CheckNode():
            data = [node.export.item, node.export.checks.model_dump(mode="json")]
        case LoadNode():
            data = [node.export.item, node.spec.model_dump(mode="json", exclude={"timeout", "manifest"})]
        case SyncNode():
            data = node.spec.model_dump(mode="json", exclude={"timeout"})
        case RetentionNode():
            data = [[export.item for export in node.exports], node.spec.model_dump(mode="json")]
        case _:
            raise TypeError(f"{type(node).__name__} is no node of a pipeline")
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def find_manifest(export: ExportNode, plan: Plan, run_key: str, tools: Tools) -> Manifest:
    """What an export of this run wrote; two GETs at the most, and one more in a group.

    Raises:
        NotFoundError: It has not been finished.
    """
    base = export.spec.base
    key: str | None = node_run_key(plan.spec.name, run_key, export.item)
    if export.group is not None:
        group = find_group(tools.store, base, node_run_key(plan.spec.name, run_key, _item(export.group)))
        # Members of a generation that was given up are finished, too, and of another moment.
        key = group.member_key() if group is not None and export.spec.folder_name in group.manifests else None
    stored = None if key is None else RunStore(tools.store, base).find(export.spec.folder_name, key)
    if stored is None or stored.record.manifest is None:
        raise NotFoundError(
            f"{export.item} has not been exported in the run {run_key!r} of {plan.spec.name}.",
            hint=f"Run '{export.group or export.name}' of the pipeline first, with the same run key.",
        )
    return parse_manifest(json.dumps(stored.record.manifest), source=str(stored.location))


def base_of(plan: Plan) -> Location:
    """The folder below which the pipeline's own records lie."""
    return parse_folder(plan.spec.defaults.to, field="defaults.to")


def _item(group: str) -> str:
    return group.removeprefix("group ")


async def _export(node: ExportNode, plan: Plan, run_key: str, tools: Tools) -> NodeResult:
    from mz_orchestration.exports.export import arun_export

    result = await arun_export(
        node.spec,
        run_key=node_run_key(plan.spec.name, run_key, node.item),
        materialize=tools.materialize,
        store=tools.store,
        policy=node.policy,
        on_event=tools.on_event,
    )
    return NodeResult(_exported(result.manifest), result.to_metadata(), result.repeated)


async def _group(node: GroupNode, plan: Plan, run_key: str, tools: Tools) -> NodeResult:
    from mz_orchestration.exports.group import arun_exports

    result = await arun_exports(
        [member.spec for member in node.members],
        run_key=node_run_key(plan.spec.name, run_key, node.item),
        max_parallel=node.max_parallel,
        materialize=tools.materialize,
        store=tools.store,
        policy=node.members[0].policy,
        on_event=tools.on_event,
    )
    metadata = result.to_metadata()
    parts = " ".join(f"{export.manifest.object}={export.manifest.rows}" for export in result.exports)
    return NodeResult(f"timestamp={result.timestamp} rows: {parts}", metadata, bool(metadata["repeated"]))


def _exported(manifest: Manifest) -> str:
    copied = "unknown" if manifest.copied is None else manifest.copied
    return f"rows={manifest.rows} copied={copied} files={len(manifest.files)} bytes={manifest.size}"


async def _check(node: CheckNode, plan: Plan, run_key: str, tools: Tools) -> NodeResult:
    from mz_orchestration.pipelines.checks import check_flow

    manifest = await acall(find_manifest, node.export, plan, run_key, tools)
    return await arun(check_flow(node, manifest, plan.spec.name, run_key, base_of(plan), tools))


async def _load(node: LoadNode, plan: Plan, run_key: str, tools: Tools) -> NodeResult:
    from mz_orchestration.snowflake.load import arun_load

    manifest = await acall(find_manifest, node.export, plan, run_key, tools)
    result = await arun_load(
        node.of(str(manifest.location)), snowflake=tools.snowflake, store=tools.store, on_event=tools.on_event
    )
    copied = "unknown" if manifest.copied is None else manifest.copied
    line = (
        f"copied={copied} footer_rows={manifest.rows} loaded_rows={result.rows} files={len(manifest.files)}"
        if not result.superseded
        else f"{result.target} holds a later export; nothing done"
    )
    return NodeResult(line, result.to_metadata(), result.repeated or result.superseded)


async def _sync(node: SyncNode, plan: Plan, run_key: str, tools: Tools) -> NodeResult:
    from mz_orchestration.census.sync import arun_sync

    result = await arun_sync(
        node.spec,
        run_key=node_run_key(plan.spec.name, run_key, node.item),
        at=str(base_of(plan)),
        census=tools.census,
        store=tools.store,
        on_event=tools.on_event,
    )
    metadata = result.to_metadata()
    shown = ("sync_run", "status", "records_processed", "records_failed", "records_invalid")
    return NodeResult(
        " ".join(f"{name}={metadata[name]}" for name in shown if name in metadata), metadata, result.repeated
    )


async def _retention(node: RetentionNode, plan: Plan, tools: Tools) -> NodeResult:
    from mz_orchestration.pipelines.retention import retention_flow

    return await arun(retention_flow(node, plan.spec.name, base_of(plan), tools))
