"""The core's errors in Airflow's words: what fails a task for good, what is worth its retries, what ends it early."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from mz_orchestration.errors import MzOrchestrationError


class RetryableError(AirflowException):
    """The task may succeed later without a change, so its ``retries`` apply."""


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
        kind = RetryableError if error.retryable else AirflowFailException
        raise kind(str(error)) from error
