from __future__ import annotations

import asyncio
import inspect
import os
import signal
import threading
from typing import Any

import pytest

from mz_orchestration.airflow.connections import Systems
from mz_orchestration.airflow.exceptions import RetryableError, TaskKilledError, as_airflow_errors
from mz_orchestration.airflow.jobs.base import Job, Listener, Outcome
from mz_orchestration.airflow.operators.base import MaterializeJobOperator
from mz_orchestration.airflow.operators.census import CensusSyncOperator
from mz_orchestration.airflow.pipelines import MaterializePipelineOperator
from mz_orchestration.airflow.task_groups import export_load_sync
from mz_orchestration.airflow.transfers.export_to_snowflake import MaterializeExportToSnowflakeOperator
from mz_orchestration.airflow.transfers.materialize_to_s3 import MaterializeToS3Operator
from mz_orchestration.airflow.transfers.materialize_to_snowflake import MaterializeToSnowflakeOperator
from mz_orchestration.airflow.version_compat import AirflowException, AirflowFailException
from mz_orchestration.errors import ConfigurationError, ExportError, UnavailableError

REQUIRED = {
    "task_id": "transfer",
    "object": "shop.customers",
    "to": "s3://mz-exports/airflow/",
    "connection": "local_s3",
    "stage": "DEMO.PUBLIC.MZ_STAGE",
    "table": "DEMO.PUBLIC.CUSTOMERS",
    "run_key": "key",
}


OPERATORS = [
    MaterializeToS3Operator,
    MaterializeExportToSnowflakeOperator,
    MaterializeToSnowflakeOperator,
    CensusSyncOperator,
    MaterializePipelineOperator,
]
# What decides how a task is run, not what it does; and what is no text.
NOT_TEMPLATED = {"on_clear", "allow_backfill", "deferrable", "plan", "node"}


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_argument_is_a_template_field_and_keyword_only(operator: type[MaterializeJobOperator]) -> None:
    classes = [each for each in operator.__mro__ if issubclass(each, MaterializeJobOperator)]
    parameters = [each for kind in classes for each in inspect.signature(kind.__init__).parameters.values()]
    own = [each for each in parameters if each.name not in ("self", "kwargs")]
    without = {"run_key"} if operator is MaterializeExportToSnowflakeOperator else set()
    assert {each.name for each in own} - NOT_TEMPLATED - without == set(operator.template_fields)
    assert {each.kind for each in own} == {inspect.Parameter.KEYWORD_ONLY}
    assert all(f":param {each.name}:" in "".join(kind.__doc__ or "" for kind in classes) for each in own)


def test_it_can_be_mapped() -> None:
    partial = {name: value for name, value in REQUIRED.items() if name != "object"}
    mapped = MaterializeToSnowflakeOperator.partial(**partial).expand(object=["shop.orders", "shop.customers"])
    assert mapped.task_id == "transfer"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"object": "shop..orders"}, "object"),
        ({"to": "s3://mz-exports/"}, "without a folder"),
        ({"query": "SELECT 1 LIMIT 1"}, "LIMIT"),
        ({"csv": {"delimiter": "|"}}, "format=csv only"),
        ({"export_timeout": "soon"}, "timeout"),
        ({"table": "DEMO.PUBLIC."}, "table"),
        ({"stage": "a.b.c.d"}, "stage"),
    ],
)
def test_bad_arguments_fail_for_good_before_anything_is_started(arguments: dict[str, Any], message: str) -> None:
    operator = MaterializeToSnowflakeOperator(**{**REQUIRED, **arguments})
    with pytest.raises(AirflowFailException, match=message):
        operator.execute({})  # type: ignore[arg-type]


def test_errors_are_mapped_by_whether_a_retry_can_help() -> None:
    with pytest.raises(AirflowFailException, match="wrong Correct it"), as_airflow_errors():
        raise ConfigurationError("wrong", hint="Correct it.")
    with pytest.raises(RetryableError, match="busy") as caught, as_airflow_errors():
        raise UnavailableError("busy")
    assert isinstance(caught.value, AirflowException)
    assert not isinstance(caught.value, AirflowFailException)
    with pytest.raises(RetryableError), as_airflow_errors():
        raise ExportError("cancelled", retryable=True)


class Waiting(Job):
    """Waits in place of exporting."""

    kind = "waiting"

    def __init__(self, operator: MaterializeToSnowflakeOperator) -> None:
        self.operator = operator
        self.began, self.cleaned_up = threading.Event(), False

    def connections(self) -> dict[str, str | None]:
        return {}

    def check(self) -> None:
        pass

    def seconds(self) -> float:
        return 60

    def cancel(self, systems: Systems, listener: Listener) -> list[str]:
        return []

    async def carry_out(self, systems: Systems, listener: Listener) -> Outcome:
        self.began.set()
        try:
            await asyncio.sleep(60)
        finally:
            # As a second signal during the cancelling, or Airflow itself after a timeout.
            self.operator.on_kill()
            self.cleaned_up = True
        raise AssertionError("nothing interrupted the work")


class Working(MaterializeToSnowflakeOperator):
    def job(self, run_key: str) -> Job:
        return self.__dict__.setdefault("_waiting", Waiting(self))


def test_on_kill_interrupts_the_work_once() -> None:
    operator = Working(**REQUIRED)
    waiting = operator.job("key")
    assert isinstance(waiting, Waiting)

    def kill() -> None:
        waiting.began.wait(10)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda number, frame: operator.on_kill())
    try:
        threading.Thread(target=kill, daemon=True).start()
        with pytest.raises(TaskKilledError):
            operator.execute({})  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert waiting.cleaned_up


def test_on_kill_does_nothing_without_work() -> None:
    operator = MaterializeToSnowflakeOperator(**{**REQUIRED, "to": "x"})
    with pytest.raises(AirflowFailException):
        operator.execute({})  # type: ignore[arg-type]
    operator.on_kill()


def test_a_task_that_is_killed_before_it_begins_starts_nothing() -> None:
    operator = MaterializeToSnowflakeOperator(**REQUIRED)
    operator.on_kill()
    with pytest.raises(TaskKilledError):
        operator.execute({})  # type: ignore[arg-type]


def test_a_kill_while_connections_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secrets backend may take its time."""
    required = {name: value for name, value in REQUIRED.items() if name not in ("stage", "table")}
    operator = MaterializeToS3Operator(**required)

    def slow(conn_ids: object) -> Systems:
        operator.on_kill()
        return Systems()

    monkeypatch.setattr("mz_orchestration.airflow.connections.resolve", slow)
    with pytest.raises(TaskKilledError):
        operator.execute({})  # type: ignore[arg-type]


def test_a_group_that_cleans_up_does_not_append() -> None:
    with pytest.raises(ConfigurationError, match="append the rows twice"):
        export_load_sync("g", export={}, load={"strategy": "append"})
