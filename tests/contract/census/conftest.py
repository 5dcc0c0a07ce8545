"""Census' API in both versions, as the local stack has it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from mz_orchestration.census.config import CensusConfig
from mz_orchestration.census.spec import sync_spec
from mz_orchestration.flow import Clock
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.progress import Event

__all__ = ["Census", "FastClock", "both_versions", "eventually", "sync_spec"]

ROWS = 7
TABLE = "census_people"


class FastClock(Clock):
    """Pauses pass in a moment, and the time goes on as if they had not."""

    def __init__(self) -> None:
        self.slept = 0.0
        self.notes: list[str] = []

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.slept)

    def monotonic(self) -> float:
        return super().monotonic() + self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        time.sleep(0.01)

    def listen(self, event: Event) -> None:
        if event.state == "note":
            self.notes.append(event.message)


def eventually(condition: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@dataclass
class Census:
    """The stack's Census, by one version of the API."""

    api: str
    stack: LocalStack
    rows: int = ROWS

    @property
    def url(self) -> str:
        return self.stack.environment["CENSUS_URL"]

    @property
    def tokens(self) -> dict[str, str]:
        secrets = self.stack.state.secrets
        return {"v1": secrets.census_workspace_key, "v2": secrets.census_token}

    @property
    def other_token(self) -> str:
        return self.tokens["v1" if self.api == "v2" else "v2"]

    def with_token(self, token: str) -> CensusConfig:
        return CensusConfig(token=token, api=self.api, url=self.url, group_id="local", timeout=20)

    @property
    def config(self) -> CensusConfig:
        return self.with_token(self.tokens[self.api])

    @property
    def impatient(self) -> CensusConfig:
        return self.config.model_copy(update={"timeout": 0.3})

    @property
    def environment(self) -> dict[str, str]:
        variables = {"CENSUS_API_TOKEN": self.tokens[self.api], "CENSUS_API_VERSION": self.api}
        return {**os.environ, **self.stack.environment, **variables}

    def new_sync(self, **fields: Any) -> str:
        """A sync of its own for a test: the rows of a table in Materialize, by their id."""
        made = self._ask(
            "POST",
            "/syncs",
            json={
                "operation": "upsert",
                "source_attributes": {
                    "connection_id": 2,
                    "object": {
                        "type": "table",
                        "table_catalog": "materialize",
                        "table_schema": "public",
                        "table_name": TABLE,
                    },
                },
                "destination_attributes": {"connection_id": 11, "object": "user"},
                "mappings": [
                    {"from": {"type": "column", "data": "id"}, "to": "external_id", "is_primary_identifier": True},
                    {"from": {"type": "column", "data": "name"}, "to": "first_name"},
                ],
                **fields,
            },
        )
        return str(made["data"]["sync_id"])

    def fault(self, sync: str, **faults: Any) -> None:
        """What befalls the next run of a sync; durations go for all that follow."""
        self._rule(sync=sync, times=1, **faults)

    def lose(self, sync: str, method: str, path: str, *, times: int = 1, **how: Any) -> None:
        """What befalls the next answers to requests about a sync."""
        self._rule(sync=sync, method=method, path=path, times=times, **how)

    def runs(self, sync: str) -> list[dict[str, Any]]:
        """The runs of a sync, newest first."""
        found = self._ask("GET", f"/syncs/{sync}/sync_runs", params={"per_page": 100})["data"]
        return [{**run, "id": str(run["id"])} for run in found]

    def triggers(self, sync: str) -> int:
        """How often a sync was triggered, by the requests that arrived."""
        lines = (self.stack.folder / "census-requests.jsonl").read_text().splitlines()
        requests = [json.loads(line) for line in lines]
        return sum(each["method"] == "POST" and each["path"].endswith(f"/syncs/{sync}/trigger") for each in requests)

    def _rule(self, **rule: Any) -> None:
        httpx.post(f"{self.url}/local/faults", json=rule).raise_for_status()

    def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.tokens[self.api]}"}
        answer = httpx.request(method, f"{self.url}/api/{self.api}{path}", headers=headers, verify=False, **arguments)
        assert answer.is_success, answer.text
        return answer.json()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack() as running:
        running.start(tmp_path_factory.mktemp("stack"), port_base=0, servers=("s3", "materialize", "census"))
        variables = running.environment
        with psycopg.connect(
            host=variables["PGHOST"],
            port=variables["PGPORT"],
            user=variables["PGUSER"],
            password=variables["PGPASSWORD"],
            dbname=variables["PGDATABASE"],
            autocommit=True,
        ) as session:
            session.execute(f"CREATE TABLE {TABLE} (id int, name text)")
            for row in range(ROWS):
                session.execute(f"INSERT INTO {TABLE} VALUES ({row}, 'n{row}')")
        httpx.post(f"{variables['CENSUS_URL']}/local/faults", json={"queued_seconds": 0.02, "working_seconds": 0.05})
        yield running


@pytest.fixture
def census(stack: LocalStack, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Census:
    """API V2; what is to be shown of both versions says so by `both_versions`."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    return Census(getattr(request, "param", "v2"), stack)


@pytest.fixture(scope="session")
def store(stack: LocalStack) -> ObjectStore:
    from mz_orchestration.objectstore.client import ObjectStoreConfig

    variables = stack.environment
    return ObjectStore(
        ObjectStoreConfig(
            endpoint_url=variables["AWS_ENDPOINT_URL"],
            region_name=variables["AWS_REGION"],
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        )
    )


both_versions = pytest.mark.parametrize("census", ["v2", "v1"], indirect=True)
