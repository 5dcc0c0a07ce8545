"""Time partitions of exports: a partition names when an export was made, for there is no exporting the past."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from dagster import (
    AssetExecutionContext,
    AssetKey,
    BackfillPolicy,
    OpExecutionContext,
    PartitionsDefinition,
    TimeWindowPartitionsDefinition,
)

from mz_orchestration.dagster.assets.definition import ExportDefinition
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.spec import ExportSpec, export_spec


def export_backfills(partitions_def: PartitionsDefinition | None) -> BackfillPolicy | None:
    """How backfills of exports run: one run for each partition.

    Args:
        partitions_def: None for exports without partitions.

    Raises:
        ConfigurationError: It is not made of spans of time.
    """
    if partitions_def is None:
        return None
    if not isinstance(partitions_def, TimeWindowPartitionsDefinition):
        raise ConfigurationError(
            f"partitions_def: a {type(partitions_def).__name__} does not split time, and an export has all rows.",
            hint="Take Daily-, Hourly- or another PartitionsDefinition of time; for a part of the rows export a query.",
        )
    return BackfillPolicy.multi_run(max_partitions_per_run=1)


def partition_of(context: AssetExecutionContext | OpExecutionContext) -> str | None:
    """The partition that a step is to make; None without partitions.

    Raises:
        ConfigurationError: They are several.
    """
    if not context.has_partition_key_range and not context.has_partition_key:
        return None
    keys: Sequence[str] = context.partition_keys
    if len(keys) != 1:
        raise ConfigurationError(
            f"This run is of {len(keys)} partitions, {keys[0]} to {keys[-1]}, and would export the same rows for each.",
            hint="Launch one run for each partition.",
        )
    return keys[0]


def refuse_the_past(context: AssetExecutionContext, key: AssetKey, now: datetime | None = None) -> None:
    """Refuse a partition after whose end another one has been completed.

    Args:
        context: The step's.
        key: Of the asset.
        now: The present moment.

    Raises:
        ConfigurationError: It is of the past.
    """
    partitions = context.assets_def.partitions_def
    partition = partition_of(context)
    if partition is None or not isinstance(partitions, TimeWindowPartitionsDefinition):
        return
    window = partitions.time_window_for_partition_key(partition)
    following = partitions.get_next_partition_window(window.end)
    if following is None or following.end > (now or datetime.now(UTC)):
        return
    raise ConfigurationError(
        f"{key.to_user_string()}: the partition {partition} ended at {window.end.isoformat()}, a later one has ended "
        "since, and an export is always of now, not of then.",
        hint="Materialize the latest; or build the asset with allow_backfill=True if you want rows of now there.",
    )


def spec_for(definition: ExportDefinition, partition: str | None) -> ExportSpec:
    """What is exported for a partition: the same rows, in a folder of its own where that is wanted.

    Args:
        definition: The export.
        partition: Its key.
    """
    if partition is None or not definition.partition_folders:
        return definition.spec
    # Keys of hours hold colons, which no path of an export may.
    folder = definition.spec.base.child(re.sub(r"[^A-Za-z0-9_=.-]", "-", partition) + "/")
    return export_spec(**{**definition.spec.model_dump(exclude_unset=True), "to": str(folder)})
