from __future__ import annotations

import pytest

from mz_orchestration import errors
from mz_orchestration.cli.output import exit_code, worst_exit_code

DISAGREE = errors.VerificationError("x")
REFUSED = errors.LoadError("x")
WRONG = errors.NotFoundError("x")
LATER = errors.UnavailableError("x")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.CheckError("x"), 4),
        (errors.CheckError("x", retryable=True), 5),
        (errors.SyncError("x"), 3),
        (errors.SyncError("x", retryable=True), 5),
        (errors.RejectedRecordsError("x"), 4),
        (errors.UnexpectedError("x"), 1),
    ],
)
def test_checks_and_syncs(error: errors.MzOrchestrationError, code: int) -> None:
    assert exit_code(error) == code == worst_exit_code([error.to_dict()])


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([LATER, WRONG, REFUSED, DISAGREE], 4),
        ([LATER, WRONG, REFUSED], 3),
        ([LATER, WRONG], 2),
        ([LATER, LATER], 5),
        ([], 5),
    ],
)
def test_of_several_failures_the_one_that_repeating_helps_least_counts(
    found: list[errors.MzOrchestrationError], code: int
) -> None:
    assert worst_exit_code([error.to_dict() for error in found]) == code


def test_an_error_of_a_later_version_is_not_taken_for_success() -> None:
    assert worst_exit_code([{"type": "FutureError", "retryable": False}]) == 3
