"""The family of errors every room raises and every adapter maps.

Each error carries what a person needs at three in the morning: what is wrong (``message``), what to do next
(``hint``), whether running the same command again can help (``retryable``), and small facts for machines
(``details``). Adapters decide by class and ``retryable`` only, never by text.
"""

from __future__ import annotations

from collections.abc import Mapping

Detail = int | float | str | None


class MzOrchestrationError(Exception):
    """Base of all errors raised on purpose by this package.

    Args:
        message: One or two sentences naming the field or system, the value and what is wrong.
        hint: What to do next, as an imperative sentence; empty where there is nothing to add.
        retryable: Whether the same call may succeed later without a change; the class decides when None.
        details: Small JSON-ready facts (counts, names, error codes). Never secrets.
    """

    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        retryable: bool | None = None,
        details: Mapping[str, Detail] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Detail] = dict(details or {})
        if retryable is not None:
            self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()

    def to_dict(self) -> dict[str, object]:
        """The error as JSON-ready data, for run records and ``--json``."""
        return {
            "type": type(self).__name__,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
            "details": self.details,
        }


class ConfigurationError(MzOrchestrationError):
    """An argument, setting or input file is wrong; nothing was started."""


class NotFoundError(ConfigurationError):
    """A named database object, bucket, stage, table, run or file does not exist or is not visible."""


class WrongEnvironmentError(ConfigurationError):
    """What is asked about runs in another Materialize than the one that is asked."""


class CredentialsError(MzOrchestrationError):
    """A system refused the credentials or the permission; retrying with the same ones cannot help."""


class UnavailableError(MzOrchestrationError):
    """A system could not be reached or asked us to come back later."""

    retryable = True


class ConnectionLostError(UnavailableError):
    """A connection broke; what was asked over it may still be carried out."""


class ExportError(MzOrchestrationError):
    """Materialize ended the COPY with an error; the attempt's path is burned."""


class TimestampGoneError(ExportError):
    """The logical timestamp cannot be read any more: whoever held it has let go."""

    retryable = True


class DeadlineError(MzOrchestrationError):
    """Something took longer than its deadline and was cancelled."""

    retryable = True


class RunConflictError(MzOrchestrationError):
    """The run key belongs to a different export, or another process is working on it."""


class AlreadyRunningError(RunConflictError):
    """Another run of the same export is in progress."""

    retryable = True


class VerificationError(MzOrchestrationError):
    """What lies in the object store does not agree with what was exported or written down."""


class LoadError(MzOrchestrationError):
    """Snowflake ended a statement of the load with an error; the target is as it was."""


class ReconciliationError(MzOrchestrationError):
    """The counts of two neighbouring steps differ; nothing was published."""


class SyncError(MzOrchestrationError):
    """A run of a Census sync did not complete: it failed, was cancelled or skipped, or nobody knows."""


class RejectedRecordsError(SyncError):
    """A run completed, but more of its records were invalid or rejected than is allowed."""


class SinkError(MzOrchestrationError):
    """A streaming sink is not well, and whoever waits for it wanted to know."""


class CheckError(MzOrchestrationError):
    """An export is whole, but not what a pipeline's checks expect of it; nothing was loaded."""


class UnexpectedError(MzOrchestrationError):
    """A bug of ours, where others go on with their work; its traceback is in the log."""
