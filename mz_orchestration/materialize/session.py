"""One session with Materialize: describe, COPY TO with a deadline and a cancel that is certain, activity look-ups.

COPY TO S3 answers with the tag ``COPY n`` only, sends nothing while it runs, is not bounded by
``statement_timeout`` and goes on when the client disappears. So the statement runs in a thread of its own while the
caller waits in short steps: any interrupt of the caller, also those of orchestrators that psycopg does not know,
leads to a cancel that is repeated until the statement has returned.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from mz_orchestration.errors import (
    ConfigurationError,
    ConnectionLostError,
    DeadlineError,
    ExportError,
    MzOrchestrationError,
    NotFoundError,
    UnavailableError,
    WrongEnvironmentError,
)
from mz_orchestration.materialize import look_ups
from mz_orchestration.materialize.connection import MaterializeConfig, connect
from mz_orchestration.materialize.refusals import ended, refused
from mz_orchestration.materialize.types import Column, type_name

T = TypeVar("T")

_CANCEL_EVERY = 1.0
_CANCELS = 60
_CLOSE_CANCELS = 5
# For statements that are answered at once; COPY and counts have deadlines of their own.
_STATEMENT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class SessionIdentity:
    """A session's id, which unlike its backend's never comes round again, and the id of its Materialize."""

    session: str
    environment: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What an open read transaction reads: logical timestamp in milliseconds since 1970, and the server's version."""

    timestamp: int
    version: str


class Session:
    """An open session; close it or use it as a context manager.

    Raises:
        UnavailableError: The server cannot be reached.
        CredentialsError: It refused the user or password.
    """

    def __init__(self, config: MaterializeConfig | None = None, *, application_name: str = "") -> None:
        config = config or MaterializeConfig()
        self._done = threading.Event()
        self._done.set()
        self._one_at_a_time = threading.Lock()
        self._turn = threading.Lock()
        self._busy = threading.Lock()
        self._cancelled = self._left = False
        self._identity: SessionIdentity | None = None
        self._environment: str | None = None
        self._connection = connect(config, application_name=application_name)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session; never raises.

        A statement that another thread is still waiting for is cancelled first: freeing the connection under it would
        end the process. If it does not react, its thread closes the session when it can.
        """
        if not self._busy.acquire(blocking=False):
            self._left = True
            self._stop(_CLOSE_CANCELS)
            if not self._busy.acquire(timeout=_CANCEL_EVERY):
                return
        self._disconnect()
        self._busy.release()

    def _disconnect(self) -> None:
        with suppress(psycopg.Error, OSError):
            self._connection.close()

    @property
    def backend_pid(self) -> int:
        """The id by which another session can cancel this one's statement."""
        return self._connection.info.backend_pid

    def describe(self, statement: sql.Composed) -> list[Column]:
        """The columns of a query's result; no row is read.

        Raises:
            NotFoundError: Something it names does not exist.
            ConfigurationError: Materialize refuses it for another reason.
        """
        description = self._briefly(lambda: self._connection.execute(statement).description or [])
        columns = []
        for item in description:
            name, array = type_name(item.type_code)
            columns.append(
                Column(
                    name=item.name,
                    type=name,
                    array=array,
                    scale=item.scale if name == "numeric" else None,
                    length=item.display_size if name in ("varchar", "char") else None,
                )
            )
        return columns

    def cluster(self) -> str:
        """The cluster that statements of this session run on."""
        return str(self._one(look_ups.SHOW_CLUSTER))

    def begin_read(self, statement: sql.Composed) -> Reading:
        """Open a read transaction; everything in it reads at one logical timestamp, held back from compaction.

        Args:
            statement: Its first statement, which names all that it will read; one row of ``mz_now()`` and
                ``mz_version()``.
        """

        def read() -> list[tuple[Any, ...]]:
            self._connection.execute(look_ups.BEGIN)
            return self._connection.execute(statement).fetchall()

        [row] = self._briefly(read)
        return Reading(int(row[0]), str(row[1]))

    def end_read(self) -> None:
        """End the read transaction, if one is open; never raises, since nothing depends on it."""
        if not self._busy.locked():
            with suppress(MzOrchestrationError):
                self._briefly(self._connection.rollback)

    def count(self, statement: sql.Composed, *, timeout: float) -> int:
        """The answer of a ``SELECT count(*)``, with the deadline and the errors of `copy_to`."""
        return int(self.aggregate(statement, timeout=timeout)[0])

    def aggregate(self, statement: sql.Composed, *, timeout: float) -> tuple[Any, ...]:
        """The one row of a SELECT of aggregates, with the deadline and the errors of `copy_to`."""
        rows: list[tuple[Any, ...]] = self._within(
            timeout, lambda: self._connection.execute(statement).fetchall(), "count", ended
        )
        return rows[0]

    def keep_alive(self) -> None:
        """Show an open transaction to be in use; the server ends one that is idle for two minutes."""
        if not self._busy.locked():
            self._all(look_ups.SHOW_CLUSTER)

    def copy_to(self, statement: sql.Composed, *, timeout: float) -> int:
        """Run ``COPY ... TO`` and return the number of rows it wrote.

        Whatever makes the caller leave before the answer (deadline, interrupt, an orchestrator's signal) cancels the
        statement first.

        Args:
            statement: The COPY.
            timeout: Seconds until it is cancelled.

        Raises:
            ExportError: Materialize ended it with an error.
            DeadlineError: ``timeout`` passed; the statement was cancelled.
            ConnectionLostError: The connection was lost; the export may still be running.
        """
        answer = self._within(timeout, lambda: self._connection.execute(statement).statusmessage, "COPY", ended)
        match = re.fullmatch(r"COPY (\d+)", answer or "")
        if match is None:
            raise ExportError(f"Materialize answered the COPY with {answer!r} where 'COPY <rows>' was expected.")
        return int(match[1])

    def _briefly(self, execute: Callable[[], T]) -> T:
        """Run statements that are answered at once, or not at all: keepalives notice a dead network, not a dead peer.

        Raises:
            ConnectionLostError: There was no answer.
        """
        return self._within(_STATEMENT_SECONDS, execute, "statement", lambda error, what: refused(error))

    def _within(
        self,
        timeout: float,
        execute: Callable[[], T],
        what: str,
        failed: Callable[[psycopg.Error, str], MzOrchestrationError],
    ) -> T:
        """Run a statement in a thread of its own, and cancel it whatever makes the caller leave.

        One at a time: a cancel is meant for the statement of whoever sends it.
        """
        with self._one_at_a_time:
            return self._run(timeout, execute, what, failed)

    def _run(
        self,
        timeout: float,
        execute: Callable[[], T],
        what: str,
        failed: Callable[[psycopg.Error, str], MzOrchestrationError],
    ) -> T:
        outcome: list[T | psycopg.Error] = []
        done = threading.Event()
        long = what != "statement"

        def work() -> None:
            with self._busy:
                try:
                    outcome.append(execute())
                except psycopg.Error as error:
                    outcome.append(error)
                finally:
                    done.set()
                    if self._left:
                        self._disconnect()

        thread = threading.Thread(target=work, name=f"materialize-{what}", daemon=True)
        try:
            with self._turn:
                if self._cancelled and long:
                    # Whoever wanted it has left between asking for it and this line, which is another thread's.
                    raise ExportError(f"The {what} was cancelled before it began.", retryable=True)
                self._done = done
                thread.start()
            expired = not done.wait(min(max(timeout, 0.0), threading.TIMEOUT_MAX))
        finally:
            if thread.ident is None:
                done.set()  # it never began, so there is nothing to cancel
            self._stop(_CANCELS if long else _CLOSE_CANCELS)
        if not outcome:
            raise (UnavailableError if long else ConnectionLostError)(
                f"The {what} neither finished within {timeout:g} seconds nor reacted to cancelling.",
                hint="It may still be running in Materialize; run the same command again with the same run key.",
            )
        answer = outcome[0]
        if not isinstance(answer, psycopg.Error):
            return answer
        if expired and answer.sqlstate == "57014":
            raise DeadlineError(
                f"The {what} was cancelled because it took longer than {timeout:g} seconds.",
                hint="Allow more time, or give the cluster more resources.",
                details={"timeout_seconds": timeout},
            ) from None
        raise failed(answer, what) from None

    def cancel(self) -> bool:
        """Cancel the COPY or count this session is running, and any later one; safe to call from another thread.

        A cancel that arrives while the statement is planned or in preflight is lost, so it is repeated until the
        statement has returned.

        Returns:
            Whether nothing is running any more.
        """
        with self._turn:
            self._cancelled = True
        return self._stop(_CANCELS)

    def _stop(self, cancels: int) -> bool:
        for _ in range(cancels):
            if self._done.is_set():
                return True
            with suppress(psycopg.Error, OSError):
                self._connection.cancel_safe(timeout=_CANCEL_EVERY)
            self._done.wait(_CANCEL_EVERY)
        return self._done.is_set()

    def check_aws_connection(self, name: str) -> None:
        """Make sure that an AWS connection exists before anything is written on the way to using it.

        Raises:
            NotFoundError: There is no connection of that name.
            ConfigurationError: It is a connection to something else.
        """
        types = {row[0] for row in self._all(look_ups.connection_types(name))}
        if not types:
            raise NotFoundError(
                f"Materialize has no connection {name!r}.",
                hint="Create it with CREATE CONNECTION ... TO AWS (...), or correct the name.",
            )
        if "aws" not in types:
            raise ConfigurationError(
                f"The connection {name!r} is of type {', '.join(sorted(types))}, not aws.",
                hint="Name an AWS connection; S3-compatible stores are AWS connections with an ENDPOINT.",
            )

    def identity(self) -> SessionIdentity:
        """By what others can find this session and see whether it is still there; asked for once."""
        if self._identity is None:
            [row] = self._all(look_ups.session_of(self.backend_pid))
            self._identity = SessionIdentity(str(row[0]), str(row[1]))
        return self._identity

    def environment(self) -> str:
        """The id of the Materialize this session is connected to; asked for once."""
        if self._identity is not None:
            return self._identity.environment
        if self._environment is None:
            self._environment = str(self._one(look_ups.ENVIRONMENT))
        return self._environment

    def is_active(self, identity: SessionIdentity) -> bool:
        """Whether a session is still there, for example with a COPY whose client has gone.

        Raises:
            WrongEnvironmentError: It belongs to another Materialize, which alone knows.
        """
        self._check_environment(identity)
        return self._one(look_ups.backend_of(identity.session)) is not None

    def cancel_session(self, identity: SessionIdentity) -> bool:
        """Ask Materialize to cancel what another session is running; whether it is still there.

        Raises:
            WrongEnvironmentError: It belongs to another Materialize.
        """
        self._check_environment(identity)
        backend = self._one(look_ups.backend_of(identity.session))
        if backend is not None:
            # By the id of the backend that the session has now: a cancel must never hit somebody else.
            self._one(look_ups.cancel_backend(int(backend)))
        return backend is not None

    def look_up(self, statement: sql.Composed) -> list[tuple[Any, ...]]:
        """The rows of a small query that is answered at once, such as one of the catalog."""
        return self._all(statement)

    def _check_environment(self, identity: SessionIdentity) -> None:
        here = self.environment()
        if identity.environment != here:
            raise WrongEnvironmentError(
                f"A COPY that was left behind belongs to Materialize's environment {identity.environment}, and this is "
                f"{here}.",
                hint="Connect to the environment it was started in (PGHOST), or use another run key.",
            )

    def _one(self, statement: sql.Composed) -> Any:
        rows = self._all(statement)
        return rows[0][0] if rows else None

    def _all(self, statement: sql.Composed) -> list[tuple[Any, ...]]:
        return self._briefly(lambda: self._connection.execute(statement).fetchall())
