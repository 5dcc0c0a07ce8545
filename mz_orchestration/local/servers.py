"""The servers of the stack as data: how each is started and what it must be told.

Secrets travel by environment variable: an argument would be readable by every user of the machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mz_orchestration.local.state import BUCKET, HOST, REGION, Folder, Secrets

DEFAULT_PORT_BASE = 16875


@dataclass(frozen=True)
class Launch:
    """What a server's command line and environment are made from.

    Attributes:
        folder: The state folder.
        secrets: Passwords and keys of this run.
        ports: Ports of the servers it needs.
    """

    folder: Folder
    secrets: Secrets
    ports: Mapping[str, int]


@dataclass(frozen=True)
class ServerSpec:
    """How to start one server.

    Attributes:
        name: Its name in the state file, of its log file and of its folder.
        title: What it is called in messages.
        module: The module to run.
        offset: Its port, counted from the base.
        needs: Servers whose port it must know.
        arguments: Its command line after host and port.
        environment: Variables added to the environment.
    """

    name: str
    title: str
    module: str
    offset: int
    needs: tuple[str, ...]
    arguments: Callable[[Launch], list[str]]
    environment: Callable[[Launch], dict[str, str]]


def s3_endpoint(port: int) -> str:
    """Return the address of the S3 server."""
    return f"http://{HOST}:{port}"


def census_url(port: int) -> str:
    """Return the address of the Census server."""
    return f"http://{HOST}:{port}"


def _materialize_arguments(launch: Launch) -> list[str]:
    folder = launch.folder
    return ["--dir", str(folder.path / "materialize"), "--statements", str(folder.statements)]


def _materialize_environment(launch: Launch) -> dict[str, str]:
    return {"MZ_LOCAL_PASSWORD": launch.secrets.materialize_password}


def _s3_arguments(launch: Launch) -> list[str]:
    return ["--requests", str(launch.folder.s3_requests), "--bucket", BUCKET, "--region", REGION]


def _s3_environment(launch: Launch) -> dict[str, str]:
    keys = {user: key.model_dump() for user, key in launch.secrets.access_keys.items()}
    return {"MZ_LOCAL_S3_KEYS": json.dumps(keys)}


def _snowflake_arguments(launch: Launch) -> list[str]:
    folder = launch.folder
    return [
        *("--dir", str(folder.path / "snowflake")),
        *("--statements", str(folder.statements)),
        *("--s3-endpoint", s3_endpoint(launch.ports["s3"])),
    ]


def _snowflake_environment(launch: Launch) -> dict[str, str]:
    key = launch.secrets.access_keys["snowflake"]
    return {
        "MZ_LOCAL_SNOWFLAKE_PASSWORD": launch.secrets.snowflake_password,
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        "AWS_REGION": REGION,
    }


def _census_arguments(launch: Launch) -> list[str]:
    folder = launch.folder
    return ["--dir", str(folder.path / "census"), "--requests", str(folder.census_requests)]


def _census_environment(launch: Launch) -> dict[str, str]:
    secrets = launch.secrets
    return {
        "MZ_LOCAL_CENSUS_TOKEN": secrets.census_token,
        "MZ_LOCAL_CENSUS_WORKSPACE_KEY": secrets.census_workspace_key,
    }


SERVERS: dict[str, ServerSpec] = {
    spec.name: spec
    for spec in (
        ServerSpec(
            name="materialize",
            title="Materialize",
            module="mz_orchestration.local.materialize",
            offset=0,
            needs=(),
            arguments=_materialize_arguments,
            environment=_materialize_environment,
        ),
        ServerSpec(
            name="s3",
            title="S3",
            module="mz_orchestration.local.s3",
            offset=1,
            needs=(),
            arguments=_s3_arguments,
            environment=_s3_environment,
        ),
        ServerSpec(
            name="snowflake",
            title="Snowflake",
            module="mz_orchestration.local.snowflake",
            offset=2,
            needs=("s3",),
            arguments=_snowflake_arguments,
            environment=_snowflake_environment,
        ),
        ServerSpec(
            name="census",
            title="Census",
            module="mz_orchestration.local.census",
            offset=3,
            # Its sources are made known to it when they run, so that it starts beside them.
            needs=(),
            arguments=_census_arguments,
            environment=_census_environment,
        ),
    )
}
