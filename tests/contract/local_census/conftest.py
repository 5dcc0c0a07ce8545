"""A stack with its Census, real HTTP to it, and tables of one's own in both sources."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest
import snowflake.connector

from mz_orchestration.local.stack import LocalStack

ENDED = ("completed", "failed", "skipped")
_numbers = itertools.count(1)


def eventually(condition: Callable[[], Any], seconds: float = 20) -> Any:
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack() as running:
        yield running.start(tmp_path_factory.mktemp("stack"), port_base=0)


@dataclass
class Census:
    """What a client does, one call each."""

    http: httpx.Client
    base: str

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self.http.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def trigger(self, sync: int, **parameters: Any) -> int:
        answer = self.http.post(f"/syncs/{sync}/trigger", params=parameters)
        assert answer.status_code == 200, answer.text
        run: int = answer.json()["data"]["sync_run_id"]
        return run

    def run(self, run: int) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/sync_runs/{run}")
        return found

    def wait(self, run: int, *statuses: str) -> dict[str, Any]:
        """The run as soon as it has one of the statuses; without any, when it has ended."""

        def look() -> dict[str, Any] | None:
            found = self.run(run)
            return found if found["status"] in (statuses or ENDED) else None

        reached: dict[str, Any] = eventually(look)
        return reached

    def ran(self, sync: int, **parameters: Any) -> dict[str, Any]:
        """Trigger and wait for the end."""
        return self.wait(self.trigger(sync, **parameters))

    def create(self, settings: dict[str, Any]) -> int:
        answer = self.http.post("/syncs", json=settings)
        assert answer.status_code == 201, answer.text
        assert answer.json()["status"] == "created"
        sync: int = answer.json()["data"]["sync_id"]
        return sync

    def fault(self, **rule: Any) -> None:
        answer = self.http.post(f"{self.base}/local/faults", json=rule)
        assert answer.status_code == 200, answer.text

    def arrived(self, object: str) -> dict[str, dict[str, Any]]:
        answer = self.http.get(f"{self.base}/local/destinations/Braze", params={"object": object}).json()
        assert answer["count"] == len(answer["records"])
        return {each["key"]: each["record"] for each in answer["records"]}


def client(stack: LocalStack, version: str, token: str) -> httpx.Client:
    url = stack.environment["CENSUS_URL"]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=f"{url}/api/{version}", headers=headers, trust_env=False, timeout=10)


@pytest.fixture(params=["v2", "v1"])
def both(request: pytest.FixtureRequest, stack: LocalStack) -> Iterator[Census]:
    """Each version of the API."""
    secrets = stack.state.secrets
    token = secrets.census_token if request.param == "v2" else secrets.census_workspace_key
    with client(stack, request.param, token) as http:
        yield quick(Census(http, stack.environment["CENSUS_URL"]))


@pytest.fixture
def census(stack: LocalStack) -> Iterator[Census]:
    """Version 2, with quick runs and no faults."""
    with client(stack, "v2", stack.state.secrets.census_token) as http:
        yield quick(Census(http, stack.environment["CENSUS_URL"]))


def quick(census: Census) -> Census:
    census.fault(clear=True, queued_seconds=0.01, working_seconds=0.01)
    return census


@dataclass
class Table:
    """A table of one's own, and a sync of it to an object of one's own."""

    name: str
    connection: int
    execute: Callable[[str], Any]

    @property
    def object(self) -> str:
        return f"object_{self.name}".lower()

    def settings(self, **changes: Any) -> dict[str, Any]:
        snowflake = self.connection == 1
        columns = ("ID", "NAME") if snowflake else ("id", "name")
        return {
            "label": self.name,
            "operation": "upsert",
            "source_attributes": {
                "connection_id": self.connection,
                "object": {
                    "type": "table",
                    "table_catalog": "DEMO" if snowflake else "materialize",
                    "table_schema": "PUBLIC" if snowflake else "shop",
                    "table_name": self.name,
                },
            },
            "destination_attributes": {"connection_id": 11, "object": self.object},
            "mappings": [
                {"from": {"type": "column", "data": columns[0]}, "to": "external_id", "is_primary_identifier": True},
                {"from": {"type": "column", "data": columns[1]}, "to": "name"},
            ],
            **changes,
        }


@pytest.fixture
def table(stack: LocalStack) -> Iterator[Table]:
    """A table in Materialize with three rows."""
    variables = stack.environment
    name = f"people_{next(_numbers)}"
    with psycopg.connect(
        host=variables["PGHOST"],
        port=int(variables["PGPORT"]),
        user=variables["PGUSER"],
        password=variables["PGPASSWORD"],
        dbname=variables["PGDATABASE"],
        autocommit=True,
    ) as connection:

        def execute(statement: str) -> None:
            connection.execute(statement.format(f"shop.{name}").encode())

        execute("CREATE TABLE {} (id bigint, name text)")
        execute("INSERT INTO {} VALUES (1, 'Zoë'), (2, NULL), (3, 'Ada')")
        yield Table(name, 2, execute)


@pytest.fixture
def snowflake_table(stack: LocalStack) -> Iterator[Table]:
    """A table in Snowflake with three rows."""
    variables = stack.environment
    name = f"PEOPLE_{next(_numbers)}"
    with snowflake.connector.connect(
        account="local",
        user=variables["SNOWFLAKE_USER"],
        password=variables["SNOWFLAKE_PASSWORD"],
        host=variables["SNOWFLAKE_HOST"],
        port=int(variables["SNOWFLAKE_PORT"]),
        protocol="http",
        role=variables["SNOWFLAKE_ROLE"],
        enable_server_session_keep_alive_auto_detection=False,
    ) as connection:

        def execute(statement: str) -> None:
            connection.cursor().execute(statement.format(f"DEMO.PUBLIC.{name}"))

        execute("CREATE TABLE {} (ID NUMBER(38, 0), NAME VARCHAR)")
        execute("INSERT INTO {} VALUES (1, 'Zoë'), (2, NULL), (3, 'Ada')")
        yield Table(name, 1, execute)


@pytest.fixture
def requests(stack: LocalStack) -> Callable[[], list[dict[str, Any]]]:
    """The log of requests."""
    return lambda: [json.loads(line) for line in (stack.folder / "census-requests.jsonl").read_text().splitlines()]
