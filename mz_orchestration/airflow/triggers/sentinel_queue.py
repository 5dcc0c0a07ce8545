"""The asset watcher that is woken: an event for every export whose sentinel's removal S3 tells an SQS queue of.

A message only wakes; a listing decides. On Airflow 3.3 a message is deleted when the events that came of it are stored
in Airflow's database, for which one reader per queue serves all assets that watch through it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from mz_orchestration.airflow.connections import aresolve
from mz_orchestration.airflow.triggers.folder import open_store, watched_folder
from mz_orchestration.airflow.triggers.looks import (
    TELLS_WHEN_STORED,
    SharedStreamProducer,
    pause_after,
    positive_seconds,
)
from mz_orchestration.errors import ConfigurationError, MzOrchestrationError, UnavailableError
from mz_orchestration.exports.watch.arrival import Arrival, judge_path
from mz_orchestration.exports.watch.arrivals import ArrivalPolicy
from mz_orchestration.exports.watch.wait import list_attempt
from mz_orchestration.flow import in_daemon_thread
from mz_orchestration.objectstore.location import Location
from mz_orchestration.objectstore.queue import RemovalQueue

if TYPE_CHECKING:
    from airflow.triggers.shared_stream import AdvanceItem

    from mz_orchestration.objectstore.client import ObjectStore

log = logging.getLogger(__name__)

_AMAZON = re.compile(r"\.amazonaws\.com(\.cn)?$")
# Watchers of one queue that begin together must all be there before a message is read.
_GATHER = 3.0
# The queue shows a message to others again after 60 s.
_ANSWERED_WITHIN = 45.0
# Where nobody tells when an event was stored: it is, within a second or two.
_STORED_WITHIN = 5.0
_REMEMBERED = 10_000


class SentinelRemovedQueueTrigger(BaseEventTrigger):
    """
    Be told by S3 of exports that complete: the trigger of an ``AssetWatcher``.

    The bucket's notification ``s3:ObjectRemoved:*`` with the suffix ``-INCOMPLETE`` goes to an SQS queue, directly,
    through SNS or through EventBridge. Events and payloads are those of ``SentinelRemovedEventTrigger``, which serves
    where there are no notifications. A removal tells of nothing where the listing does not show a complete export: it
    failed and was swept away, or another one runs there.

    What becomes of messages:

    - what an event came of, or what turned out to be no export: deleted, once the event is stored;
    - what cannot be decided yet, for the store does not answer or the manifest is not there: shown again after 5, 10,
      20 ... 300 s;
    - sentinels that nobody here watches: likewise, for others who read the queue;
    - both are deleted after ``forget_after`` seconds;
    - ``s3:TestEvent``: deleted; what is no event of a bucket: logged once, and left to the queue's redrive policy,
      which wants a ``maxReceiveCount`` of 20 or more.

    An export is told of at least once: twice if the triggerer dies between storing an event and deleting its message,
    or if S3 sends a message again after a restart. Before Airflow 3.3 nobody says when an event is stored, and a
    message is deleted 5 s after its event was handed over: what takes longer is lost if the triggerer dies. There,
    too, every watcher reads for itself, so that assets need queues of their own.

    :param queue: URL of the queue.
    :param folder: ``s3://bucket/folder/``; of everything else in the queue nothing is told.
    :param aws_conn_id: connection to the object store and the queue; None leaves it to boto3.
    :param export: only the exports below the folder of this name.
    :param require: ``sentinel``: it is gone. ``manifest``: our manifest is there, too.
    :param forget_after: seconds after which a message that was of no use is deleted. All watchers of one queue should
        have the same.
    """

    def __init__(
        self,
        *,
        queue: str,
        folder: str,
        aws_conn_id: str | None = "aws_default",
        export: str | None = None,
        require: str = "sentinel",
        forget_after: float = 6 * 3600.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.queue = queue
        self.folder = folder
        self.aws_conn_id = aws_conn_id
        self.export = export
        self.require = require
        self.forget_after = forget_after

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """
        Return what makes the trigger again elsewhere.

        :raises ConfigurationError: an argument cannot be used. Here, for this is called when the DAG is read, where its
            author sees it; an error of the constructor would end the triggerer.
        """
        watched_folder(self.folder, self.export)
        ArrivalPolicy(self.require)
        positive_seconds("forget_after", self.forget_after)
        if not urlsplit(self.queue).netloc:
            raise ConfigurationError(
                f"queue: {self.queue!r} is not the URL of an SQS queue.",
                hint="Write it as https://sqs.<region>.amazonaws.com/<account>/<name>.",
            )
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "queue": self.queue,
            "folder": self.folder,
            "aws_conn_id": self.aws_conn_id,
            "export": self.export,
            "require": self.require,
            "forget_after": self.forget_after,
        }

    def shared_stream_key(self) -> Hashable | None:
        """Return what the watchers of one queue have in common: one reader serves them all."""
        if not TELLS_WHEN_STORED:
            return None
        return f"{type(self).__module__}.{type(self).__qualname__}", self.queue, self.aws_conn_id, self.forget_after

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> RemovalProducer:
        """Return what reads the queue."""
        return RemovalProducer(kwargs["queue"], kwargs["aws_conn_id"], kwargs["forget_after"])

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncGenerator[TriggerEvent]:
        """
        Tell of the exports whose sentinels were removed.

        :param shared_stream: removals.
        """
        watched = watched_folder(self.folder, self.export)
        policy = ArrivalPolicy(self.require)
        told: dict[str, None] = {}
        store: ObjectStore | None = None
        async for removed in shared_stream:
            if removed.bucket != watched.bucket or not removed.key.startswith(watched.key):
                continue
            removed.wanted = True
            # Until all is said about it, the message must come back: whoever ends this generator cannot tell us.
            removed.undecided += 1
            folder = Location(removed.bucket, removed.key, watched.scheme).parent
            try:
                store = store or await open_store(self.aws_conn_id)
                objects = await in_daemon_thread(partial(list_attempt, store, folder))
            except MzOrchestrationError as error:
                self.log.error("Whether %s is complete cannot be seen: %s", folder, error)
                # Its credentials may have ended.
                store = None
                continue
            found = judge_path(folder, objects, datetime.now(UTC), watched)
            if not isinstance(found, Arrival):
                self.log.info("A sentinel in %s was removed, but no export has completed there: %s.", folder, found)
            elif policy.require == "manifest" and found.manifest is None:
                self.log.info("%s is complete, and has no manifest yet. The message is read again later.", folder)
                continue
            elif (payload := found.to_payload())["id"] not in told:
                told[payload["id"]] = None
                if len(told) > _REMEMBERED:
                    del told[next(iter(told))]
                self.log.info("The export to %s is complete, files: %d.", folder, found.files)
                yield TriggerEvent(payload)  # type: ignore[no-untyped-call]
            removed.undecided -= 1

    async def run(self) -> AsyncGenerator[TriggerEvent]:
        """Do the same where there are no shared streams, which is before Airflow 3.3."""
        producer = self.create_shared_stream_producer(self.serialize()[1])
        async with (
            aclosing(producer.open_stream()) as removals,
            aclosing(_answered_soon(removals)) as stream,
            aclosing(self.filter_shared_stream(stream)) as events,
        ):
            async for event in events:
                yield event


@dataclass(slots=True, eq=False)
class Removed:
    """
    A removed sentinel.

    :param answer: what becomes of its message: see ``RemovalQueue``.
    :param wanted: somebody watches the folder.
    :param undecided: how many of those have not come to an end with it.
    """

    bucket: str
    key: str
    answer: asyncio.Future[int]
    wanted: bool = False
    undecided: int = 0

    def settle(self, *, stored: bool) -> None:
        """
        Have its message deleted or shown again.

        :param stored: the events that came of it are in Airflow's database.
        """
        if self.answer.done():
            return
        if stored:
            self.answer.set_result(int(self.wanted and not self.undecided))
        else:
            self.answer.set_exception(_not_stored(self.key))


class RemovalProducer(SharedStreamProducer):
    """
    Reads a queue, and deletes the messages whose events were stored.

    :param queue: URL of the queue.
    :param aws_conn_id: connection to it.
    :param forget_after: seconds after which a message of no use is deleted.
    """

    def __init__(self, queue: str, aws_conn_id: str | None, forget_after: float) -> None:
        self._url = queue
        self._aws_conn_id = aws_conn_id
        self._forget_after = forget_after

    async def open_stream(self) -> AsyncGenerator[tuple[Removed, Removed]]:
        """
        Yield removed sentinels.

        :raises MzOrchestrationError: the queue refuses, or there is none.
        """
        try:
            async with aclosing(self._removed()) as removals:
                async for removed in removals:
                    yield removed, removed
        except Exception as error:
            await pause_after(error, self._url)
            raise

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Delete messages, or have them shown again."""
        for removed, outcome in batch:
            removed.settle(stored=outcome.is_clean)

    async def _removed(self) -> AsyncGenerator[Removed]:
        queue = await self._open()
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Removed] = asyncio.Queue()

        async def wake(bucket: str, key: str) -> int:
            removed = Removed(bucket, key, loop.create_future())
            arrived.put_nowait(removed)
            try:
                return await asyncio.wait_for(removed.answer, _ANSWERED_WITHIN)
            except TimeoutError:
                raise _not_stored(key) from None

        await asyncio.sleep(_GATHER)
        reading = asyncio.create_task(queue.run(wake))
        try:
            while True:
                next_one = asyncio.create_task(arrived.get())
                try:
                    await asyncio.wait({next_one, reading}, return_when=asyncio.FIRST_COMPLETED)
                    if reading.done():
                        reading.result()
                    removed = next_one.result()
                finally:
                    next_one.cancel()
                yield removed
        finally:
            reading.cancel()

    async def _open(self) -> RemovalQueue:
        systems = await aresolve({"aws": self._aws_conn_id})
        host = urlsplit(self._url)
        # The store's endpoint is not the queue's.
        endpoint = None if _AMAZON.search(host.hostname or "") else f"{host.scheme}://{host.netloc}"
        return await in_daemon_thread(
            lambda: RemovalQueue(
                self._url,
                systems.object_store,
                endpoint_url=endpoint,
                stale_after=self._forget_after,
                on_problem=lambda problem: log.warning("%s", problem),
            )
        )


async def _answered_soon(removals: AsyncIterator[tuple[Removed, Removed]]) -> AsyncGenerator[Removed]:
    """Take what came of a removal for stored a few seconds after it was handed over: nobody tells."""
    loop = asyncio.get_running_loop()
    async for removed, _ in removals:
        yield removed
        loop.call_later(_STORED_WITHIN, partial(removed.settle, stored=True))


def _not_stored(key: str) -> UnavailableError:
    return UnavailableError(
        f"Airflow has not stored what came of the removal of {key}.", hint="The message is read again."
    )
