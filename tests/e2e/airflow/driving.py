"""Carries an operator through its life as Airflow would, in this process: execute, trigger, resume."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from airflow.sdk import Asset, BaseOperator
from airflow.sdk.execution_time.timeout import TimeoutPosix
from airflow.triggers.base import BaseTrigger

from mz_orchestration.airflow.version_compat import TaskDeferred

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:  # before 3.2
    from airflow.exceptions import AirflowRescheduleException

OUTLET = Asset("driven")


@dataclass
class TaskInstance:
    """What operators use of a task instance."""

    task_id: str
    dag_id: str = "driven"
    run_id: str = "manual"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    xcoms: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


@dataclass
class OutletEvent:
    """What operators use of the events of an outlet."""

    extra: dict[str, Any] = field(default_factory=dict)
    added: list[tuple[Asset, dict[str, Any]]] = field(default_factory=list)

    def add(self, asset: Asset, extra: dict[str, Any]) -> None:
        self.added.append((asset, extra))


@dataclass
class Ending:
    """How a task ended."""

    state: str
    error: BaseException | None
    result: Any
    links: dict[str, str]
    extra: dict[str, Any]
    deferrals: int


def context_of(task_id: str, **more: Any) -> dict[str, Any]:
    return {
        "ti": TaskInstance(task_id),
        "outlet_events": defaultdict(OutletEvent),
        "dag_run": SimpleNamespace(run_type="manual"),
        **more,
    }


def again(trigger: BaseTrigger) -> BaseTrigger:
    """The trigger as another process makes it."""
    path, kwargs = trigger.serialize()
    module, _, name = path.rpartition(".")
    made: BaseTrigger = getattr(__import__(module, fromlist=[name]), name)(**kwargs)
    return made


async def first_event(trigger: BaseTrigger) -> Any:
    async for event in trigger.run():
        return event.payload
    raise AssertionError("the trigger ended without an event")


def carry_out(operator: BaseOperator, context: dict[str, Any]) -> tuple[Any, int]:
    """What the task returns, and how often it was deferred."""
    deferrals = 0
    seconds = operator.execution_timeout.total_seconds() if operator.execution_timeout else 0

    def attempt(method: Any, *arguments: Any) -> Any:
        if not seconds:
            return method(*arguments)
        with TimeoutPosix(seconds):
            return method(*arguments)

    step: tuple[Any, ...] = (operator.execute, context)
    while True:
        try:
            return attempt(*step), deferrals
        except TaskDeferred as deferred:
            deferrals += 1
            if deferred.timeout is None:
                raise AssertionError("a deferral without a deadline") from deferred
            event = asyncio.run(first_event(again(deferred.trigger)))
            kwargs = {**(deferred.kwargs or {}), "event": event}
            step = (operator.resume_execution, deferred.method_name, kwargs, context)


def drive(operator: BaseOperator, context: dict[str, Any] | None = None) -> Ending:
    """Carry a task out and say how it ended."""
    context = context or context_of(operator.task_id)
    result, error, deferrals = None, None, 0
    try:
        result, deferrals = carry_out(operator, context)
    except BaseException as raised:
        error = raised
    links = {name: value for name, value in context["ti"].xcoms.items() if name.startswith("_link_")}
    extra = dict(context["outlet_events"][OUTLET].extra) if context["outlet_events"] else {}
    return Ending("failed" if error else "success", error, result, links, extra, deferrals)


class Memory(dict[str, Any]):
    """Airflow's memory of a task."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value


@dataclass
class Rescheduled(TaskInstance):
    """A task instance that knows when it was first rescheduled."""

    first: datetime | None = None

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first


def finish(operator: BaseOperator, context: dict[str, Any]) -> tuple[Any, int]:
    """Carry a sensor out; each look after a reschedule is by another object, as in another process."""
    while True:
        began = datetime.now(UTC)
        try:
            return carry_out(copy.copy(operator), context)
        except AirflowRescheduleException as later:
            context["ti"].first = context["ti"].first or began
            time.sleep(max(0.0, (later.reschedule_date - datetime.now(UTC)).total_seconds()))
