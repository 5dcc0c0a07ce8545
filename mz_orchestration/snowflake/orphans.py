"""What a load that was killed leaves open in Snowflake."""

from __future__ import annotations

from mz_orchestration.flow import Flow, call
from mz_orchestration.snowflake import statements
from mz_orchestration.snowflake.names import transaction_name
from mz_orchestration.snowflake.session import SnowflakeSession


def undo_transaction(load: str, session: SnowflakeSession) -> Flow[bool]:
    """Undo the transaction of a load, in whichever session it is open; its locks would hold up others for minutes.

    Returns:
        Whether there was one.
    """
    shown = yield from call(session.query, statements.show_transactions())
    for row in shown.rows:
        if row["name"] == transaction_name(load):
            yield from call(session.query, statements.abort_transaction(int(row["id"])))
            return True
    return False
