"""One local stack for all end-to-end tests of a session."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest

from mz_orchestration.local.materialize.sink_faults import sink_faults
from mz_orchestration.local.seed import seed_shop
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.objectstore.client import ObjectStore

ORDER_LINES = 2_000


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A seeded stack on free ports."""
    with LocalStack() as running:
        running.start(tmp_path_factory.mktemp("stack"), port_base=0)
        seed_shop(running.state, rows=ORDER_LINES, seed=1, report=lambda relation, rows, seconds: None)
        yield running


@pytest.fixture
def environment(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The stack's variables, in this process too."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    return stack.environment


@pytest.fixture
def store(environment: dict[str, str]) -> ObjectStore:
    """The stack's object store."""
    return ObjectStore()


@pytest.fixture
def materialize(environment: dict[str, str]) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the stack's Materialize, past every proxy."""
    with psycopg.connect(autocommit=True) as connection:
        yield connection


class Webhook:
    """A server on a free port that keeps what it is told."""

    def __init__(self) -> None:
        told: list[dict[str, Any]] = []
        self.refuses = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if not outer.refuses:
                    told.append(document)
                self.send_response(404 if outer.refuses else 204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        self.told = told
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/secret-path"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    made = Webhook()
    yield made
    made.close()


@pytest.fixture
def sinks(materialize: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    """A Kafka and an Iceberg sink that run, on a cluster of their own with two replicas."""
    materialize.execute("CREATE SCHEMA watched")
    materialize.execute("CREATE TABLE watched.orders (id bigint)")
    materialize.execute("CREATE CONNECTION watched.kafka TO KAFKA (BROKER 'b:9092') WITH (VALIDATE = false)")
    materialize.execute("CREATE CONNECTION watched.lake TO ICEBERG CATALOG (CATALOG TYPE = 's3tablesrest', URL = 'u')")
    materialize.execute("CREATE CLUSTER watched (SIZE '25cc', REPLICATION FACTOR 2)")
    with sink_faults(materialize, publish_every=0.5, starting_seconds=0.3, broken_seconds=1):
        materialize.execute(
            "CREATE SINK watched.orders_kafka IN CLUSTER watched FROM watched.orders"
            " INTO KAFKA CONNECTION watched.kafka (TOPIC 't') KEY (id) FORMAT JSON ENVELOPE UPSERT"
        )
        materialize.execute(
            "CREATE SINK watched.orders_lake IN CLUSTER watched FROM watched.orders"
            " INTO ICEBERG CATALOG CONNECTION watched.lake (NAMESPACE = 'n', TABLE = 't')"
            " USING AWS CONNECTION local_s3 MODE APPEND WITH (COMMIT INTERVAL = '1s')"
        )
        ready = (
            "SELECT count(DISTINCT s.id) FROM mz_internal.mz_sink_statuses s"
            " JOIN mz_internal.mz_hydration_statuses h ON h.object_id = s.id"
            " WHERE s.status = 'running' AND h.hydrated AND s.name LIKE 'orders_%'"
        )
        end = time.monotonic() + 15
        while materialize.execute(ready).fetchone() != (2,):
            assert time.monotonic() < end
            time.sleep(0.05)
        yield materialize
    materialize.execute("DROP CLUSTER watched CASCADE")
    materialize.execute("DROP CONNECTION watched.kafka, watched.lake")
    materialize.execute("DROP SCHEMA watched CASCADE")
