"""The sensor for sinks in its three modes over the local Materialize: the same end, error and result."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import psycopg
import pytest
from airflow.sdk import BaseOperator

from mz_orchestration.airflow.exceptions import RetryableError
from mz_orchestration.airflow.sensors.sink import MaterializeSinkHealthSensor
from mz_orchestration.airflow.triggers.sink_health import SinkHealthTrigger
from mz_orchestration.airflow.version_compat import AirflowFailException, AirflowSensorTimeout
from mz_orchestration.local.materialize.sink_faults import sink_faults

from .driving import Memory, Rescheduled, context_of, finish

KAFKA = "watched.orders_kafka"
Connection = psycopg.Connection[Any]
MODES: dict[str, dict[str, Any]] = {
    "poke": {},
    "reschedule": {"mode": "reschedule"},
    "deferred": {"deferrable": True},
}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    return MODES[str(request.param)]


@pytest.fixture(autouse=True)
def connection(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    login = f"{environment['PGUSER']}:{environment['PGPASSWORD']}"
    where = f"{environment['PGHOST']}:{environment['PGPORT']}/{environment['PGDATABASE']}"
    monkeypatch.setenv("AIRFLOW_CONN_MATERIALIZE_DEFAULT", f"materialize://{login}@{where}?sslmode=disable")


def sensor(**options: Any) -> MaterializeSinkHealthSensor:
    return MaterializeSinkHealthSensor(
        **{"task_id": "wait", "sink": KAFKA, "poke_interval": 0.3, "timeout": 20, **options}
    )


def drive(operator: BaseOperator) -> Any:
    result, _ = finish(operator, context_of("wait", ti=Rescheduled("wait"), task_state_store=Memory()))
    return result


def test_one_that_is_well(sinks: Connection, mode: dict[str, Any]) -> None:
    result = drive(sensor(**mode))
    assert (result["name"], result["verdict"], result["severity"]) == (KAFKA, "healthy", "ok")


def test_a_policy_of_its_own(sinks: Connection, mode: dict[str, Any]) -> None:
    assert drive(sensor(**mode, healthy_for=2, policy={"idle_after": 1}))["verdict"] == "idle"


def test_what_it_has_to_have_committed(sinks: Connection, mode: dict[str, Any]) -> None:
    timer = threading.Timer(1, sinks.execute, ["INSERT INTO watched.orders SELECT generate_series(1, 5)"])
    timer.start()
    assert drive(sensor(**mode, committed=5))["committed"] == 5
    timer.join()


def test_a_stall_that_lasts_fails_it_for_good(sinks: Connection, mode: dict[str, Any]) -> None:
    with (
        sink_faults(sinks, stay_stalled=KAFKA),
        pytest.raises(AirflowFailException, match=r"orders_kafka is stalled since .*cannot reach the brokers"),
    ):
        drive(sensor(**mode, fail_after=1, healthy_for=15))


def test_a_stall_that_may_pass_is_waited_out(sinks: Connection, mode: dict[str, Any]) -> None:
    with sink_faults(sinks, stay_stalled=KAFKA), pytest.raises(AirflowSensorTimeout):
        drive(sensor(**mode, fail_on=[], timeout=2, healthy_for=60))


def test_one_that_is_not_there(sinks: Connection, mode: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException, match="Did you mean 'orders_kafka'"):
        drive(sensor(**mode, sink="orders_kafk"))
    with pytest.raises(AirflowFailException, match="is a pattern"):
        drive(sensor(**mode, sink="watched.*"))
    with pytest.raises(AirflowFailException, match="committed"):
        drive(sensor(**mode, committed="many"))
    with pytest.raises(AirflowFailException, match=r"policy: idle_afer: .*Its fields are starting_after, "):
        drive(sensor(**mode, policy={"idle_afer": 60}))


def test_a_materialize_that_does_not_answer(
    sinks: Connection, monkeypatch: pytest.MonkeyPatch, mode: dict[str, Any]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MATERIALIZE_DEFAULT", "materialize://u:p@127.0.0.1:1/materialize")
    with pytest.raises(RetryableError):
        drive(sensor(**mode))


def test_the_trigger_in_the_database_holds_no_secret(environment: dict[str, str]) -> None:
    trigger = SinkHealthTrigger(wait={"sink": KAFKA}, deadline="2026-11-23T00:00:00+00:00")
    path, kwargs = trigger.serialize()
    assert path == "mz_orchestration.airflow.triggers.sink_health.SinkHealthTrigger"
    assert environment["PGPASSWORD"] not in str(kwargs)
    # What a later version has written, too.
    SinkHealthTrigger(**{**kwargs, "more": 1})


def test_a_deadline_that_is_over(sinks: Connection) -> None:
    trigger = SinkHealthTrigger(
        wait={"sink": KAFKA, "healthy_for": 60}, deadline="2026-11-23T00:00:00+00:00", poll_interval=0.1
    )

    async def event() -> Any:
        async for found in trigger.run():
            return found.payload

    payload = asyncio.run(event())
    assert payload["status"] == "timeout"
    assert "is healthy" in payload["message"]
