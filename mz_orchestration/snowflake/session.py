"""One session with Snowflake through its connector, majors 4 and 5 alike.

Long statements are submitted without waiting and asked for by query id, so that an answer lost on the way is
fetched and never caused again, and so that any session can wait for, fetch or abort what another has started.

Both majors send a request again whose answer they did not get, under the same request id, and Snowflake runs a request
id once. Nothing here sends a statement a second time: when the connector gives up, whether the statement ran is
unknown, and the error says so (``details["outcome"]``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from typing import Any

from mz_orchestration import __version__
from mz_orchestration.errors import ConfigurationError, MzOrchestrationError, UnavailableError
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.connector_errors import Doing, explained
from mz_orchestration.snowflake.interrupts import interruptible
from mz_orchestration.snowflake.quoting import Sql

STATEMENT_SECONDS = 300.0
"""How long a statement that is waited for may take."""

LOCK_SECONDS = 120
"""How long a statement waits for a lock: less than it may take, so that Snowflake's own words arrive."""

_REQUEST_SECONDS = 60
_QUERY_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class QueryStatus(StrEnum):
    """What has become of a submitted statement."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"
    """Snowflake says nothing of it: it is not visible yet, or not any more, or its session was lost."""


_STATUS = {
    "RUNNING": QueryStatus.RUNNING,
    "QUEUED": QueryStatus.RUNNING,
    "RESUMING_WAREHOUSE": QueryStatus.RUNNING,
    # Spelled so by Snowflake.
    "QUEUED_REPARING_WAREHOUSE": QueryStatus.RUNNING,
    "BLOCKED": QueryStatus.RUNNING,
    "RESTARTED": QueryStatus.RUNNING,
    # It is being rolled back.
    "ABORTING": QueryStatus.RUNNING,
    "ABORTED": QueryStatus.ABORTED,
    "SUCCESS": QueryStatus.SUCCEEDED,
    "FAILED_WITH_INCIDENT": QueryStatus.FAILED,
}
_FAILED = "FAILED_WITH_ERROR"
_NOT_ENDED = (QueryStatus.RUNNING, QueryStatus.UNKNOWN)
_CANCELLED = 604


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
        query_timeout: Seconds that ``query`` waits for an answer.
        lock_timeout: Seconds that a statement waits for a lock.
        keep_running: Whether submitted statements outlive the session: closing it logs out only when none is running.
            Otherwise it always logs out, and Snowflake ends what the session still runs.

    Raises:
        ConfigurationError: The settings cannot be used.
        CredentialsError: The sign-in was refused.
        UnavailableError: Snowflake could not be reached.
    """

    @interruptible
    def __init__(
        self,
        config: SnowflakeConfig,
        *,
        query_tag: Mapping[str, str] | None = None,
        statement_timeout: float = 3600,
        query_timeout: float = STATEMENT_SECONDS,
        lock_timeout: float = LOCK_SECONDS,
        keep_running: bool = False,
    ) -> None:
        require_connector()
        arguments = config.connect_arguments()
        import snowflake.connector

        self._major = int(snowflake.connector.__version__.partition(".")[0])
        self._query_timeout = max(1, int(query_timeout))
        self._keep_running = keep_running
        self._submitted: list[str] = []
        self._unsure = False
        parameters: dict[str, Any] = {
            # A timestamp with zone takes the session's zone on its way in.
            "TIMEZONE": "UTC",
            "QUERY_TAG": json.dumps(dict(query_tag or {}), separators=(",", ":"), ensure_ascii=False),
            "STATEMENT_TIMEOUT_IN_SECONDS": max(1, int(statement_timeout)),
            "LOCK_TIMEOUT": max(1, int(lock_timeout)),
            # Accounts and users may have other defaults than Snowflake.
            "AUTOCOMMIT": True,
            "ABORT_DETACHED_QUERY": False,
            "ERROR_ON_NONDETERMINISTIC_MERGE": True,
            "CLIENT_TELEMETRY_ENABLED": False,
        }
        with explained(Doing.SIGN_IN):
            self._connection: Any = snowflake.connector.connect(
                **arguments,
                application="mz_orchestration",
                session_parameters=parameters,
                # No probes of cloud-metadata addresses: they hang where there are none.
                platform_detection_timeout_seconds=0,
                **self._deadlines(),
                **self._logging_out(),
                internal_application_name="mz_orchestration",
                internal_application_version=__version__,
            )

    def _deadlines(self) -> dict[str, int]:
        """Bounds of requests with their retries; without them major 4 waits for ever and major 5 for half an hour."""
        if self._major < 5:
            return {"network_timeout": _REQUEST_SECONDS}
        return {
            "request_timeout": _REQUEST_SECONDS,
            # Of one try: an answer that takes longer than 45 seconds comes in parts.
            "retry_timeout": _REQUEST_SECONDS,
            "query_timeout": self._query_timeout,
        }

    def _logging_out(self) -> dict[str, bool]:
        """What closing does: it logs out, and nothing but ``close`` closes a session that keeps running.

        Major 4 asks first whether something submitted is running, and then stays logged in. Major 5 has a setting for
        that which asks nothing (5.2.0) and logs out.
        """
        logout = {"server_session_keep_alive": False, "enable_server_session_keep_alive_auto_detection": False}
        return {**logout, "auto_cleanup": False} if self._keep_running and self._major >= 5 else logout

    @property
    def session_id(self) -> int:
        """Snowflake's id of this session, as ``QUERY_HISTORY`` and ``SHOW TRANSACTIONS`` have it."""
        return int(self._connection.session_id)

    def __enter__(self) -> SnowflakeSession:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @interruptible
    def close(self) -> None:
        """End the session; an open transaction is rolled back with it. Never raises."""
        if self._keep_running and self._major >= 5 and self._may_run():
            return
        with suppress(Exception):
            self._connection.close()

    def _may_run(self) -> bool:
        """Whether something submitted here may be running, and would be ended by logging out."""
        if self._unsure:
            return True
        try:
            return any(self.status(query_id) in _NOT_ENDED for query_id in self._submitted)
        except MzOrchestrationError:
            return True

    @interruptible
    def query(self, statement: Sql) -> Answer:
        """Run a statement and wait for its answer, at most ``query_timeout`` seconds.

        Raises:
            MzOrchestrationError: By Snowflake's error number; ``details["outcome"]`` is ``unknown`` where the
                statement may have been carried out all the same.
        """
        with explained(Doing.RUN) as place, self._connection.cursor() as cursor:
            place.cursor = cursor
            # Major 5 has its bound from the connection and ignores this one.
            cursor.execute(statement, timeout=self._query_timeout)
            return _answer(cursor)

    @interruptible
    def submit(self, statement: Sql) -> str:
        """Start a statement and return its query id without waiting.

        Raises:
            MzOrchestrationError: As ``query``.
        """
        try:
            with explained(Doing.SUBMIT) as place, self._connection.cursor() as cursor:
                place.cursor = cursor
                cursor.execute_async(statement)
                query_id = str(cursor.sfqid)
        except UnavailableError:
            self._unsure = True
            raise
        self._submitted.append(query_id)
        return query_id

    @interruptible
    def status(self, query_id: str) -> QueryStatus:
        """What has become of a statement that this or any other session of the user has submitted.

        Raises:
            ConfigurationError: This is no query id.
            UnavailableError: Snowflake could not be asked.
        """
        from snowflake.connector import errors

        _check_query_id(query_id)
        with explained(Doing.ASK):
            try:
                name = self._connection.get_query_status(query_id).name
                if name == _FAILED:
                    # By cancelling it, too: only the number tells.
                    self._connection.get_query_status_throw_if_error(query_id)
            except errors.Error as error:
                # Errors about the statement carry its id; those of the question do not.
                if error.sfqid != query_id:
                    raise
                if error.errno == _CANCELLED:
                    return QueryStatus.ABORTED
                # Major 4 takes an answer without a status for a failure.
                return QueryStatus.FAILED if isinstance(error.errno, int) and error.errno > 0 else QueryStatus.UNKNOWN
            except (KeyError, TypeError, ValueError):
                # Major 4: a status it does not know, an answer without data, a failure without a number.
                return QueryStatus.UNKNOWN
            return _STATUS.get(name, QueryStatus.UNKNOWN)

    @interruptible
    def result(self, query_id: str) -> Answer:
        """The answer of a statement that has ended, by its id: no statement is run for it. Its error is raised.

        Raises:
            MzOrchestrationError: By Snowflake's error number.
        """
        _check_query_id(query_id)
        with explained(Doing.FETCH, query_id) as place, self._connection.cursor() as cursor:
            place.cursor = cursor
            # A failure that has no number raises nothing usable in major 4; the result's own answer then says it.
            with suppress(KeyError, TypeError, ValueError):
                found = self._connection.get_query_status_throw_if_error(query_id)
                if _STATUS.get(found.name) is QueryStatus.RUNNING:
                    # Major 4 takes the answer "in progress" for a result.
                    raise UnavailableError(
                        f"The statement {query_id} has not ended yet.",
                        hint="Ask for its status until it has.",
                        details={"query_id": query_id},
                    )
            cursor.query_result(query_id)
            return _answer(cursor)

    def abort_submitted(self) -> None:
        """Ask Snowflake to end whatever this session has submitted; of one that was interrupted nobody has the id."""
        for query_id in self._submitted[-1:]:
            self.abort(query_id)

    @interruptible
    def abort(self, query_id: str) -> bool:
        """Ask Snowflake to end a statement of any session of the user; never raises.

        Returns:
            Whether Snowflake has taken note; what has ended already, it has not.
        """
        with suppress(Exception), self._connection.cursor() as cursor:
            # It becomes a part of an address.
            _check_query_id(query_id)
            return bool(cursor.abort_query(query_id))
        return False


def _check_query_id(query_id: str) -> None:
    if not _QUERY_ID.fullmatch(query_id):
        raise ConfigurationError(f"{query_id[:80]!r} is no query id of Snowflake's.")


def _answer(cursor: Any) -> Answer:
    rows = cursor.fetchall()
    names = [item[0].lower() for item in cursor.description or []]
    return Answer(str(cursor.sfqid), [dict(zip(names, row, strict=True)) for row in rows])
