"""What Snowflake's error numbers mean to us: which error of ours, whether trying again can help, what to do next.

No text of a statement and no value of the data ever becomes a part of an error: both end up in logs and run records.
What Snowflake says of a bad value keeps its file, line, row and column, by which the value can be looked up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an error number means.

    Attributes:
        kind: The error of ours.
        hint: What to do next.
        retryable: Whether the same statement may succeed later; None leaves it to the kind.
    """

    kind: type[MzOrchestrationError]
    hint: str
    retryable: bool | None = None


_AGAIN = "Run the same command again."
_NAME = "Check the name and that the role may use it."
_COMPARE = "Compare the target's columns with the export."
_FILE = "Compare the file format with the files: were they written by this export?"
_KEY = "Check that ALTER USER ... SET RSA_PUBLIC_KEY holds this key's public half, and the account's and user's names."
_RESULT_GONE = "Snowflake keeps a result for 24 hours, for the user who ran the statement."

REFUSALS: dict[int, Refusal] = {
    # Names and rights.
    1011: Refusal(ConfigurationError, "A stage's URL begins with s3://, gcs://, azure:// or s3compat://."),
    1757: Refusal(ConfigurationError, "Add the location to the storage integration's STORAGE_ALLOWED_LOCATIONS."),
    1430: Refusal(RunConflictError, f"Somebody else has added it meanwhile. {_AGAIN}", retryable=True),
    2002: Refusal(RunConflictError, f"Somebody else has made it meanwhile. {_AGAIN}", retryable=True),
    2003: Refusal(NotFoundError, _NAME),
    2043: Refusal(NotFoundError, _NAME),
    3001: Refusal(CredentialsError, "Grant the privilege to the role."),
    3167: Refusal(CredentialsError, "Check the trust policy of the integration's role: principal, external id."),
    90105: Refusal(ConfigurationError, "Write database.schema.name, or set SNOWFLAKE_DATABASE and SNOWFLAKE_SCHEMA."),
    90106: Refusal(ConfigurationError, "Write database.schema.name, or set SNOWFLAKE_DATABASE and SNOWFLAKE_SCHEMA."),
    # Warehouses.
    606: Refusal(ConfigurationError, "Set SNOWFLAKE_WAREHOUSE, or give the user a default warehouse."),
    608: Refusal(UnavailableError, "Resume the warehouse, or let it resume itself: AUTO_RESUME = TRUE."),
    90073: Refusal(LoadError, "Its resource monitor is used up: raise the quota, or use another warehouse."),
    # Ended before it was done.
    601: Refusal(LoadError, _AGAIN, retryable=True),
    603: Refusal(LoadError, f"An error inside Snowflake. {_AGAIN} Its support wants the query id.", retryable=True),
    604: Refusal(LoadError, "Somebody or something cancelled it. Try again.", retryable=True),
    625: Refusal(RunConflictError, "Another transaction holds the table. Try again when it has ended.", retryable=True),
    630: Refusal(DeadlineError, "Allow more time, or use a larger warehouse."),
    370001: Refusal(LoadError, f"An error inside Snowflake. {_AGAIN}", retryable=True),
    # Results by query id.
    403: Refusal(UnavailableError, f"The links to a result have expired. {_AGAIN}"),
    612: Refusal(LoadError, _RESULT_GONE),
    709: Refusal(LoadError, _RESULT_GONE),
    # The statement itself.
    904: Refusal(LoadError, f"A column is missing. {_COMPARE}"),
    1003: Refusal(LoadError, "Snowflake does not understand a statement of ours: please report it with the query id."),
    2019: Refusal(LoadError, "Parquet files fill one VARIANT column or are matched by name: choose the layout."),
    # Stages and files.
    91003: Refusal(LoadError, "Check the stage: its URL, its storage integration and what that may read."),
    91016: Refusal(LoadError, "A listed file is gone: export again; check what deletes files in that folder."),
    91093: Refusal(LoadError, "Check the stage: its URL, its storage integration and what that may read."),
    # Values. Numbers of the 1000xx kind carry file, line and column.
    100016: Refusal(LoadError, _FILE),
    100035: Refusal(LoadError, f"A value is no timestamp. {_COMPARE}"),
    100037: Refusal(LoadError, f"A value is no boolean. {_COMPARE}"),
    100038: Refusal(LoadError, f"A value is no number of the target column's type. {_COMPARE}"),
    100039: Refusal(LoadError, f"A number does not fit its column: widen the column. {_COMPARE}"),
    100040: Refusal(LoadError, f"A value is no date. {_COMPARE}"),
    100046: Refusal(LoadError, f"A number does not fit its column: widen the column. {_COMPARE}"),
    100065: Refusal(LoadError, _FILE),
    100066: Refusal(LoadError, _FILE),
    100069: Refusal(LoadError, "A text is no JSON: load the column as text."),
    100071: Refusal(LoadError, f"A value in a VARIANT is not of the column's type. {_COMPARE}"),
    100072: Refusal(LoadError, "The target's column is NOT NULL, and the export holds NULL: change one of them."),
    100078: Refusal(LoadError, "A text does not fit its column: widen the column, or load into a new table."),
    100080: Refusal(LoadError, f"The files have another number of columns than the table. {_COMPARE}"),
    100090: Refusal(LoadError, "The keys are not unique: name keys that tell every row of the export apart."),
    100108: Refusal(LoadError, f"A value is no time. {_COMPARE}"),
    100132: Refusal(LoadError, _FILE),
    100144: Refusal(LoadError, "A text is not UTF-8."),
    # The session. The connector renews it by itself; what comes here could not be renewed.
    390104: Refusal(UnavailableError, _AGAIN),
    390110: Refusal(UnavailableError, _AGAIN),
    390111: Refusal(UnavailableError, _AGAIN),
    390112: Refusal(UnavailableError, _AGAIN),
    390113: Refusal(UnavailableError, _AGAIN),
    390114: Refusal(UnavailableError, _AGAIN),
    390115: Refusal(UnavailableError, _AGAIN),
    # Signing in.
    390100: Refusal(CredentialsError, "Check the user and the password, key or token."),
    390101: Refusal(CredentialsError, "The user is disabled: ALTER USER ... SET DISABLED = FALSE."),
    390102: Refusal(CredentialsError, "Too many sign-ins have failed: wait a quarter of an hour."),
    390139: Refusal(CredentialsError, "The authentication policy does not allow this way to sign in."),
    390144: Refusal(CredentialsError, f"{_KEY} Check this machine's clock too."),
    390186: Refusal(CredentialsError, "Grant the role to the user, or set SNOWFLAKE_ROLE to one that the user has."),
    390189: Refusal(CredentialsError, "Grant the role to the user, or set SNOWFLAKE_ROLE to one that the user has."),
    390195: Refusal(CredentialsError, "Sign in anew."),
    390201: Refusal(CredentialsError, "Check warehouse, database and schema, and the role's rights on them."),
    390303: Refusal(CredentialsError, "Check the security integration: issuer, audience, the claim for the user."),
    390318: Refusal(CredentialsError, "Get a new access token, or use OAuth client credentials, which get their own."),
    390422: Refusal(CredentialsError, "Add this machine's address to the network policy of the account or user."),
    390432: Refusal(CredentialsError, "An access token needs a network policy: set one for the user."),
    394300: Refusal(CredentialsError, _KEY),
    394301: Refusal(CredentialsError, "Check this machine's clock."),
    394302: Refusal(CredentialsError, "Check this machine's clock."),
    394303: Refusal(CredentialsError, "Check this machine's clock."),
    394304: Refusal(CredentialsError, _KEY),
    394305: Refusal(CredentialsError, "Snowflake takes RSA keys from 2048 bits, and EC keys on P-256 to P-521."),
    394306: Refusal(CredentialsError, _KEY),
}  # fmt: skip

SESSION_GONE = {390104, 390110, 390111, 390112, 390113, 390114, 390115}
_STORAGE = {91003, 91016, 91093}
_STATUS = re.compile(r"Status Code:? (\d{3})", re.IGNORECASE)
_NO_SUCH_BUCKET = re.compile(r"NoSuchBucket|bucket does not exist", re.IGNORECASE)


def refused(number: int, text: str, details: dict[str, Detail]) -> MzOrchestrationError:
    """The error of ours for a statement that Snowflake has refused or ended.

    Args:
        number: Snowflake's number; 0 where it gave none.
        text: What it said, on one line.
        details: Facts to add; what is found out about the place is put there too.
    """
    if number in _STORAGE and (storage := _storage(text, details)):
        return storage
    if 100000 <= number < 101000:
        details.update(_place(text))
        text = masked(text)
    known = REFUSALS.get(number)
    if known is None:
        # 390xxx, 391xxx and 394xxx are all about who asks and from where.
        kind = CredentialsError if 390000 <= number < 395000 else LoadError
        return kind(f"Snowflake: {text}", details=details)
    if number in SESSION_GONE:
        text = f"the session has ended. {text}"
    return known.kind(f"Snowflake: {text}", hint=known.hint, retryable=known.retryable, details=details)


def _storage(text: str, details: dict[str, Detail]) -> MzOrchestrationError | None:
    found = _STATUS.search(text)
    status = int(found[1]) if found else 0
    said = f"Snowflake cannot read the stage's storage: {text}"
    if _NO_SUCH_BUCKET.search(text):
        return NotFoundError(said, hint="Check the bucket in the stage's URL, and its region.", details=details)
    if status in (401, 403):
        return CredentialsError(
            said,
            hint="Allow the storage integration's role to get objects and list the bucket under the stage's URL.",
            details=details,
        )
    if status == 429 or status >= 500:
        return UnavailableError(said, hint=_AGAIN, details=details)
    return None


_QUOTED = re.compile(r"'.*'")
_SAID_OF_A_VALUE = [
    re.compile(r"(Error parsing JSON:).*"),
    re.compile(r"(Failed to cast variant value ).*(?= to [A-Z]+)"),
    re.compile(r"(, value ).*"),
    re.compile(r"(Row Values: ).*"),
    re.compile(r"(Found character ).*(?= instead of )"),
]
# " File 'a/b.parquet', line 3, character 1 Row 2, column "T"["A":1] If you would like ...": the advice at the end is
# to go on past errors, which a load never does.
_FROM_PLACE = re.compile(
    r"\s*File '(?P<file>[^']*)'"
    r"(?:, line (?P<line>\d+), character (?P<character>\d+))?"
    r"(?:\s*Row (?P<row>\d+),?\s*(?:starts at line \d+,\s*)?)?"
    r"""(?:column (?P<column>(?:"(?:[^"]|"")*"\[)?"(?:[^"]|"")*"(?::\d+\])?|\S+))?"""
    r".*"
)


def masked(text: str) -> str:
    """What Snowflake says of a value, without the value; the place it was found at stays."""
    place = _FROM_PLACE.search(text)
    said = _QUOTED.sub("'…'", text[: place.start()] if place else text)
    for pattern in _SAID_OF_A_VALUE:
        said = pattern.sub(r"\1…", said)
    where = ", ".join(f"{name} {value}" for name, value in _place(text).items())
    return f"{said.rstrip(' .')}{f' ({where})' if where else ''}"


def _place(text: str) -> dict[str, Detail]:
    found = _FROM_PLACE.search(text)
    facts = found.groupdict() if found else {}
    return {name: int(value) if value.isdigit() else value for name, value in facts.items() if value}
