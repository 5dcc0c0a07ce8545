"""The Dagster integration: resources and assets over the same core as the command line."""

from dagster_shared.libraries import DagsterLibraryRegistry

from mz_orchestration import __version__
from mz_orchestration.dagster.assets import ExportConfig, build_export_asset, build_load_asset
from mz_orchestration.dagster.resources import MaterializeResource, ObjectStoreResource, SnowflakeResource

__all__ = [
    "ExportConfig",
    "MaterializeResource",
    "ObjectStoreResource",
    "SnowflakeResource",
    "build_export_asset",
    "build_load_asset",
]

# Without the flag Dagster compares our version with its own and warns.
DagsterLibraryRegistry.register("mz-orchestration", __version__, is_dagster_package=False)
