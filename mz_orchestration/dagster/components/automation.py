"""When Dagster runs an asset by itself: short forms for YAML, and what ``on_cron`` means for exports."""

from __future__ import annotations

import re
from typing import Any

from dagster import AssetSelection, AssetSpec, AutomationCondition
from pydantic import ValidationError

from mz_orchestration.dagster.components.models import Schedule

_ON_CRON = re.compile(r"on_cron\(\s*(?P<cron>.+?)\s*(?:,\s+(?P<timezone>[A-Za-z][\w/+-]*)\s*)?\)")
_CRON_LABEL = "on_cron("


def automation_condition(value: Any) -> AutomationCondition[Any]:
    """What a value in YAML means.

    Args:
        value: A short form, or what a template gave.

    Raises:
        ValueError: It is neither a short form nor a condition.
    """
    if isinstance(value, AutomationCondition):
        return value
    if value == "eager":
        return AutomationCondition.eager()
    if value == "on_missing":
        return AutomationCondition.on_missing()
    match = _ON_CRON.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f"{value!r} is no condition; write eager, on_missing, on_cron(@hourly), "
            "on_cron(0 6 * * *, Europe/Berlin), or a template that gives an AutomationCondition"
        )
    try:
        schedule = Schedule(cron=match["cron"], timezone=match["timezone"] or "UTC")
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    return AutomationCondition.on_cron(schedule.cron, schedule.timezone)


def without_waiting_for_objects(spec: AssetSpec) -> AssetSpec:
    """An export whose ``on_cron`` does not wait for objects that nobody materializes.

    ``on_cron`` wants every dependency updated since the tick. A view in Materialize is always up to date, but no event
    says so: an export with that condition would never run. Dependencies that something in the code location can
    materialize, such as dbt models, are waited for.

    Args:
        spec: The export's.
    """
    condition = spec.automation_condition
    if condition is None or not (condition.get_label() or "").startswith(_CRON_LABEL) or not spec.deps:
        return spec
    # All are those that can be materialized.
    ignored = AssetSelection.assets(*(dep.asset_key for dep in spec.deps)) - AssetSelection.all()
    # Every built-in condition of this label has it; the declared type does not say so.
    ignoring: Any = condition
    return spec.replace_attributes(automation_condition=ignoring.ignore(ignored))
