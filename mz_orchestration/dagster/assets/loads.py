"""Assets for loads into Snowflake.

No data passes through Python, so there is no IO manager: a load takes the manifest of the latest materialization of its
export. It may therefore run alone, and one that was late loads what is newest.
"""

# Annotations are not postponed: Dagster reads those of the functions inside the builders as they are.
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from dagster import (
    AssetCheckResult,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    BackfillPolicy,
    MaterializeResult,
    MetadataValue,
    PartitionsDefinition,
    multi_asset,
)

from mz_orchestration.dagster.assets.attributes import AssetAttributes, with_attributes
from mz_orchestration.dagster.assets.checks import COUNTS, counts_check_spec, failed_check
from mz_orchestration.dagster.assets.definition import ExportAsset, ExportDefinition, export_asset
from mz_orchestration.dagster.assets.latest import check_again, latest_manifest
from mz_orchestration.dagster.errors import as_dagster_errors
from mz_orchestration.dagster.keys import op_name
from mz_orchestration.dagster.metadata import data_version, load_metadata
from mz_orchestration.dagster.resources import BoundResources
from mz_orchestration.dagster.translator import DagsterMaterializeTranslator, LoadProps
from mz_orchestration.errors import ReconciliationError

if TYPE_CHECKING:
    from mz_orchestration.pipelines.tools import Tools
    from mz_orchestration.snowflake.load import LoadResult
    from mz_orchestration.snowflake.spec import LoadSpec

Result = MaterializeResult[Any] | AssetCheckResult


def build_load_asset(
    export: ExportAsset,
    *,
    stage: str,
    table: str,
    strategy: str = "swap",
    layout: str = "columns",
    keys: Sequence[str] = (),
    delete_missing: bool = False,
    clear: str = "delete",
    lineage: bool | None = None,
    schema_changes: str = "fail",
    checks: str = "none",
    timeout: float = 6 * 3600,
    translator: DagsterMaterializeTranslator | None = None,
    resources: BoundResources | None = None,
    partitions_def: PartitionsDefinition | None = None,
    pool: str | None = None,
    **attributes: Unpack[AssetAttributes],
) -> AssetsDefinition:
    """An asset that loads the latest export into a Snowflake table, published only if all counts agree.

    It needs the resources ``object_store`` (`ObjectStoreResource`) and ``snowflake`` (`SnowflakeResource`), and
    ``materialize`` where the export's ``max_lag`` is checked. Its check ``counts_reconciled`` blocks what depends on
    the table. Where it runs without its export, it looks first at the export's own checks.

    Args:
        export: What is loaded: the export's asset. Of a mere key its checks are not known.
        stage: External stage that covers the export's folder; ``[database.][schema.]name``.
        table: Made if it does not exist; ``[database.][schema.]name``.
        strategy: ``swap``, ``overwrite``, ``transaction``, ``append`` or ``merge``.
        layout: ``columns``, or ``variant`` for one column with all.
        keys: For ``merge``, columns that identify a row.
        delete_missing: For ``merge``, delete the rows that are not in the export.
        clear: For ``transaction``, ``delete`` or ``truncate``.
        lineage: Add columns that say where each row came from; by default for ``append`` only.
        schema_changes: Where the table lacks columns: ``fail`` or ``add_columns``.
        checks: Beside the counts: ``none``, or ``columns`` for NULLs, extremes and sums of each.
        timeout: Seconds one long statement may take before it is aborted.
        translator: Says what the asset is like.
        resources: Resources of this asset's own, in place of the code location's.
        partitions_def: Partitions of the export, each to be loaded by itself: for ``append``, as a rule.
        pool: Pool that bounds how many steps run at a time.
        **attributes: Of the asset, over the translator's.

    Raises:
        ConfigurationError: An argument is wrong.
    """
    from mz_orchestration.pipelines.planning import UNKNOWN_MANIFEST
    from mz_orchestration.snowflake.spec import load_spec

    # Here, and not when the export has been made.
    spec = load_spec(
        manifest=UNKNOWN_MANIFEST,
        stage=stage,
        table=table,
        strategy=strategy,
        layout=layout,
        keys=tuple(keys),
        delete_missing=delete_missing,
        clear=clear,
        lineage=lineage,
        schema_changes=schema_changes,
        checks=checks,
        timeout=timeout,
    )
    source, definition = export_asset(export)
    props = LoadProps(spec, table, source)
    asset = with_attributes((translator or DagsterMaterializeTranslator()).get_asset_spec(props), attributes)
    return load_op(
        asset,
        spec,
        source,
        definition,
        name=op_name(asset.key),
        resources=resources,
        partitions_def=partitions_def,
        pool=pool,
    )


def load_op(
    asset: AssetSpec,
    spec: "LoadSpec",
    export: AssetKey,
    definition: ExportDefinition | None,
    *,
    name: str,
    resources: BoundResources | None,
    partitions_def: PartitionsDefinition | None = None,
    pool: str | None,
) -> AssetsDefinition:
    """The op of a load.

    Args:
        asset: The load's.
        spec: What is loaded where; its manifest says nothing.
        export: Key of the export's asset.
        definition: What the export has to be like, as far as that is known.
        name: Of the op.
        resources: Those that are not the code location's.
        partitions_def: Partitions of the export.
        pool: Pool that bounds how many steps run at a time.
    """
    bound = resources or BoundResources()
    needed = {"object_store", "snowflake"}
    if definition is not None and definition.checks.max_lag is not None:
        needed.add("materialize")

    @multi_asset(
        name=name,
        specs=[asset],
        check_specs=[counts_check_spec(asset.key, of_load=True)],
        partitions_def=partitions_def,
        # What is loaded is the manifest of one export.
        backfill_policy=BackfillPolicy.multi_run(max_partitions_per_run=1) if partitions_def else None,
        pool=pool,
        required_resource_keys=bound.keys(needed),
    )
    def load(context: AssetExecutionContext) -> Iterator[Result]:
        with as_dagster_errors(context):
            tools = bound.tools(context, needed)
            manifest, exported_in = latest_manifest(context, export)
            if definition is not None and exported_in != context.run.run_id:
                # Alone, without the step that would have blocked it.
                check_again(definition, manifest, tools)
            try:
                result = _load(spec.model_copy(update={"manifest": manifest}), tools)
            except ReconciliationError as error:
                yield failed_check(COUNTS, context.asset_key, error)
                raise
            yield _loaded(context, result, export, tools)

    return load


def _load(spec: "LoadSpec", tools: "Tools") -> "LoadResult":
    from mz_orchestration.flow import run_coroutine
    from mz_orchestration.snowflake.load import arun_load

    return run_coroutine(arun_load(spec, snowflake=tools.snowflake, store=tools.store, on_event=tools.on_event))


def _loaded(
    context: AssetExecutionContext, result: "LoadResult", export: AssetKey, tools: "Tools"
) -> MaterializeResult[Any]:
    from mz_orchestration.consoles import query_url

    metadata = load_metadata(result, export=export)
    account = tools.snowflake.account if tools.snowflake is not None else None
    if result.query_ids and (url := query_url(result.query_ids[-1], account)):
        metadata["snowflake/query"] = MetadataValue.url(url)
    counts = {name: value for name, value in metadata.items() if name.startswith("snowflake/rows_")}
    check = AssetCheckResult(passed=True, check_name=COUNTS, asset_key=context.asset_key, metadata=counts)
    return MaterializeResult(metadata=metadata, data_version=data_version(result.manifest), check_results=[check])
