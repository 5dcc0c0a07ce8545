"""Watching sinks of the local Materialize, by looks and by SUBSCRIBE."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from mz_orchestration.errors import ConfigurationError, CredentialsError, NotFoundError
from mz_orchestration.local.materialize.sink_faults import sink_faults
from mz_orchestration.materialize.connection import MaterializeConfig
from mz_orchestration.sinks.look import Looker
from mz_orchestration.sinks.policy import HealthPolicy
from mz_orchestration.sinks.selection import Selection
from mz_orchestration.sinks.subscription import Subscription
from mz_orchestration.sinks.verdict import Health, Verdict
from mz_orchestration.sinks.watch import Judge, Watch

from .conftest import Connection, until

KAFKA, LAKE = "watched.orders_kafka", "watched.orders_lake"
# Publications are a hundred times as frequent here.
QUICK = HealthPolicy(commit_after=2, stuck_after=2, starting_after=2, offline_after=1, idle_after=2)


def follow(watch: Watch, done: Callable[[dict[str, Health]], bool], seconds: float = 20.0) -> list[dict[str, Health]]:
    """The steps of a watch by name, until one is what is waited for."""
    found = []
    end = time.monotonic() + seconds
    for step in watch.steps():
        assert step.error is None
        found.append({health.name: health for health in step.healths.values()})
        if done(found[-1]):
            return found
        assert time.monotonic() < end, found[-1]
    raise AssertionError


def watching(policy: HealthPolicy = QUICK, **options: Any) -> Watch:
    return Watch(judge=Judge(policy, Selection(["watched.*"])), policy=policy, **{"every": 0.5, **options})


def test_a_look(sinks: Connection) -> None:
    with Looker() as looker:
        look = until(
            lambda: (
                (found := looker.look())
                and all(any(each.hydrated for each in sink.replicas) for sink in found.connectors.values())
                and found
            )
        )
        again = looker.look()
    by_name = {each.name: each for each in look.connectors.values()}
    assert set(by_name) == {KAFKA, LAKE}
    kafka, lake = by_name[KAFKA], by_name[LAKE]
    assert (kafka.type, kafka.cluster, kafka.status, kafka.commit_interval) == ("kafka", "watched", "running", None)
    assert (lake.type, lake.commit_interval) == ("iceberg", 1.0)
    assert [replica.name for replica in kafka.replicas] == ["r1", "r2"]
    assert all(replica.online for replica in kafka.replicas)
    # A sink runs on one of them.
    assert [replica.hydrated for replica in kafka.replicas].count(True) == 1
    assert {event.status for event in kafka.events} == {"starting", "running"}
    assert kafka.input == "watched.orders"
    assert kafka.position is not None
    assert kafka.input_position is not None
    assert again.at > look.at


def test_what_only_looks_like_a_commit_interval(sinks: Connection) -> None:
    sinks.execute(
        "CREATE SINK watched.odd IN CLUSTER watched FROM watched.orders INTO KAFKA CONNECTION watched.kafka"
        " (TOPIC 'COMMIT INTERVAL = ''soon''') FORMAT JSON ENVELOPE DEBEZIUM"
    )
    with Looker() as looker:
        (odd,) = Selection(["watched.odd"]).of(looker.look()).connectors.values()
    assert odd.commit_interval is None


def test_a_source(sinks: Connection) -> None:
    sinks.execute(
        "CREATE SOURCE watched.counter IN CLUSTER watched FROM LOAD GENERATOR COUNTER (TICK INTERVAL '100ms')"
    )
    judge = Judge(QUICK)
    with Looker(kind="source") as looker:
        end = time.monotonic() + 15
        while True:
            [health] = judge.judge(looker.look()).healths.values()
            if health.advanced > 3:
                break
            assert time.monotonic() < end, health
            time.sleep(0.2)
    assert (health.name, health.kind, health.type) == ("watched.counter", "source", "load-generator")
    assert health.verdict is Verdict.HEALTHY


@pytest.mark.parametrize("subscribe", [True, False], ids=["subscribe", "looks"])
def test_an_error_and_its_end(sinks: Connection, subscribe: bool) -> None:
    # Without a change it would not look for a minute.
    with watching(every=60 if subscribe else 0.5, subscribe=subscribe) as watch:
        follow(watch, lambda now: now[KAFKA].verdict is Verdict.HEALTHY)
        if subscribe:
            next(watch.steps())  # the snapshot of the subscription
        with sink_faults(sinks, stay_stalled=KAFKA):
            began = time.monotonic()
            health = follow(watch, lambda now: now[KAFKA].verdict is Verdict.STALLED)[-1][KAFKA]
            assert time.monotonic() - began < 5
            assert health.evidence[0].startswith("kafka: BrokerTransportFailure")
            assert "cannot reach the brokers" in health.advice
        follow(watch, lambda now: now[KAFKA].verdict in (Verdict.HEALTHY, Verdict.IDLE))


def test_what_only_movement_tells(sinks: Connection) -> None:
    with watching() as watch:
        follow(watch, lambda now: all(each.committed is not None for each in now.values()))
        with sink_faults(sinks, commit_stall=KAFKA, freeze=LAKE):

            def done(now: dict[str, Health]) -> bool:
                sinks.execute("INSERT INTO watched.orders SELECT generate_series(1, 5)")
                return now[KAFKA].verdict is Verdict.NOT_COMMITTING and now[LAKE].verdict is Verdict.NOT_MOVING

            follow(watch, done, 30)
        last = follow(watch, lambda now: not any(each.severity for each in now.values()))[-1]
        assert last[KAFKA].advanced > 0


def test_replicas_that_come_and_go_and_restarts_worry_nobody(sinks: Connection) -> None:
    with watching(HealthPolicy(), every=0.3) as watch:
        follow(watch, lambda now: all(each.verdict is Verdict.HEALTHY for each in now.values()))
        for factor in (3, 1, 2):
            sinks.execute(f"ALTER CLUSTER watched SET (REPLICATION FACTOR {factor})".encode())
            end = time.monotonic() + 2
            for now in follow(watch, lambda now, end=end: time.monotonic() > end):  # type: ignore[misc]
                assert not any(each.severity for each in now.values()), now
        sinks.execute("ALTER CLUSTER watched SET (REPLICATION FACTOR 0)")
        follow(watch, lambda now: all(each.verdict is Verdict.PAUSED for each in now.values()))


def test_what_is_dropped_is_told_of_once(sinks: Connection) -> None:
    with watching(every=60) as watch:
        follow(watch, lambda now: now[LAKE].verdict is Verdict.HEALTHY)
        next(watch.steps())
        sinks.execute("DROP SINK watched.orders_lake")
        last = follow(watch, lambda now: now[LAKE].verdict is Verdict.DROPPED)[-1]
        assert not last[KAFKA].severity
        sinks.execute("INSERT INTO watched.orders VALUES (1)")
        assert LAKE not in follow(watch, lambda now: LAKE not in now)[-1]


def test_the_next_process_goes_on_from_what_is_remembered(sinks: Connection) -> None:
    with watching() as watch:
        follow(watch, lambda now: now[KAFKA].committed is not None)
    memory = watch.judge.memory
    with Looker() as looker:
        step = Judge(QUICK, memory=memory).judge(looker.look())
    assert step.changes == ()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Judge(QUICK, memory={"version": 1, "connectors": {"u1": {"v": 1}}})


def test_a_connection_that_is_lost_is_made_anew(sinks: Connection) -> None:
    with watching(every=0.5) as watch:
        follow(watch, lambda now: now[KAFKA].verdict is Verdict.HEALTHY)
        sinks.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'mz-orchestration%'"
        )
        steps = watch.steps()
        seen = [next(steps) for _ in range(4)]
        assert seen[-1].error is None
        assert seen[-1].healths


def test_on_an_event_loop(sinks: Connection) -> None:
    async def first_stall() -> Health:
        with watching(every=60) as watch:
            async for step in watch.asteps():
                for health in step.changes:
                    if health.verdict is Verdict.STALLED:
                        return health
        raise AssertionError

    async def scenario() -> Health:
        task = asyncio.create_task(first_stall())
        await asyncio.sleep(1)
        with sink_faults(sinks, stay_stalled=KAFKA):
            return await asyncio.wait_for(task, 15)

    assert asyncio.run(scenario()).name == KAFKA


def test_a_subscription_tells_that_something_has_changed(sinks: Connection) -> None:
    subscription = Subscription()
    try:
        until(lambda: subscription.wait(1))
        # Progress alone is no change.
        quiet = [subscription.wait(1.5) for _ in range(3)]
        assert not all(quiet)
        sinks.execute("ALTER CLUSTER watched SET (REPLICATION FACTOR 0)")
        until(lambda: subscription.wait(1))
    finally:
        subscription.close()


def test_what_cannot_be_watched(environment: dict[str, str]) -> None:
    with (
        pytest.raises(NotFoundError, match="no sink or source 'nothing'"),
        Watch(judge=Judge(selection=Selection(["nothing"]))) as watch,
    ):
        next(watch.steps())
    wrong = MaterializeConfig(user="nobody", password="wrong")
    with pytest.raises(CredentialsError), Watch(wrong) as watch:
        next(watch.steps())
    nowhere = MaterializeConfig(host="127.0.0.1", port=1)
    with Watch(nowhere) as watch:
        step = next(watch.steps())
        assert step.error is not None
        assert step.error.retryable
