"""Looking at all sinks or all sources: one query on a session that is kept."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType

from mz_orchestration.errors import ConnectionLostError
from mz_orchestration.materialize.connection import MaterializeConfig
from mz_orchestration.materialize.session import Session
from mz_orchestration.sinks.facts import Kind, Look
from mz_orchestration.sinks.query import look_statement, read_look


class Looker:
    """Looks at connectors; close it or use it as a context manager.

    Args:
        config: How to reach Materialize.
        kind: ``sink`` or ``source``.
        window: Seconds of status history that a look brings along.
    """

    def __init__(self, config: MaterializeConfig | None = None, *, kind: Kind = "sink", window: float = 600.0) -> None:
        self._config = config
        self._kind = kind
        self._statement = look_statement(kind, window)
        self._session: Session | None = None

    def __enter__(self) -> Looker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session; never raises."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def look(self) -> Look:
        """What there is now; one round trip, and a sign-in at the first look and where the session was lost.

        Raises:
            UnavailableError: Materialize cannot be reached.
            CredentialsError: It refused the user or password.
            ConfigurationError: It refuses the query.
        """
        if self._session is not None:
            # One that was kept may have been ended by the other side meanwhile.
            with suppress(ConnectionLostError):
                return self._ask(self._session)
            self.close()
        self._session = Session(self._config)
        return self._ask(self._session)

    def _ask(self, session: Session) -> Look:
        return read_look(self._kind, session.look_up(self._statement))
