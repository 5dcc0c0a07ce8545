"""Sinks and sources of the stand-in: made, living, failing on request, by the relations that clients read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from mz_orchestration.local.materialize.sink_faults import act_on_sinks, sink_faults

from .conftest import StandIn, wait_for

FAST = {"publish_every": 0.1, "tick": 0.03, "starting_seconds": 0.1, "broken_seconds": 0.3}
KAFKA = (
    "INTO KAFKA CONNECTION kafka (TOPIC 't', COMPRESSION TYPE lz4) KEY (id) NOT ENFORCED FORMAT JSON ENVELOPE UPSERT"
)
PLAIN = "INTO KAFKA CONNECTION kafka (TOPIC 't') FORMAT JSON ENVELOPE DEBEZIUM"
ICEBERG = "INTO ICEBERG CATALOG CONNECTION lake (NAMESPACE = 'n', TABLE = 't') USING AWS CONNECTION local_s3"
SINGLE = "If you're running a single Kafka broker"
Connection = psycopg.Connection[Any]


@pytest.fixture
def db(server: StandIn) -> Iterator[Connection]:
    """A schema with a table, connections and a cluster of one replica; time passes fast."""
    with server.connect() as connection:
        connection.execute("CREATE SCHEMA live")
        connection.execute("SET search_path = live, public")
        connection.execute("CREATE TABLE things (id bigint, v text)")
        connection.execute("INSERT INTO things SELECT i, 'x' FROM generate_series(1, 10) i")
        connection.execute("CREATE MATERIALIZED VIEW doubled AS SELECT id * 2 AS id FROM things")
        connection.execute("CREATE VIEW plain AS SELECT id FROM things")
        connection.execute("CREATE CONNECTION kafka TO KAFKA (BROKER 'b:9092', SECURITY PROTOCOL = 'PLAINTEXT')")
        connection.execute(
            "CREATE CONNECTION lake TO ICEBERG CATALOG (CATALOG TYPE = 's3tablesrest', URL = 'u', WAREHOUSE = 'w',"
            " AWS CONNECTION = local_s3)"
        )
        connection.execute("CREATE CLUSTER work (SIZE = '25cc', REPLICATION FACTOR = 1)")
        with sink_faults(connection, **FAST):
            yield connection
        connection.execute("DROP CLUSTER work CASCADE")
        connection.execute("DROP CONNECTION kafka, lake CASCADE")
        connection.execute("DROP SCHEMA live CASCADE")


def rows(db: Connection, query: str) -> list[tuple[Any, ...]]:
    return db.execute(query.encode()).fetchall()


def until(db: Connection, query: str, *wanted: tuple[Any, ...]) -> None:
    wait_for(lambda: rows(db, query) == list(wanted), f"{query}: {wanted}", 6)


def status(db: Connection, *wanted: str, of: str = "s", kind: str = "sink") -> None:
    query = f"SELECT status FROM mz_internal.mz_{kind}_statuses WHERE name = '{of}'"
    wait_for(lambda: rows(db, query)[0][0] in wanted, f"{of} is {wanted}", 6)


def counters(db: Connection, *wanted: tuple[int, int], of: str = "s") -> None:
    until(
        db,
        "SELECT messages_staged, messages_committed FROM mz_internal.mz_sink_statistics t"
        f" JOIN mz_sinks s USING (id) WHERE s.name = '{of}' ORDER BY replica_id",
        *wanted,
    )


def history(db: Connection, of: str = "s") -> list[str]:
    query = (
        "SELECT status FROM mz_internal.mz_sink_status_history h JOIN mz_sinks s ON s.id = h.sink_id"
        f" WHERE s.name = '{of}' ORDER BY occurred_at"
    )
    return [each for (each,) in rows(db, query)]


@pytest.fixture
def sink(db: Connection) -> Connection:
    """A sink that has sent its snapshot."""
    db.execute(f"CREATE SINK s IN CLUSTER work FROM things {KAFKA}".encode())
    counters(db, (10, 10))
    return db


def test_made_listed_altered_and_dropped(db: Connection) -> None:
    db.execute(f"CREATE SINK s IN CLUSTER work FROM live.things {KAFKA}".encode())
    [(created, since)] = rows(db, "SELECT status, last_status_change_at FROM mz_internal.mz_sink_statuses")
    assert created in ("created", "starting")
    assert (since is None) == (created == "created")
    status(db, "running")
    assert history(db) == ["starting", "running"]
    until(db, "SELECT hydrated FROM mz_internal.mz_hydration_statuses h JOIN mz_sinks s ON s.id = object_id", (True,))
    assert rows(db, "SELECT name, type, envelope_type, key_format, value_format FROM mz_sinks") == [
        ("s", "kafka", "upsert", "json", "json")
    ]
    [(text,)] = rows(db, "SELECT create_sql FROM mz_sinks")
    assert text.startswith('CREATE SINK "materialize"."live"."s" IN CLUSTER [u')
    assert text.endswith(KAFKA)
    assert rows(db, "SELECT topic FROM mz_kafka_sinks") == [("t",)]
    assert rows(db, "SHOW SINKS") == [("s", "kafka", "work", "")]
    names = "SELECT name, object_type, schema_name FROM mz_internal.mz_object_fully_qualified_names WHERE name = 's'"
    assert rows(db, names) == [("s", "sink", "live")]
    needs = (
        "SELECT o.name FROM mz_internal.mz_object_dependencies d JOIN mz_sinks s ON s.id = d.object_id"
        " JOIN mz_objects o ON o.id = d.referenced_object_id ORDER BY 1"
    )
    assert rows(db, needs) == [("kafka",), ("things",)]
    db.execute("ALTER SINK s RENAME TO other")
    db.execute("ALTER SINK other SET FROM doubled")
    wait_for(lambda: history(db, "other") == ["starting", "running"] * 2, "another start", 6)
    assert rows(db, needs) == [("doubled",), ("kafka",)]
    db.execute("DROP SINK other")
    assert rows(db, "SELECT * FROM mz_internal.mz_sink_statuses") == []
    last = "SELECT status, replica_id FROM mz_internal.mz_sink_status_history ORDER BY occurred_at DESC LIMIT 1"
    until(db, last, ("dropped", None))
    assert db.execute("DROP SINK IF EXISTS other").statusmessage == "DROP SINK"


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        (f"CREATE SINK s FROM plain {KAFKA}", "plain is a view, which cannot be exported as a sink"),
        (f"CREATE SINK s FROM nothing {KAFKA}", "unknown catalog item 'nothing'"),
        (f"CREATE SINK s IN CLUSTER nowhere FROM things {KAFKA}", "unknown cluster 'nowhere'"),
        (f"CREATE SINK things FROM things {KAFKA}", "catalog item 'things' already exists"),
        (f"CREATE SINK s FROM things {PLAIN.replace('kafka', 'lake')}", "lake is not a kafka connection"),
        (f"CREATE SINK s FROM things {PLAIN.replace('DEBEZIUM', 'UPSERT')}", "upsert sinks must specify a key"),
        (f"CREATE SINK s FROM things {PLAIN.replace(' ENVELOPE DEBEZIUM', '')}", "ENVELOPE clause is required"),
        (f"CREATE SINK s FROM things {KAFKA.replace('(id)', '(other)')}", "No such column: other"),
        (f"CREATE SINK s FROM things {KAFKA.replace('(id)', '(id, id)')}", "Repeated column name in sink key: id"),
        ("CREATE SINK s FROM things INTO KAFKA CONNECTION kafka () FORMAT JSON ENVELOPE DEBEZIUM", "specify TOPIC"),
        (f"CREATE SINK s FROM things {ICEBERG} MODE APPEND", "COMMIT INTERVAL is required"),
        ("DROP SINK things", "is not a sink"),
        ("CREATE SOURCE s FROM LOAD GENERATOR COUNTER (MAX CARDINALITY 3)", "Expected TICK"),
    ],
)
def test_what_is_refused(db: Connection, statement: str, text: str) -> None:
    with pytest.raises(psycopg.Error, match=text):
        db.execute(statement.encode())


def test_what_a_sink_needs_stays_while_it_is_there(sink: Connection) -> None:
    for statement in ("DROP TABLE things", "DROP CONNECTION kafka", "DROP CLUSTER work"):
        with pytest.raises(psycopg.errors.DependentObjectsStillExist):
            sink.execute(statement.encode())
    sink.execute("DROP TABLE things CASCADE")
    assert rows(sink, "SELECT * FROM mz_sinks") == []


def test_counters_follow_what_it_reads(sink: Connection) -> None:
    sink.execute("INSERT INTO things VALUES (11, 'y'), (12, 'y')")
    sink.execute("UPDATE things SET v = 'z' WHERE id > 10")
    sink.execute("DELETE FROM things WHERE id = 12")
    sink.execute("BEGIN")
    sink.execute("INSERT INTO things VALUES (13, 'rolled back')")
    sink.execute("ROLLBACK")
    counters(sink, (15, 15))
    sink.execute(f"CREATE SINK late FROM doubled {PLAIN} WITH (SNAPSHOT = false)".encode())
    status(sink, "running", of="late")
    counters(sink, (0, 0), of="late")
    sink.execute("INSERT INTO things VALUES (14, 'through the view')")
    counters(sink, (1, 1), of="late")
    counters(sink, (16, 16))
    act_on_sinks(sink, "counters_reset", "live.s")
    counters(sink, (0, 0))
    counters(sink, (1, 1), of="late")


def test_they_are_published_now_and_then(sink: Connection) -> None:
    with sink_faults(sink, publish_every=3600):
        sink.execute("INSERT INTO things VALUES (11, 'y')")
        sink.execute(f"CREATE SINK late FROM things {PLAIN}".encode())
        status(sink, "running", of="late")
        counters(sink, (10, 10))
        counters(sink, of="late")
    counters(sink, (11, 11), of="late")


def test_iceberg_commits_at_its_interval(db: Connection) -> None:
    db.execute(f"CREATE SINK s FROM things {ICEBERG} MODE APPEND WITH (COMMIT INTERVAL = '1s')".encode())
    assert rows(db, 'SELECT namespace, "table" FROM mz_iceberg_sinks') == [("n", "t")]
    counters(db, (10, 0))
    counters(db, (10, 10))
    db.execute("UPDATE things SET v = 'a row goes and a row comes' WHERE id = 1")
    counters(db, (12, 10))
    counters(db, (12, 12))


def test_replicas_come_and_go(sink: Connection) -> None:
    sink.execute("ALTER CLUSTER work SET (REPLICATION FACTOR 0)")
    status(sink, "paused")
    shown = "SELECT details FROM mz_internal.mz_sink_statuses"
    assert rows(sink, shown) == [({"hints": ["The replica running this sink has been dropped"]},)]
    sink.execute(f"CREATE SINK fresh IN CLUSTER work FROM things {PLAIN}".encode())
    status(sink, "paused", of="fresh")
    hint = {"hints": ["There is currently no replica running this sink"]}
    assert (hint,) in rows(sink, shown)
    sink.execute("INSERT INTO things VALUES (11, 'y')")
    sink.execute("ALTER CLUSTER work SET (REPLICATION FACTOR 2)")
    status(sink, "running")
    # It goes on where it was, on one of the replicas.
    counters(sink, (10, 10), (1, 1))
    counters(sink, (11, 11), of="fresh")
    with sink_faults(sink, every_replica="live.s"):
        counters(sink, (10, 10), (1, 1), (0, 0))
        with sink_faults(sink, stall_replica="live.s/r2"):
            newest = (
                "SELECT DISTINCT ON (replica_id) h.status FROM mz_internal.mz_sink_status_history h"
                " JOIN mz_sinks s ON s.id = h.sink_id WHERE s.name = 's' AND replica_id IS NOT NULL"
                " ORDER BY replica_id, occurred_at DESC"
            )
            until(sink, newest, ("paused",), ("running",), ("stalled",))
            status(sink, "running")


def test_frontiers_follow_or_stand(sink: Connection) -> None:
    behind = (
        "SELECT i.write_frontier - f.write_frontier, extract(epoch FROM l.local_lag), o.name FROM mz_sinks s"
        " JOIN mz_internal.mz_frontiers f ON f.object_id = s.id"
        " JOIN mz_internal.mz_materialization_lag l ON l.object_id = s.id"
        " JOIN mz_internal.mz_frontiers i ON i.object_id = l.slowest_local_input_id"
        " JOIN mz_objects o ON o.id = l.slowest_global_input_id WHERE s.name = 's'"
    )
    until(sink, behind, (0, 0, "things"))
    with sink_faults(sink, freeze="live.s"):
        sink.execute("INSERT INTO things VALUES (11, 'y')")
        wait_for(lambda: rows(sink, behind)[0][0] > 1000, "lag", 6)
        status(sink, "running")
        counters(sink, (10, 10))
    until(sink, behind, (0, 0, "things"))
    counters(sink, (11, 11))


def test_errors_come_back_until_it_is_healed(sink: Connection) -> None:
    sink.execute(f"CREATE SINK well FROM things {PLAIN}".encode())
    with sink_faults(sink, stall="live.s", error="Local: Broker transport failure"):
        wait_for(lambda: history(sink).count("stalled") == 2, "two errors", 6)
        assert history(sink)[:6] == ["starting", "running", "stalled", "starting", "running", "stalled"]
        [(error, details)] = rows(
            sink,
            "SELECT DISTINCT error, details FROM mz_internal.mz_sink_status_history WHERE status = 'stalled'"
            " AND sink_id = (SELECT id FROM mz_sinks WHERE name = 's')",
        )
        assert error == "kafka: Local: Broker transport failure"
        assert details == {"namespaced": {"kafka": "Local: Broker transport failure"}}
    status(sink, "running")
    with sink_faults(sink, stay_stalled="live.s", flap="well"):
        status(sink, "stalled")
        [(details,)] = rows(sink, "SELECT details FROM mz_internal.mz_sink_statuses WHERE name = 's'")
        assert details["hints"][0].startswith(SINGLE)
        seen = len(history(sink))
        wait_for(lambda: history(sink, "well").count("stalled") >= 2, "flapping", 6)
        assert len(history(sink)) == seen
    status(sink, "running")
    status(sink, "running", of="well")


def test_what_status_does_not_tell(sink: Connection) -> None:
    with sink_faults(sink, commit_stall="*"):
        # Once the tick has taken note.
        wait_for(lambda: rows(sink, "SELECT extract(epoch FROM local_lag) > 0.5 FROM mz_internal.mz_materialization_lag"
                              " JOIN mz_sinks s ON s.id = object_id") == [(True,)], "no commits", 6)  # fmt: skip
        sink.execute("INSERT INTO things VALUES (11, 'y')")
        counters(sink, (11, 10))
        status(sink, "running")
    counters(sink, (11, 11))
    with sink_faults(sink, stuck_starting="live.s", reset_on_restart="live.s"):
        status(sink, "starting")
        counters(sink, (0, 0))
    status(sink, "running")
    with sink_faults(sink, replica_loss="work/r1"):
        lost = (
            "SELECT r.name, t.reason FROM mz_internal.mz_cluster_replica_statuses t JOIN mz_cluster_replicas r"
            " ON r.id = t.replica_id WHERE t.status = 'offline'"
        )
        until(sink, lost, ("r1", "oom-killed"))
        status(sink, "running")
        before = len(history(sink))
    until(sink, lost)
    wait_for(lambda: history(sink)[before:] == ["starting", "running"], "a start", 6)


def test_acts_happen_once(sink: Connection) -> None:
    for _ in range(3):
        seen = len(history(sink))
        act_on_sinks(sink, "reboot")
        wait_for(lambda seen=seen: len(history(sink)) != seen and history(sink)[-1] == "running", "a start", 6)  # type: ignore[misc]
    # Five were left of it, and two came after.
    assert len(history(sink)) == 7
    act_on_sinks(sink, "drop", "live.s")
    until(sink, "SELECT count(*) FROM mz_sinks", (0,))
    sink.execute(f"CREATE SINK s FROM things {PLAIN}".encode())
    status(sink, "running")


def test_a_source_that_counts(db: Connection) -> None:
    db.execute("ALTER CLUSTER work SET (REPLICATION FACTOR 2)")
    db.execute("CREATE SOURCE ticks IN CLUSTER work FROM LOAD GENERATOR COUNTER (TICK INTERVAL '50ms')")
    db.execute(f"CREATE SINK s FROM ticks {PLAIN}".encode())
    status(db, "running", of="ticks", kind="source")
    assert rows(db, "SHOW SOURCES") == [("ticks", "load-generator", "work", "")]
    wait_for(lambda: rows(db, "SELECT max(counter) > 3 FROM ticks") == [(True,)], "rows", 6)
    statistics = (
        "SELECT count(*), bool_and(offset_committed > 3 AND offset_committed <= offset_known AND updates_committed > 3)"
        " FROM mz_internal.mz_source_statistics"
    )
    until(db, statistics, (2, True))
    wait_for(
        lambda: rows(db, "SELECT max(messages_committed) > 3 FROM mz_internal.mz_sink_statistics") == [(True,)],
        "messages",
        6,
    )
    with sink_faults(db, stall_replica="live.ticks/r1"):
        until(db, "SELECT count(*) FROM mz_internal.mz_source_status_history WHERE status = 'stalled'", (1,))
        # One replica that runs hides one that does not.
        status(db, "running", of="ticks", kind="source")
    with sink_faults(db, stay_stalled="live.ticks"):
        status(db, "stalled", of="ticks", kind="source")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        db.execute("DROP SOURCE ticks")
    db.execute("DROP SOURCE ticks CASCADE")
    assert rows(db, "SELECT * FROM mz_sources") == []
