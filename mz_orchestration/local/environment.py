"""The environment variables that lead each ecosystem's own tools to a running stack."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping

from mz_orchestration.local.servers import census_url, s3_endpoint
from mz_orchestration.local.state import BUCKET, HOST, REGION, State

MATERIALIZE_USER = "materialize"
MATERIALIZE_DATABASE = "materialize"
MATERIALIZE_CONNECTION = "local_s3"
SNOWFLAKE_USER = "LOCAL"
SNOWFLAKE_ACCOUNT = "local"
SNOWFLAKE_DATABASE = "DEMO"
SNOWFLAKE_SCHEMA = "PUBLIC"
SNOWFLAKE_WAREHOUSE = "COMPUTE_WH"
SNOWFLAKE_ROLE = "ACCOUNTADMIN"
SNOWFLAKE_INTEGRATION = "MZ_INTEGRATION"
SNOWFLAKE_STAGE = "MZ_STAGE"
CENSUS_GROUP = "local"
CENSUS_DESTINATION = 11
STAGE_URL = f"s3://{BUCKET}/"


def environment(state: State) -> dict[str, str]:
    """Return the variables for a running stack, in the names psql, AWS tools, Snowflake's, Census' and Airflow read.

    Args:
        state: What runs.
    """
    variables: dict[str, str] = {}
    if "materialize" in state.servers:
        variables.update(_materialize(state))
    if "s3" in state.servers:
        variables.update(_aws(state))
    if "snowflake" in state.servers:
        variables.update(_snowflake(state))
    if "census" in state.servers:
        variables.update(_census(state))
    return variables


def export_lines(variables: Mapping[str, str]) -> str:
    """Return lines for a POSIX shell's ``eval``."""
    return "".join(f"export {name}={_quoted(value)}\n" for name, value in variables.items())


def _quoted(value: str) -> str:
    # shlex leaves plain words bare; quoting them all keeps the lines alike.
    quoted = shlex.quote(value)
    return quoted if quoted.startswith("'") else f"'{quoted}'"


def _materialize(state: State) -> dict[str, str]:
    port = state.servers["materialize"].port
    password = state.secrets.materialize_password
    connection = {
        "conn_type": "materialize",
        "host": HOST,
        "port": port,
        "login": MATERIALIZE_USER,
        "password": password,
        "schema": MATERIALIZE_DATABASE,
    }
    return {
        "PGHOST": HOST,
        "PGPORT": str(port),
        "PGUSER": MATERIALIZE_USER,
        "PGPASSWORD": password,
        "PGDATABASE": MATERIALIZE_DATABASE,
        "AIRFLOW_CONN_MATERIALIZE_DEFAULT": json.dumps(connection),
    }


def _aws(state: State) -> dict[str, str]:
    key = state.secrets.access_keys["developer"]
    endpoint = s3_endpoint(state.servers["s3"].port)
    connection = {
        "conn_type": "aws",
        "login": key.access_key_id,
        "password": key.secret_access_key,
        "extra": {"endpoint_url": endpoint, "region_name": REGION},
    }
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
    }


def _snowflake(state: State) -> dict[str, str]:
    port = state.servers["snowflake"].port
    password = state.secrets.snowflake_password
    connection = {
        "conn_type": "snowflake",
        "login": SNOWFLAKE_USER,
        "password": password,
        "schema": SNOWFLAKE_SCHEMA,
        "extra": {
            "account": SNOWFLAKE_ACCOUNT,
            "database": SNOWFLAKE_DATABASE,
            "warehouse": SNOWFLAKE_WAREHOUSE,
            "role": SNOWFLAKE_ROLE,
            "host": HOST,
            "port": port,
            "protocol": "http",
        },
    }
    return {
        "SNOWFLAKE_ACCOUNT": SNOWFLAKE_ACCOUNT,
        "SNOWFLAKE_USER": SNOWFLAKE_USER,
        "SNOWFLAKE_PASSWORD": password,
        "SNOWFLAKE_HOST": HOST,
        "SNOWFLAKE_PORT": str(port),
        "SNOWFLAKE_PROTOCOL": "http",
        "SNOWFLAKE_DATABASE": SNOWFLAKE_DATABASE,
        "SNOWFLAKE_SCHEMA": SNOWFLAKE_SCHEMA,
        "SNOWFLAKE_WAREHOUSE": SNOWFLAKE_WAREHOUSE,
        "SNOWFLAKE_ROLE": SNOWFLAKE_ROLE,
        # The connector's core otherwise asks the metadata addresses of three clouds where it runs.
        "SNOWFLAKE_DISABLE_PLATFORM_DETECTION": "true",
        "AIRFLOW_CONN_SNOWFLAKE_DEFAULT": json.dumps(connection),
    }


def _census(state: State) -> dict[str, str]:
    url = census_url(state.servers["census"].port)
    token = state.secrets.census_token
    connection = {
        "conn_type": "census",
        "host": url,
        "password": token,
        "extra": {"api_version": "v2", "group_id": CENSUS_GROUP},
    }
    return {
        "CENSUS_API_TOKEN": token,
        "CENSUS_URL": url,
        "CENSUS_API_VERSION": "v2",
        "CENSUS_GROUP_ID": CENSUS_GROUP,
        "AIRFLOW_CONN_CENSUS_DEFAULT": json.dumps(connection),
    }
