"""The core's errors in Dagster's words: what fails a step for good and what is worth another try."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dagster import AssetExecutionContext, Failure, OpExecutionContext, RetryRequested

from mz_orchestration.errors import MzOrchestrationError

MAX_RETRIES = 3
FIRST_DELAY = 30.0


@contextmanager
def as_dagster_errors(context: AssetExecutionContext | OpExecutionContext) -> Iterator[None]:
    """Map the core's errors raised in the body.

    Retries are requested here rather than by a ``RetryPolicy`` on the asset, which Dagster applies to interrupts too:
    a step that somebody terminates would start again.

    Raises:
        Failure: Trying again cannot help, or has not.
        RetryRequested: Trying again may help; with pauses that double.
    """
    try:
        yield
    except MzOrchestrationError as error:
        # The last one says why; "Exceeded max_retries" is all that Dagster would.
        if not error.retryable or context.retry_number >= MAX_RETRIES:
            raise Failure(str(error), metadata=error_metadata(error), allow_retries=False) from error
        # RetryRequested carries no text.
        context.log.error(str(error))
        raise RetryRequested(max_retries=MAX_RETRIES, seconds_to_wait=FIRST_DELAY * 2**context.retry_number) from error


def error_metadata(error: MzOrchestrationError) -> dict[str, int | float | str]:
    """The error's class and details as metadata."""
    details = {name: value for name, value in error.details.items() if value is not None}
    return {"error": type(error).__name__, **details}
