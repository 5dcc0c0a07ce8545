"""Results as metadata of materializations: the standard keys to which Dagster's UI gives a meaning, and our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetKey,
    DataVersion,
    MetadataValue,
    TableColumn,
    TableColumnDep,
    TableColumnLineage,
    TableSchema,
)

from mz_orchestration.snowflake.quoting import parse_name

if TYPE_CHECKING:
    from mz_orchestration.dagster.translator import ObjectProps
    from mz_orchestration.exports.manifest import Manifest
    from mz_orchestration.exports.result import ExportResult
    from mz_orchestration.snowflake.load import LoadResult

#: Where a load finds its input in the materialization of its export.
MANIFEST = "materialize/manifest"
#: The logical run that an export belongs to.
RUN_KEY = "materialize/run_key"


def object_metadata(props: ObjectProps) -> dict[str, Any]:
    """Of the asset of an object in Materialize: what is known of it."""
    found: dict[str, Any] = {"dagster/storage_kind": "materialize", "dagster/table_name": props.object}
    if props.columns:
        found["dagster/column_schema"] = TableSchema([TableColumn(name, kind) for name, kind in props.columns])
    if props.cluster:
        found["materialize/cluster"] = props.cluster
    return found


def export_metadata_of(
    manifest: Manifest, *, source: AssetKey | None = None, partitioned: bool = False
) -> dict[str, Any]:
    """Of an export, by its manifest alone.

    Args:
        manifest: What was written.
        source: The asset whose rows the files hold, column by column; None for a query.
        partitioned: Whether it is one partition of its asset.
    """
    facts = {
        "run_key": manifest.run_key,
        "object": manifest.object,
        "path": manifest.path,
        "format": manifest.format,
        "rows": manifest.rows,
        "files": len(manifest.files),
        "bytes": manifest.size,
        "cluster": manifest.cluster,
        "attempt": manifest.attempt,
        "copied": manifest.copied,
        "verified": manifest.verified.value,
        "timestamp": manifest.timestamp,
    }
    columns = [TableColumn(column.name, column.sql_type) for column in manifest.columns]
    found: dict[str, Any] = {
        "dagster/row_count": manifest.rows,
        "dagster/uri": manifest.path,
        "dagster/column_schema": TableSchema(columns),
        MANIFEST: str(manifest.location),
        **{f"materialize/{name}": value for name, value in facts.items() if value is not None},
    }
    if manifest.timestamp is not None:
        found["materialize/as_of"] = MetadataValue.timestamp(manifest.timestamp / 1000)
    if partitioned:
        found["dagster/partition_row_count"] = manifest.rows
    if source is not None:
        names = [column.name for column in manifest.columns]
        found["dagster/column_lineage"] = _same_columns(names, source, dict(zip(names, names, strict=True)))
    return found


def export_metadata(
    result: ExportResult, *, source: AssetKey | None = None, partitioned: bool = False
) -> dict[str, Any]:
    """Of an export that this run has made; see `export_metadata_of`."""
    of_this_call = ("repeated", "adopted", "seconds")
    told = result.to_metadata()
    return {
        **export_metadata_of(result.manifest, source=source, partitioned=partitioned),
        **{f"materialize/{name}": told[name] for name in of_this_call},
    }


def load_metadata(result: LoadResult, *, export: AssetKey, host: str | None = None) -> dict[str, Any]:
    """Of a load.

    Args:
        result: What came of it.
        export: The asset that was loaded.
        host: Of the account, for the address of its queries.
    """
    from mz_orchestration.snowflake.spec import Strategy

    found: dict[str, Any] = {
        "dagster/table_name": ".".join(parse_name(result.target, field="target")),
        "dagster/storage_kind": "snowflake",
        **{f"snowflake/{name}": value for name, value in result.to_metadata().items()},
    }
    if not result.superseded:
        if result.strategy not in (Strategy.APPEND, Strategy.MERGE):
            # Of the others nobody has counted what the table holds.
            found["dagster/row_count"] = result.rows
        columns = {column.name: column.name for column in result.manifest.columns}
        found["dagster/column_lineage"] = _same_columns(list(columns), export, columns)
    return found


def sync_metadata(told: Mapping[str, int | float | str]) -> dict[str, Any]:
    """Of a run of a sync, from its own small values."""
    found: dict[str, Any] = {f"census/{name}": value for name, value in told.items()}
    if url := told.get("url"):
        found["census/url"] = MetadataValue.url(str(url))
    return found


def data_version(manifest: Manifest) -> DataVersion:
    """What tells the content of an export, or of a table that was loaded from it, from another."""
    return DataVersion(manifest.sha256)


def _same_columns(names: list[str], upstream: AssetKey, columns: Mapping[str, str]) -> TableColumnLineage:
    return TableColumnLineage({name: [TableColumnDep(upstream, columns[name])] for name in names})
