"""A pipeline as assets: one for each export, load and sync, with checks that block. For pipeline files and components.

What goes from asset to asset is the manifest, which the materialization of an export carries: a load may run alone, and
takes what its export wrote last.
"""

# Annotations are not postponed: Dagster reads those of the functions inside the builders as they are.
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetCheckResult,
    AssetChecksDefinition,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    MaterializeResult,
    OpExecutionContext,
    PartitionsDefinition,
    multi_asset,
    multi_asset_check,
)

from mz_orchestration.dagster.assets.definition import ExportDefinition
from mz_orchestration.dagster.assets.export_step import NEEDED
from mz_orchestration.dagster.assets.exports import exports_op
from mz_orchestration.dagster.assets.latest import check_latest
from mz_orchestration.dagster.assets.loads import load_op
from mz_orchestration.dagster.assets.partitions import export_backfills, partition_of, refuse_the_past
from mz_orchestration.dagster.assets.syncs import sync_op
from mz_orchestration.dagster.errors import as_dagster_errors
from mz_orchestration.dagster.keys import cluster_pool, logical_run, op_name, plain_name, told_apart
from mz_orchestration.dagster.metadata import data_version, export_metadata
from mz_orchestration.dagster.resources import BoundResources
from mz_orchestration.dagster.translator import (
    DagsterMaterializeTranslator,
    ExportProps,
    LoadProps,
    RetentionProps,
    SyncProps,
)

if TYPE_CHECKING:
    from mz_orchestration.pipelines.planning import ExportNode, GroupNode, Node, Plan, RetentionNode

Result = MaterializeResult[Any] | AssetCheckResult


def build_pipeline_assets(
    path: Path | str,
    *,
    translator: DagsterMaterializeTranslator | None = None,
    resources: BoundResources | None = None,
    partitions_def: PartitionsDefinition | None = None,
    allow_backfill: bool = False,
    pool: str | None = None,
) -> list[AssetsDefinition]:
    """The assets of a pipeline file, and the checks of its exports; contacts nothing.

    They need the resources ``object_store``, and by what there is in the file ``materialize`` (exports),
    ``snowflake`` (loads) and ``census`` (syncs). A resource without any setting leaves all to the environment variables
    that the command line reads. The file's notifications are the command line's: use Dagster's own.

    Exports are ``exports/<schema>/<object>``, or ``exports/<name>``; loads ``snowflake/<database>/<schema>/<table>``;
    syncs ``census/<id>``; retention is ``pipelines/<name>/retention``. All are in a group of the pipeline's name.

    Args:
        path: The pipeline file.
        translator: Says what the assets are like.
        resources: Resources of these assets' own, in place of the code location's.
        partitions_def: Time partitions of the exports, which name when they were made.
        allow_backfill: Whether partitions of the past are exported, too, although all exports are of now.
        pool: Pool that bounds how many parts run at a time; by default exports have one for each cluster.

    Raises:
        ConfigurationError: The file has mistakes; each is named with its line.
    """
    from mz_orchestration.pipelines.reading import read_pipeline

    return plan_assets(
        read_pipeline(path),
        translator=translator,
        resources=resources,
        partitions_def=partitions_def,
        allow_backfill=allow_backfill,
        pool=pool,
    )


def plan_assets(
    plan: "Plan",
    *,
    translator: DagsterMaterializeTranslator | None = None,
    resources: BoundResources | None = None,
    partitions_def: PartitionsDefinition | None = None,
    allow_backfill: bool = False,
    pool: str | None = None,
) -> list[AssetsDefinition]:
    """The assets of a pipeline that has been planned.

    Args:
        plan: The pipeline.
        translator: As for `build_pipeline_assets`, and so on.
        resources: Likewise.
        partitions_def: Likewise.
        allow_backfill: Likewise.
        pool: Likewise.
    """
    from mz_orchestration.pipelines.planning import ExportNode, GroupNode, LoadNode, RetentionNode, SyncNode

    shared = _Shared(plan, resources, partitions_def, allow_backfill, pool)
    specs = plan_specs(plan, translator=translator)
    found: list[AssetsDefinition] = []
    for node in plan.nodes:
        name = op_name(AssetKey([shared.group, node.name]))
        match node:
            case ExportNode():
                asset = shared.definition(node).on(specs[node.name])
                found.append(
                    exports_op(
                        [asset], name=name, resources=resources, partitions_def=partitions_def, pool=pool,
                    )
                )  # fmt: skip
            case GroupNode():
                found.append(_group(node, name, specs, shared))
                found += [
                    _group_checks(member, f"{name}__{plain_name(member.item)}", specs[member.name], shared)
                    for member in node.members
                    if _has_checks(member)
                ]
            case LoadNode():
                export, definition = specs[node.export.name].key, shared.definition(node.export)
                found.append(
                    load_op(specs[node.name], node.spec, export, definition, name=name, resources=resources, pool=pool)
                )
            case SyncNode():
                at = plan.spec.defaults.to
                found.append(
                    sync_op(
                        specs[node.name], node.spec, at, name=name, item=node.item, pipeline=plan.spec.name,
                        resources=resources, pool=pool,
                    )
                )  # fmt: skip
            case RetentionNode():
                found.append(_retention(node, name, specs[node.name], shared))
    return found


def plan_specs(plan: "Plan", *, translator: DagsterMaterializeTranslator | None = None) -> dict[str, AssetSpec]:
    """The asset of each export, load, sync and of retention, by the name of its node.

    Args:
        plan: The pipeline.
        translator: Says what the assets are like.
    """
    from mz_orchestration.pipelines.planning import LoadNode, RetentionNode, SyncNode

    translator = translator or DagsterMaterializeTranslator()

    def translated(props: ExportProps | LoadProps | SyncProps | RetentionProps) -> AssetSpec:
        asset = translator.get_asset_spec(props)
        return asset if asset.group_name else asset.replace_attributes(group_name=plain_name(plan.spec.name))

    exports = {node.name: translated(ExportProps(node.spec, node.item, node.source)) for node in plan.exports}
    specs = told_apart(exports)
    later: dict[str, AssetSpec] = {}
    for node in plan.nodes:
        if isinstance(node, LoadNode):
            later[node.name] = translated(LoadProps(node.spec, node.item, specs[node.export.name].key))
    specs |= told_apart(later)
    for node in plan.nodes:
        if isinstance(node, SyncNode):
            later[node.name] = translated(SyncProps(node.spec, node.item, _behind(node, plan, specs)))
    # Keys of all kinds together: a translator may give a load that of an export.
    specs = told_apart(specs | later)
    for node in plan.nodes:
        if isinstance(node, RetentionNode):
            specs[node.name] = translated(RetentionProps(plan.spec.name, [each.key for each in specs.values()]))
    return specs


@dataclass(frozen=True)
class _Shared:
    """What the parts of a pipeline share."""

    plan: "Plan"
    resources: BoundResources | None
    partitions_def: PartitionsDefinition | None
    allow_backfill: bool
    pool: str | None

    @property
    def group(self) -> str:
        return plain_name(self.plan.spec.name)

    @property
    def bound(self) -> BoundResources:
        return self.resources or BoundResources()

    def definition(self, node: "ExportNode") -> ExportDefinition:
        """The export as an asset's metadata holds it."""
        return ExportDefinition(
            spec=node.spec,
            name=node.item,
            source=node.source,
            policy=node.policy,
            checks=node.checks,
            pipeline=self.plan.spec.name,
            allow_backfill=self.allow_backfill,
        )


def _behind(node: "Node", plan: "Plan", specs: dict[str, AssetSpec]) -> list[AssetKey]:
    """The assets that a node comes after."""
    from mz_orchestration.pipelines.planning import CheckNode, GroupNode

    found: list[AssetKey] = []
    for name in node.needs:
        match plan.node(name):
            case GroupNode() as need:
                found += [specs[member.name].key for member in need.members]
            case CheckNode() as need:
                found.append(specs[need.export.name].key)
            case need:
                found.append(specs[need.name].key)
    return list(dict.fromkeys(found))


def _has_checks(node: "ExportNode") -> bool:
    from mz_orchestration.dagster.assets.checks import wanted_checks

    return bool(wanted_checks(node.checks))


def _group(node: "GroupNode", name: str, specs: dict[str, AssetSpec], shared: _Shared) -> AssetsDefinition:
    """Exports of one logical timestamp: all of them, or none."""
    from mz_orchestration.dagster.assets.checks import counts_check_spec, counts_of_export

    assets = [shared.definition(member).on(specs[member.name]) for member in node.members]
    clusters = {member.spec.cluster for member in node.members}

    @multi_asset(
        name=name,
        specs=assets,
        check_specs=[counts_check_spec(asset.key, of_load=False) for asset in assets],
        partitions_def=shared.partitions_def,
        backfill_policy=export_backfills(shared.partitions_def),
        pool=shared.pool or cluster_pool(clusters.pop() if len(clusters) == 1 else None),
        required_resource_keys=shared.bound.keys(NEEDED),
    )
    def export(context: AssetExecutionContext) -> Iterator[Result]:
        from mz_orchestration.exports.group import arun_exports
        from mz_orchestration.flow import run_coroutine
        from mz_orchestration.pipelines.nodes import own_run_key

        with as_dagster_errors(context):
            partition = partition_of(context)
            if not shared.allow_backfill:
                refuse_the_past(context, assets[0].key)
            tools = shared.bound.tools(context, NEEDED)
            work = arun_exports(
                [member.spec for member in node.members],
                run_key=own_run_key(node, shared.plan, logical_run(context)) + (f"/{partition}" if partition else ""),
                max_parallel=node.max_parallel,
                materialize=tools.materialize,
                store=tools.store,
                policy=node.members[0].policy,
                on_event=tools.on_event,
            )
            results = run_coroutine(work).exports
        for asset, result in zip(assets, results, strict=True):
            upstream = [dep.asset_key for dep in asset.deps]
            source = upstream[0] if len(upstream) == 1 else None
            yield MaterializeResult(
                asset_key=asset.key,
                metadata=export_metadata(result, source=source, partitioned=partition is not None),
                data_version=data_version(result.manifest),
                check_results=[counts_of_export(asset.key, result.manifest)],
            )

    return export


def _group_checks(member: "ExportNode", name: str, asset: AssetSpec, shared: _Shared) -> AssetChecksDefinition:
    """The checks of one export of a group, apart from its step: one that fails stops nothing of the others."""
    from mz_orchestration.dagster.assets.checks import COUNTS, export_check_specs

    definition = shared.definition(member)
    needed = {"object_store"} | ({"materialize"} if definition.checks.max_lag is not None else set())

    @multi_asset_check(
        name=name,
        specs=export_check_specs(asset.key, definition.checks),
        required_resource_keys=shared.bound.keys(needed),
    )
    def check(context: OpExecutionContext) -> Iterator[AssetCheckResult]:
        with as_dagster_errors(context):
            found = check_latest(context, asset.key, definition, shared.bound.tools(context, needed))
        yield from (each for each in found if each.check_name != COUNTS)

    return check


def _retention(node: "RetentionNode", name: str, asset: AssetSpec, shared: _Shared) -> AssetsDefinition:
    needed = {"object_store"}

    @multi_asset(name=name, specs=[asset], pool=shared.pool, required_resource_keys=shared.bound.keys(needed))
    def retention(context: AssetExecutionContext) -> MaterializeResult[Any]:
        from mz_orchestration.flow import run_coroutine
        from mz_orchestration.pipelines.nodes import run_node

        with as_dagster_errors(context):
            result = run_coroutine(
                run_node(node, shared.plan, logical_run(context), shared.bound.tools(context, needed))
            )
        return MaterializeResult(metadata={f"s3/{key}": value for key, value in result.metadata.items()})

    return retention
