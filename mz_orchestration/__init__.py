"""Verified exports from Materialize to object stores and Snowflake, run by cron, Airflow or Dagster.

The names below load on first use: DAG files and code locations are parsed again and again, and importing this package
must cost next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mz_orchestration.census.client import AsyncCensusClient, CensusClient
    from mz_orchestration.census.config import CensusConfig
    from mz_orchestration.census.handle import SyncHandle, cancel_sync, poll_sync, start_sync
    from mz_orchestration.census.spec import SyncSpec
    from mz_orchestration.census.sync import SyncResult, arun_sync, run_sync
    from mz_orchestration.errors import MzOrchestrationError
    from mz_orchestration.exports.export import run_export
    from mz_orchestration.exports.group import GroupResult, run_exports
    from mz_orchestration.exports.handle import ExportHandle, cancel_export, poll_export, start_export
    from mz_orchestration.exports.policy import ExportPolicy
    from mz_orchestration.exports.result import ExportResult
    from mz_orchestration.exports.spec import ExportSpec
    from mz_orchestration.materialize.connection import MaterializeConfig
    from mz_orchestration.objectstore.client import ObjectStore, ObjectStoreConfig
    from mz_orchestration.pipelines.planning import plan_pipeline
    from mz_orchestration.pipelines.reading import read_pipeline
    from mz_orchestration.pipelines.run import arun_pipeline, run_pipeline
    from mz_orchestration.pipelines.spec import PipelineSpec
    from mz_orchestration.snowflake.config import SnowflakeConfig
    from mz_orchestration.snowflake.handle import LoadHandle, cancel_load, poll_load, start_load
    from mz_orchestration.snowflake.load import LoadResult, arun_load, run_load
    from mz_orchestration.snowflake.spec import LoadSpec

__all__ = [
    "AsyncCensusClient",
    "CensusClient",
    "CensusConfig",
    "ExportHandle",
    "ExportPolicy",
    "ExportResult",
    "ExportSpec",
    "GroupResult",
    "LoadHandle",
    "LoadResult",
    "LoadSpec",
    "MaterializeConfig",
    "MzOrchestrationError",
    "ObjectStore",
    "ObjectStoreConfig",
    "PipelineSpec",
    "SnowflakeConfig",
    "SyncHandle",
    "SyncResult",
    "SyncSpec",
    "__version__",
    "arun_load",
    "arun_pipeline",
    "arun_sync",
    "cancel_export",
    "cancel_load",
    "cancel_sync",
    "plan_pipeline",
    "poll_export",
    "poll_load",
    "poll_sync",
    "read_pipeline",
    "run_export",
    "run_exports",
    "run_load",
    "run_pipeline",
    "run_sync",
    "start_export",
    "start_load",
    "start_sync",
]

_HOMES = {
    "AsyncCensusClient": "census.client",
    "CensusClient": "census.client",
    "CensusConfig": "census.config",
    "ExportHandle": "exports.handle",
    "ExportPolicy": "exports.policy",
    "ExportResult": "exports.result",
    "ExportSpec": "exports.spec",
    "GroupResult": "exports.group",
    "LoadHandle": "snowflake.handle",
    "LoadResult": "snowflake.load",
    "LoadSpec": "snowflake.spec",
    "MaterializeConfig": "materialize.connection",
    "MzOrchestrationError": "errors",
    "ObjectStore": "objectstore.client",
    "ObjectStoreConfig": "objectstore.client",
    "PipelineSpec": "pipelines.spec",
    "SnowflakeConfig": "snowflake.config",
    "SyncHandle": "census.handle",
    "SyncResult": "census.sync",
    "SyncSpec": "census.spec",
    "arun_load": "snowflake.load",
    "arun_pipeline": "pipelines.run",
    "arun_sync": "census.sync",
    "cancel_export": "exports.handle",
    "cancel_load": "snowflake.handle",
    "cancel_sync": "census.handle",
    "plan_pipeline": "pipelines.planning",
    "poll_export": "exports.handle",
    "poll_load": "snowflake.handle",
    "poll_sync": "census.handle",
    "read_pipeline": "pipelines.reading",
    "run_export": "exports.export",
    "run_exports": "exports.group",
    "run_load": "snowflake.load",
    "run_pipeline": "pipelines.run",
    "run_sync": "census.sync",
    "start_export": "exports.handle",
    "start_load": "snowflake.handle",
    "start_sync": "census.handle",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)
