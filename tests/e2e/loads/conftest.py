"""Two exports of one object, yesterday's and today's, and what the tables of Snowflake hold.

Tests marked ``account`` name no database and no schema: ``make test-account`` runs them against a real account and a
real bucket, in a schema that is made for them and dropped afterwards. Exports come from the local stack's Materialize
in any case.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.quoting import Sql, compose, identifier
from mz_orchestration.snowflake.session import SnowflakeSession

ACCOUNT = os.environ.get("MZ_ORCHESTRATION_ACCOUNT") == "1"
_NEEDED = (
    "MZ_ORCHESTRATION_ACCOUNT_TO",
    "MZ_ORCHESTRATION_ACCOUNT_STAGE",
    "SNOWFLAKE_ACCOUNT",
    "SNOWFLAKE_USER",
    "SNOWFLAKE_WAREHOUSE",
    "SNOWFLAKE_DATABASE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
)
# Of its own for each time: what was exported and loaded another time is not what this one is about.
_RUN = f"MZ_TESTS_{secrets.token_hex(4).upper()}"
_TO = os.environ.get("MZ_ORCHESTRATION_ACCOUNT_TO", "").rstrip("/")
BASE = f"{_TO}/{_RUN}/" if ACCOUNT else "s3://mz-exports/loads-tests/"
STAGE = os.environ.get("MZ_ORCHESTRATION_ACCOUNT_STAGE", "") if ACCOUNT else "DEMO.PUBLIC.MZ_STAGE"
CONNECTION = "account_s3" if ACCOUNT else "local_s3"

Query = Callable[[str], list[dict[str, Any]]]
Content = tuple[int, int]


@dataclass(frozen=True)
class Exported:
    """An export, and what a table holds that has its rows and no others: how many, and the sum of their ids."""

    manifest: Manifest
    content: Content

    @property
    def url(self) -> str:
        return str(self.manifest.location)


def export(query: str, run_key: str, *, name: str = "people", **fields: Any) -> Manifest:
    """Export a query of the shop."""
    spec = export_spec(object=name, query=query, to=BASE, connection=CONNECTION, **fields)
    return run_export(spec, run_key=run_key).manifest


@pytest.fixture(scope="session")
def account_schema(stack: LocalStack) -> Iterator[dict[str, str]]:
    """What the tests of a session have in their environment: the local stack's, or a schema of a real account."""
    if not ACCOUNT:
        yield stack.environment
        return
    if missing := [name for name in _NEEDED if not os.environ.get(name)]:
        pytest.exit(
            f"The tests against a real account need {', '.join(missing)}. MZ_ORCHESTRATION_ACCOUNT_TO is a folder, "
            "s3://bucket/folder/, and MZ_ORCHESTRATION_ACCOUNT_STAGE a stage, database.schema.name, that covers it.",
            returncode=2,
        )
    local = {name: value for name, value in stack.environment.items() if name.startswith("PG")}
    keys = (os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"))
    create = "CREATE CONNECTION {} TO AWS (ACCESS KEY ID = {}, SECRET ACCESS KEY = {}, REGION = {})"
    with psycopg.connect(**_connection_arguments(local), autocommit=True) as materialize:
        materialize.execute(sql.SQL(create).format(sql.Identifier(CONNECTION), *map(sql.Literal, keys)))
    with SnowflakeSession(SnowflakeConfig.from_environment()) as session:
        session.query(compose("CREATE SCHEMA {}", identifier(_RUN)))
    yield {**local, "SNOWFLAKE_SCHEMA": _RUN}
    with SnowflakeSession(SnowflakeConfig.from_environment()) as session:
        session.query(compose("DROP SCHEMA {}", identifier(_RUN)))


def _connection_arguments(environment: dict[str, str]) -> dict[str, str]:
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    return {argument: environment[name] for argument, name in names.items()}


@pytest.fixture
def environment(account_schema: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in account_schema.items():
        monkeypatch.setenv(name, value)
    return account_schema


@pytest.fixture
def snowflake(environment: dict[str, str]) -> Iterator[Query]:
    """Runs a statement in Snowflake; rows by lower-case column name."""
    with SnowflakeSession(SnowflakeConfig.from_environment()) as session:
        yield lambda statement: session.query(Sql(statement)).rows


@pytest.fixture
def store(environment: dict[str, str]) -> ObjectStore:
    return ObjectStore()


@pytest.fixture
def yesterday(environment: dict[str, str]) -> Exported:
    """Ids 1 to 60."""
    query = "SELECT generate_series AS id, 'old ' || generate_series AS name FROM generate_series(1, 60)"
    return Exported(export(query, "yesterday"), (60, 60 * 61 // 2))


@pytest.fixture
def today(environment: dict[str, str], yesterday: Exported) -> Exported:
    """Ids 41 to 100, and exported later: what was exported earlier has no place behind it."""
    query = "SELECT generate_series AS id, 'new ' || generate_series AS name FROM generate_series(41, 100)"
    return Exported(export(query, "today"), (60, 100 * 101 // 2 - 40 * 41 // 2))


@pytest.fixture
def content(snowflake: Query) -> Callable[[str], Content | None]:
    """What a table holds; None if it does not exist."""

    def read(table: str) -> Content | None:
        name = table.rpartition(".")[2]
        there = f"SELECT COUNT(*) AS N FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME = '{name}'"
        if not snowflake(there)[0]["n"]:
            return None
        row = snowflake(f"SELECT COUNT(*) AS N, COALESCE(SUM(ID), 0) AS TOTAL FROM {table}")[0]
        return int(row["n"]), int(row["total"])

    return read


class Killer:
    """Loads in processes of their own, killed on the way."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("killed.py"))],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def load(self, number: int, fields: dict[str, Any], *, recorded: bool = False) -> bool:
        """Whether the load was killed behind the statement of that number; False if it ended before."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"number": number, "fields": fields, "recorded": recorded}) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        assert code in (-signal.SIGKILL, 0), f"statement {number}: it ended by itself"
        return code != 0

    def close(self) -> None:
        with self._process:
            self._process.kill()


@pytest.fixture(scope="module")
def killer(account_schema: dict[str, str]) -> Iterator[Killer]:
    found = Killer(account_schema)
    yield found
    found.close()
