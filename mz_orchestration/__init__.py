"""Verified exports from Materialize to object stores and Snowflake, run by cron, Airflow or Dagster.

The names below load on first use: DAG files and code locations are parsed again and again, and importing this package
must cost next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mz_orchestration.errors import MzOrchestrationError
    from mz_orchestration.exports.context import ExportPolicy
    from mz_orchestration.exports.export import run_export
    from mz_orchestration.exports.group import GroupResult, run_exports
    from mz_orchestration.exports.handle import ExportHandle, cancel_export, poll_export, start_export
    from mz_orchestration.exports.result import ExportResult
    from mz_orchestration.exports.spec import ExportSpec
    from mz_orchestration.materialize.connection import MaterializeConfig
    from mz_orchestration.objectstore.client import ObjectStore, ObjectStoreConfig
    from mz_orchestration.snowflake.config import SnowflakeConfig
    from mz_orchestration.snowflake.handle import LoadHandle, cancel_load, poll_load, start_load
    from mz_orchestration.snowflake.load import LoadResult, arun_load, run_load
    from mz_orchestration.snowflake.spec import LoadSpec

__all__ = [
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
    "SnowflakeConfig",
    "__version__",
    "arun_load",
    "cancel_export",
    "cancel_load",
    "poll_export",
    "poll_load",
    "run_export",
    "run_exports",
    "run_load",
    "start_export",
    "start_load",
]

_HOMES = {
    "ExportHandle": "exports.handle",
    "ExportPolicy": "exports.context",
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
    "SnowflakeConfig": "snowflake.config",
    "arun_load": "snowflake.load",
    "cancel_export": "exports.handle",
    "cancel_load": "snowflake.handle",
    "poll_export": "exports.handle",
    "poll_load": "snowflake.handle",
    "run_export": "exports.export",
    "run_exports": "exports.group",
    "run_load": "snowflake.load",
    "start_export": "exports.handle",
    "start_load": "snowflake.handle",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)
