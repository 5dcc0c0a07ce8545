"""A pipeline file as assets: one for each export, load and sync, with the checks of exports as blocking asset checks.

What goes from asset to asset is the run key, which the materialization of an export carries: a load may run alone, and
takes what its export wrote last.
"""

# Annotations are not postponed: Dagster reads those of the functions inside the builders as they are.
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    MaterializeResult,
    OpExecutionContext,
    TableColumn,
    TableSchema,
    multi_asset,
    multi_asset_check,
)

from mz_orchestration.dagster.assets import CHECK
from mz_orchestration.dagster.errors import as_dagster_errors, error_metadata
from mz_orchestration.dagster.keys import asset_key, logical_run, op_name
from mz_orchestration.dagster.metadata import MANIFEST
from mz_orchestration.dagster.resources import has_settings
from mz_orchestration.errors import CheckError, ConfigurationError, ReconciliationError
from mz_orchestration.materialize.names import parse_object_name
from mz_orchestration.snowflake.quoting import parse_name

if TYPE_CHECKING:
    from mz_orchestration.exports.manifest import Manifest
    from mz_orchestration.pipelines.planning import CheckNode, ExportNode, GroupNode, LoadNode, Node, Plan
    from mz_orchestration.pipelines.tools import NodeResult, Tools

EXPORT_CHECK = "as_expected"
RUN_KEY = "materialize/pipeline_run_key"

Result = MaterializeResult[Any] | AssetCheckResult
# Dagster gives checks the latter.
Context = AssetExecutionContext | OpExecutionContext


def build_pipeline_assets(path: Path | str, *, pool: str | None = None) -> list[AssetsDefinition]:
    """The assets of a pipeline file, and the checks of its exports; contacts nothing.

    They need the resources ``object_store``, and by what there is in the file ``materialize`` (exports),
    ``snowflake`` (loads) and ``census`` (syncs). A resource without any setting leaves all to the environment variables
    that the command line reads. The file's notifications are the command line's: use Dagster's own.

    Exports are ``exports/<schema>/<object>``, or ``exports/<name>``; loads ``snowflake/<database>/<schema>/<table>``;
    syncs ``census/<id>``; retention is ``pipelines/<name>/retention``. All are in a group of the pipeline's name.

    Args:
        path: The pipeline file.
        pool: Pool that bounds how many parts run at a time.

    Raises:
        ConfigurationError: The file has mistakes; each is named with its line.
    """
    from mz_orchestration.pipelines.planning import CheckNode, ExportNode, GroupNode, LoadNode
    from mz_orchestration.pipelines.reading import read_pipeline

    plan = read_pipeline(path)
    pipeline = _Pipeline(plan, _keys(plan), pool)
    found: list[AssetsDefinition] = []
    for node in plan.nodes:
        match node:
            case ExportNode():
                found.append(_exports(node, [node], pipeline))
            case GroupNode():
                found.append(_exports(node, node.members, pipeline))
            case CheckNode():
                found.append(_check(node, pipeline))
            case LoadNode():
                found.append(_load(node, pipeline))
            case _:
                found.append(_other(node, pipeline))
    return found


@dataclass(frozen=True)
class _Pipeline:
    """A plan, the keys of its assets by the names of their nodes, and what all of them share."""

    plan: "Plan"
    keys: dict[str, AssetKey]
    pool: str | None

    @property
    def group(self) -> str:
        return re.sub(r"[^A-Za-z0-9_]", "_", self.plan.spec.name)

    def behind(self, node: "Node") -> list[AssetKey]:
        """The assets that a node comes after."""
        from mz_orchestration.pipelines.planning import CheckNode, GroupNode

        found: list[AssetKey] = []
        for name in node.needs:
            need = self.plan.node(name)
            if isinstance(need, GroupNode):
                found += [self.keys[member.name] for member in need.members]
            else:
                found.append(self.keys[need.export.name if isinstance(need, CheckNode) else name])
        return list(dict.fromkeys(found))

    def check_of(self, export: "ExportNode") -> "CheckNode | None":
        """The checks of an export, if it has any."""
        from mz_orchestration.pipelines.planning import CheckNode

        checks = (node for node in self.plan.nodes if isinstance(node, CheckNode))
        return next((check for check in checks if check.export.item == export.item), None)


def _keys(plan: "Plan") -> dict[str, AssetKey]:
    from mz_orchestration.pipelines.planning import LoadNode, RetentionNode, SyncNode

    keys: dict[str, AssetKey] = {}
    for export in plan.exports:
        named = export.item != export.source
        keys[export.name] = asset_key("exports", (export.item,) if named else parse_object_name(export.item))
    for node in plan.nodes:
        match node:
            case LoadNode():
                keys[node.name] = asset_key("snowflake", parse_name(node.spec.table, field="table"))
            case SyncNode():
                keys[node.name] = asset_key("census", (node.spec.sync,))
            case RetentionNode():
                keys[node.name] = asset_key("pipelines", (plan.spec.name, "retention"))
    uses = Counter(keys.values())
    # Two syncs of one id, two loads into one table, names that differ only in what a key cannot hold.
    return {
        name: key if uses[key] == 1 else AssetKey([*key.path, hashlib.sha256(name.encode()).hexdigest()[:8]])
        for name, key in keys.items()
    }


def _exports(node: "ExportNode | GroupNode", members: "Sequence[ExportNode]", pipeline: _Pipeline) -> AssetsDefinition:
    specs = [
        AssetSpec(
            pipeline.keys[member.name],
            deps=[asset_key("materialize", parse_object_name(member.source))] if member.source else [],
            description=f"{member.item} as {member.spec.format} files below {member.spec.to}, verified.",
            kinds={"materialize", "s3", member.spec.format},
            group_name=pipeline.group,
        )
        for member in members
    ]

    @multi_asset(
        name=op_name(AssetKey([pipeline.group, node.name])),
        specs=specs,
        pool=pipeline.pool,
        required_resource_keys={"materialize", "object_store"},
    )
    def export(context: AssetExecutionContext) -> Iterator[MaterializeResult[Any]]:
        from mz_orchestration.pipelines.nodes import find_manifest

        plan, run_key = pipeline.plan, logical_run(context)
        with as_dagster_errors(context):
            tools = _tools(context, node)
            result = _carry_out(context, node, plan, run_key, tools)
            manifests = [find_manifest(member, plan, run_key, tools) for member in members]
        for spec, manifest in zip(specs, manifests, strict=True):
            metadata = {RUN_KEY: run_key, "materialize/repeated": int(result.repeated), **_exported(manifest)}
            yield MaterializeResult(asset_key=spec.key, metadata=metadata)

    return export


def _check(node: "CheckNode", pipeline: _Pipeline) -> AssetChecksDefinition:
    key = pipeline.keys[node.export.name]
    wanted = {name: value for name, value in node.export.checks.model_dump().items() if value is not None}
    spec = AssetCheckSpec(
        EXPORT_CHECK,
        asset=key,
        blocking=True,
        description=", ".join(f"{name} {value:g}" for name, value in wanted.items()),
    )

    @multi_asset_check(
        name=op_name(AssetKey([pipeline.group, node.name])),
        specs=[spec],
        required_resource_keys=_resources(node),
    )
    def check(context: OpExecutionContext) -> Iterator[AssetCheckResult]:
        with as_dagster_errors(context):
            run_key, _ = _exported_as(context, key)
            try:
                result = _carry_out(context, node, pipeline.plan, run_key, _tools(context, node))
            except CheckError as error:
                if error.retryable:
                    raise
                context.log.error(str(error))
                yield AssetCheckResult(passed=False, description=str(error), metadata=error_metadata(error))
                return
        yield AssetCheckResult(passed=True, description=result.line, metadata=result.metadata)

    return check


def _load(node: "LoadNode", pipeline: _Pipeline) -> AssetsDefinition:
    key, source = pipeline.keys[node.name], pipeline.keys[node.export.name]
    check = pipeline.check_of(node.export)
    asset = AssetSpec(
        key,
        deps=[source],
        description=f"{node.export.item} in {node.spec.table} by {node.spec.strategy}.",
        kinds={"snowflake", "table"},
        group_name=pipeline.group,
    )
    counts = AssetCheckSpec(
        CHECK,
        asset=key,
        blocking=True,
        description="Rows copied by Materialize, rows in the files and rows loaded are the same number.",
    )

    @multi_asset(
        name=op_name(AssetKey([pipeline.group, node.name])),
        specs=[asset],
        check_specs=[counts],
        pool=pipeline.pool,
        required_resource_keys=_resources(node) | (_resources(check) if check else set()),
    )
    def load(context: AssetExecutionContext) -> Iterator[Result]:
        with as_dagster_errors(context):
            run_key, exported_in = _exported_as(context, source)
            if check is not None and exported_in != context.run.run_id:
                # Alone, without the step that would have blocked it.
                _carry_out(context, check, pipeline.plan, run_key, _tools(context, check))
            try:
                result = _carry_out(context, node, pipeline.plan, run_key, _tools(context, node))
            except ReconciliationError as error:
                yield AssetCheckResult(passed=False, metadata=error_metadata(error))
                raise
        metadata: dict[str, Any] = {f"snowflake/{name}": value for name, value in result.metadata.items()}
        if "rows_loaded" in result.metadata:
            metadata["dagster/row_count"] = result.metadata["rows_loaded"]
        metadata["dagster/table_name"] = ".".join(parse_name(node.spec.table, field="table"))
        rows = {name: value for name, value in metadata.items() if name.startswith("snowflake/rows_")}
        yield MaterializeResult(metadata=metadata, check_results=[AssetCheckResult(passed=True, metadata=rows)])

    return load


def _other(node: "Node", pipeline: _Pipeline) -> AssetsDefinition:
    """A sync, or retention."""
    from mz_orchestration.pipelines.planning import SyncNode

    is_sync = isinstance(node, SyncNode)
    system = "census" if is_sync else "s3"
    asset = AssetSpec(
        pipeline.keys[node.name],
        deps=pipeline.behind(node),
        description="A run of the sync." if is_sync else "Deletes export files of earlier runs.",
        kinds={system},
        group_name=pipeline.group,
    )

    @multi_asset(
        name=op_name(AssetKey([pipeline.group, node.name])),
        specs=[asset],
        pool=pipeline.pool,
        required_resource_keys=_resources(node),
    )
    def run(context: AssetExecutionContext) -> MaterializeResult[Any]:
        with as_dagster_errors(context):
            result = _carry_out(context, node, pipeline.plan, logical_run(context), _tools(context, node))
        return MaterializeResult(metadata={f"{system}/{name}": value for name, value in result.metadata.items()})

    return run


def _resources(node: "Node") -> set[str]:
    from mz_orchestration.pipelines.planning import CheckNode, ExportNode, GroupNode, LoadNode, SyncNode

    match node:
        case CheckNode() if node.export.checks.max_lag is None:
            return {"object_store"}
        case ExportNode() | GroupNode() | CheckNode():
            return {"object_store", "materialize"}
        case LoadNode():
            return {"object_store", "snowflake"}
        case SyncNode():
            return {"object_store", "census"}
    return {"object_store"}


def _tools(context: Context, node: "Node") -> "Tools":
    from mz_orchestration.pipelines.nodes import with_settings
    from mz_orchestration.pipelines.tools import Tools

    given: dict[str, Any] = {}
    for name in _resources(node) - {"object_store"}:
        resource = getattr(context.resources, name)
        given[name] = resource.config() if has_settings(resource) else None
    store = context.resources.object_store.store()
    return with_settings(Tools(store, **given, on_event=lambda event: context.log.info(event.line())), [node])


def _carry_out(context: Context, node: "Node", plan: "Plan", run_key: str, tools: "Tools") -> "NodeResult":
    from mz_orchestration.flow import run_coroutine
    from mz_orchestration.pipelines.nodes import run_node

    result = run_coroutine(run_node(node, plan, run_key, tools))
    context.log.info(f"{node.name}: {result.line}")
    return result


def _exported_as(context: Context, export: AssetKey) -> tuple[str, str]:
    """The run key of the pipeline under which an asset was exported last, and the id of that Dagster run."""
    event = context.instance.get_latest_materialization_event(export)
    materialization = event.asset_materialization if event else None
    run_key = materialization.metadata.get(RUN_KEY) if materialization else None
    if event is None or run_key is None:
        raise ConfigurationError(
            f"The asset {export.to_user_string()} has not been materialized by this pipeline yet.",
            hint="Materialize it first, or together with this asset.",
        )
    return str(run_key.value), event.run_id


def _exported(manifest: "Manifest") -> dict[str, Any]:
    facts = {
        "run_key": manifest.run_key,
        "copied": manifest.copied,
        "files": len(manifest.files),
        "bytes": manifest.size,
        "timestamp": manifest.timestamp,
    }
    return {
        "dagster/row_count": manifest.rows,
        "dagster/uri": manifest.path,
        "dagster/column_schema": TableSchema([TableColumn(each.name, each.sql_type) for each in manifest.columns]),
        MANIFEST: str(manifest.location),
        **{f"materialize/{name}": value for name, value in facts.items() if value is not None},
    }
