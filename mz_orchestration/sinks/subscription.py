"""Noticing that something has changed: one SUBSCRIBE for all connectors, which says when to look.

It carries what changes by itself, statuses and counters, and nothing that moves with the clock. What a change means is
read by a look: so the two ways to watch decide alike, and a subscription that is lost loses nothing.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import sql

from mz_orchestration.errors import ConnectionLostError
from mz_orchestration.materialize.connection import MaterializeConfig, connect
from mz_orchestration.materialize.refusals import refused
from mz_orchestration.sinks.facts import Kind

# Materialize sends progress every second; without any for so long, the connection is dead though nobody said so.
_SILENCE = 30.0
# Seconds one FETCH waits: it bounds how long a watcher takes to leave, and how long its transaction is idle.
_FETCH = 2.0

_STATEMENT = """
DECLARE changes CURSOR FOR SUBSCRIBE (
    SELECT t.id, t.status, t.error, t.last_status_change_at::text AS since, n.counters
      FROM mz_internal.{statuses} t
      LEFT JOIN (SELECT id, jsonb_object_agg(coalesce(replica_id, ''),
                            jsonb_build_array({staged}::text, {committed}::text))::text AS counters
                   FROM mz_internal.{statistics} GROUP BY id) n ON n.id = t.id
     WHERE t.id LIKE 'u%'
) ENVELOPE UPSERT (KEY (id)) WITH (PROGRESS)
"""
_RELATIONS = {
    "sink": ("mz_sink_statuses", "mz_sink_statistics", "messages_staged", "messages_committed"),
    "source": ("mz_source_statuses", "mz_source_statistics", "updates_staged", "updates_committed"),
}


class Subscription:
    """A subscription to statuses and counters of all sinks or all sources, on a connection of its own.

    Args:
        config: How to reach Materialize.
        kind: ``sink`` or ``source``.

    Raises:
        UnavailableError: Materialize cannot be reached.
        CredentialsError: It refused the user or password.
        ConfigurationError: It refuses to subscribe.
    """

    def __init__(self, config: MaterializeConfig | None = None, *, kind: Kind = "sink") -> None:
        self._heard = time.monotonic()
        self._connection: psycopg.Connection[Any] = connect(config or MaterializeConfig())
        names = ("statuses", "statistics", "staged", "committed")
        parts = dict(zip(names, map(sql.Identifier, _RELATIONS[kind]), strict=True))
        try:
            self._connection.execute("BEGIN")
            self._connection.execute(sql.SQL(_STATEMENT).format(**parts))
        except psycopg.Error as error:
            self.close()
            raise refused(error) from None

    def close(self) -> None:
        """End the subscription; never raises."""
        with suppress(psycopg.Error, OSError):
            self._connection.close()

    def wait(self, timeout: float) -> bool:
        """Wait for changes; the first call returns with what is there.

        Args:
            timeout: Seconds, of which it takes two at most.

        Returns:
            Whether something has changed.

        Raises:
            ConnectionLostError: The connection was lost, or nothing at all has been heard for half a minute.
        """
        pause = sql.Literal(f"{max(min(timeout, _FETCH), 0.0) * 1000:.0f}ms")
        try:
            rows = self._connection.execute(sql.SQL("FETCH ALL changes WITH (timeout = {})").format(pause)).fetchall()
        except psycopg.Error as error:
            raise refused(error) from None
        if rows:
            self._heard = time.monotonic()
        elif time.monotonic() - self._heard > _SILENCE:
            raise ConnectionLostError(f"Materialize has sent no progress for {_SILENCE:g} seconds.")
        # mz_timestamp, mz_progressed, mz_state, then the columns.
        return any(not row[1] for row in rows)
