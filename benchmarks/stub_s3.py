"""A fast stand-in for S3 that measures clients and not itself: one asyncio process, objects in memory, no signatures.

moto answers a few hundred requests a second; a thousand waits ask for more. This answers HEAD, GET (``Range``,
``If-Match``), PUT (``If-Match``, ``If-None-Match``, ``x-amz-copy-source``), DELETE and ListObjectsV2, path style,
after a latency of choice, and counts what it was asked. A bucket exists as soon as it is named.

As a process, ``python benchmarks/stub_s3.py --port 0 --latency-ms 20`` prints ``{"port": N}`` and ends on SIGTERM or
with its standard input; `stub_process` starts one. In a program: ``async with StubS3(latency=0.02) as stub: stub.url``.

The control path is neither delayed nor counted:
    GET /-/requests         counts by kind, ``bytes`` of bodies sent, ``keys``: how many distinct keys were asked for
    DELETE /-/requests      the same, and begins anew
    POST /-/objects         {"bucket": B, "objects": [[key, size], ...], "fill": [[prefix, count], ...]} makes objects
                            of zero bytes in bulk; those of ``fill`` are only listed, and cost no memory
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from stub_s3_store import NAMESPACE, Bucket, Stored, listing

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(slots=True)
class Request:
    """One request as read from the socket."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Answer:
    """One answer; ``length`` is what HEAD says of a body it does not send."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


class StubS3:
    """The server.

    Args:
        port: Where to listen on 127.0.0.1; 0 takes a free port.
        latency: Seconds between a request and its answer.
    """

    def __init__(self, port: int = 0, latency: float = 0.0) -> None:
        self.port = port
        self.latency = latency
        self.buckets: dict[str, Bucket] = {}
        self.requests: Counter[str] = Counter()
        self.keys: set[str] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> StubS3:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()

    def put(self, bucket: str, key: str, body: bytes) -> str:
        """Make one object from inside this process; returns its ETag."""
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        self._bucket(bucket).put(key, Stored(body, len(body), etag, datetime.now(UTC)))
        return etag

    def delete(self, bucket: str, key: str) -> None:
        """Delete one object from inside this process."""
        self._bucket(bucket).delete(key)

    def answer(self, request: Request) -> Answer:
        """What S3 answers, or the control path."""
        if request.path.startswith("/-/"):
            return self._control(request)
        bucket, _, key = unquote(request.path[1:]).partition("/")
        if key:
            self.requests[request.method] += 1
            self.keys.add(key)
            answer = self._object(request, self._bucket(bucket), key)
        elif request.method == "GET":
            self.requests["LIST"] += 1
            body = listing(self._bucket(bucket), bucket, request.query)
            answer = Answer(HTTPStatus.OK, body, {"Content-Type": "application/xml"})
        else:
            self._bucket(bucket)
            answer = Answer(HTTPStatus.OK)
        self.requests["bytes"] += len(answer.body)
        return answer

    def _bucket(self, name: str) -> Bucket:
        return self.buckets.setdefault(name, Bucket())

    def _control(self, request: Request) -> Answer:
        if request.path == "/-/objects":
            asked = json.loads(request.body)
            now = datetime.now(UTC)
            made = {
                key: Stored(None, size, hashlib.md5(key.encode(), usedforsecurity=False).hexdigest(), now)
                for key, size in asked.get("objects", [])
            }
            self._bucket(asked["bucket"]).put_many(made, dict(asked.get("fill", [])))
            return Answer(HTTPStatus.NO_CONTENT)
        counts = {**self.requests, "keys": len(self.keys)}
        if request.method == "DELETE":
            self.requests.clear()
            self.keys.clear()
        return Answer(HTTPStatus.OK, json.dumps(counts).encode())

    def _object(self, request: Request, bucket: Bucket, key: str) -> Answer:
        stored = bucket.objects.get(key)
        wanted = request.headers.get("if-match", "").strip('"')
        if wanted and (stored is None or (wanted != "*" and stored.etag != wanted)):
            return _failed(HTTPStatus.NOT_FOUND if stored is None else HTTPStatus.PRECONDITION_FAILED, request)
        if request.method == "PUT":
            if stored is not None and "if-none-match" in request.headers:
                return _failed(HTTPStatus.PRECONDITION_FAILED, request)
            return self._put(request, bucket, key)
        if request.method == "DELETE":
            bucket.delete(key)
            return Answer(HTTPStatus.NO_CONTENT)
        if stored is None:
            return _failed(HTTPStatus.NOT_FOUND, request)
        headers = {
            "ETag": f'"{stored.etag}"',
            "Last-Modified": f"{stored.modified:%a, %d %b %Y %H:%M:%S GMT}",
            "Accept-Ranges": "bytes",
        }
        if request.method == "HEAD":
            return Answer(HTTPStatus.OK, headers=headers, length=stored.size)
        if request.method != "GET":
            return _failed(HTTPStatus.METHOD_NOT_ALLOWED, request)
        if (asked := _RANGE.fullmatch(request.headers.get("range", ""))) is None:
            return Answer(HTTPStatus.OK, stored.part(0, stored.size), headers)
        first, last = asked.groups()
        start = int(first) if first else max(0, stored.size - int(last or 0))
        end = min(int(last) + 1, stored.size) if first and last else stored.size
        if start >= end:
            return _failed(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, request)
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{stored.size}"
        return Answer(HTTPStatus.PARTIAL_CONTENT, stored.part(start, end), headers)

    def _put(self, request: Request, bucket: Bucket, key: str) -> Answer:
        source = request.headers.get("x-amz-copy-source")
        if source is None:
            body = request.body
            if "aws-chunked" in request.headers.get("content-encoding", ""):
                body = _unchunked(body)
            etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
            bucket.put(key, Stored(body, len(body), etag, datetime.now(UTC)))
            return Answer(HTTPStatus.OK, headers={"ETag": f'"{etag}"'})
        from_bucket, _, from_key = unquote(source).removeprefix("/").partition("/")
        original = self._bucket(from_bucket).objects.get(from_key)
        if original is None:
            return _failed(HTTPStatus.NOT_FOUND, request)
        copy = Stored(original.body, original.size, original.etag, datetime.now(UTC))
        bucket.put(key, copy)
        text = f'<CopyObjectResult {NAMESPACE}><ETag>"{copy.etag}"</ETag></CopyObjectResult>'
        return Answer(HTTPStatus.OK, text.encode(), {"Content-Type": "application/xml"})


def _failed(status: HTTPStatus, request: Request) -> Answer:
    codes = {404: "NoSuchKey", 412: "PreconditionFailed", 416: "InvalidRange", 405: "MethodNotAllowed"}
    body = f"<Error><Code>{codes[status]}</Code><Message>{status.phrase}</Message></Error>".encode()
    headers = {"Content-Type": "application/xml"}
    return Answer(status, headers=headers) if request.method == "HEAD" else Answer(status, body, headers)


def _unchunked(body: bytes) -> bytes:
    """What ``aws-chunked`` wraps: hexadecimal length, signature, data; trailers are dropped."""
    data = bytearray()
    while body:
        line, _, rest = body.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            break
        data += rest[:size]
        body = rest[size + 2 :]
    return bytes(data)


class _Connection(asyncio.Protocol):
    """One connection: requests one after the other, as all clients of S3 send them."""

    def __init__(self, stub: StubS3) -> None:
        self._stub = stub
        self._buffer = bytearray()
        self._head: tuple[Request, int] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            if self._head is None and not self._read_head():
                return
            assert self._head is not None
            request, length = self._head
            if len(self._buffer) < length:
                return
            request.body = bytes(self._buffer[:length])
            del self._buffer[:length]
            self._head = None
            answer = self._stub.answer(request)
            if self._stub.latency and not request.path.startswith("/-/"):
                asyncio.get_running_loop().call_later(self._stub.latency, self._send, answer)
            else:
                self._send(answer)

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        method, target, _ = lines[0].split(" ", 2)
        path, _, query = target.partition("?")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if "expect" in headers:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        parameters = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
        self._head = Request(method, path, parameters, headers, b""), int(headers.get("content-length", "0"))
        return True

    def _send(self, answer: Answer) -> None:
        status = HTTPStatus(answer.status)
        lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
        lines.extend(f"{name}: {value}" for name, value in answer.headers.items())
        if status is not HTTPStatus.NO_CONTENT:
            lines.append(f"Content-Length: {len(answer.body) if answer.length is None else answer.length}")
        self._transport.write("\r\n".join([*lines, "\r\n"]).encode("latin-1") + answer.body)


class StubProcess:
    """A stub in a process of its own, seen from outside."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def make(self, bucket: str, objects: list[tuple[str, int]], fill: list[tuple[str, int]] | None = None) -> None:
        """Objects of zero bytes in bulk, and names that are only listed."""
        self._ask("POST", "/-/objects", json.dumps({"bucket": bucket, "objects": objects, "fill": fill or []}).encode())

    def requests(self, *, anew: bool = False) -> Counter[str]:
        """What was asked so far; with ``anew``, since the last such call."""
        return Counter(json.loads(self._ask("DELETE" if anew else "GET", "/-/requests")))

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self._ask("PUT", f"/{bucket}/{quote(key)}", body)

    def delete(self, bucket: str, key: str) -> None:
        self._ask("DELETE", f"/{bucket}/{quote(key)}")

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        with urllib.request.urlopen(urllib.request.Request(self.url + path, body, method=method), timeout=60) as answer:
            done: bytes = answer.read()
            return done


@contextlib.contextmanager
def stub_process(latency_ms: float = 0.0) -> Iterator[StubProcess]:
    """A stub in a process of its own, until the block ends."""
    command = [sys.executable, __file__, "--latency-ms", str(latency_ms)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield StubProcess(json.loads(child.stdout.readline())["port"])
        finally:
            child.terminate()


async def _serve(port: int, latency: float) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with StubS3(port, latency) as stub:
        print(json.dumps({"port": stub.port}), flush=True)
        ended = loop.run_in_executor(None, sys.stdin.buffer.read)
        ended.add_done_callback(lambda _: stop.set())
        await stop.wait()
    sys.stdout.flush()
    # A thread may sit in the read of standard input.
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    arguments = parser.parse_args()
    run = asyncio.run
    with contextlib.suppress(ImportError):
        from uvloop import run
    run(_serve(arguments.port, arguments.latency_ms / 1000))


if __name__ == "__main__":
    main()
