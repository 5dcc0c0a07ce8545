"""Sinks: made, living, failing on request; asked for by the catalog relations that clients read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from mz_orchestration.local.materialize.sink_faults import sink_faults

from .conftest import StandIn

KAFKA = "INTO KAFKA CONNECTION kafka (TOPIC 't', COMPRESSION TYPE lz4) KEY (id) FORMAT JSON ENVELOPE UPSERT"
FAST = {"publish_every": 0.2, "starting_seconds": 0.2, "broken_seconds": 0.5}
Connection = psycopg.Connection[Any]
Row = tuple[Any, ...]


@pytest.fixture
def db(server: StandIn) -> Iterator[Connection]:
    """A schema of its own, with a table, connections and a cluster; statistics are published at once."""
    with server.connect() as connection:
        connection.execute("CREATE SCHEMA sinks")
        connection.execute("SET search_path = sinks")
        connection.execute("CREATE TABLE things (id bigint, v text)")
        connection.execute("INSERT INTO things SELECT i, 'x' FROM generate_series(1, 10) i")
        connection.execute("CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM things")
        connection.execute("CREATE VIEW plain AS SELECT 1 AS id")
        connection.execute("CREATE CONNECTION kafka TO KAFKA (BROKER 'b:9092') WITH (VALIDATE = false)")
        connection.execute("CREATE CONNECTION lake TO ICEBERG CATALOG (CATALOG TYPE = 's3tablesrest', URL = 'u')")
        connection.execute("CREATE CLUSTER work (SIZE '25cc', REPLICATION FACTOR 2)")
        with sink_faults(connection, **FAST):
            yield connection
        connection.execute("DROP CLUSTER work CASCADE")
        connection.execute("DROP CONNECTION kafka, lake")
        connection.execute("DROP SCHEMA sinks CASCADE")


def until(ask: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What is true at last."""
    end = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def one(db: Connection, query: str) -> Row:
    row = db.execute(query.encode()).fetchone()
    assert row is not None
    return row


def status(db: Connection) -> str:
    return str(one(db, "SELECT status FROM mz_internal.mz_sink_statuses WHERE name = 's'")[0])


@pytest.fixture
def sink(db: Connection) -> Connection:
    """A sink that runs."""
    db.execute(f"CREATE SINK s IN CLUSTER work FROM things {KAFKA}".encode())
    until(lambda: status(db) == "running")
    return db


def test_its_life_by_status_and_history(db: Connection) -> None:
    db.execute(f"CREATE SINK s IN CLUSTER work FROM things {KAFKA}".encode())
    assert one(db, "SELECT name, type, envelope_type, value_format FROM mz_sinks") == ("s", "kafka", "upsert", "json")
    assert one(db, "SELECT topic FROM mz_catalog.mz_kafka_sinks") == ("t",)
    until(lambda: status(db) == "running")
    history = db.execute(
        "SELECT status, count(DISTINCT replica_id) FROM mz_internal.mz_sink_status_history h"
        " JOIN mz_sinks s ON s.id = h.sink_id GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert history == [("running", 2), ("starting", 2)]
    assert db.execute("SHOW SINKS").fetchall() == [("s", "kafka", "work", "")]
    db.execute("ALTER SINK s RENAME TO other")
    db.execute("ALTER SINK other SET FROM counted")
    db.execute("DROP SINK other")
    assert db.execute("SELECT * FROM mz_internal.mz_sink_statuses").fetchall() == []
    assert one(db, "SELECT status FROM mz_internal.mz_sink_status_history ORDER BY occurred_at DESC LIMIT 1") == (
        "dropped",
    )


def test_counters_by_replica_follow_what_it_reads(sink: Connection) -> None:
    query = "SELECT messages_staged, messages_committed, bytes_committed FROM mz_internal.mz_sink_statistics"
    until(lambda: sink.execute(query.encode()).fetchall() == [(10, 10, 1000)] * 2)
    sink.execute("INSERT INTO things VALUES (11, 'y')")
    sink.execute("UPDATE things SET v = 'z' WHERE id = 11")
    until(lambda: sink.execute(query.encode()).fetchall() == [(12, 12, 1200)] * 2)
    # A replica more counts from nothing, and what one that is gone has counted stays for a day.
    sink.execute("ALTER CLUSTER work SET (REPLICATION FACTOR 3)")
    until(lambda: sorted(sink.execute(query.encode()).fetchall()) == [(0, 0, 0), (12, 12, 1200), (12, 12, 1200)])
    sink.execute("ALTER CLUSTER work SET (REPLICATION FACTOR 1)")
    until(lambda: "paused" in str(sink.execute("SELECT status FROM mz_internal.mz_sink_status_history").fetchall()))
    assert status(sink) == "running"
    assert len(sink.execute(query.encode()).fetchall()) == 3


def test_without_a_replica_it_is_paused(sink: Connection) -> None:
    sink.execute("ALTER CLUSTER work SET (REPLICATION FACTOR 0)")
    until(lambda: status(sink) == "paused")
    hints = until(
        lambda: sink.execute(
            "SELECT details FROM mz_internal.mz_sink_status_history WHERE status = 'paused' AND replica_id IS NULL"
        ).fetchone()
    )
    assert hints == ({"hints": ["There is currently no replica running this sink"]},)
    sink.execute("ALTER CLUSTER work SET (REPLICATION FACTOR 1)")
    until(lambda: status(sink) == "running")


def test_its_frontier_follows_that_of_what_it_reads(sink: Connection) -> None:
    behind = (
        "SELECT i.write_frontier - f.write_frontier, l.local_lag FROM mz_sinks s"
        " JOIN mz_internal.mz_frontiers f ON f.object_id = s.id"
        " JOIN mz_internal.mz_materialization_lag l ON l.object_id = s.id"
        " JOIN mz_internal.mz_frontiers i ON i.object_id = l.slowest_local_input_id"
    )
    assert 0 <= one(sink, behind)[0] < 2000
    with sink_faults(sink, freeze="sinks.s"):
        until(lambda: one(sink, behind)[0] > 1500)
        sink.execute("INSERT INTO things VALUES (12, 'y')")
    assert one(sink, "SELECT bool_and(hydrated) FROM mz_internal.mz_hydration_statuses") == (True,)


def test_iceberg_commits_at_intervals(db: Connection) -> None:
    into = "INTO ICEBERG CATALOG CONNECTION lake (NAMESPACE = 'n', TABLE = 't') USING AWS CONNECTION aws"
    db.execute(
        f"CREATE SINK s IN CLUSTER work FROM counted {into} KEY (n) NOT ENFORCED MODE UPSERT"
        " WITH (COMMIT INTERVAL = '2s')".encode()
    )
    query = "SELECT messages_staged, messages_committed FROM mz_internal.mz_sink_statistics ORDER BY 1 LIMIT 1"
    until(lambda: db.execute(query.encode()).fetchone() == (10, 0))
    until(lambda: db.execute(query.encode()).fetchone() == (10, 10))
    assert one(db, 'SELECT namespace, "table" FROM mz_catalog.mz_iceberg_sinks') == ("n", "t")


def test_an_error_that_comes_back(sink: Connection) -> None:
    with sink_faults(sink, stall="sinks.s"):
        until(lambda: status(sink) == "stalled")
        error, details = one(sink, "SELECT error, details FROM mz_internal.mz_sink_statuses WHERE name = 's'")
        assert error.startswith("kafka: ")
        assert set(details) == {"hints", "namespaced"}
        seen = until(
            lambda: (
                (
                    found := [
                        row[0]
                        for row in sink.execute(
                            "SELECT status FROM mz_internal.mz_sink_status_history h JOIN mz_cluster_replicas r"
                            " ON r.id = h.replica_id WHERE r.name = 'r1' ORDER BY occurred_at DESC LIMIT 4"
                        )
                    ]
                )
                and found.count("stalled") == 2
                and found
            )
        )
        assert seen == ["stalled", "running", "starting", "stalled"]
    until(lambda: status(sink) == "running")


def test_one_that_runs_hides_one_that_does_not(sink: Connection) -> None:
    newest = (
        "SELECT DISTINCT ON (replica_id) status FROM mz_internal.mz_sink_status_history"
        " ORDER BY replica_id, occurred_at DESC"
    )
    with sink_faults(sink, stall_replica="sinks.s/r2"):
        until(lambda: ("stalled",) in sink.execute(newest.encode()).fetchall())
        assert status(sink) == "running"


def test_commits_and_starts_that_do_not_come(sink: Connection) -> None:
    snapshot = "SELECT min(messages_committed) FROM mz_internal.mz_sink_statistics"
    until(lambda: one(sink, snapshot) == (10,))
    query = "SELECT messages_staged - messages_committed FROM mz_internal.mz_sink_statistics LIMIT 1"
    with sink_faults(sink, commit_stall="*"):
        sink.execute("INSERT INTO things VALUES (13, 'y')")
        until(lambda: sink.execute(query.encode()).fetchone() == (1,))
        assert status(sink) == "running"
    until(lambda: sink.execute(query.encode()).fetchone() == (0,))
    with sink_faults(sink, stuck_starting="sinks.s", replica_loss="work/r2"):
        until(lambda: status(sink) == "starting")
        lost = one(
            sink,
            "SELECT r.name, t.status, t.reason FROM mz_internal.mz_cluster_replica_statuses t"
            " JOIN mz_cluster_replicas r ON r.id = t.replica_id WHERE t.status <> 'online'",
        )
        assert lost == ("r2", "offline", "oom-killed")


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        (f"CREATE SINK s FROM plain {KAFKA}", "plain is a view, which cannot be exported as a sink"),
        (f"CREATE SINK s FROM nothing {KAFKA}", "unknown catalog item 'nothing'"),
        (f"CREATE SINK s IN CLUSTER nowhere FROM things {KAFKA}", "unknown cluster 'nowhere'"),
        ("CREATE SINK s FROM things INTO KAFKA CONNECTION lake (TOPIC 't') FORMAT JSON", "not a KAFKA CONNECTION"),
        ("CREATE SINK s FROM things INTO KAFKA CONNECTION kafka (TOPIC 't') FORMAT JSON ENVELOPE UPSERT", "KEY"),
        ("CREATE SINK s FROM things INTO KAFKA CONNECTION kafka () FORMAT JSON", "without TOPIC"),
        ("CREATE SINK s FROM things INTO KAFKA CONNECTION kafka (TOPIC 't') FORMAT XML", "one of AVRO"),
        ("DROP SINK s", "unknown catalog item 's'"),
        ("DROP SINK things", "is not a sink"),
    ],
)
def test_what_is_refused(db: Connection, statement: str, text: str) -> None:
    with pytest.raises(psycopg.Error, match=text):
        db.execute(statement.encode())
