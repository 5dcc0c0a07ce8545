"""Sets a started stack up through the real clients, with the statements a user would type.

Run as ``python -m mz_orchestration.local.wiring`` with the state as JSON on standard input: a process of its own, so
that the supervisor stays small and can end it at any moment.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mz_orchestration.local.environment import (
    MATERIALIZE_CONNECTION,
    MATERIALIZE_DATABASE,
    MATERIALIZE_USER,
    SNOWFLAKE_ACCOUNT,
    SNOWFLAKE_DATABASE,
    SNOWFLAKE_INTEGRATION,
    SNOWFLAKE_ROLE,
    SNOWFLAKE_SCHEMA,
    SNOWFLAKE_STAGE,
    SNOWFLAKE_USER,
    SNOWFLAKE_WAREHOUSE,
    STAGE_URL,
)
from mz_orchestration.local.s3_access import ROLE_ARN
from mz_orchestration.local.servers import s3_endpoint
from mz_orchestration.local.state import HOST, REGION, State

if TYPE_CHECKING:
    from psycopg import sql

SECRET = "local_s3_secret_access_key"


def materialize_statements(state: State) -> list[sql.Composed]:
    """Return the statements that give Materialize its schema and its connection to the bucket."""
    from psycopg import sql

    key = state.secrets.access_keys["materialize"]
    return [
        sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier("shop")),
        sql.SQL("CREATE SECRET IF NOT EXISTS {} AS {}").format(
            sql.Identifier(SECRET), sql.Literal(key.secret_access_key)
        ),
        sql.SQL(
            "CREATE CONNECTION IF NOT EXISTS {} TO AWS (ACCESS KEY ID = {}, SECRET ACCESS KEY = SECRET {}, "
            "ENDPOINT = {}, REGION = {})"
        ).format(
            sql.Identifier(MATERIALIZE_CONNECTION),
            sql.Literal(key.access_key_id),
            sql.Identifier(SECRET),
            sql.Literal(s3_endpoint(state.servers["s3"].port)),
            sql.Literal(REGION),
        ),
    ]


def snowflake_statements() -> list[str]:
    """Return the statements that give Snowflake its database, its warehouse and the stage over the bucket."""
    return [
        f"CREATE WAREHOUSE IF NOT EXISTS {SNOWFLAKE_WAREHOUSE} WITH WAREHOUSE_SIZE = XSMALL",
        f"CREATE DATABASE IF NOT EXISTS {SNOWFLAKE_DATABASE}",
        f"CREATE SCHEMA IF NOT EXISTS {SNOWFLAKE_DATABASE}.{SNOWFLAKE_SCHEMA}",
        f"CREATE STORAGE INTEGRATION IF NOT EXISTS {SNOWFLAKE_INTEGRATION} TYPE = EXTERNAL_STAGE "
        f"STORAGE_PROVIDER = 'S3' ENABLED = TRUE STORAGE_AWS_ROLE_ARN = '{ROLE_ARN}' "
        f"STORAGE_ALLOWED_LOCATIONS = ('{STAGE_URL}')",
        f"CREATE STAGE IF NOT EXISTS {SNOWFLAKE_DATABASE}.{SNOWFLAKE_SCHEMA}.{SNOWFLAKE_STAGE} "
        f"URL = '{STAGE_URL}' STORAGE_INTEGRATION = {SNOWFLAKE_INTEGRATION}",
    ]


def wire_materialize(state: State) -> None:
    """Run the statements for Materialize."""
    import psycopg

    with psycopg.connect(
        host=HOST,
        port=state.servers["materialize"].port,
        user=MATERIALIZE_USER,
        password=state.secrets.materialize_password,
        dbname=MATERIALIZE_DATABASE,
        autocommit=True,
        prepare_threshold=None,
        connect_timeout=20,
    ) as connection:
        for statement in materialize_statements(state):
            connection.execute(statement)


def wire_snowflake(state: State) -> None:
    """Run the statements for Snowflake."""
    import snowflake.connector

    with (
        snowflake.connector.connect(
            account=SNOWFLAKE_ACCOUNT,
            user=SNOWFLAKE_USER,
            password=state.secrets.snowflake_password,
            host=HOST,
            port=state.servers["snowflake"].port,
            protocol="http",
            role=SNOWFLAKE_ROLE,
            login_timeout=20,
            network_timeout=20,
            enable_server_session_keep_alive_auto_detection=False,
        ) as connection,
        connection.cursor() as cursor,
    ):
        for statement in snowflake_statements():
            cursor.execute(statement)


def _reason(error: Exception) -> str:
    # The text of a PostgreSQL error quotes the statement's line, which may be the one with the secret.
    message = getattr(getattr(error, "diag", None), "message_primary", None) or str(error)
    return " ".join(message.split())


def main() -> int:
    """Read the state and set up the servers it names."""
    state = State.model_validate_json(sys.stdin.buffer.read())
    for server, wire in (("materialize", wire_materialize), ("snowflake", wire_snowflake)):
        # Both need the bucket's server.
        if server not in state.servers or "s3" not in state.servers:
            continue
        try:
            wire(state)
        except Exception as error:
            # One line for the supervisor to pass on; a client's error may be of any class.
            print(f"{server}: {_reason(error)}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
