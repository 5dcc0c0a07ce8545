"""Waits behind a network and a store that misbehave."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from mz_orchestration.errors import CredentialsError, MzOrchestrationError
from mz_orchestration.exports.watch.heads import Heads, SignedHead
from mz_orchestration.exports.watch.wait import CompletedExport, WaitPolicy, wait
from mz_orchestration.exports.watch.watcher import Watcher
from mz_orchestration.local.faults import Answer, FaultProxy, Match, Reset, StaleListing, Truncate
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.objectstore.client import ObjectStore, ObjectStoreConfig
from mz_orchestration.objectstore.location import Location

QUICK = WaitPolicy(deadline=60, first_poll=0.1, poll=0.2, settle=0.2)
LIST = Match(method="GET", query="list-type")
HEAD = Match(method="HEAD")

Waiter = Callable[[ObjectStore, Location], CompletedExport]


def alone(store: ObjectStore, folder: Location) -> CompletedExport:
    return wait(folder, store=store, policy=QUICK)


def watcher(store: ObjectStore, folder: Location) -> CompletedExport:
    async def scenario() -> CompletedExport:
        async with Watcher(store, QUICK) as many:
            return await many.wait(folder)

    return asyncio.run(scenario())


both = pytest.mark.parametrize("waiter", [alone, watcher])


@pytest.fixture
def proxy(stack: LocalStack) -> Iterator[FaultProxy]:
    with FaultProxy(("127.0.0.1", stack.state.servers["s3"].port)) as proxy:
        yield proxy


@pytest.fixture
def behind(proxy: FaultProxy, environment: dict[str, str]) -> ObjectStore:
    return ObjectStore(ObjectStoreConfig(endpoint_url=proxy.url))


class Waiting:
    """A wait in a thread of its own."""

    def __init__(self, waiter: Waiter, store: ObjectStore, folder: Location) -> None:
        self.done: CompletedExport | None = None
        self.error: MzOrchestrationError | None = None

        def work() -> None:
            try:
                self.done = waiter(store, folder)
            except MzOrchestrationError as error:
                self.error = error

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()

    def asked(self, proxy: FaultProxy, method: str) -> None:
        """Until a request of a kind was answered."""
        seen = len(proxy.requests)
        while not any(request.method == method for request in proxy.requests[seen:]):
            assert self.thread.is_alive()
            time.sleep(0.01)

    def ended(self) -> CompletedExport:
        self.thread.join(60)
        assert self.error is None
        assert self.done is not None
        return self.done


@both
def test_forbidden_to_look_is_never_gone(
    new_export: Any, behind: ObjectStore, proxy: FaultProxy, waiter: Waiter
) -> None:
    export = new_export().begin().write()
    proxy.add(StaleListing(), match=LIST)
    behind.list_page(export.folder)
    export.end()
    # The listing says it is there, HEAD does not say; and it is gone.
    refused = proxy.add(Answer(403), match=HEAD)
    with pytest.raises(CredentialsError):
        waiter(behind, export.folder)
    assert refused.hits >= 1


@both
def test_a_listing_of_yesterday_does_not_end_a_wait(
    new_export: Any, behind: ObjectStore, proxy: FaultProxy, waiter: Waiter
) -> None:
    export = new_export().begin().write()
    stale = proxy.add(StaleListing(), match=LIST, times=3)
    waiting = Waiting(waiter, behind, export.folder)
    waiting.asked(proxy, "HEAD")
    export.write(1).end()
    # HEAD says it is gone, the remembered listings say it is there: the listing decides, until it is fresh.
    assert len(waiting.ended().files) == 2
    assert stale.hits == 3


@both
@pytest.mark.parametrize("fault", [Answer(503), Answer(429), Reset(), Truncate(after_bytes=50)])
def test_a_store_that_stumbles(
    new_export: Any, behind: ObjectStore, proxy: FaultProxy, waiter: Waiter, fault: Any
) -> None:
    export = new_export().begin().write()
    struck = [proxy.add(fault, match=LIST, times=1)]
    if not isinstance(fault, Truncate):  # an answer to HEAD has no body
        struck.append(proxy.add(fault, match=HEAD, times=1))
    waiting = Waiting(waiter, behind, export.folder)
    waiting.asked(proxy, "HEAD")
    waiting.asked(proxy, "HEAD")
    export.end()
    assert len(waiting.ended().files) == 1
    assert [each.hits for each in struck] == [1] * len(struck)


# Signed addresses: the stack's own server takes none, as some buckets do not; moto's does.


@pytest.fixture(scope="module")
def moto() -> Iterator[int]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


class Counting(ObjectStore):
    """Counts what was asked in the usual way."""

    asked = 0

    def head(self, at: Location) -> Any:
        self.asked += 1
        return super().head(at)


_buckets = itertools.count()


@pytest.fixture
def lenient(moto: int) -> Iterator[tuple[Counting, FaultProxy, Location]]:
    with FaultProxy(("127.0.0.1", moto)) as proxy:
        store = Counting(
            ObjectStoreConfig.model_validate(
                {
                    "endpoint_url": proxy.url,
                    "region_name": "us-east-1",
                    "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE",
                    "aws_secret_access_key": "secret",
                }
            )
        )
        at = Location(f"signed-{next(_buckets)}", "one/mz-t1-INCOMPLETE")
        store.client.create_bucket(Bucket=at.bucket)
        store.client.put_object(Bucket=at.bucket, Key=at.key, Body=b"")
        yield store, proxy, at


def test_a_signed_address_serves_again_and_again(lenient: tuple[Counting, FaultProxy, Location]) -> None:
    store, proxy, at = lenient
    heads, signed = Heads(store), SignedHead()
    assert [heads.is_there(at, signed) for _ in range(3)] == [True] * 3
    assert store.asked == 0
    asked = [request.query for request in proxy.requests if request.method == "HEAD"]
    assert len(asked) == 3
    assert all("X-Amz-Signature" in query for query in asked)
    store.client.delete_object(Bucket=at.bucket, Key=at.key)
    assert not heads.is_there(at, signed)
    assert store.asked == 1
    # Another sentinel is not asked for under the first one's address.
    other = Location(at.bucket, "one/mz-t2-INCOMPLETE")
    store.client.put_object(Bucket=other.bucket, Key=other.key, Body=b"")
    assert heads.is_there(other, signed)
    assert store.asked == 1


@pytest.mark.parametrize(("status", "asked_by_boto3"), [(403, 3), (400, 3), (503, 1)])
def test_a_signed_address_that_is_refused_says_nothing(
    lenient: tuple[Counting, FaultProxy, Location], status: int, asked_by_boto3: int
) -> None:
    store, proxy, at = lenient
    proxy.add(Answer(status), match=HEAD, times=1)
    heads, signed = Heads(store), SignedHead()
    assert [heads.is_there(at, signed) for _ in range(3)] == [True] * 3
    assert store.asked == asked_by_boto3


def test_forbidden_both_ways_is_an_error(lenient: tuple[Counting, FaultProxy, Location]) -> None:
    store, proxy, at = lenient
    proxy.add(Answer(403), match=HEAD)
    with pytest.raises(CredentialsError):
        Heads(store).is_there(at, SignedHead())
