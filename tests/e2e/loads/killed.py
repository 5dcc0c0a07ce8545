"""Loads that are killed by SIGKILL right behind one of their statements.

A process that has imported everything forks for each load: reads a line of JSON, forks, and answers with the child's
exit status. Started by `Killer`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

# Imported once, for all children; not the connector, whose threads do not survive a fork.
import boto3  # noqa: F401
import pyarrow.parquet  # noqa: F401

from mz_orchestration.snowflake.load import run_load
from mz_orchestration.snowflake.session import SnowflakeSession
from mz_orchestration.snowflake.spec import load_spec


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def load_until(number: int, fields: dict[str, Any], *, recorded: bool) -> None:
    """Load, and die when the change of that number, from 1, has been carried out or submitted.

    Args:
        number: Which one; a number that is never reached lets the load end.
        fields: Of the `LoadSpec`.
        recorded: Die once the first query id is in the run record instead.
    """
    sent = 0

    def dying(method: Any) -> Any:
        def run(session: SnowflakeSession, statement: Any) -> Any:
            nonlocal sent
            answer = method(session, statement)
            # Those that only read leave the same behind as the one before them.
            changes = not statement.startswith(("SELECT", "DESC", "LIST", "SHOW"))
            sent += changes
            if changes and sent == number:
                die()
            return answer

        return run

    if recorded:
        SnowflakeSession.status = lambda session, query_id: die()  # type: ignore[method-assign,assign,return-value]
    SnowflakeSession.query = dying(SnowflakeSession.query)  # type: ignore[method-assign]
    SnowflakeSession.submit = dying(SnowflakeSession.submit)  # type: ignore[method-assign]
    run_load(load_spec(**fields))


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                load_until(request["number"], request["fields"], recorded=request["recorded"])
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


main()
