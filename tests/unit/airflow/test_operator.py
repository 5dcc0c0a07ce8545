from __future__ import annotations

import inspect
import signal
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from mz_orchestration.airflow.exceptions import RetryableError, TaskKilledError, as_airflow_errors
from mz_orchestration.airflow.transfers.materialize_to_snowflake import MaterializeToSnowflakeOperator
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


def test_every_argument_is_a_template_field_and_keyword_only() -> None:
    parameters = inspect.signature(MaterializeToSnowflakeOperator.__init__).parameters.values()
    own = [each for each in parameters if each.name not in ("self", "kwargs")]
    assert {each.name for each in own} == set(MaterializeToSnowflakeOperator.template_fields)
    assert {each.kind for each in own} == {inspect.Parameter.KEYWORD_ONLY}


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


class Working(MaterializeToSnowflakeOperator):
    """Waits in place of exporting."""

    def _export_and_load(self, run_key: str) -> dict[str, Any]:
        try:
            signal.pause()
        finally:
            # As a second signal during the cancelling, or Airflow itself after a timeout.
            self.on_kill()
        raise AssertionError("nothing interrupted the work")


def test_on_kill_interrupts_the_work_once() -> None:
    operator = Working(**REQUIRED)
    before = signal.signal(signal.SIGALRM, lambda number, frame: operator.on_kill())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(TaskKilledError):
            operator.execute({})  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGALRM, before)


def test_on_kill_does_nothing_without_work() -> None:
    operator = MaterializeToSnowflakeOperator(**{**REQUIRED, "to": "x"})
    operator.on_kill()
    with pytest.raises(AirflowFailException):
        operator.execute({})  # type: ignore[arg-type]
    operator.on_kill()
