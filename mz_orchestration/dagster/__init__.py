"""The Dagster integration: resources and assets over the same core as the command line."""

from dagster_shared.libraries import DagsterLibraryRegistry

from mz_orchestration import __version__
from mz_orchestration.dagster.assets import ExportConfig, build_export_asset, build_load_asset
from mz_orchestration.dagster.pipelines import build_pipeline_assets
from mz_orchestration.dagster.resources import (
    CensusResource,
    MaterializeResource,
    ObjectStoreResource,
    SnowflakeResource,
)

__all__ = [
    "CensusResource",
    "ExportConfig",
    "MaterializeResource",
    "ObjectStoreResource",
    "SnowflakeResource",
    "build_export_asset",
    "build_load_asset",
    "build_pipeline_assets",
]

# Without the flag Dagster compares our version with its own and warns.
DagsterLibraryRegistry.register("mz-orchestration", __version__, is_dagster_package=False)
