"""Sets a started stack up through the real clients, with the statements a user would type.

Run as ``python -m mz_orchestration.local.wiring`` with the state as JSON on standard input: a process of its own, so
that the supervisor stays small and can end it at any moment.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mz_orchestration.local.environment import (
    CENSUS_DESTINATION,
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
from mz_orchestration.local.servers import census_url, s3_endpoint
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


def census_syncs() -> list[dict[str, Any]]:
    """Return the syncs a user would set up, in the order of their ids.

    What they read need not be there yet: a run that misses it says so.
    """
    totals = ("order_id", "customer_id", "country", "status", "lines", "quantity", "net_amount", "paid_amount")
    customers = ("id", "name", "email", "country", "signed_up_at")
    in_snowflake = (1, SNOWFLAKE_DATABASE, SNOWFLAKE_SCHEMA, "ORDER_TOTALS")
    materialized = (2, MATERIALIZE_DATABASE, "shop", "order_totals")
    return [
        _sync("order_totals to Braze", in_snowflake, [name.upper() for name in totals], "order"),
        _sync("customers to Braze", (2, MATERIALIZE_DATABASE, "shop", "customers"), customers, "user"),
        {
            **_sync("order_totals to Braze, continuously", materialized, totals, "live_order"),
            "schedule_frequency": "continuous",
            "paused": True,
        },
    ]


def _sync(
    label: str, source: tuple[int, str, str, str], columns: Sequence[str], destination_object: str
) -> dict[str, Any]:
    connection, catalog, schema, table = source
    return {
        "label": label,
        "operation": "upsert",
        "schedule_frequency": "never",
        "source_attributes": {
            "connection_id": connection,
            "object": {"type": "table", "table_catalog": catalog, "table_schema": schema, "table_name": table},
        },
        "destination_attributes": {"connection_id": CENSUS_DESTINATION, "object": destination_object},
        "mappings": [
            {
                "from": {"type": "column", "data": column},
                "to": "external_id" if number == 0 else column.lower(),
                "is_primary_identifier": number == 0,
            }
            for number, column in enumerate(columns)
        ],
    }


def wire_census(state: State) -> None:
    """Make the sources known that run here, and set up the syncs if both do."""
    url = census_url(state.servers["census"].port)
    passwords = {"snowflake": state.secrets.snowflake_password, "materialize": state.secrets.materialize_password}
    sources = {
        name: {"port": state.servers[name].port, "password": password}
        for name, password in passwords.items()
        if name in state.servers
    }
    _post(f"{url}/local/sources", sources)
    if len(sources) == len(passwords):
        for sync in census_syncs():
            _post(f"{url}/api/v2/syncs", sync, Authorization=f"Bearer {state.secrets.census_token}")


def _post(url: str, body: dict[str, Any], **headers: str) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
    # The address is one of our own servers: no proxy of the environment stands between.
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20).close()


def _reason(error: Exception) -> str:
    # The text of a PostgreSQL error quotes the statement's line, which may be the one with the secret.
    message = getattr(getattr(error, "diag", None), "message_primary", None) or str(error)
    return " ".join(message.split())


def main() -> int:
    """Read the state and set up the servers it names."""
    state = State.model_validate_json(sys.stdin.buffer.read())
    # Two of them need the bucket's server.
    for wire, needs in (
        (wire_materialize, ("materialize", "s3")),
        (wire_snowflake, ("snowflake", "s3")),
        (wire_census, ("census",)),
    ):
        if not set(needs) <= set(state.servers):
            continue
        try:
            wire(state)
        except Exception as error:
            # One line for the supervisor to pass on; a client's error may be of any class.
            print(f"{needs[0]}: {_reason(error)}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
