"""Sinks in Dagster: assets, checks that can be executed, and the sensor, over the local Materialize."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
import psycopg
import pytest

from mz_orchestration.dagster import (
    MaterializeResource,
    build_sink_assets,
    build_sink_checks,
    build_sink_health_sensor,
)
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.local.materialize.sink_faults import sink_faults
from mz_orchestration.sinks.policy import HealthPolicy

NAME, KEY = "streams.orders", dg.AssetKey(["materialize", "streams", "orders"])
Connection = psycopg.Connection[Any]


@pytest.fixture
def sink(materialize: Connection) -> Iterator[Connection]:
    materialize.execute("CREATE SCHEMA streams")
    materialize.execute("CREATE TABLE streams.source (id bigint)")
    materialize.execute("CREATE CONNECTION streams.kafka TO KAFKA (BROKER 'b:9092') WITH (VALIDATE = false)")
    with sink_faults(materialize, publish_every=0.2, starting_seconds=0.2, broken_seconds=0.5):
        materialize.execute(
            "CREATE SINK streams.orders FROM streams.source INTO KAFKA CONNECTION streams.kafka (TOPIC 't')"
            " FORMAT JSON ENVELOPE DEBEZIUM"
        )
        yield materialize
        materialize.execute("DROP SINK IF EXISTS streams.orders")
    materialize.execute("DROP CONNECTION streams.kafka")
    materialize.execute("DROP SCHEMA streams CASCADE")


class Ticks:
    """A sensor and its ticks, with a cursor between them as Dagster keeps it."""

    def __init__(self, instance: dg.DagsterInstance, **options: Any) -> None:
        self.instance = instance
        self.cursor: str | None = None
        self.sensor = build_sink_health_sensor(
            [NAME], **{"materialize": MaterializeResource(), "debounce": 0, "recover_after": 0, **options}
        )

    def tick(self) -> dg.SensorResult:
        result = self.sensor(dg.build_sensor_context(self.instance, self.cursor))
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        return result

    def until(self, kind: type, seconds: float = 10.0) -> Any:
        """The first event of a kind."""
        end = time.monotonic() + seconds
        while True:
            for event in self.tick().asset_events:
                if isinstance(event, kind):
                    return event
            assert time.monotonic() < end
            time.sleep(0.2)


def test_health_and_progress_become_events(sink: Connection, instance: dg.DagsterInstance) -> None:
    ticks = Ticks(instance, materialize_every=0)
    first = ticks.tick().asset_events
    assert [type(event) for event in first] == [dg.AssetObservation, dg.AssetCheckEvaluation]
    assert first[1].passed  # type: ignore[union-attr]
    sink.execute("INSERT INTO streams.source VALUES (1), (2)")
    made = ticks.until(dg.AssetMaterialization)
    assert made.asset_key == KEY
    assert made.metadata["materialize/advanced"].value == 2
    with sink_faults(sink, stay_stalled=NAME):
        failed = ticks.until(dg.AssetCheckEvaluation)
        assert (failed.asset_key, failed.check_name, failed.passed) == (KEY, "healthy", False)
        assert failed.severity is dg.AssetCheckSeverity.ERROR
        assert "kafka: BrokerTransportFailure" in failed.description
        # Once.
        assert ticks.tick().asset_events == []
    assert ticks.until(dg.AssetCheckEvaluation).passed
    assert instance.get_latest_materialization_event(KEY) is not None


def test_moments_debounced_and_heartbeats(sink: Connection, instance: dg.DagsterInstance) -> None:
    ticks = Ticks(instance, debounce=60, heartbeat=0)
    ticks.tick()
    with sink_faults(sink, stay_stalled=NAME):
        observed = ticks.until(dg.AssetObservation)
        while observed.metadata["materialize/verdict"].value != "stalled":
            observed = ticks.until(dg.AssetObservation)
        checks = [event for event in ticks.tick().asset_events if isinstance(event, dg.AssetCheckEvaluation)]
        # Told at each tick, and still green.
        assert [check.passed for check in checks] == [True]


def test_a_job_for_each_problem(sink: Connection, instance: dg.DagsterInstance) -> None:
    @dg.job
    def page() -> None:
        """Somebody is woken up."""

    ticks = Ticks(instance, job=page)
    ticks.tick()
    with sink_faults(sink, stay_stalled=NAME):
        requests: list[dg.RunRequest] = []
        end = time.monotonic() + 10
        while not requests:
            assert time.monotonic() < end
            requests = list(ticks.tick().run_requests or [])
            time.sleep(0.2)
        assert requests[0].tags["materialize/sink"] == NAME
        assert requests[0].tags["materialize/verdict"] == "stalled"
        assert requests[0].run_key is not None
        assert not ticks.tick().run_requests


def test_a_sink_that_is_not_there_and_one_that_goes(sink: Connection, instance: dg.DagsterInstance) -> None:
    ticks = Ticks(instance)
    ticks.tick()
    sink.execute("DROP SINK streams.orders")
    events = ticks.tick().asset_events
    assert [event.passed for event in events if isinstance(event, dg.AssetCheckEvaluation)] == [False]
    assert ticks.tick().asset_events == []
    anew = Ticks(instance)
    [check] = anew.tick().asset_events
    assert isinstance(check, dg.AssetCheckEvaluation)
    assert check.description == f"Materialize has no sink '{NAME}'."


@pytest.mark.parametrize("cursor", ["nonsense", "{}", json.dumps({"version": 1, "memory": {"version": 9}})])
def test_a_cursor_that_cannot_be_read(sink: Connection, instance: dg.DagsterInstance, cursor: str) -> None:
    ticks = Ticks(instance)
    ticks.cursor = cursor
    assert ticks.tick().asset_events


def test_a_materialize_that_does_not_answer_skips_the_tick(sink: Connection, instance: dg.DagsterInstance) -> None:
    ticks = Ticks(instance)
    ticks.tick()
    broken = Ticks(instance, materialize=MaterializeResource(host="127.0.0.1", port=1))
    skipped = broken.sensor(dg.build_sensor_context(instance, ticks.cursor))
    assert isinstance(skipped, dg.SkipReason)
    assert "could not be asked" in str(skipped.skip_message)


def test_checks_are_declared_and_can_be_executed(sink: Connection, instance: dg.DagsterInstance) -> None:
    checks = build_sink_checks([NAME, "streams.nothing"], policy=HealthPolicy())
    defs = dg.Definitions(
        assets=build_sink_assets([NAME, "streams.nothing"], group_name="streams"),
        asset_checks=[checks],
        resources={"materialize": MaterializeResource()},
    )
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=instance)
    found = {each.asset_key.path[-1]: each for each in result.get_asset_check_evaluations()}
    assert (found["orders"].passed, found["nothing"].passed) == (True, False)
    assert found["orders"].metadata["materialize/name"].value == NAME


@pytest.mark.parametrize(
    ("sinks", "options", "text"),
    [
        ([], {}, "name one sink at least"),
        ("streams.orders", {}, "in a list"),
        (["a", "a"], {}, "none twice"),
        (["streams.*"], {}, "is a pattern"),
        (["a.b.c.d"], {}, "is not a name"),
        (["a"], {"debounce": -1}, "debounce"),
        (["a"], {"heartbeat": -1}, "heartbeat: -1"),
    ],
)
def test_what_cannot_be_used(sinks: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        build_sink_health_sensor(sinks, **options)
