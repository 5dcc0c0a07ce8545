"""Sinks in the local Materialize, whose statistics are published at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from mz_orchestration.local.materialize.sink_faults import sink_faults

Connection = psycopg.Connection[Any]
Faults = Callable[..., Any]


@pytest.fixture
def sinks(materialize: Connection) -> Iterator[Connection]:
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
        until(lambda: statuses(materialize) == {"running"})
        yield materialize
    materialize.execute("DROP CLUSTER watched CASCADE")
    materialize.execute("DROP CONNECTION watched.kafka, watched.lake")
    materialize.execute("DROP SCHEMA watched CASCADE")


def statuses(connection: Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT status FROM mz_internal.mz_sink_statuses").fetchall()}


def until(ask: Callable[[], Any], seconds: float = 15.0) -> Any:
    """What is true at last."""
    end = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found
