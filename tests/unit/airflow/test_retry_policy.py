"""What the retry policy makes of errors; on Airflow without such policies, that it says so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import airflow.sdk
import psycopg
import pytest

from mz_orchestration.airflow.exceptions import RetryableError, as_airflow_errors
from mz_orchestration.airflow.retry_policy import materialize_retry_policy
from mz_orchestration.errors import (
    ConfigurationError,
    ConnectionLostError,
    CredentialsError,
    ExportError,
    MzOrchestrationError,
    UnavailableError,
)

SHORT, LONG = timedelta(seconds=7), timedelta(seconds=70)


def raised(error: MzOrchestrationError) -> BaseException:
    """An error as our operators raise it."""
    try:
        with as_airflow_errors():
            raise error
    except Exception as mapped:
        return mapped


def away() -> BaseException:
    try:
        psycopg.connect(host="127.0.0.1", port=1, user="me", connect_timeout=2)
    except psycopg.Error as error:
        return error
    raise AssertionError("somebody listens on port 1")


if hasattr(airflow.sdk, "ExceptionRetryPolicy"):

    @pytest.mark.parametrize(
        ("error", "action", "delay"),
        [
            (ConfigurationError("wrong"), "fail", None),
            (CredentialsError("refused"), "fail", None),
            (ExportError("failed"), "fail", None),
            (ExportError("for now", retryable=True), "retry", SHORT),
            (UnavailableError("away"), "retry", LONG),
            (ConnectionLostError("lost"), "retry", LONG),
            (raised(ExportError("for now", retryable=True)), "retry", SHORT),
            (raised(UnavailableError("away")), "retry", LONG),
            (RetryableError("from a triggerer"), "retry", SHORT),
            (away(), "retry", LONG),
            (psycopg.errors.AdminShutdown(), "retry", LONG),
            (psycopg.errors.UndefinedTable(), "fail", None),
            (psycopg.errors.InvalidPassword(), "fail", None),
            (psycopg.errors.InternalError_(), "default", None),
            (ValueError("unknown"), "default", None),
        ],
        ids=repr,
    )
    def test_errors(error: BaseException, action: str, delay: timedelta | None) -> None:
        policy = materialize_retry_policy(delay=SHORT, unavailable_delay=LONG)
        decision = policy.evaluate(error, try_number=1, max_tries=3)
        assert (decision.action.value, decision.retry_delay) == (action, delay)
        assert bool(decision.reason) == (action != "default")

    def test_delays_double_up_to_an_hour() -> None:
        policy = materialize_retry_policy(delay=timedelta(minutes=10))
        delays = [policy.evaluate(RetryableError("x"), each, 9).retry_delay for each in (1, 2, 3, 4, 1000)]
        assert delays == [timedelta(minutes=each) for each in (10, 20, 40, 60, 60)]

    def test_own_rules_go_first() -> None:
        rule: Any = airflow.sdk.RetryRule(
            exception=UnavailableError, action=airflow.sdk.RetryAction.FAIL, reason="ours"
        )
        policy = materialize_retry_policy(rules=[rule])
        assert policy.evaluate(UnavailableError("away"), 1, 3).reason == "ours"
        assert policy.evaluate(ConnectionLostError("lost"), 1, 3).action is airflow.sdk.RetryAction.FAIL
        assert policy.evaluate(RetryableError("other"), 1, 3).action is airflow.sdk.RetryAction.RETRY

else:

    def test_it_says_that_this_airflow_is_too_old() -> None:
        with pytest.raises(ConfigurationError, match=r"Airflow 3\.3"):
            materialize_retry_policy()
