"""Asset watchers over the stack's S3 and SQS, driven as Airflow's triggerer drives them."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

# Airflow reads its settings when first imported.
if "AIRFLOW_HOME" not in os.environ:
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="mz-orchestration-airflow-")
    atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__USAGE_DATA_COLLECTION__ENABLED", "False")

from airflow.triggers.base import BaseEventTrigger
from airflow.triggers.shared_stream import SharedStreamManager

from mz_orchestration.airflow.triggers import looks, sentinel_queue
from mz_orchestration.local.faults import FaultProxy
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.objectstore.location import Location

BUCKET = "mz-exports"
WITHIN = 30.0
_numbers = itertools.count()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack() as local:
        yield local.start(tmp_path_factory.mktemp("watchers") / "mz", servers=("s3",))


@pytest.fixture
def proxy(stack: LocalStack) -> Iterator[FaultProxy]:
    with FaultProxy(("127.0.0.1", stack.state.servers["s3"].port)) as proxy:
        yield proxy


@pytest.fixture
def clients(stack: LocalStack) -> Callable[[str], Any]:
    environment = stack.environment
    client: Any = boto3.client
    return lambda service: client(
        service,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.fixture
def s3(clients: Callable[[str], Any]) -> Any:
    return clients("s3")


@pytest.fixture(autouse=True)
def connection(stack: LocalStack, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> str:
    """The connection ``stack_s3``, which leads through the proxy; and watchers in a hurry."""
    environment = stack.environment
    value = {
        "conn_type": "aws",
        "login": environment["AWS_ACCESS_KEY_ID"],
        "password": environment["AWS_SECRET_ACCESS_KEY"],
        "extra": json.dumps({"endpoint_url": proxy.url, "region_name": environment["AWS_REGION"]}),
    }
    monkeypatch.setenv("AIRFLOW_CONN_STACK_S3", json.dumps(value))
    monkeypatch.setattr(looks, "PAUSE_AFTER_FAILURE", 0.01)
    monkeypatch.setattr(sentinel_queue, "_GATHER", 0.05)
    monkeypatch.setattr(sentinel_queue, "_STORED_WITHIN", 0.1)
    return "stack_s3"


@pytest.fixture
def retries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 tries five times, and pauses for up to fifteen seconds in all."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0.01)


class Export:
    """An export whose steps the test takes one by one."""

    def __init__(self, s3: Any, folder: Location, number: int = 12) -> None:
        self.s3, self.folder, self.number = s3, folder, number
        self.sentinel = f"{folder.key}mz-t{number}-INCOMPLETE"
        self.id = f"{folder}#t{number}"

    def begin(self) -> Export:
        self.s3.put_object(Bucket=self.folder.bucket, Key=self.sentinel, Body=b"")
        return self

    def write(self, file: int = 0) -> Export:
        key = f"{self.folder.key}mz-t{self.number}-batch-{file:04d}-0000.parquet"
        self.s3.put_object(Bucket=self.folder.bucket, Key=key, Body=b"data")
        return self

    def end(self) -> Export:
        self.s3.delete_object(Bucket=self.folder.bucket, Key=self.sentinel)
        return self

    def verify(self) -> Export:
        self.s3.put_object(Bucket=self.folder.bucket, Key=f"{self.folder.key}_manifest.json", Body=b"{}")
        return self

    def whole(self) -> Export:
        return self.begin().write().end()


@pytest.fixture
def base() -> Location:
    """A folder of one's own."""
    return Location(BUCKET, f"watchers/{next(_numbers):04d}/")


@pytest.fixture
def new_export(s3: Any, base: Location) -> Callable[..., Export]:
    return lambda name="one", number=12: Export(s3, base.child(f"{name}/"), number)


class StateStore:
    """The state store of one asset: a stand-in, for the real one wants a supervisor."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.fails = False

    async def aget(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        if self.fails:
            raise RuntimeError("no database")
        self.values[key] = json.loads(json.dumps(value))


class Triggerer:
    """What the triggerer does with watchers: the real shared streams, with a database that stores when it is told to.

    :param stores: events are stored at once.
    """

    def __init__(self, *, stores: bool = True) -> None:
        self.stores = stores
        self.events: list[dict[str, Any]] = []
        self.told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.manager = SharedStreamManager()
        self.tasks: list[asyncio.Task[None]] = []
        self._unstored: list[int] = []

    async def __aenter__(self) -> Triggerer:
        return self

    async def __aexit__(self, *_: object) -> None:
        """End, and store nothing any more."""
        self.stores = False
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.manager.stop_all()

    def start(self, trigger: BaseEventTrigger, store: StateStore | None = None) -> asyncio.Task[None]:
        trigger.asset_state_store = store  # type: ignore[assignment]
        self.tasks.append(asyncio.create_task(self._run(len(self.tasks), trigger)))
        return self.tasks[-1]

    async def _run(self, trigger_id: int, trigger: BaseEventTrigger) -> None:
        key = trigger.shared_stream_key()
        assert key is not None
        stream = self.manager.subscribe(trigger_id=trigger_id, trigger=trigger, key=key)
        try:
            async for event in trigger.filter_shared_stream(stream):
                number = self.manager.bind_pending_event(trigger_id=trigger_id, key=key)
                self.events.append(event.payload)
                self.told.put_nowait(event.payload)
                if number is not None:
                    self._unstored.append(number)
                if self.stores:
                    self.store()
        finally:
            await self.manager.unsubscribe(trigger_id, key)

    def store(self) -> None:
        """The supervisor confirms what it has stored."""
        self.manager.confirm_persisted(self._unstored)
        self._unstored.clear()

    async def next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.told.get(), WITHIN)


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something blocking to be true."""
    async with asyncio.timeout(WITHIN):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.02)
