"""What the connector raises, in both its majors, as errors of ours.

Numbers of Snowflake's are looked up in `refusals`. What has none is about the way there: the connector's own numbers
and words are read here, which differ between its majors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mz_orchestration.errors import (
    ConfigurationError,
    CredentialsError,
    DeadlineError,
    Detail,
    MzOrchestrationError,
    UnavailableError,
)
from mz_orchestration.snowflake.refusals import REFUSALS, SESSION_GONE, refused


class Doing(StrEnum):
    """What was asked of the connector."""

    SIGN_IN = "sign in"
    RUN = "run a statement"
    SUBMIT = "submit a statement"
    ASK = "ask for a statement's status"
    FETCH = "fetch a statement's result"


_STATEMENTS = (Doing.RUN, Doing.SUBMIT)


@dataclass(slots=True)
class Place:
    """Where to look for the query id once something has gone wrong."""

    query_id: str | None = None
    cursor: Any = None


# Of the connector itself: 250xxx network, 251xxx settings and sign-in, 252xxx cursors; 290000 and more are HTTP
# statuses, which major 4 adds its base to twice. Below 100 are major 5's kinds of error.
_CONNECTOR = range(250000, 260000)
_HTTP = (range(290000, 291000), range(580000, 581000))
_FORBIDDEN = 540001
_KIND_TIMEOUT, _KINDS = 14, range(1, 100)
_SETTINGS = {3, 7, 8, 251001, 251005, 251006, 251007, 251008, 251017}
_STATUS_IN_TEXT = re.compile(r"(?:error status:|last status) (\d{3})")
_BY_THE_CLIENT = "cancelled by the client due to a timeout"
_UNREACHABLE = (
    "after retries", "timed out", "timeout", "connection refused", "connection reset", "could not connect",
    "failed to connect", "failed to execute request", "invalid snowflake response", "retryable",
)  # fmt: skip
_IDENTITY = ("oauth", "workload", "idp ", "attestation")


@contextmanager
def explained(doing: Doing, query_id: str | None = None) -> Iterator[Place]:
    """Raise what the connector raises inside as an error of ours.

    Args:
        doing: What is asked of it.
        query_id: The statement it is about, where that is known before.
    """
    from snowflake.connector import errors

    place = Place(query_id)
    try:
        yield place
    except errors.Error as error:
        number = error.errno if isinstance(error.errno, int) and error.errno > 0 else 0
        # raw_msg has neither number nor statement; Snowflake breaks its lines.
        text = " ".join(str(getattr(error, "raw_msg", None) or error.msg or error).split())
        details: dict[str, Detail] = {
            "errno": number,
            "sqlstate": error.sqlstate if error.sqlstate not in (None, "n/a") else None,
            "query_id": getattr(error, "sfqid", None) or _query_id(place),
        }
        said = _said(doing, number, text, details, _theirs(number, error))
        # A value of the data that was taken out of the text must not come back as the cause in a traceback.
        raise said from (None if 100000 <= number < 101000 else error)
    except MzOrchestrationError:
        raise
    except Exception as error:
        # Major 4 lets through what its HTTP library raises over an answer that breaks off.
        raise _unreadable(doing, error, {"query_id": _query_id(place)}) from error


def _query_id(place: Place) -> str | None:
    return place.query_id or getattr(place.cursor, "sfqid", None)


def _theirs(number: int, error: Any) -> bool:
    """Whether Snowflake has said it, and not the connector. A statement may fail without a number."""
    if number == 0:
        return bool(getattr(error, "sfqid", None))
    if number in _KINDS:
        # Numbers that Snowflake has, too: what it says of a statement carries the statement's id.
        return bool(getattr(error, "sfqid", None))
    return number not in _CONNECTOR and _status(number, "") is None


def _said(doing: Doing, number: int, text: str, details: dict[str, Detail], theirs: bool) -> MzOrchestrationError:
    if _BY_THE_CLIENT in text:
        return DeadlineError(
            "Snowflake has ended a statement that took longer than it may.",
            hint="Allow more time, or use a larger warehouse.",
            details=details,
        )
    if theirs:
        if number in SESSION_GONE and doing in _STATEMENTS:
            details["outcome"] = "unknown"
        if number in REFUSALS or doing is not Doing.SIGN_IN:
            return refused(number, text, details)
        return _refused_sign_in(text, details)
    if doing is Doing.SIGN_IN:
        return _no_sign_in(number, text, details)
    if doing in _STATEMENTS:
        details["outcome"] = "unknown"
    status = _status(number, text)
    if status is not None:
        details["http_status"] = status
    if number == _KIND_TIMEOUT and doing is Doing.RUN:
        return DeadlineError(
            f"A statement took longer than it may, and Snowflake was asked to end it: {text}",
            hint="Find out whether it has ended, and how, before running it again.",
            details=details,
        )
    return UnavailableError(
        f"Snowflake's answer was lost: {text}" if "outcome" in details else f"Snowflake cannot be reached: {text}",
        hint="Run the same command again: it looks first for what has been done.",
        details=details,
    )


def _no_sign_in(number: int, text: str, details: dict[str, Detail]) -> MzOrchestrationError:
    status, words = _status(number, text), text.lower()
    if number in _SETTINGS:
        return ConfigurationError(f"Snowflake's connector does not take the settings: {text}", details=details)
    if status in (401, 403, 404):
        return ConfigurationError(
            f"No account of Snowflake's answers there (HTTP {status}).",
            hint="Check SNOWFLAKE_ACCOUNT (orgname-accountname, or the locator with its region) and SNOWFLAKE_HOST.",
            details={**details, "http_status": status},
        )
    if "ssl error" in words or "certificate" in words:
        return ConfigurationError(
            f"No trusted connection with Snowflake: {text}",
            hint="Check SNOWFLAKE_HOST, and the certificates of a proxy between.",
            details=details,
        )
    if any(word in words for word in _IDENTITY) and "after retries" not in words:
        return CredentialsError(
            f"The identity provider gave no usable answer: {text}",
            hint="Check the token URL, client id and secret, or the workload's identity.",
            details=details,
        )
    network = number in _CONNECTOR and number < 251000
    if status is not None or network or number == _KIND_TIMEOUT or any(word in words for word in _UNREACHABLE):
        return UnavailableError(
            f"Snowflake cannot be reached: {text}",
            hint="Check the account (or host) and the network, then try again.",
            details=details,
        )
    return _refused_sign_in(text, details)


def _refused_sign_in(text: str, details: dict[str, Detail]) -> CredentialsError:
    return CredentialsError(
        f"Snowflake refused the sign-in: {text}", hint="Check the user and the password, key or token.", details=details
    )


def _status(number: int, text: str) -> int | None:
    if number == _FORBIDDEN:
        return 403
    if any(number in numbers for numbers in _HTTP) and number % 1000:
        return number % 1000
    found = _STATUS_IN_TEXT.search(text)
    return int(found[1]) if found else None


def _unreadable(doing: Doing, error: Exception, details: dict[str, Detail]) -> MzOrchestrationError:
    if doing in _STATEMENTS:
        details["outcome"] = "unknown"
    return UnavailableError(
        f"Snowflake's answer could not be read ({type(error).__name__}).",
        hint="Run the same command again: it looks first for what has been done.",
        details=details,
    )
