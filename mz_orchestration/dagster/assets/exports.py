"""Assets for exports: a factory for one op each, one for many in an op, and a decorator for an op of one's own."""

# Annotations are not postponed: Dagster reads those of the functions inside the builders as they are.
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Unpack

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    AssetSpec,
    PartitionsDefinition,
    multi_asset,
)

from mz_orchestration.dagster.assets.attributes import AssetAttributes, with_attributes, without_waiting_for_objects
from mz_orchestration.dagster.assets.checks import counts_check_spec, export_check_specs
from mz_orchestration.dagster.assets.definition import ExportDefinition
from mz_orchestration.dagster.assets.export_step import NEEDED, ExportConfig, Result, export_selected
from mz_orchestration.dagster.assets.partitions import export_backfills
from mz_orchestration.dagster.keys import cluster_pool, op_name, plain_name, refuse_collisions
from mz_orchestration.dagster.resources import BoundResources
from mz_orchestration.dagster.translator import DagsterMaterializeTranslator
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.policy import ExportPolicy
from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.pipelines.check_spec import ChecksSpec


def build_export_asset(
    spec: ExportSpec,
    *,
    checks: ChecksSpec | None = None,
    policy: ExportPolicy | None = None,
    translator: DagsterMaterializeTranslator | None = None,
    resources: BoundResources | None = None,
    partitions_def: PartitionsDefinition | None = None,
    partition_folders: bool = False,
    allow_backfill: bool = False,
    pool: str | None = None,
    **attributes: Unpack[AssetAttributes],
) -> AssetsDefinition:
    """An asset that exports an object or a query and verifies the files.

    It needs the resources ``materialize`` (`MaterializeResource`) and ``object_store`` (`ObjectStoreResource`). Its
    check ``counts_reconciled`` and those of ``checks`` block what depends on it.

    .. code-block:: python

        orders = build_export_asset(
            export_spec(object="shop.orders", to="s3://bucket/exports/", connection="my_aws"),
            checks=ChecksSpec(min_rows=1, max_change=0.5),
            group_name="nightly",
        )

    Args:
        spec: What to export, and where to; ``export_spec(...)`` makes one.
        checks: What the export has to be like before anything is loaded from it.
        policy: How it behaves where there is a choice: how closely to verify, what to do with a COPY left behind.
        translator: Says what the asset is like.
        resources: Resources of this asset's own, in place of the code location's.
        partitions_def: Time partitions, which name when an export was made.
        partition_folders: Whether each partition gets a folder below ``spec.to``.
        allow_backfill: Whether partitions of the past are exported, too, although all exports are of now.
        pool: Pool that bounds how many steps run at a time; by default one for each cluster, ``materialize_<cluster>``,
            or ``materialize`` where the export names none.
        **attributes: Of the asset: ``key``, ``deps``, ``group_name``, ``automation_condition``, ``freshness_policy``
            and so on, over the translator's.

    Raises:
        ConfigurationError: An argument is wrong, such as a ``partitions_def`` that is not of time.
    """
    definition = _definition(spec, checks, policy, partitions_def, partition_folders, allow_backfill)
    translator = translator or DagsterMaterializeTranslator()
    asset = _asset(definition, translator, attributes)
    return exports_op(
        [asset],
        name=op_name(asset.key),
        resources=resources,
        partitions_def=partitions_def,
        pool=pool,
    )


def build_export_assets(
    specs: Sequence[ExportSpec],
    *,
    batch: bool = False,
    name: str | None = None,
    max_parallel: int = 4,
    checks: ChecksSpec | None = None,
    policy: ExportPolicy | None = None,
    translator: DagsterMaterializeTranslator | None = None,
    resources: BoundResources | None = None,
    partitions_def: PartitionsDefinition | None = None,
    partition_folders: bool = False,
    allow_backfill: bool = False,
    pool: str | None = None,
    **attributes: Unpack[AssetAttributes],
) -> list[AssetsDefinition]:
    """Assets for several exports: an op for each, or one for all.

    An op for each is the choice as a rule: one that fails, or whose check does, stops nothing but what depends on it.
    Every op costs a process of some seconds, so many small exports are better off in one, which runs some at a time:
    with ``batch=True``. There, too, each may be selected by itself, and those that succeed are materialized; but the
    step fails with any of them, and then nothing that depends on it runs.

    Args:
        specs: What to export.
        batch: One op for all.
        name: Of that op; made of the first asset's key by default.
        max_parallel: How many COPYs that op runs at a time.
        checks: As for `build_export_asset`, for each of them; the other arguments likewise.
        policy: Likewise.
        translator: Likewise.
        resources: Likewise.
        partitions_def: Likewise.
        partition_folders: Likewise.
        allow_backfill: Likewise.
        pool: Likewise; the pool of an op for all is that of its exports if they share a cluster.
        **attributes: Likewise, except for ``key``.

    Raises:
        ConfigurationError: Two exports would be one asset, or an argument is wrong.
    """
    if "key" in attributes:
        raise ConfigurationError("key: several assets cannot have one key.", hint="Give a translator.")
    if not specs:
        raise ConfigurationError("specs: there is nothing to export.", hint="Give one at least.")
    if max_parallel < 1:
        raise ConfigurationError(f"max_parallel: {max_parallel} is not a number of exports.", hint="Give 1 or more.")
    translator = translator or DagsterMaterializeTranslator()
    definitions = [
        _definition(spec, checks, policy, partitions_def, partition_folders, allow_backfill) for spec in specs
    ]
    assets = [_asset(each, translator, attributes) for each in definitions]
    refuse_collisions(assets, [each.name for each in definitions])
    groups = [assets] if batch else [[asset] for asset in assets]
    return [
        exports_op(
            group,
            name=(name if batch else None) or op_name(group[0].key) + ("_and_others" if len(group) > 1 else ""),
            resources=resources,
            partitions_def=partitions_def,
            pool=pool,
            max_parallel=max_parallel,
        )
        for group in groups
    ]


def materialize_exports(
    *,
    exports: Sequence[ExportSpec],
    name: str | None = None,
    checks: ChecksSpec | None = None,
    policy: ExportPolicy | None = None,
    translator: DagsterMaterializeTranslator | None = None,
    partitions_def: PartitionsDefinition | None = None,
    partition_folders: bool = False,
    allow_backfill: bool = False,
    pool: str | None = None,
    **attributes: Unpack[AssetAttributes],
) -> Callable[[Callable[..., Any]], AssetsDefinition]:
    """Makes a function the one op of several exports, for what is to happen before, after and between.

    .. code-block:: python

        @materialize_exports(exports=[orders, customers])
        def nightly(context, materialize: MaterializeResource, object_store: ObjectStoreResource):
            yield from materialize.export(context=context, object_store=object_store)

    What `build_export_assets` says of ``batch=True`` goes for it, too.

    Args:
        exports: What to export.
        name: Of the op; that of the function by default.
        checks: As for `build_export_asset`, for each of them; the other arguments likewise.
        policy: Likewise.
        translator: Likewise.
        partitions_def: Likewise.
        partition_folders: Likewise.
        allow_backfill: Likewise.
        pool: Likewise.
        **attributes: Likewise, except for ``key``.

    Raises:
        ConfigurationError: Two exports would be one asset, or an argument is wrong.
    """
    if "key" in attributes:
        raise ConfigurationError("key: several assets cannot have one key.", hint="Give a translator.")
    if not exports:
        raise ConfigurationError("exports: there is nothing to export.", hint="Give one at least.")
    translator = translator or DagsterMaterializeTranslator()
    definitions = [
        _definition(spec, checks, policy, partitions_def, partition_folders, allow_backfill) for spec in exports
    ]
    assets = [_asset(each, translator, attributes) for each in definitions]
    refuse_collisions(assets, [each.name for each in definitions])

    def decorate(function: Callable[..., Any]) -> AssetsDefinition:
        made: AssetsDefinition = multi_asset(
            name=name or function.__name__, **_arguments(assets, partitions_def, pool)
        )(function)
        return made

    return decorate


def exports_op(
    assets: Sequence[AssetSpec],
    *,
    name: str,
    resources: BoundResources | None,
    partitions_def: PartitionsDefinition | None = None,
    pool: str | None = None,
    max_parallel: int = 4,
) -> AssetsDefinition:
    """One op for exports whose definitions are in their metadata.

    Args:
        assets: The exports.
        name: Of the op.
        resources: Those that are not the code location's.
        partitions_def: Time partitions.
        pool: None for that of the cluster.
        max_parallel: How many COPYs at a time.
    """
    bound = resources or BoundResources()

    @multi_asset(
        name=plain_name(name),
        required_resource_keys=bound.keys(NEEDED),
        config_schema=_config_schema(),
        **_arguments(assets, partitions_def, pool),
    )
    def export(context: AssetExecutionContext) -> Iterator[Result]:
        config = ExportConfig(**context.op_execution_context.op_config)
        yield from export_selected(context, bound, config, max_parallel=max_parallel)

    return export


@cache
def _config_schema() -> Any:
    # Dagster would work it out again for each op.
    return ExportConfig.to_fields_dict()


def _arguments(
    assets: Sequence[AssetSpec], partitions_def: PartitionsDefinition | None, pool: str | None
) -> dict[str, Any]:
    """What the op of exports is made of, whoever writes its body."""
    from mz_orchestration.dagster.assets.definition import required_definition

    several = len(assets) > 1
    definitions = [required_definition(asset) for asset in assets]
    clusters = {definition.spec.cluster for definition in definitions}
    checks = [
        check
        for asset, definition in zip(assets, definitions, strict=True)
        for check in (
            counts_check_spec(asset.key, of_load=False),
            *export_check_specs(asset.key, definition.checks),
        )
    ]
    return {
        # Those that fail in an op of several have no output.
        "specs": [asset.replace_attributes(skippable=several) for asset in assets],
        "check_specs": checks,
        "can_subset": several,
        "partitions_def": partitions_def,
        "backfill_policy": export_backfills(partitions_def),
        "pool": pool or cluster_pool(clusters.pop() if len(clusters) == 1 else None),
    }


def _asset(
    definition: ExportDefinition, translator: DagsterMaterializeTranslator, attributes: AssetAttributes
) -> AssetSpec:
    asset = with_attributes(translator.get_asset_spec(definition.props), attributes)
    return definition.on(without_waiting_for_objects(asset))


def _definition(
    spec: ExportSpec,
    checks: ChecksSpec | None,
    policy: ExportPolicy | None,
    partitions_def: PartitionsDefinition | None,
    partition_folders: bool,
    allow_backfill: bool,
) -> ExportDefinition:
    if not isinstance(spec, ExportSpec):
        raise ConfigurationError(
            f"spec: {spec!r} is not what to export.", hint="Give export_spec(object=..., to=..., connection=...)."
        )
    for name, value in (("partition_folders", partition_folders), ("allow_backfill", allow_backfill)):
        if value and partitions_def is None:
            raise ConfigurationError(f"{name}: there are no partitions.", hint="Give partitions_def, too.")
    return ExportDefinition(
        spec=spec,
        name=spec.object,
        source=None if spec.query is not None else spec.object,
        policy=policy or ExportPolicy(),
        checks=checks or ChecksSpec(),
        partition_folders=partition_folders,
        allow_backfill=allow_backfill,
    )
