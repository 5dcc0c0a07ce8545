"""What an export wrote last, by Dagster's account, for whoever comes after it in this run or in another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster import AssetCheckResult, AssetExecutionContext, AssetKey, AssetRecordsFilter, OpExecutionContext

from mz_orchestration.dagster.assets.checks import (
    check_export,
    check_results,
    counts_of_export,
    wanted_checks,
)
from mz_orchestration.dagster.assets.definition import ExportDefinition
from mz_orchestration.dagster.assets.partitions import partition_of
from mz_orchestration.dagster.metadata import MANIFEST
from mz_orchestration.errors import CheckError, ConfigurationError

if TYPE_CHECKING:
    from mz_orchestration.exports.manifest import Manifest
    from mz_orchestration.pipelines.tools import NodeResult, Tools


def latest_manifest(context: AssetExecutionContext | OpExecutionContext, export: AssetKey) -> tuple[str, str]:
    """The manifest that an export wrote last, and the id of the Dagster run that told of it; a sensor's have none.

    Of a partition, if the step is of one.

    Args:
        context: The step's.
        export: Key of the export's asset.

    Raises:
        ConfigurationError: There is none.
    """
    partition = partition_of(context)
    wanted = AssetRecordsFilter(asset_key=export, asset_partitions=[partition] if partition else None)
    records = context.instance.fetch_materializations(wanted, limit=1).records
    materialization = records[0].asset_materialization if records else None
    manifest = materialization.metadata.get(MANIFEST) if materialization else None
    if not records or manifest is None:
        of = f" for the partition {partition}" if partition else ""
        raise ConfigurationError(
            f"The asset {export.to_user_string()} has not been materialized with a manifest{of} yet.",
            hint="Materialize it first, or together with this asset.",
        )
    return str(manifest.value), records[0].run_id


def check_latest(
    context: AssetExecutionContext | OpExecutionContext, export: AssetKey, definition: ExportDefinition, tools: Tools
) -> list[AssetCheckResult]:
    """All checks of what an export wrote last.

    Args:
        context: The step's.
        export: Key of the export's asset.
        definition: What it has to be like.
        tools: What to work with.

    Raises:
        ConfigurationError: There is no such export.
        CheckError: A check may pass in a while.
        VerificationError: Its manifest, or what is remembered of earlier runs, cannot be read.
    """
    location, _ = latest_manifest(context, export)
    manifest, outcome = _checked(definition, location, tools)
    return [counts_of_export(export, manifest), *check_results(definition, export, outcome)]


def check_again(definition: ExportDefinition, location: str, tools: Tools) -> None:
    """Look at the checks of an export that was made in another run.

    Args:
        definition: What it has to be like.
        location: URL of its manifest.
        tools: What to work with.

    Raises:
        CheckError: It does not pass; nothing was loaded.
    """
    if not wanted_checks(definition.checks):
        return
    _, outcome = _checked(definition, location, tools)
    if isinstance(outcome, CheckError):
        raise outcome


def _checked(
    definition: ExportDefinition, location: str, tools: Tools
) -> tuple[Manifest, NodeResult | CheckError | None]:
    from mz_orchestration.exports.latest import open_manifest
    from mz_orchestration.flow import run_coroutine
    from mz_orchestration.objectstore.location import parse_location

    manifest = open_manifest(tools.store, parse_location(location, field="manifest"))
    return manifest, run_coroutine(check_export(definition, manifest, manifest.run_key, tools))
