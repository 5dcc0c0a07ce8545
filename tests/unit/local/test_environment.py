"""Variables of a running stack, in the shapes their readers expect."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from mz_orchestration.local.environment import environment, export_lines
from mz_orchestration.local.s3_access import USERS
from mz_orchestration.local.state import Secrets, Server, State


def state(*names: str) -> State:
    servers = {name: Server(name=name, port=7000 + n, pid=n, log=Path(f"/{name}.log")) for n, name in enumerate(names)}
    return State(supervisor_pid=1, started_at="now", servers=servers, secrets=Secrets.random(USERS))


def test_every_tool_finds_its_server() -> None:
    up = state("materialize", "s3", "snowflake")
    found = environment(up)
    key = up.secrets.access_keys["developer"]
    assert found["PGPORT"] == "7000"
    assert found["PGPASSWORD"] == up.secrets.materialize_password
    assert found["AWS_ENDPOINT_URL"] == "http://127.0.0.1:7001"
    assert (found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]) == (
        key.access_key_id,
        key.secret_access_key,
    )
    assert found["SNOWFLAKE_PORT"] == "7002"
    assert found["SNOWFLAKE_PASSWORD"] == up.secrets.snowflake_password


def test_airflow_connections_name_the_same_servers() -> None:
    found = environment(state("materialize", "s3", "snowflake"))
    materialize = json.loads(found["AIRFLOW_CONN_MATERIALIZE_DEFAULT"])
    assert (materialize["conn_type"], materialize["port"]) == ("materialize", 7000)
    assert materialize["password"] == found["PGPASSWORD"]
    aws = json.loads(found["AIRFLOW_CONN_AWS_DEFAULT"])
    assert aws["extra"] == {"endpoint_url": found["AWS_ENDPOINT_URL"], "region_name": "us-east-1"}
    assert (aws["login"], aws["password"]) == (found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"])
    snowflake = json.loads(found["AIRFLOW_CONN_SNOWFLAKE_DEFAULT"])
    assert snowflake["schema"] == "PUBLIC"
    assert snowflake["extra"]["port"] == 7002
    assert snowflake["extra"]["protocol"] == "http"


def test_census_is_found_by_its_client_and_by_airflow() -> None:
    up = state("materialize", "s3", "snowflake", "census")
    found = environment(up)
    assert {name: value for name, value in found.items() if name.startswith("CENSUS_")} == {
        "CENSUS_API_TOKEN": up.secrets.census_token,
        "CENSUS_URL": "http://127.0.0.1:7003",
        "CENSUS_API_VERSION": "v2",
        "CENSUS_GROUP_ID": "local",
    }
    assert json.loads(found["AIRFLOW_CONN_CENSUS_DEFAULT"]) == {
        "conn_type": "census",
        "host": found["CENSUS_URL"],
        "password": found["CENSUS_API_TOKEN"],
        "extra": {"api_version": "v2", "group_id": "local"},
    }


def test_only_what_runs_is_named() -> None:
    assert not {name for name in environment(state("s3")) if not name.startswith(("AWS_", "AIRFLOW_CONN_AWS"))}


@pytest.mark.parametrize("value", ["plain", "", "it's", 'say "hi" $HOME `id` \\', "a\nb", "'quoted'"])
def test_lines_survive_the_shell(value: str) -> None:
    lines = export_lines({"VALUE": value})
    assert lines.startswith("export VALUE='") or "'" in value
    script = f'{lines}printf %s "$VALUE"'
    assert subprocess.run(["sh", "-c", script], capture_output=True, check=True, text=True).stdout == value
