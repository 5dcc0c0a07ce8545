"""The core's errors in Airflow's words: what fails a task for good, what is worth its retries, what ends it early."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mz_orchestration import errors
from mz_orchestration.airflow.version_compat import AirflowException, AirflowFailException
from mz_orchestration.errors import MzOrchestrationError


class RetryableError(AirflowException):
    """The task may succeed later without a change, so its ``retries`` apply."""


class UnavailableSystemError(RetryableError):
    """A system could not be reached or asked us to come back later: worth a longer pause before the retry."""


class TaskKilledError(BaseException):
    """Airflow asked the task to end; raised into what is waiting, so that it cancels its remote work on the way out.

    No ``Exception``, so that ordinary error handling does not swallow it, and no ``AirflowTaskTerminated``, which would
    rob a task of its retries when a worker is merely being replaced.
    """


@contextmanager
def as_airflow_errors() -> Iterator[None]:
    """Map the core's errors raised in the body.

    :raises AirflowFailException: Trying again cannot help.
    :raises RetryableError: Trying again may help.
    """
    try:
        yield
    except MzOrchestrationError as error:
        raise airflow_error(error.to_dict()) from error


def airflow_error(error: Mapping[str, Any]) -> AirflowException:
    """Airflow's exception for one of the core's errors, as ``MzOrchestrationError.to_dict`` has it.

    :param error: with ``type``, ``message``, ``hint`` and ``retryable``.
    """
    kind: type[AirflowException] = AirflowFailException
    if error.get("retryable"):
        # By name: from a triggerer, it comes as JSON.
        family = getattr(errors, str(error.get("type")), MzOrchestrationError)
        kind = UnavailableSystemError if issubclass(family, errors.UnavailableError) else RetryableError
    return kind(f"{error.get('message', 'It failed.')} {error.get('hint', '')}".rstrip())
