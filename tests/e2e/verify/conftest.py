"""Verification against a store in this process that counts requests and misbehaves on demand."""

from __future__ import annotations

import asyncio
import io
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mz_orchestration.materialize.types import Column
from mz_orchestration.objectstore.client import ObjectInfo, ObjectStore
from mz_orchestration.objectstore.location import Location

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from stub_s3 import Answer, Request, StubS3, _Connection

BUCKET = "mz-exports"
FOLDER = Location(BUCKET, "nightly/orders=1/")
COLUMNS = [Column(name="id", type="bigint"), Column(name="name", type="text")]

Hook = Callable[[Request], Answer | None]


class Server(StubS3):
    """The stub, with a log of its requests; ``hook`` may answer in its place, or do something first."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__()
        self._tls = tls
        self.hook: Hook = lambda request: None
        self.log: list[Request] = []
        self.closing = False

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Server:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, ssl=self._tls, backlog=256)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def answer(self, request: Request) -> Answer:
        self.log.append(request)
        answer: Answer = self.hook(request) or super().answer(request)
        if self.closing:
            answer.headers["Connection"] = "close"
        return answer

    def gets(self, name: str = "") -> list[Request]:
        """The requests for objects whose keys end so."""
        return [one for one in self.log if one.method == "GET" and not one.query and one.path.endswith(name)]


@contextmanager
def served(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = Server(tls)
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with served() as server:
        environment(monkeypatch, server.url)
        yield server


def environment(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    values = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "verify",
        "AWS_SECRET_ACCESS_KEY": "verify",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def store(server: Server) -> ObjectStore:
    return ObjectStore()


def parquet(rows: int, columns: list[Column] | None = None, **options: Any) -> bytes:
    """A file as Materialize writes it, of bigint and text columns."""
    types = {"bigint": pa.int64(), "text": pa.large_utf8()}
    columns = columns or COLUMNS
    schema = pa.schema(
        [
            pa.field(one.name, types[one.type], metadata={"ARROW:extension:name": f"materialize.v1.{one.type}"})
            for one in columns
        ]
    )
    values = {"bigint": range(rows), "text": [f"row {number}" for number in range(rows)]}
    table = pa.table([pa.array(values[one.type], types[one.type]) for one in columns], schema=schema)
    body = io.BytesIO()
    pq.write_table(table, body, write_statistics=False, **options)
    return body.getvalue()


def put(server: Server, *bodies: bytes, suffix: str = "parquet") -> None:
    """The files of one export."""
    for number, body in enumerate(bodies):
        server.put(BUCKET, f"{FOLDER.key}{name(number, suffix)}", body)


def name(number: int, suffix: str = "parquet") -> str:
    return f"mz-t7-batch-{number:04}-0000.{suffix}"


def listed(store: ObjectStore) -> list[ObjectInfo]:
    return store.list_objects(FOLDER)
