"""Error numbers of Snowflake: which error of ours, retryable or not, and nothing of the data in it."""

from __future__ import annotations

import pytest

from mz_orchestration.errors import (
    ConfigurationError,
    CredentialsError,
    DeadlineError,
    Detail,
    LoadError,
    MzOrchestrationError,
    NotFoundError,
    RunConflictError,
    UnavailableError,
)
from mz_orchestration.snowflake.refusals import REFUSALS, masked, refused


@pytest.mark.parametrize(
    ("number", "kind", "retryable"),
    [
        (403, UnavailableError, True),
        (604, LoadError, True),
        (606, ConfigurationError, False),
        (608, UnavailableError, True),
        (625, RunConflictError, True),
        (630, DeadlineError, True),
        (1003, LoadError, False),
        (1757, ConfigurationError, False),
        (2003, NotFoundError, False),
        (3001, CredentialsError, False),
        (90073, LoadError, False),
        (91016, LoadError, False),
        (100090, LoadError, False),
        (390112, UnavailableError, True),
        (390318, CredentialsError, False),
        (391918, CredentialsError, False),
        (999999, LoadError, False),
        (0, LoadError, False),
    ],
)
def test_kinds(number: int, kind: type[MzOrchestrationError], retryable: bool) -> None:
    error = refused(number, "What Snowflake said.", {"errno": number})
    assert (type(error), error.retryable, error.details["errno"]) == (kind, retryable, number)
    assert "What Snowflake said" in error.message


def test_every_known_number_has_a_way_out() -> None:
    assert [number for number, refusal in REFUSALS.items() if not refusal.hint.endswith((".", "?"))] == []


@pytest.mark.parametrize(
    ("text", "kind", "hint"),
    [
        ("Failure using stage area. Cause: [Access Denied (Status Code: 403; Error Code: AccessDenied)]",
         CredentialsError, "integration's role"),
        ("Failure using stage area. Cause: [The specified bucket does not exist (Status Code: 404; Error Code: "
         "NoSuchBucket)]", NotFoundError, "Check the bucket"),
        ("Failure using stage area. Cause: [Please reduce your request rate. (Status Code: 503; Error Code: SlowDown)]",
         UnavailableError, "again"),
        ("Failure using stage area. Cause: [something else]", LoadError, "Check the stage"),
    ],
)  # fmt: skip
def test_the_storage_behind_a_stage(text: str, kind: type[MzOrchestrationError], hint: str) -> None:
    error = refused(91003, text, {})
    assert type(error) is kind
    assert hint in error.hint


PLACE = 'File \'shop/it.csv\', line 3, character 14 Row 2, column "T"["THE A":1]'
ADVICE = "If you would like to continue loading when an error is encountered, use other values such as 'SKIP_FILE'."


@pytest.mark.parametrize(
    ("number", "text", "said"),
    [
        (100038, f"Numeric value 'it's hunter2' is not recognized {PLACE} {ADVICE}",
         "Numeric value '…' is not recognized "
         "(file shop/it.csv, line 3, character 14, row 2, column \"T\"[\"THE A\":1])"),
        (100078, "String 'hunter2' is too long and would be truncated",
         "String '…' is too long and would be truncated"),
        (100069, 'Error parsing JSON: unknown keyword "hunter2", pos 3', "Error parsing JSON:…"),
        (100071, 'Failed to cast variant value "hunter2" to FIXED', "Failed to cast variant value … to FIXED"),
        (100046, "Number out of representable range: type FIXED[SB1](2,0){nullable}, value hunter2",
         "Number out of representable range: type FIXED[SB1](2,0){nullable}, value …"),
        (100090, 'Duplicate row detected during DML action Row Values: [12, "hunter2"]',
         "Duplicate row detected during DML action Row Values: …"),
        (100072, "NULL result in a non-nullable column", "NULL result in a non-nullable column"),
    ],
)  # fmt: skip
def test_values_of_the_data_are_taken_out_and_their_place_is_kept(number: int, text: str, said: str) -> None:
    assert masked(text) == said
    error = refused(number, text, {})
    assert "hunter2" not in str(error.to_dict())


def test_the_place_of_a_bad_value_is_there_for_machines() -> None:
    details: dict[str, Detail] = {"errno": 100038}
    refused(100038, f"Numeric value 'x' is not recognized {PLACE}", details)
    assert details == {
        "errno": 100038,
        "file": "shop/it.csv",
        "line": 3,
        "character": 14,
        "row": 2,
        "column": '"T"["THE A":1]',
    }
