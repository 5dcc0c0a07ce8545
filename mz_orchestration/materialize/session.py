"""One session with Materialize: describe, COPY TO with a deadline and a cancel that is certain, activity look-ups.

COPY TO S3 answers with the tag ``COPY n`` only, sends nothing while it runs, is not bounded by
``statement_timeout`` and goes on when the client disappears. So the statement runs in a thread of its own while the
caller waits in short steps: any interrupt of the caller, also those of orchestrators that psycopg does not know,
leads to a cancel that is repeated until the statement has returned. psycopg's own errors quote the statement, which
may hold secrets: they are not chained to ours.
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
from pydantic import BaseModel, ConfigDict, SecretStr

from mz_orchestration import __version__
from mz_orchestration.errors import (
    ConfigurationError,
    ConnectionLostError,
    CredentialsError,
    DeadlineError,
    ExportError,
    MzOrchestrationError,
    NotFoundError,
    UnavailableError,
)
from mz_orchestration.materialize import look_ups
from mz_orchestration.materialize.types import Column, type_name

T = TypeVar("T")

_CANCEL_EVERY = 1.0
_CANCELS = 60
# Nothing was said at all, or a goodbye: shutting down, starting up, idle for too long in a transaction.
_LOST = frozenset({None, "57P01", "57P02", "57P03", "25P03"})


class MaterializeConfig(BaseModel):
    """How to reach Materialize; every field left out is libpq's own to find (``PGHOST`` ..., ``~/.pgpass``).

    Attributes:
        cluster: Cluster for the session's statements.
        connect_timeout: Seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str | None = None
    port: int | None = None
    user: str | None = None
    password: SecretStr | None = None
    database: str | None = None
    sslmode: str | None = None
    sslrootcert: str | None = None
    cluster: str | None = None
    connect_timeout: int = 10


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
        self._turn = threading.Lock()
        self._cancelled = False
        self._connection = connect(config, application_name=application_name)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session; never raises."""
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
        try:
            description = self._connection.execute(statement).description or []
        except psycopg.Error as error:
            raise _refused(error) from None
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
        try:
            self._connection.execute(look_ups.BEGIN)
            [row] = self._connection.execute(statement).fetchall()
        except psycopg.Error as error:
            raise _refused(error) from None
        return Reading(int(row[0]), str(row[1]))

    def end_read(self) -> None:
        """End the read transaction, if one is open; never raises, since nothing depends on it."""
        with suppress(psycopg.Error, OSError):
            self._connection.rollback()

    def count(self, statement: sql.Composed, *, timeout: float) -> int:
        """The answer of a ``SELECT count(*)``, with the deadline and the errors of `copy_to`."""
        rows = self._within(timeout, lambda: self._connection.execute(statement).fetchall(), "count")
        return int(rows[0][0])

    def keep_alive(self) -> None:
        """Show an open transaction to be in use; the server ends one that is idle for two minutes."""
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
        answer = self._within(timeout, lambda: self._connection.execute(statement).statusmessage, "COPY")
        match = re.fullmatch(r"COPY (\d+)", answer or "")
        if match is None:
            raise ExportError(f"Materialize answered the COPY with {answer!r} where 'COPY <rows>' was expected.")
        return int(match[1])

    def _within(self, timeout: float, execute: Callable[[], T], what: str) -> T:
        """Run a long statement in a thread of its own, and cancel it whatever makes the caller leave."""
        outcome: list[T | psycopg.Error] = []
        done = threading.Event()

        def work() -> None:
            try:
                outcome.append(execute())
            except psycopg.Error as error:
                outcome.append(error)
            finally:
                done.set()

        thread = threading.Thread(target=work, name=f"materialize-{what}", daemon=True)
        try:
            with self._turn:
                if self._cancelled:
                    # Whoever wanted it has left between asking for it and this line, which is another thread's.
                    raise ExportError(f"The {what} was cancelled before it began.", retryable=True)
                self._done = done
                thread.start()
            expired = not done.wait(min(max(timeout, 0.0), threading.TIMEOUT_MAX))
        finally:
            if thread.ident is None:
                done.set()  # it never began, so there is nothing to cancel
            self._stop()
        if not outcome:
            raise UnavailableError(
                f"The {what} neither finished nor reacted to cancelling.",
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
        raise _copy_failed(answer) from None

    def cancel(self) -> bool:
        """Cancel the COPY or count this session is running, and any later one; safe to call from another thread.

        A cancel that arrives while the statement is planned or in preflight is lost, so it is repeated until the
        statement has returned.

        Returns:
            Whether nothing is running any more.
        """
        with self._turn:
            self._cancelled = True
        return self._stop()

    def _stop(self) -> bool:
        for _ in range(_CANCELS):
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

    def session_id(self) -> str:
        """The id of this session, under which others can see whether it is still there."""
        return str(self._one(look_ups.session_of(self.backend_pid)))

    def is_active(self, session_id: str) -> bool:
        """Whether a session is still there, for example with a COPY whose client has gone."""
        return bool(self._one(look_ups.count_sessions(session_id)))

    def cancel_backend(self, pid: int) -> bool:
        """Ask Materialize to cancel what another session is running; whether it was reached."""
        return bool(self._one(look_ups.cancel_backend(pid)))

    def _one(self, statement: sql.Composed) -> Any:
        rows = self._all(statement)
        return rows[0][0] if rows else None

    def _all(self, statement: sql.Composed) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement).fetchall()
        except psycopg.Error as error:
            raise _refused(error) from None


def connect(config: MaterializeConfig, *, application_name: str = "") -> psycopg.Connection[Any]:
    """A plain psycopg connection in autocommit mode, on the cluster asked for; `Session` adds what an export needs.

    Raises:
        UnavailableError: The server cannot be reached.
        CredentialsError: It refused the user or password.
        NotFoundError: There is no such cluster.
    """
    given: dict[str, Any] = {
        "host": config.host,
        "port": config.port,
        "user": config.user,
        # An empty password is given as such: libpq would fill a missing one from PGPASSWORD.
        "password": None if config.password is None else config.password.get_secret_value(),
        "dbname": config.database,
        "sslmode": config.sslmode,
        "sslrootcert": config.sslrootcert,
    }
    try:
        connection = psycopg.connect(
            **{name: value for name, value in given.items() if value is not None},
            autocommit=True,
            # Server-side prepared statements save nothing here and complicate what Materialize sees.
            prepare_threshold=None,
            application_name=application_name or f"mz-orchestration {__version__}",
            connect_timeout=config.connect_timeout,
            # Nothing is sent during a long COPY: keepalives stop load balancers from dropping the connection.
            keepalives=1,
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=6,
        )
        if config.cluster is not None:
            _use_cluster(connection, config.cluster)
    except psycopg.OperationalError as error:
        raise _not_connected(error) from None
    except psycopg.Error as error:
        raise _refused(error) from None
    return connection


def _use_cluster(connection: psycopg.Connection[Any], name: str) -> None:
    connection.execute(look_ups.use_cluster(name))
    # SET takes any name; the COPY would be the first to notice.
    if connection.execute(look_ups.count_clusters(name)).fetchone() == (0,):
        connection.close()
        raise NotFoundError(f"Materialize: unknown cluster '{name}'.", hint="SHOW CLUSTERS lists what there is.")


def _not_connected(error: psycopg.OperationalError) -> MzOrchestrationError:
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


def _refused(error: psycopg.Error) -> MzOrchestrationError:
    if error.sqlstate in _LOST:
        return ConnectionLostError(
            f"The connection to Materialize was lost: {_first_line(error)}",
            hint="Run the same command again.",
        )
    text = _server_text(error)
    if error.sqlstate == "42501":
        return CredentialsError(f"Materialize: {text}", hint="Grant what the message names to the role.")
    # Nearly all planning errors share XX000, so the text decides.
    if re.match(r"unknown (catalog item|schema|database|cluster|role)", text):
        return NotFoundError(
            f"Materialize: {text}.",
            hint="Check the spelling and the database and schema you are connected to (PGDATABASE).",
        )
    return ConfigurationError(f"Materialize refuses this: {text}", details={"sqlstate": error.sqlstate})


def _copy_failed(error: psycopg.Error) -> MzOrchestrationError:
    if error.sqlstate in _LOST:
        return ConnectionLostError(
            f"The connection was lost during the COPY: {_first_line(error)}",
            hint="The export may still be running; run the same command with the same run key to pick it up.",
        )
    text = _server_text(error)
    details = {"sqlstate": error.sqlstate}
    if error.sqlstate == "57014":
        return ExportError(
            "The COPY was cancelled.",
            hint="Run the same command again with the same run key; it starts in a fresh path.",
            retryable=True,
            details=details,
        )
    if error.sqlstate == "22000" and ("valid timestamp" in text or "not valid for all inputs" in text):
        return ExportError(
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
    return ExportError(f"Materialize ended the COPY: {text}", details=details)


def _server_text(error: psycopg.Error) -> str:
    """What the server said, without the statement: that may hold what a log must not."""
    diag = error.diag
    parts = [diag.message_primary or _first_line(error), diag.message_detail, diag.message_hint]
    return " ".join(part.strip() for part in parts if part)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
