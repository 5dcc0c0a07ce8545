"""The jobs and schedules of a component: one of each for every distinct schedule that its attributes name."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from dagster import (
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    PartitionsDefinition,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    TimeWindowPartitionsDefinition,
    define_asset_job,
)

from mz_orchestration.dagster.components.models import Schedule
from mz_orchestration.dagster.keys import plain_name
from mz_orchestration.errors import ConfigurationError


def build_schedules(
    component: str,
    schedules: Iterable[tuple[Schedule, AssetKey]],
    whole: Schedule | None,
    assets: Sequence[AssetsDefinition],
) -> list[ScheduleDefinition]:
    """The schedules of a component, each with the job that it runs.

    That of all is called ``<component>_schedule``; those of some ``<component>_<cron>_schedule``, with ``x`` for ``*``.

    Args:
        component: Its name.
        schedules: Which single assets run when.
        whole: When all run.
        assets: All of the component's.

    Raises:
        ConfigurationError: The assets' partitions are not of time.
    """
    keys = [key for asset in assets for key in asset.keys]
    wanted: dict[Schedule, set[AssetKey]] = {}
    for schedule, key in schedules:
        wanted.setdefault(schedule, set()).add(key)
    names = _names(component, [each for each in wanted if each != whole])
    if whole is not None:
        wanted[whole], names[whole] = set(keys), plain_name(component)
    return [
        _schedule(schedule, names[schedule], _with_siblings(some, assets), assets) for schedule, some in wanted.items()
    ]


def _names(component: str, schedules: Sequence[Schedule]) -> dict[Schedule, str]:
    names = {each: f"{plain_name(component)}_{_slug(each)}" for each in schedules}
    uses = Counter(names.values())
    # "1-5" and "1,5" look alike in a name.
    return {
        each: name if uses[name] == 1 else f"{name}_{hashlib.sha256(each.model_dump_json().encode()).hexdigest()[:6]}"
        for each, name in names.items()
    }


def _slug(schedule: Schedule) -> str:
    zone = "" if schedule.timezone == "UTC" else f" {schedule.timezone}"
    return re.sub(r"[^A-Za-z0-9]+", "_", f"{schedule.cron.replace('*', 'x')}{zone}").strip("_")


def _with_siblings(keys: set[AssetKey], assets: Sequence[AssetsDefinition]) -> list[AssetKey]:
    """The assets, and those that cannot run without them."""
    found = set(keys)
    for asset in assets:
        if not asset.can_subset and not keys.isdisjoint(asset.keys):
            found |= set(asset.keys)
    return sorted(found)


def _schedule(
    schedule: Schedule, name: str, keys: Sequence[AssetKey], assets: Sequence[AssetsDefinition]
) -> ScheduleDefinition:
    job = define_asset_job(name, AssetSelection.assets(*keys))
    of_these = [asset for asset in assets if not asset.keys.isdisjoint(keys)]
    partitions = next((each.partitions_def for each in of_these if each.partitions_def is not None), None)
    if partitions is None:
        return schedule.definition(name=f"{name}_schedule", job=job)
    if not isinstance(partitions, TimeWindowPartitionsDefinition):
        raise ConfigurationError(
            f"schedule: {schedule.cron!r} cannot say which partition to run, because partitions are not of time.",
            hint="Leave out schedule, or take partitions of time.",
        )
    return schedule.definition(name=f"{name}_schedule", job=job, execution_fn=_latest_partition(partitions))


def _latest_partition(
    partitions: PartitionsDefinition,
) -> Callable[[ScheduleEvaluationContext], RunRequest | SkipReason]:
    def latest(context: ScheduleEvaluationContext) -> RunRequest | SkipReason:
        # Of now, not of the tick, which may be long past: an export is of now, too.
        key = partitions.get_last_partition_key()
        if key is None:
            return SkipReason("No partition has been completed yet.")
        return RunRequest(partition_key=key)

    return latest
