"""The watcher that is woken: from the bucket through SQS to events, and what becomes of the messages."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from mz_orchestration.airflow.triggers import sentinel_queue
from mz_orchestration.airflow.triggers.sentinel_queue import SentinelRemovedQueueTrigger
from mz_orchestration.errors import CredentialsError, NotFoundError
from mz_orchestration.local.faults import Answer, FaultProxy, Match
from mz_orchestration.objectstore.location import Location

from .conftest import BUCKET, Export, Triggerer, until

NewExport = Callable[..., Export]
BODIES = Path(__file__).parents[3] / "fixtures" / "events"
_numbers = itertools.count()


class Queue:
    """An SQS queue and what lies in it."""

    def __init__(self, sqs: Any, url: str) -> None:
        self.sqs, self.url = sqs, url
        self.arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def send(self, body: str) -> None:
        self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def remove(self, export: Export, event: str = "ObjectRemoved:Delete") -> None:
        where = {"bucket": {"name": export.folder.bucket}, "object": {"key": export.sentinel}}
        self.send(json.dumps({"Records": [{"eventName": event, "s3": where}]}))

    def sizes(self) -> tuple[int, int]:
        """Messages that may be received, and messages in flight or handed back for later."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    def is_empty(self) -> bool:
        return self.sizes() == (0, 0)


@pytest.fixture
def queue(clients: Callable[[str], Any]) -> Iterator[Queue]:
    sqs = clients("sqs")
    made = Queue(sqs, sqs.create_queue(QueueName=f"watchers-{next(_numbers)}")["QueueUrl"])
    yield made
    sqs.delete_queue(QueueUrl=made.url)


@pytest.fixture
def notified(queue: Queue, s3: Any) -> Iterator[Queue]:
    """A queue that the bucket tells of removed sentinels; it begins with a test event."""
    suffix = {"Name": "suffix", "Value": "-INCOMPLETE"}
    told = {
        "QueueArn": queue.arn,
        "Events": ["s3:ObjectRemoved:*"],
        "Filter": {"Key": {"FilterRules": [suffix]}},
    }
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [told]})
    yield queue
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})


@pytest.fixture
def watcher(base: Location, queue: Queue, connection: str) -> Callable[..., SentinelRemovedQueueTrigger]:
    def make(**options: Any) -> SentinelRemovedQueueTrigger:
        arguments = {"queue": queue.url, "folder": str(base), "aws_conn_id": connection}
        return SentinelRemovedQueueTrigger(**arguments | options)

    return make


def test_an_event_for_every_export_and_none_for_the_test_event(
    watcher: Any, new_export: NewExport, notified: Queue
) -> None:
    one, two = new_export("one").begin().write(), new_export("two", 13).begin().write().write(1)

    async def scenario() -> None:
        async with Triggerer() as triggerer:
            triggerer.start(watcher())
            await until(notified.is_empty)
            await asyncio.to_thread(one.end)
            told = await triggerer.next()
            assert (told["id"], told["files"], told["sentinel_seen"]) == (one.id, 1, True)
            await asyncio.to_thread(two.end)
            assert (await triggerer.next())["id"] == two.id
            await until(notified.is_empty)
            assert len(triggerer.events) == 2

    asyncio.run(scenario())


def test_a_message_is_deleted_when_its_event_is_stored(watcher: Any, new_export: NewExport, queue: Queue) -> None:
    export = new_export().write()
    queue.remove(export)

    async def scenario() -> None:
        async with Triggerer(stores=False) as triggerer:
            triggerer.start(watcher())
            assert (await triggerer.next())["id"] == export.id
            queue.send((BODIES / "test_event.json").read_text())
            await asyncio.sleep(0.5)
            assert queue.sizes() == (1, 1)
            triggerer.store()
            await until(queue.is_empty)

    asyncio.run(scenario())


def test_a_message_whose_event_was_not_stored_is_kept(watcher: Any, new_export: NewExport, queue: Queue) -> None:
    export = new_export().write()
    queue.remove(export)

    async def scenario() -> None:
        async with Triggerer(stores=False) as triggerer:
            triggerer.start(watcher())
            assert (await triggerer.next())["id"] == export.id
        assert queue.sizes() == (0, 1)

    asyncio.run(scenario())


def test_duplicates_are_told_of_once(watcher: Any, new_export: NewExport, queue: Queue) -> None:
    one, two = new_export("one").write(), new_export("two").write()
    for event in ("ObjectRemoved:Delete", "s3:ObjectRemoved:DeleteMarkerCreated", "ObjectRemoved:Delete"):
        queue.remove(one, event)

    async def scenario() -> None:
        async with Triggerer() as triggerer:
            triggerer.start(watcher())
            await until(queue.is_empty)
            queue.remove(one)
            queue.remove(two)
            await until(queue.is_empty)
            assert [each["id"] for each in triggerer.events] == [one.id, two.id]

    asyncio.run(scenario())


def test_what_is_no_completed_export_starts_nothing(watcher: Any, new_export: NewExport, queue: Queue) -> None:
    swept, again = new_export("swept"), new_export("again").write().begin()
    last = new_export("last").write()
    for export in (swept, again, last):
        queue.remove(export)

    async def scenario() -> None:
        async with Triggerer() as triggerer:
            triggerer.start(watcher())
            await until(queue.is_empty)
            assert [each["id"] for each in triggerer.events] == [last.id]

    asyncio.run(scenario())


def test_what_is_no_removal_blocks_nothing(
    watcher: Any, new_export: NewExport, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = ["not an event", (BODIES / "created.json").read_text(), '{"Records": [{"eventName": 5}]}']
    for body in foreign:
        queue.send(body)
    export = new_export().write()
    queue.remove(export)

    async def scenario() -> None:
        async with Triggerer() as triggerer:
            triggerer.start(watcher())
            assert (await triggerer.next())["id"] == export.id
            # They are left to the queue's own redrive policy.
            await until(lambda: queue.sizes() == (0, len(foreign)))

    asyncio.run(scenario())
    assert "is not an event of an object store" in caplog.text


def test_assets_share_a_queue_each_with_a_folder(
    watcher: Any, new_export: NewExport, queue: Queue, base: Location
) -> None:
    one, two, nobodys = new_export("one/x").write(), new_export("two/x").write(), new_export("three/x").write()
    for export in (one, two, nobodys):
        queue.remove(export)

    async def scenario() -> None:
        async with Triggerer() as triggerer:
            first, second = watcher(export="one"), watcher(folder=f"{base}two/")
            assert first.shared_stream_key() == second.shared_stream_key()
            triggerer.start(first)
            triggerer.start(second)
            assert {(await triggerer.next())["id"], (await triggerer.next())["id"]} == {one.id, two.id}
            # What nobody here watches is handed back, for others.
            await until(lambda: queue.sizes() == (0, 1))

    asyncio.run(scenario())


@pytest.mark.usefixtures("retries_at_once")
def test_a_store_that_does_not_answer_is_asked_again(
    watcher: Any, new_export: NewExport, queue: Queue, proxy: FaultProxy
) -> None:
    export = new_export().write()
    queue.remove(export)

    async def scenario() -> None:
        async with Triggerer() as triggerer:
            fault = proxy.add(Answer(503), match=Match(method="GET"), times=5)
            triggerer.start(watcher())
            await asyncio.to_thread(fault.wait, 5, 60)
            assert (await triggerer.next())["id"] == export.id
            await until(queue.is_empty)

    asyncio.run(scenario())


def test_the_manifest(watcher: Any, new_export: NewExport, queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    export = new_export("shop.orders/20261122T000000Z-0a1b2c3d-01").write()
    queue.remove(export)

    async def scenario() -> None:
        async with Triggerer() as triggerer:
            triggerer.start(watcher(require="manifest"))
            await until(lambda: "has no manifest yet" in capsys.readouterr().out)
            await asyncio.to_thread(export.verify)
            told = await triggerer.next()
            assert (told["export"], told["manifest"]) == ("shop.orders", f"{export.folder}_manifest.json")
            await until(queue.is_empty)

    asyncio.run(scenario())


def test_what_is_of_no_use_is_deleted_in_the_end(watcher: Any, new_export: NewExport, queue: Queue) -> None:
    queue.remove(new_export().write())

    async def scenario() -> None:
        async with Triggerer() as triggerer:
            triggerer.start(watcher(require="manifest", forget_after=0.001))
            await until(queue.is_empty)
            assert triggerer.events == []

    asyncio.run(scenario())


def test_what_is_refused_ends_the_watcher_and_says_why(watcher: Any, queue: Queue, proxy: FaultProxy) -> None:
    async def outcome(trigger: SentinelRemovedQueueTrigger) -> None:
        async with Triggerer() as triggerer:
            await asyncio.wait_for(triggerer.start(trigger), 30)

    with pytest.raises(NotFoundError, match="There is no queue"):
        asyncio.run(outcome(watcher(queue=f"{queue.url}-which-is-not-there")))
    refused = queue.url.replace(queue.url.split("/")[2], f"127.0.0.1:{proxy.port}")
    with proxy.fault(Answer(403)), pytest.raises(CredentialsError, match="We may not read"):
        asyncio.run(outcome(watcher(queue=refused)))


def test_without_shared_streams(
    watcher: Any, new_export: NewExport, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before Airflow 3.3."""
    one, two = new_export("one").write(), new_export("two").write()
    queue.remove(one)

    async def scenario() -> None:
        async with aclosing(watcher().run()) as events:
            assert (await asyncio.wait_for(anext(events), 30)).payload["id"] == one.id
            # Whoever took the event has not come back for the next.
            await asyncio.sleep(3 * sentinel_queue._STORED_WITHIN)
            assert queue.sizes() == (0, 1)
            waiting = asyncio.ensure_future(anext(events))
            await until(queue.is_empty)
            queue.remove(two)
            assert (await asyncio.wait_for(waiting, 30)).payload["id"] == two.id

    asyncio.run(scenario())
