"""What the sensor and its trigger are made of, and how waits share a watcher."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from pydantic import SecretStr

from mz_orchestration.airflow.sensors.look import wait_policy
from mz_orchestration.airflow.sensors.s3 import S3SentinelRemovedSensor
from mz_orchestration.airflow.triggers.sentinel import SentinelRemovedTrigger
from mz_orchestration.airflow.triggers.shared_watcher import shared_watcher
from mz_orchestration.errors import ConfigurationError, MzOrchestrationError
from mz_orchestration.exports.watch.state import WaitPolicy
from mz_orchestration.objectstore.client import ObjectStoreConfig

PATH = "s3://bucket/exports/one/"
TIMES: dict[str, Any] = {"began": "2026-11-23T00:00:00+00:00", "deadline": "2026-11-23T01:00:00+00:00"}


def config(secret: str = "one") -> ObjectStoreConfig:
    return ObjectStoreConfig(
        endpoint_url="http://127.0.0.1:9",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key=SecretStr(secret),
    )


def test_every_argument_is_keyword_only_and_told_of() -> None:
    for kind in (S3SentinelRemovedSensor, SentinelRemovedTrigger):
        own = [
            each
            for each in inspect.signature(kind.__init__).parameters.values()
            if each.name != "self" and each.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        assert {each.kind for each in own} == {inspect.Parameter.KEYWORD_ONLY}
        assert all(f":param {each.name}:" in (kind.__doc__ or "") for each in own)
    decided_by_the_author_of_the_task = {"poke_interval", "deferrable"}
    own_names = set(inspect.signature(S3SentinelRemovedSensor.__init__).parameters) - {"self", "kwargs"}
    assert own_names - decided_by_the_author_of_the_task == set(S3SentinelRemovedSensor.template_fields)


def test_it_can_be_mapped() -> None:
    mapped = S3SentinelRemovedSensor.partial(task_id="wait", mode="reschedule").expand(path=[PATH])
    assert mapped.task_id == "wait"


def test_made_again_the_trigger_is_the_same() -> None:
    trigger = SentinelRemovedTrigger(path=PATH, aws_conn_id=None, start_deadline=60, silent_fail=True, **TIMES)
    classpath, kwargs = trigger.serialize()
    module, _, name = classpath.rpartition(".")
    again = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(kwargs)), of_another_version=1)
    assert again.serialize() == (classpath, kwargs)
    assert set(kwargs) == set(inspect.signature(SentinelRemovedTrigger.__init__).parameters) - {"self", "_"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"settle": "soon"}, "settle: 'soon'"),
        ({"abandoned_after": None}, "abandoned_after: None"),
        ({"start_deadline": "-1"}, "start_deadline: -1.0"),
    ],
)
def test_what_is_no_number_of_seconds_is_refused(arguments: dict[str, Any], message: str) -> None:
    given = {"start_deadline": "", "settle": "5", "abandoned_after": "3600", **arguments}
    with pytest.raises(ConfigurationError, match=message):
        wait_policy(**given, poll=1.0)


def test_templates_may_leave_a_limit_empty() -> None:
    policy = wait_policy(start_deadline="", settle="2.5", abandoned_after="60", poll=0.0)
    assert (policy.start_deadline, policy.settle, policy.abandoned_after) == (None, 2.5, 60.0)


def on_a_loop(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_waits_of_one_store_share_a_watcher_whatever_their_deadlines() -> None:
    async def scenario() -> None:
        async with shared_watcher(config(), WaitPolicy(deadline=1)) as one:
            async with shared_watcher(config(), WaitPolicy(deadline=2, start_deadline=1)) as other:
                assert other is one
            async with shared_watcher(config(), WaitPolicy()) as later:
                assert later is one

    on_a_loop(scenario)


@pytest.mark.parametrize(
    ("other", "policy"),
    [(config("two"), WaitPolicy()), (None, WaitPolicy()), (config(), WaitPolicy(poll=1))],
    ids=["credentials", "environment", "interval"],
)
def test_others_do_not(other: ObjectStoreConfig | None, policy: WaitPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    async def scenario() -> None:
        async with shared_watcher(config(), WaitPolicy()) as one, shared_watcher(other, policy) as two:
            assert one is not two

    on_a_loop(scenario)


def test_the_last_to_leave_closes_it() -> None:
    async def scenario() -> None:
        async with shared_watcher(config(), WaitPolicy()) as one:
            pass
        async with shared_watcher(config(), WaitPolicy()) as two:
            assert two is not one
        with pytest.raises(RuntimeError, match="after shutdown"):
            one._pool.submit(int)

    on_a_loop(scenario)
    on_a_loop(scenario)  # and another loop has its own


def test_who_leaves_while_it_is_made_does_not_take_it_away() -> None:
    async def scenario() -> None:
        async def use() -> bool:
            async with shared_watcher(config(), WaitPolicy()) as watcher:
                return len(watcher) == 0

        first, second = asyncio.create_task(use()), asyncio.create_task(use())
        await asyncio.sleep(0)
        first.cancel()
        assert await second
        assert (await asyncio.gather(first, return_exceptions=True))[0].__class__ is asyncio.CancelledError
        alone = asyncio.create_task(use())
        await asyncio.sleep(0)
        alone.cancel()
        await asyncio.gather(alone, return_exceptions=True)
        assert await use()

    on_a_loop(scenario)


def test_a_store_that_cannot_be_opened_fails_its_own_waits_only() -> None:
    broken = ObjectStoreConfig(profile_name="no-such-profile-here")

    async def scenario() -> None:
        async def use(store: ObjectStoreConfig) -> int:
            async with shared_watcher(store, WaitPolicy()) as watcher:
                return len(watcher)

        answers = await asyncio.gather(use(broken), use(config()), use(broken), return_exceptions=True)
        assert answers[1] == 0
        assert all(isinstance(each, MzOrchestrationError) for each in (answers[0], answers[2]))

    on_a_loop(scenario)
