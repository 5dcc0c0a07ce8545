"""When Dagster runs an asset by itself: short forms for YAML."""

from __future__ import annotations

import re
from typing import Any

from dagster import AutomationCondition
from pydantic import ValidationError

from mz_orchestration.dagster.components.models import Schedule

_ON_CRON = re.compile(r"on_cron\(\s*(?P<cron>.+?)\s*(?:,\s+(?P<timezone>[A-Za-z][\w/+-]*)\s*)?\)")


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
