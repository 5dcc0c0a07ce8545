"""A retry policy for tasks that work with Materialize, Snowflake or Census; Airflow has such policies from 3.3 on.

Our operators need none to fail for good on what no retry can help. The policy adds how long to wait: longer for a
system that is away, and each time more. It also knows the errors of plain functions in a ``@task``, and psycopg's,
which common-sql's operators raise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from mz_orchestration.airflow.exceptions import RetryableError, UnavailableSystemError
from mz_orchestration.errors import ConfigurationError, MzOrchestrationError, UnavailableError

if TYPE_CHECKING:
    import psycopg
    from airflow.sdk import Context, ExceptionRetryPolicy, RetryDecision, RetryRule
else:
    try:
        from airflow.sdk import ExceptionRetryPolicy
    except ImportError:  # before 3.3
        ExceptionRetryPolicy = object

_LONGEST = timedelta(hours=1)
_LONGEST_REASON = 200
# Classes of SQLSTATE that are about what was asked: values, names, rights, features.
_REFUSALS = ("0A", "22", "23", "28", "3D", "3F", "42")
# Connection, resources, shut-down.
_AWAY = ("08", "53", "57P")


class MaterializeRetryPolicy(ExceptionRetryPolicy):
    """
    Decide by what an error means; made by :func:`materialize_retry_policy`.

    :param rules: looked at before anything else.
    :param delay: before the first retry.
    :param unavailable_delay: before the first retry if a system is away.
    """

    def __init__(self, rules: Sequence[RetryRule], delay: timedelta, unavailable_delay: timedelta) -> None:
        super().__init__(list(rules))
        self.delay = delay
        self.unavailable_delay = unavailable_delay

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """
        Decide whether to try again, and when.

        :param exception: what the task failed with.
        :param try_number: of the try that failed, from 1.
        :param max_tries: how many there may be.
        :param context: the task's context.
        """
        from airflow.sdk import RetryDecision

        if any(rule.matches(exception) for rule in self.rules):
            return super().evaluate(exception, try_number, max_tries, context)
        error = next((each for each in _causes(exception) if isinstance(each, MzOrchestrationError)), None)
        if error is not None:
            return self._by_family(error, try_number)
        if isinstance(exception, RetryableError):
            # From a triggerer, it comes without its cause.
            delay = self.unavailable_delay if isinstance(exception, UnavailableSystemError) else self.delay
            return RetryDecision.retry(_longer(delay, try_number), _reason(exception))
        return self._by_sqlstate(exception, try_number)

    def _by_family(self, error: MzOrchestrationError, try_number: int) -> RetryDecision:
        from airflow.sdk import RetryDecision

        if not error.retryable:
            return RetryDecision.fail(_reason(error))
        delay = self.unavailable_delay if isinstance(error, UnavailableError) else self.delay
        return RetryDecision.retry(_longer(delay, try_number), _reason(error))

    def _by_sqlstate(self, exception: BaseException, try_number: int) -> RetryDecision:
        import psycopg
        from airflow.sdk import RetryDecision

        error = next((each for each in _causes(exception) if isinstance(each, psycopg.Error)), None)
        if error is None:
            return RetryDecision.default()
        if _is_away(error):
            return RetryDecision.retry(_longer(self.unavailable_delay, try_number), "The database is away.")
        if (error.sqlstate or "").startswith(_REFUSALS):
            return RetryDecision.fail(f"The database refuses the statement, with SQLSTATE {error.sqlstate}.")
        return RetryDecision.default()


def materialize_retry_policy(
    *,
    delay: timedelta = timedelta(minutes=1),
    unavailable_delay: timedelta = timedelta(minutes=5),
    rules: Sequence[RetryRule] = (),
) -> ExceptionRetryPolicy:
    """
    Return a policy for ``retry_policy=`` of a task, or in ``default_args``.

    What no retry can help fails at once; delays double with every try, up to an hour. What the policy does not know is
    retried as the task has it. ``retries`` still bounds the tries.

    :param delay: before the first retry.
    :param unavailable_delay: before the first retry if a system is away.
    :param rules: of yours, looked at first.
    :raises ConfigurationError: this is Airflow before 3.3.
    """
    if not hasattr(ExceptionRetryPolicy, "evaluate"):
        raise ConfigurationError(
            "materialize_retry_policy() takes Airflow 3.3, where tasks have retry policies.",
            hint="Leave retry_policy out; what no retry can help fails our operators at once all the same.",
        )
    return MaterializeRetryPolicy(rules, delay, unavailable_delay)


def _causes(exception: BaseException) -> Iterator[BaseException]:
    """An exception and what it was raised from."""
    cause: BaseException | None = exception
    seen: list[BaseException] = []
    while cause is not None and cause not in seen:
        yield cause
        seen.append(cause)
        cause = cause.__cause__


def _is_away(error: psycopg.Error) -> bool:
    import psycopg

    if error.sqlstate is None:
        # Nothing was answered: no connection, or no longer.
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate.startswith(_AWAY)


def _longer(delay: timedelta, try_number: int) -> timedelta:
    # The exponent is bounded: 2 ** 1000 times a delay is no delay.
    factor: int = 2 ** min(max(try_number - 1, 0), 20)
    return min(delay * factor, max(_LONGEST, delay))


def _reason(error: BaseException) -> str:
    return str(error)[:_LONGEST_REASON]
