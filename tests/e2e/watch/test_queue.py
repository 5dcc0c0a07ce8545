"""Removal events: from the bucket through SQS to the wait."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from mz_orchestration.errors import (
    ConfigurationError,
    CredentialsError,
    MzOrchestrationError,
    NotFoundError,
    UnavailableError,
)
from mz_orchestration.exports.watch.wait import WaitPolicy
from mz_orchestration.exports.watch.watcher import Watcher
from mz_orchestration.objectstore.client import ObjectStore, ObjectStoreConfig
from mz_orchestration.objectstore.location import Location
from mz_orchestration.objectstore.queue import RemovalQueue

BODIES = Path(__file__).parents[2] / "fixtures" / "events"
# Polling alone would not end within any test.
SLOW = WaitPolicy(deadline=120, first_poll=100, poll=100, settle=0.1)
_numbers = itertools.count()


class Queue:
    """An SQS queue and what lies in it."""

    def __init__(self, sqs: Any, url: str) -> None:
        self.sqs, self.url = sqs, url
        self.arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def send(self, body: str) -> None:
        self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def sizes(self) -> tuple[int, int]:
        """Messages that may be received, and messages in flight or handed back for later."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])


@pytest.fixture
def queue(environment: dict[str, str]) -> Iterator[Queue]:
    sqs = boto3.client("sqs")
    made = Queue(sqs, sqs.create_queue(QueueName=f"removals-{next(_numbers)}")["QueueUrl"])
    yield made
    sqs.delete_queue(QueueUrl=made.url)


@pytest.fixture
def notified(queue: Queue, store: ObjectStore) -> Iterator[Queue]:
    """A queue that the stack's bucket tells of removed sentinels."""
    configuration: Any = {
        "QueueConfigurations": [
            {
                "QueueArn": queue.arn,
                "Events": ["s3:ObjectRemoved:*"],
                "Filter": {"Key": {"FilterRules": [{"Name": "suffix", "Value": "-INCOMPLETE"}]}},
            }
        ]
    }
    bucket = "mz-exports"
    store.client.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)
    yield queue
    store.client.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})


async def nobody(bucket: str, key: str) -> int:
    return 0


def removal(folder: Location, name: str = "mz-t12-INCOMPLETE", event: str = "ObjectRemoved:Delete") -> str:
    record = {"eventName": event, "s3": {"bucket": {"name": folder.bucket}, "object": {"key": folder.key + name}}}
    return json.dumps({"Records": [record]})


def test_the_command_is_woken(new_export: Any, command: Any, notified: Queue) -> None:
    export = new_export().begin().write()
    waiting = command(str(export.folder), "--queue", notified.url, "--poll", "100", "--settle", "100")
    waiting.says("wait for")
    # The test event of the notification goes first: then the queue is being read.
    while notified.sizes() != (0, 0):
        assert waiting.process.poll() is None
    export.write(1).end()
    code, output, errors = waiting.ended()
    assert code == 0, errors
    assert output == f"complete: {export.folder}  files=2 size=8 B\n"


def test_an_event_ends_the_wait_it_concerns_and_is_deleted(
    new_export: Any, store: ObjectStore, notified: Queue
) -> None:
    one, two = new_export("one").begin(), new_export("two").begin()

    async def scenario() -> None:
        async with Watcher(store, SLOW) as watcher:
            reading = asyncio.create_task(RemovalQueue(notified.url).run(watcher.wake))
            waits = [asyncio.create_task(watcher.wait(export.folder)) for export in (one, two)]
            while len([last for _, last in watcher.status() if "sentinel" in last]) < 2:
                await asyncio.sleep(0.02)
            await asyncio.to_thread(lambda: one.write().end())
            assert (await waits[0]).sentinel_seen
            assert not waits[1].done()
            while await asyncio.to_thread(notified.sizes) != (0, 0):
                await asyncio.sleep(0.05)
            waits[1].cancel()
            reading.cancel()

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["delete", "delete_marker", "sns", "eventbridge", "eventbridge_delete_marker"])
def test_recorded_bodies_wake_their_path(queue: Queue, name: str) -> None:
    queue.send((BODIES / f"{name}.json").read_text())
    woken = []

    async def wake(bucket: str, key: str) -> int:
        woken.append((bucket, key))
        return 1

    assert asyncio.run(RemovalQueue(queue.url).poll_once(wake, seconds=1)) == 1
    folder = "exports/shop.orders/dt=2026-11-22/20261122T000000Z-0a1b2c3d-01/"
    assert woken == [("acme-exports", f"{folder}mz-t3786-INCOMPLETE")]
    assert queue.sizes() == (0, 0)


@pytest.mark.parametrize(
    ("body", "left", "told"),
    [
        ((BODIES / "test_event.json").read_text(), 0, 0),
        ((BODIES / "sns_test_event.json").read_text(), 0, 0),
        ((BODIES / "probe_of_a_versioned_bucket.json").read_text(), 1, 1),
        ((BODIES / "created.json").read_text(), 1, 1),
        ((BODIES / "eventbridge_lifecycle.json").read_text(), 1, 1),
        ("not an event", 1, 1),
    ],
)
def test_what_wakes_nobody(queue: Queue, body: str, left: int, told: int) -> None:
    queue.send(body)
    problems: list[MzOrchestrationError] = []

    async def wake(bucket: str, key: str) -> int:
        raise AssertionError("nobody is to be woken")

    assert asyncio.run(RemovalQueue(queue.url, on_problem=problems.append).poll_once(wake, seconds=1)) == 1
    assert queue.sizes() == (0, left)
    assert len(problems) == told


def test_a_removal_nobody_here_waits_for_is_left_to_others(queue: Queue, base: Location) -> None:
    queue.send(removal(base))
    reader = RemovalQueue(queue.url, hand_back=1)
    asyncio.run(reader.poll_once(nobody, seconds=1))
    assert queue.sizes() == (0, 1)
    woken = []

    async def wake(bucket: str, key: str) -> int:
        woken.append(key)
        return 1

    # It comes back sooner than a message that is being acted on, which is hidden for a minute.
    assert asyncio.run(reader.poll_once(wake, seconds=20)) == 1
    assert woken == [f"{base.key}mz-t12-INCOMPLETE"]
    assert queue.sizes() == (0, 0)


@pytest.mark.parametrize("options", [{"unclaimed": "delete"}, {"stale_after": -1.0}])
def test_a_removal_of_no_use_to_anybody_is_deleted(queue: Queue, base: Location, options: Any) -> None:
    queue.send(removal(base))
    asyncio.run(RemovalQueue(queue.url, **options).poll_once(nobody, seconds=1))
    assert queue.sizes() == (0, 0)


def test_a_message_is_kept_until_the_look_succeeds(new_export: Any, queue: Queue) -> None:
    export = new_export().begin()

    class Busy(ObjectStore):
        busy = False

        def list_page(self, *arguments: Any, **options: Any) -> Any:
            if self.busy:
                raise UnavailableError("503 SlowDown")
            return super().list_page(*arguments, **options)

    async def scenario() -> None:
        store = Busy()
        problems: list[MzOrchestrationError] = []
        reader = RemovalQueue(queue.url, hand_back=1, on_problem=problems.append)
        async with Watcher(store, SLOW) as watcher:
            wait = asyncio.create_task(watcher.wait(export.folder))
            while not any("sentinel" in last for _, last in watcher.status()):
                await asyncio.sleep(0.02)
            await asyncio.to_thread(lambda: export.write().end())
            queue.send(removal(export.folder))
            store.busy = True
            assert await reader.poll_once(watcher.wake, seconds=1) == 1
            assert queue.sizes() == (0, 1)
            assert [str(problem) for problem in problems] == ["503 SlowDown"]
            assert not wait.done()
            store.busy = False
            assert await reader.poll_once(watcher.wake, seconds=15) == 1
            assert (await wait).sentinel_seen
            assert queue.sizes() == (0, 0)

    asyncio.run(scenario())


def test_duplicates_look_once(new_export: Any, queue: Queue) -> None:
    export = new_export()
    for _ in range(3):
        queue.send(removal(export.folder))
    woken = []

    async def wake(bucket: str, key: str) -> int:
        woken.append(key)
        return 1

    assert asyncio.run(RemovalQueue(queue.url).poll_once(wake, seconds=1)) == 3
    assert queue.sizes() == (0, 0)
    assert woken == [export.sentinel]


def test_a_missing_queue_and_a_wrong_key_are_named(queue: Queue) -> None:
    stranger = ObjectStoreConfig.model_validate({"aws_access_key_id": "AKIAX", "aws_secret_access_key": "y" * 40})
    with pytest.raises(NotFoundError, match="There is no queue at"):
        asyncio.run(RemovalQueue(queue.url + "-not").run(nobody))
    with pytest.raises(CredentialsError, match="We may not read"):
        asyncio.run(RemovalQueue(queue.url, stranger).run(nobody))
    with pytest.raises(ConfigurationError, match="is not the URL of an SQS queue"):
        RemovalQueue("removals")


def test_without_its_queue_the_command_polls(new_export: Any, command: Any, queue: Queue) -> None:
    export = new_export().begin().write()
    waiting = command(str(export.folder), "--queue", queue.url + "-not", "--poll", "0.2", "--settle", "0.2")
    waiting.says("the wait goes on by polling alone")
    export.end()
    assert waiting.ended()[0] == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_does_not_wait_for_the_long_poll(
    new_export: Any, command: Any, queue: Queue, number: signal.Signals, code: int
) -> None:
    queue.send((BODIES / "test_event.json").read_text())
    waiting = command(str(new_export().begin().folder), "--queue", queue.url)
    while queue.sizes() != (0, 0):
        assert waiting.process.poll() is None
    waiting.process.send_signal(number)
    assert waiting.ended()[0] == code
