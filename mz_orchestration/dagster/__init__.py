"""The Dagster integration: resources, assets, checks, sensors and components over the same core as the command line.

Names are imported as they are used: every ``dg`` command of everybody who has the package installed loads this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_shared.libraries import DagsterLibraryRegistry

from mz_orchestration import __version__

if TYPE_CHECKING:
    from mz_orchestration.dagster.assets.attributes import AssetAttributes
    from mz_orchestration.dagster.assets.export_step import ExportConfig
    from mz_orchestration.dagster.assets.exports import build_export_asset, build_export_assets, materialize_exports
    from mz_orchestration.dagster.assets.loads import build_load_asset
    from mz_orchestration.dagster.assets.one_off import OneOffExport, build_export_job
    from mz_orchestration.dagster.assets.sinks import build_sink_assets, build_sink_checks
    from mz_orchestration.dagster.assets.sources import build_source_assets
    from mz_orchestration.dagster.assets.syncs import build_sync_asset
    from mz_orchestration.dagster.components.discovery import MaterializeDiscoveryComponent
    from mz_orchestration.dagster.components.export import MaterializeExportComponent
    from mz_orchestration.dagster.components.pipeline import MaterializePipelineComponent
    from mz_orchestration.dagster.components.sinks import MaterializeSinksComponent
    from mz_orchestration.dagster.pipelines import build_pipeline_assets
    from mz_orchestration.dagster.resources import (
        BoundResources,
        CensusResource,
        MaterializeResource,
        ObjectStoreResource,
        SnowflakeResource,
    )
    from mz_orchestration.dagster.sensors.census_runs import build_census_run_sensor
    from mz_orchestration.dagster.sensors.export_completion import build_export_completion_sensor
    from mz_orchestration.dagster.sensors.sink_health import build_sink_health_sensor
    from mz_orchestration.dagster.translator import (
        DagsterMaterializeTranslator,
        ExportProps,
        LoadProps,
        ObjectProps,
        RetentionProps,
        SyncProps,
    )

__all__ = [
    "AssetAttributes",
    "BoundResources",
    "CensusResource",
    "DagsterMaterializeTranslator",
    "ExportConfig",
    "ExportProps",
    "LoadProps",
    "MaterializeDiscoveryComponent",
    "MaterializeExportComponent",
    "MaterializePipelineComponent",
    "MaterializeResource",
    "MaterializeSinksComponent",
    "ObjectProps",
    "ObjectStoreResource",
    "OneOffExport",
    "RetentionProps",
    "SnowflakeResource",
    "SyncProps",
    "build_census_run_sensor",
    "build_export_asset",
    "build_export_assets",
    "build_export_completion_sensor",
    "build_export_job",
    "build_load_asset",
    "build_pipeline_assets",
    "build_sink_assets",
    "build_sink_checks",
    "build_sink_health_sensor",
    "build_source_assets",
    "build_sync_asset",
    "materialize_exports",
]

_HOMES = {
    "AssetAttributes": "assets.attributes",
    "BoundResources": "resources",
    "CensusResource": "resources",
    "DagsterMaterializeTranslator": "translator",
    "ExportConfig": "assets.export_step",
    "ExportProps": "translator",
    "LoadProps": "translator",
    "MaterializeDiscoveryComponent": "components.discovery",
    "MaterializeExportComponent": "components.export",
    "MaterializePipelineComponent": "components.pipeline",
    "MaterializeResource": "resources",
    "MaterializeSinksComponent": "components.sinks",
    "ObjectProps": "translator",
    "ObjectStoreResource": "resources",
    "OneOffExport": "assets.one_off",
    "RetentionProps": "translator",
    "SnowflakeResource": "resources",
    "SyncProps": "translator",
    "build_census_run_sensor": "sensors.census_runs",
    "build_export_asset": "assets.exports",
    "build_export_assets": "assets.exports",
    "build_export_completion_sensor": "sensors.export_completion",
    "build_export_job": "assets.one_off",
    "build_load_asset": "assets.loads",
    "build_pipeline_assets": "pipelines",
    "build_sink_assets": "assets.sinks",
    "build_sink_checks": "assets.sinks",
    "build_sink_health_sensor": "sensors.sink_health",
    "build_source_assets": "assets.sources",
    "build_sync_asset": "assets.syncs",
    "materialize_exports": "assets.exports",
}

# Without the flag Dagster compares our version with its own and warns.
DagsterLibraryRegistry.register("mz-orchestration", __version__, is_dagster_package=False)


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    # `dg` looks for components here.
    return sorted([*globals(), *__all__])
