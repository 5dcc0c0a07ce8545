"""Assets for an export and for its load into Snowflake.

No data passes through Python, so there is no IO manager: the load takes the manifest from the latest materialization of
its export. Two overlapping runs therefore never put an older export over a newer one, and a load can be run alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    Config,
    MaterializeResult,
    TableColumn,
    TableSchema,
    multi_asset,
)
from pydantic import Field

from mz_orchestration.dagster.errors import as_dagster_errors, failure
from mz_orchestration.dagster.resources import MaterializeResource, ObjectStoreResource, SnowflakeResource
from mz_orchestration.errors import ConfigurationError, ReconciliationError
from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.materialize.names import parse_object_name
from mz_orchestration.progress import Event, OnEvent
from mz_orchestration.snowflake.quoting import parse_name

if TYPE_CHECKING:
    from mz_orchestration.exports.result import ExportResult
    from mz_orchestration.snowflake.load import LoadResult

MANIFEST = "materialize/manifest"
CHECK = "counts_reconciled"


class ExportConfig(Config):
    """What may be set when an export is launched."""

    run_key: str | None = Field(
        default=None,
        description="Names the logical run: a finished one is returned, an unfinished one is picked up. "
        "The Dagster run's id and the asset's key if left out.",
    )


def build_export_asset(spec: ExportSpec, *, key: AssetKey | None = None, pool: str | None = None) -> AssetsDefinition:
    """An asset that exports an object or a query and verifies the files.

    It needs the resources ``materialize`` (`MaterializeResource`) and ``object_store`` (`ObjectStoreResource`). Group,
    owners, tags, automation and the like are added with ``map_asset_specs``.

    Args:
        spec: What to export, and where to; ``export_spec(...)`` makes one.
        key: The asset's key; ``exports/<schema>/<object>`` by default.
        pool: Pool that bounds how many exports run at a time.
    """
    name = parse_object_name(spec.object)
    asset = AssetSpec(
        key or AssetKey(["exports", *name]),
        deps=[AssetKey(["materialize", *name])],
        description=f"{spec.object} as {spec.format} files below {spec.to}, verified.",
        kinds={"materialize", "s3", spec.format},
    )

    @multi_asset(name=_op_name(asset.key), specs=[asset], pool=pool)
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
                run_key=config.run_key or f"{context.run.run_id}/{context.asset_key.to_user_string()}",
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
        key: The asset's key; ``snowflake/<database>/<schema>/<table>`` by default, in lower case.
        pool: Pool that bounds how many loads run at a time.

    Raises:
        ConfigurationError: ``table`` is not a name.
    """
    source = export.key
    asset = AssetSpec(
        key or AssetKey(["snowflake", *(part.lower() for part in parse_name(table, field="table"))]),
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

    @multi_asset(name=_op_name(asset.key), specs=[asset], check_specs=[check], pool=pool)
    def load(
        context: AssetExecutionContext, object_store: ObjectStoreResource, snowflake: SnowflakeResource
    ) -> Iterator[MaterializeResult[Any] | AssetCheckResult]:
        from mz_orchestration.snowflake.load import run_load
        from mz_orchestration.snowflake.spec import load_spec

        try:
            with as_dagster_errors(context):
                result = run_load(
                    load_spec(manifest=_latest_manifest(context, source), stage=stage, table=table, timeout=timeout),
                    snowflake=snowflake.config(),
                    store=object_store.store(),
                    on_event=_log_to(context),
                )
        except ReconciliationError as error:
            yield AssetCheckResult(passed=False, metadata=failure(error).metadata)
            raise failure(error) from error
        metadata = load_metadata(result)
        counts = {name: value for name, value in metadata.items() if name.startswith("snowflake/rows_")}
        yield MaterializeResult(metadata=metadata, check_results=[AssetCheckResult(passed=True, metadata=counts)])

    return load


def export_metadata(result: ExportResult) -> dict[str, Any]:
    """A materialization's metadata: Dagster's standard keys, and the result's own."""
    columns = [TableColumn(column.name, column.sql_type) for column in result.manifest.columns]
    return {
        "dagster/row_count": result.manifest.rows,
        "dagster/uri": result.manifest.path,
        "dagster/column_schema": TableSchema(columns),
        **{f"materialize/{name}": value for name, value in result.to_metadata().items()},
    }


def load_metadata(result: LoadResult) -> dict[str, Any]:
    """A materialization's metadata: Dagster's standard keys, and the result's own."""
    return {
        "dagster/row_count": result.rows,
        "dagster/table_name": ".".join(parse_name(result.target, field="target")),
        "dagster/storage_kind": "snowflake",
        **{f"snowflake/{name}": value for name, value in result.to_metadata().items()},
    }


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


def _op_name(key: AssetKey) -> str:
    return "__".join("".join(c if c.isalnum() and c.isascii() else "_" for c in part) for part in key.path)


def _log_to(context: AssetExecutionContext) -> OnEvent:
    def log(event: Event) -> None:
        facts = "".join(f" {name}={value}" for name, value in event.details.items())
        took = "" if event.seconds is None else f" in {event.seconds:.2f} s"
        context.log.info(f"{event.step} {event.state}{took}: {event.message}{facts}")

    return log
