"""What Materialize's errors mean, and what to do about each.

Nearly all of its planning and store errors share SQLSTATE XX000, so the text decides. psycopg's own errors quote the
statement, which may hold what no log must see: they are never chained to ours.
"""

from __future__ import annotations

import re

import psycopg

from mz_orchestration.errors import (
    ConfigurationError,
    ConnectionLostError,
    CredentialsError,
    ExportError,
    MzOrchestrationError,
    NotFoundError,
    TimestampGoneError,
    UnavailableError,
)

# Nothing was said at all, or a goodbye: shutting down, starting up, idle for too long in a transaction.
_LOST = frozenset({None, "57P01", "57P02", "57P03", "25P03"})


def not_connected(error: psycopg.OperationalError) -> MzOrchestrationError:
    """The error of a connection that could not be opened."""
    text = _first_line(error)
    if error.sqlstate in ("28P01", "28000", "MZ010") or "authentication failed" in text:
        return CredentialsError(
            f"Materialize refused the sign-in: {text}",
            hint="Check user and password (PGUSER, PGPASSWORD, ~/.pgpass).",
        )
    return UnavailableError(
        f"Materialize cannot be reached: {text}",
        hint="Check host and port (PGHOST, PGPORT) and that the server is up, then try again.",
    )


def refused(error: psycopg.Error) -> MzOrchestrationError:
    """The error of a statement that is answered at once."""
    if error.sqlstate in _LOST:
        return ConnectionLostError(
            f"The connection to Materialize was lost: {_first_line(error)}",
            hint="Run the same command again.",
        )
    text = _server_text(error)
    if error.sqlstate == "57014":
        return _cancelled(text, "statement")
    if error.sqlstate == "42501":
        return CredentialsError(f"Materialize: {text}", hint="Grant what the message names to the role.")
    # Nearly all planning errors share XX000, so the text decides.
    if re.match(r"unknown (catalog item|schema|database|cluster|role)", text):
        return NotFoundError(
            f"Materialize: {text}.",
            hint="Check the spelling and the database and schema you are connected to (PGDATABASE).",
        )
    return ConfigurationError(f"Materialize refuses this: {text}", details={"sqlstate": error.sqlstate})


def ended(error: psycopg.Error, what: str) -> MzOrchestrationError:
    """The error of a COPY or a count, which ``what`` names."""
    if error.sqlstate in _LOST:
        return ConnectionLostError(
            f"The connection was lost during the {what}: {_first_line(error)}",
            hint="The export may still be running; run the same command with the same run key to pick it up.",
        )
    text = _server_text(error)
    details = {"sqlstate": error.sqlstate}
    if error.sqlstate == "57014":
        return _cancelled(text, what)
    if error.sqlstate == "22000" and ("valid timestamp" in text or "not valid for all inputs" in text):
        return TimestampGoneError(
            f"Materialize: {text}",
            hint="The logical timestamp is too old: nobody holds it any more, and history is kept for about a second. "
            "Run the same command again: it reads at a new timestamp.",
            retryable=True,
            details=details,
        )
    if "path is not empty" in text:
        return ExportError(
            f"Materialize: {text}.",
            hint="Run the same command again: every attempt gets a path of its own.",
            retryable=True,
            details=details,
        )
    if error.sqlstate == "42501":
        return CredentialsError(f"Materialize: {text}", hint="Grant what the message names to the role.")
    if "NoSuchBucket" in text:
        return NotFoundError(
            f"Materialize cannot write: {text}", hint="Create the bucket, or correct it.", details=details
        )
    return ExportError(f"Materialize ended the {what}: {text}", details=details)


def _cancelled(text: str, what: str) -> ExportError:
    details = {"sqlstate": "57014"}
    if "statement timeout" in text:
        return ExportError(
            f"The {what} was cancelled by Materialize's statement_timeout.",
            hint="Set it higher for this role; it bounds the planning of a COPY. Then run the same command again.",
            retryable=True,
            details=details,
        )
    # Somebody wanted it stopped: nothing may start it again by itself.
    return ExportError(
        f"The {what} was cancelled from outside.",
        hint="Run the same command again with the same run key to start over; it begins in a fresh path.",
        details=details,
    )


def _server_text(error: psycopg.Error) -> str:
    """What the server said, without the statement: that may hold what a log must not."""
    diag = error.diag
    parts = [diag.message_primary or _first_line(error), diag.message_detail, diag.message_hint]
    return " ".join(part.strip() for part in parts if part)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
