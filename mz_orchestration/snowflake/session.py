"""One session with Snowflake through its connector, majors 4 and 5 alike.

Long statements are submitted without waiting and asked for by query id, so that an answer lost on the way is
fetched and never caused again, and so that an interrupt can abort exactly what was started.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from mz_orchestration import __version__
from mz_orchestration.errors import (
    ConfigurationError,
    CredentialsError,
    Detail,
    LoadError,
    MzOrchestrationError,
    NotFoundError,
    UnavailableError,
)
from mz_orchestration.snowflake.quoting import Sql
from mz_orchestration.validation import describe_validation

_SIGN_IN = {390100, 390101, 390102, 390144, 390186, 390195, 390201, 394304, 251005, 251006}
_SESSION_GONE = {390111, 390112, 390114}
_UNREACHABLE = ("failed to connect", "connection refused", "timed out", "could not connect")
_NETWORK = {250002, 250003, 250006, 250007, 251001, 290500, 290503, 290504}


class SnowflakeConfig(BaseModel):
    """How to sign in; names as in the connector. ``from_environment`` reads ``SNOWFLAKE_ACCOUNT`` and so on.

    Attributes:
        account: Account identifier.
        private_key_file: Path of a PKCS#8 key for key-pair sign-in.
        login_timeout: Seconds until a sign-in is given up.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    account: str
    user: str | None = None
    password: SecretStr | None = None
    authenticator: str | None = None
    token: SecretStr | None = None
    private_key_file: str | None = None
    private_key_file_pwd: SecretStr | None = None
    role: str | None = None
    warehouse: str | None = None
    database: str | None = None
    # pydantic models have a method called schema
    schema_name: str | None = Field(default=None, alias="schema")
    host: str | None = None
    port: int | None = None
    protocol: str | None = None
    login_timeout: int = 30

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> SnowflakeConfig:
        """The settings in ``SNOWFLAKE_*`` variables.

        Raises:
            ConfigurationError: The account is missing, or a value cannot be used.
        """
        environment = os.environ if environment is None else environment
        names = {field.alias or name for name, field in cls.model_fields.items()}
        found = {name: environment.get(f"SNOWFLAKE_{name.upper()}") for name in names}
        if not found["account"]:
            raise ConfigurationError(
                "SNOWFLAKE_ACCOUNT is not set, so there is no Snowflake to load into.",
                hint="Set SNOWFLAKE_ACCOUNT, SNOWFLAKE_USER and a way to sign in (SNOWFLAKE_PRIVATE_KEY_FILE ...).",
            )
        try:
            return cls.model_validate({name: value for name, value in found.items() if value})
        except ValidationError as error:
            raise ConfigurationError(f"SNOWFLAKE_* settings: {describe_validation(error)}") from None

    def _connect_arguments(self) -> dict[str, Any]:
        plain = self.model_dump(exclude_none=True, by_alias=True)
        return {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in plain.items()
        }


def require_connector() -> None:
    """Make sure that Snowflake's connector is installed.

    Raises:
        ConfigurationError: It is not.
    """
    try:
        found = find_spec("snowflake.connector")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise ConfigurationError(
            "Loading into Snowflake needs its connector, which is not installed.",
            hint="pip install 'mz-orchestration[snowflake]'",
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A statement's result: rows as dictionaries by lower-case column name."""

    query_id: str
    rows: list[dict[str, Any]]


class SnowflakeSession:
    """An open session, in UTC and tagged; close it or use it as a context manager.

    Args:
        config: How to sign in.
        query_tag: JSON-ready facts that end up in ``QUERY_HISTORY``.
        statement_timeout: Seconds after which Snowflake itself ends a statement, even if we are gone.

    Raises:
        CredentialsError: The sign-in was refused.
        UnavailableError: Snowflake could not be reached.
    """

    def __init__(
        self, config: SnowflakeConfig, *, query_tag: Mapping[str, str] | None = None, statement_timeout: float = 3600
    ) -> None:
        require_connector()
        import snowflake.connector

        parameters: dict[str, Any] = {
            # A timestamp with zone takes the session's zone on its way in.
            "TIMEZONE": "UTC",
            "QUERY_TAG": json.dumps(dict(query_tag or {}), separators=(",", ":")),
            "STATEMENT_TIMEOUT_IN_SECONDS": max(1, int(statement_timeout)),
            "CLIENT_TELEMETRY_ENABLED": False,
        }
        with _explained("sign in"):
            self._connection: Any = snowflake.connector.connect(
                **config._connect_arguments(),
                application="mz_orchestration",
                session_parameters=parameters,
                # No probes of cloud-metadata addresses: they hang where there are none.
                platform_detection_timeout_seconds=0,
                **_network_deadline(snowflake.connector.__version__),
                # Log out on close: whatever was submitted has ended or has been aborted by then.
                server_session_keep_alive=False,
                enable_server_session_keep_alive_auto_detection=False,
                internal_application_name="mz_orchestration",
                internal_application_version=__version__,
            )

    def __enter__(self) -> SnowflakeSession:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session; never raises."""
        with suppress(Exception):
            self._connection.close()

    def query(self, statement: Sql) -> Answer:
        """Run a statement and wait for its answer.

        Raises:
            MzOrchestrationError: By Snowflake's error number.
        """
        with _explained("run a statement"), self._connection.cursor() as cursor:
            cursor.execute(statement)
            return _answer(cursor)

    def submit(self, statement: Sql) -> str:
        """Start a statement and return its query id without waiting."""
        with _explained("submit a statement"), self._connection.cursor() as cursor:
            cursor.execute_async(statement)
            return str(cursor.sfqid)

    def is_running(self, query_id: str) -> bool:
        """Whether a submitted statement has not ended yet."""
        with _explained("ask for a statement's status"):
            return bool(self._connection.is_still_running(self._connection.get_query_status(query_id)))

    def result(self, query_id: str) -> Answer:
        """The answer of a submitted statement that has ended; its error is raised.

        Raises:
            MzOrchestrationError: By Snowflake's error number.
        """
        with _explained("fetch a statement's result"), self._connection.cursor() as cursor:
            self._connection.get_query_status_throw_if_error(query_id)
            cursor.get_results_from_sfqid(query_id)
            return _answer(cursor)

    def abort(self, query_id: str) -> None:
        """Ask Snowflake to end a submitted statement; never raises."""
        with suppress(Exception), self._connection.cursor() as cursor:
            cursor.abort_query(query_id)


def _network_deadline(version: str) -> dict[str, int]:
    """Seconds one request may take with its retries; major 5 renamed the setting, 4 waits for ever without it."""
    return {"network_timeout" if int(version.partition(".")[0]) < 5 else "request_timeout": 60}


def _answer(cursor: Any) -> Answer:
    rows = cursor.fetchall()
    names = [item[0].lower() for item in cursor.description or []]
    return Answer(str(cursor.sfqid), [dict(zip(names, row, strict=True)) for row in rows])


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    from snowflake.connector import errors

    try:
        yield
    except errors.Error as error:
        raise _from_connector(error, doing) from error
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"The Snowflake connector cannot {doing}: {error}.") from error


def _from_connector(error: Any, doing: str) -> MzOrchestrationError:
    number = int(error.errno) if isinstance(error.errno, int) and error.errno > 0 else 0
    text = " ".join(str(error.raw_msg if getattr(error, "raw_msg", None) else error.msg or error).split())
    details = {"errno": number, "sqlstate": error.sqlstate, "query_id": getattr(error, "sfqid", None)}
    # Major 4 says "Failed to connect" of refused passwords too, so the number is asked first.
    if number in _SIGN_IN:
        return _refused_sign_in(text, details)
    if number in _NETWORK or any(words in text.lower() for words in _UNREACHABLE):
        return UnavailableError(
            f"Snowflake cannot be reached: {text}",
            hint="Check the account (or host) and the network, then try again.",
            details=details,
        )
    if doing == "sign in":
        return _refused_sign_in(text, details)
    if number in _SESSION_GONE:
        return UnavailableError(
            f"The Snowflake session has ended: {text}", hint="Run the same command again.", details=details
        )
    if number == 2003:
        return NotFoundError(f"Snowflake: {text}", hint="Check the name and that the role may use it.", details=details)
    if number == 3001:
        return CredentialsError(f"Snowflake: {text}", hint="Grant the privilege to the role.", details=details)
    if number in (604, 630):
        return LoadError(
            f"Snowflake ended a statement before it was done: {text}",
            hint="Try again, with a longer timeout if it was too slow.",
            retryable=True,
            details=details,
        )
    hints = {
        91016: "A listed file is gone: export again; check what deletes files under the export's folder.",
        1757: "The stage's storage integration does not allow this location.",
        100078: "A text does not fit its column in the target: widen the column, or load into a new table.",
        100038: "A value is no number of the target column's type: compare the target's columns with the export.",
    }
    return LoadError(f"Snowflake: {text}", hint=hints.get(number, ""), details=details)


def _refused_sign_in(text: str, details: Mapping[str, Detail]) -> CredentialsError:
    return CredentialsError(
        f"Snowflake refused the sign-in: {text}",
        hint="Check the user and the password, key or token.",
        details=details,
    )
