"""Results as metadata of materializations: the standard keys to which Dagster's UI gives a meaning, and our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagster import TableColumn, TableSchema

from mz_orchestration.snowflake.quoting import parse_name

if TYPE_CHECKING:
    from mz_orchestration.exports.result import ExportResult
    from mz_orchestration.snowflake.load import LoadResult

#: Where a load finds its input in the materialization of its export.
MANIFEST = "materialize/manifest"


def export_metadata(result: ExportResult) -> dict[str, Any]:
    """Of the export's asset."""
    columns = [TableColumn(column.name, column.sql_type) for column in result.manifest.columns]
    return {
        "dagster/row_count": result.manifest.rows,
        "dagster/uri": result.manifest.path,
        "dagster/column_schema": TableSchema(columns),
        **{f"materialize/{name}": value for name, value in result.to_metadata().items()},
    }


def load_metadata(result: LoadResult) -> dict[str, Any]:
    """Of the load's asset."""
    return {
        "dagster/row_count": result.rows,
        "dagster/table_name": ".".join(parse_name(result.target, field="target")),
        "dagster/storage_kind": "snowflake",
        **{f"snowflake/{name}": value for name, value in result.to_metadata().items()},
    }
