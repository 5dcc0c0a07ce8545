"""Assets for an export and for its load into Snowflake.

No data passes through Python, so there is no IO manager: a load takes the manifest of the latest materialization of its
export. It may therefore run alone, and one that was late loads what is newest.
"""

# Annotations are not postponed: Dagster reads those of the functions inside the builders as they are.
from collections.abc import Iterator, Sequence
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    Config,
    MaterializeResult,
    multi_asset,
)
from pydantic import Field

from mz_orchestration.dagster.errors import as_dagster_errors, error_metadata
from mz_orchestration.dagster.keys import asset_key, logical_run, op_name
from mz_orchestration.dagster.metadata import MANIFEST, export_metadata, load_metadata
from mz_orchestration.dagster.resources import MaterializeResource, ObjectStoreResource, SnowflakeResource
from mz_orchestration.errors import ConfigurationError, ReconciliationError
from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.materialize.names import parse_object_name
from mz_orchestration.progress import OnEvent
from mz_orchestration.snowflake.quoting import parse_name

CHECK = "counts_reconciled"


class ExportConfig(Config):
    """What may be set when an export is launched."""

    run_key: str | None = Field(
        default=None,
        description="Names the logical run: a finished one is returned, an unfinished one is picked up. "
        "The Dagster run's id and the asset's key if left out.",
    )


def build_export_asset(
    spec: ExportSpec,
    *,
    key: AssetKey | None = None,
    deps: Sequence[AssetKey] | None = None,
    pool: str | None = None,
) -> AssetsDefinition:
    """An asset that exports an object or a query and verifies the files.

    It needs the resources ``materialize`` (`MaterializeResource`) and ``object_store`` (`ObjectStoreResource`). Group,
    owners, tags, automation and the like are added with ``map_asset_specs``.

    Args:
        spec: What to export, and where to; ``export_spec(...)`` makes one.
        key: The asset's key; ``exports/<schema>/<object>`` by default, in lower case and with ``_`` for
            what a key's part cannot hold; where two names come out alike, give one of them a key.
        deps: What the export reads; ``materialize/<schema>/<object>`` by default, nothing for a query.
        pool: Pool that bounds how many exports run at a time.
    """
    name = parse_object_name(spec.object)
    asset = AssetSpec(
        key or asset_key("exports", name),
        deps=([asset_key("materialize", name)] if spec.query is None else []) if deps is None else deps,
        description=f"{spec.object} as {spec.format} files below {spec.to}, verified.",
        kinds={"materialize", "s3", spec.format},
    )

    @multi_asset(name=op_name(asset.key), specs=[asset], pool=pool)
    def export(
        context: AssetExecutionContext,
        config: ExportConfig,
        materialize: MaterializeResource,
        object_store: ObjectStoreResource,
    ) -> MaterializeResult[Any]:
        from mz_orchestration.exports.export import run_export

        with as_dagster_errors(context):
            result = run_export(
                spec,
                run_key=config.run_key or f"{logical_run(context)}/{context.asset_key.to_user_string()}",
                materialize=materialize.config(),
                store=object_store.store(),
                on_event=_log_to(context),
            )
        return MaterializeResult(metadata=export_metadata(result))

    return export


def build_load_asset(
    export: AssetsDefinition,
    *,
    stage: str,
    table: str,
    timeout: float = 6 * 3600,
    key: AssetKey | None = None,
    pool: str | None = None,
) -> AssetsDefinition:
    """An asset that replaces a Snowflake table's content with the latest export, if all counts agree.

    It needs the resources ``object_store`` (`ObjectStoreResource`) and ``snowflake`` (`SnowflakeResource`). Its check
    ``counts_reconciled`` blocks what depends on the table.

    Args:
        export: The export's asset, from `build_export_asset`.
        stage: External stage that covers the export's folder; ``[database.][schema.]name``.
        table: Made if it does not exist; ``[database.][schema.]name``.
        timeout: Seconds a COPY INTO may take before it is aborted.
        key: The asset's key; ``snowflake/<database>/<schema>/<table>`` by default, likewise.
        pool: Pool that bounds how many loads run at a time.

    Raises:
        ConfigurationError: ``stage`` or ``table`` is not a name, or ``timeout`` not a number of seconds.
    """
    from mz_orchestration.snowflake.spec import load_spec

    # Here, and not when the export has been made.
    load_spec(manifest="s3://any/manifest", stage=stage, table=table, timeout=timeout)
    source = export.key
    asset = AssetSpec(
        key or asset_key("snowflake", parse_name(table, field="table")),
        deps=[source],
        description=f"The latest export of {source.to_user_string()} as {table}.",
        kinds={"snowflake", "table"},
    )
    check = AssetCheckSpec(
        CHECK,
        asset=asset.key,
        blocking=True,
        description="Rows copied by Materialize, rows in the files and rows loaded are the same number.",
    )

    @multi_asset(name=op_name(asset.key), specs=[asset], check_specs=[check], pool=pool)
    def load(
        context: AssetExecutionContext, object_store: ObjectStoreResource, snowflake: SnowflakeResource
    ) -> Iterator[MaterializeResult[Any] | AssetCheckResult]:
        from mz_orchestration.snowflake.load import run_load

        with as_dagster_errors(context):
            try:
                result = run_load(
                    load_spec(manifest=_latest_manifest(context, source), stage=stage, table=table, timeout=timeout),
                    snowflake=snowflake.config(),
                    store=object_store.store(),
                    on_event=_log_to(context),
                )
            except ReconciliationError as error:
                yield AssetCheckResult(passed=False, metadata=error_metadata(error))
                raise
        metadata = load_metadata(result)
        counts = {name: value for name, value in metadata.items() if name.startswith("snowflake/rows_")}
        yield MaterializeResult(metadata=metadata, check_results=[AssetCheckResult(passed=True, metadata=counts)])

    return load


def _latest_manifest(context: AssetExecutionContext, export: AssetKey) -> str:
    event = context.instance.get_latest_materialization_event(export)
    materialization = event.asset_materialization if event else None
    manifest = materialization.metadata.get(MANIFEST) if materialization else None
    if manifest is None:
        raise ConfigurationError(
            f"The asset {export.to_user_string()} has not been materialized with a manifest yet.",
            hint="Materialize it first, or together with this asset.",
        )
    return str(manifest.value)


def _log_to(context: AssetExecutionContext) -> OnEvent:
    return lambda event: context.log.info(event.line())
