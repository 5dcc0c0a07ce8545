from __future__ import annotations

import pytest

from mz_orchestration import errors
from mz_orchestration.cli.output import exit_code, size_text


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError("x"), 2),
        (errors.NotFoundError("x"), 2),
        (errors.ExportError("x"), 3),
        (errors.CredentialsError("x"), 3),
        (errors.LoadError("x"), 3),
        (errors.RunConflictError("x"), 2),
        (errors.RunConflictError("x", retryable=True), 5),
        (errors.VerificationError("x"), 4),
        (errors.ReconciliationError("x"), 4),
        (errors.UnavailableError("x"), 5),
        (errors.DeadlineError("x"), 5),
        (errors.ExportError("x", retryable=True), 5),
    ],
)
def test_exit_codes(error: errors.MzOrchestrationError, code: int) -> None:
    assert exit_code(error) == code


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB")])
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text
