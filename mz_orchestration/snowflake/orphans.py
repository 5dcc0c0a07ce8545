"""What a load that was killed leaves under way in Snowflake."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from mz_orchestration.errors import ConfigurationError, LoadError
from mz_orchestration.flow import Flow, call
from mz_orchestration.runs.record import LoadEntry
from mz_orchestration.snowflake import statements
from mz_orchestration.snowflake.names import transaction_name
from mz_orchestration.snowflake.session import QueryStatus, SnowflakeSession


def open_transactions(loads: Sequence[str], session: SnowflakeSession) -> Flow[list[int]]:
    """The transactions of some loads that are open, in whichever session of the user."""
    names = {transaction_name(load) for load in loads}
    shown = yield from call(session.query, statements.show_transactions())
    return [int(row["id"]) for row in shown.rows if row["name"] in names]


def running_statements(entry: LoadEntry, session: SnowflakeSession) -> Flow[list[str]]:
    """Those of a load's long statements that Snowflake works on; of either kind only the last can be."""
    found: list[str] = []
    for query_id in (*entry.query_ids[-1:], *entry.publish_ids[-1:]):
        if (yield from call(session.status, query_id)) is QueryStatus.RUNNING:
            found.append(query_id)
    return found


def undo_transactions(ids: Sequence[int], session: SnowflakeSession) -> Flow[None]:
    """Undo transactions; their locks would hold up others for minutes."""
    for id in ids:
        # One that has ended by itself in between is none that could be undone.
        with suppress(LoadError, ConfigurationError):
            yield from call(session.query, statements.abort_transaction(id))
