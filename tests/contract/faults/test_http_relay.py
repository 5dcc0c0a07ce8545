"""Without faults the HTTP proxy changes nothing: bodies, signatures, connections."""

from __future__ import annotations

import concurrent.futures
import gzip
import http.client
import http.server
import json
import random
import socket
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError, ConnectionClosedError

from mz_orchestration.local.faults import FaultProxy, Match, Reset
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.local.state import BUCKET

from .conftest import S3, s3_client

BIG = random.Random(1).randbytes(20_000_000)


def test_twenty_megabytes_go_and_come_back(s3: S3, direct: Any, folder: str) -> None:
    client = s3()
    client.put_object(Bucket=BUCKET, Key=f"{folder}big", Body=BIG)
    assert direct.get_object(Bucket=BUCKET, Key=f"{folder}big")["Body"].read() == BIG
    assert client.get_object(Bucket=BUCKET, Key=f"{folder}big")["Body"].read() == BIG
    tail = client.get_object(Bucket=BUCKET, Key=f"{folder}big", Range="bytes=-100000")
    assert (tail["ResponseMetadata"]["HTTPStatusCode"], tail["Body"].read()) == (206, BIG[-100000:])


def test_parts_in_parallel_with_checksums_in_the_body(s3: S3, direct: Any, folder: str, tmp_path: Any) -> None:
    """Trailing checksums make boto3 send ``aws-chunked`` bodies."""
    file = tmp_path / "big"
    file.write_bytes(BIG)
    config = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20, max_concurrency=4)
    extra = {"ChecksumAlgorithm": "SHA256"}
    s3().upload_file(str(file), BUCKET, f"{folder}parts", ExtraArgs=extra, Config=config)
    assert direct.get_object(Bucket=BUCKET, Key=f"{folder}parts")["Body"].read() == BIG


def test_names_and_metadata_pass_unchanged(s3: S3, direct: Any, folder: str) -> None:
    key = f"{folder}a b+c%20d/ü&=?#.csv"
    s3().put_object(Bucket=BUCKET, Key=key, Body=b"", Metadata={"with_underscore": "  two  blanks  "})
    assert direct.head_object(Bucket=BUCKET, Key=key)["Metadata"] == {"with_underscore": "two  blanks"}


def test_the_signature_is_checked_behind_the_proxy(s3: S3, stack: LocalStack, s3_proxy: FaultProxy) -> None:
    assert s3().list_objects_v2(Bucket=BUCKET, Prefix="nothing/")["KeyCount"] == 0
    forger = s3_client(stack, s3_proxy.url)
    forger._request_signer._credentials.secret_key = "wrong"
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        forger.list_objects_v2(Bucket=BUCKET, Prefix="nothing/")


def test_requests_are_remembered_without_secrets(s3: S3, folder: str, s3_proxy: FaultProxy) -> None:
    client = s3()
    client.put_object(Bucket=BUCKET, Key=f"{folder}a", Body=b"secret body")
    client.list_objects_v2(Bucket=BUCKET, Prefix="secret-prefix")
    assert [tuple(request) for request in s3_proxy.requests] == [
        ("PUT", f"/{BUCKET}/{folder}a", ()),
        ("GET", f"/{BUCKET}", ("encoding-type", "list-type", "prefix")),
    ]


def test_many_clients_at_once(stack: LocalStack, s3_proxy: FaultProxy, folder: str) -> None:
    def use(number: int) -> bytes:
        client = s3_client(stack, s3_proxy.url)
        client.put_object(Bucket=BUCKET, Key=f"{folder}{number}", Body=bytes([number]) * 100_000)
        body: bytes = client.get_object(Bucket=BUCKET, Key=f"{folder}{number}")["Body"].read()
        return body

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        bodies = list(pool.map(use, range(24)))
    assert bodies == [bytes([number]) * 100_000 for number in range(24)]


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers in the forms moto does not: chunks, no length, closing, a connection that is counted."""

    protocol_version = "HTTP/1.1"
    connections: ClassVar[set[int]] = set()

    def do_POST(self) -> None:
        self.connections.add(id(self.connection))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(iter(self._chunk, b""))
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (body[:3], body[3:]):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

    def _chunk(self) -> bytes:
        data = self.rfile.read(int(self.rfile.readline(), 16))
        self.rfile.readline()
        return data

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class EchoServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Connections are reset on purpose here."""


@pytest.fixture
def echo() -> Iterator[FaultProxy]:
    server = EchoServer(("127.0.0.1", 0), Echo)
    Echo.connections.clear()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    with FaultProxy(("127.0.0.1", server.server_port)) as proxy:
        yield proxy
    server.shutdown()
    server.server_close()
    thread.join()


def test_every_framing_of_a_body(echo: FaultProxy) -> None:
    client = http.client.HTTPConnection("127.0.0.1", echo.port, timeout=10)
    answers = []
    for path, chunked in [("/chunked", True), ("/chunked", False), ("/to-the-end", True)]:
        body: Any = iter([b"one ", b"two"]) if chunked else b"one two"
        client.request("POST", path, body, encode_chunked=chunked, headers={"X": "y"})
        answers.append(client.getresponse().read())
    client.close()
    assert answers == [b"one two"] * 3
    assert len(Echo.connections) == 1


def test_a_fault_for_what_a_packed_body_contains(echo: FaultProxy) -> None:
    statement = gzip.compress(json.dumps({"sqlText": "COPY INTO t"}).encode())
    fault = echo.add(Reset(), match=Match(contains=b"COPY INTO"))
    client = http.client.HTTPConnection("127.0.0.1", echo.port, timeout=10)
    client.request("POST", "/chunked", b"SELECT 1")
    assert client.getresponse().read() == b"SELECT 1"
    client.request("POST", "/chunked", statement, headers={"Content-Encoding": "gzip"})
    with pytest.raises(ConnectionResetError):
        client.getresponse()
    client.close()
    assert fault.hits == 1


def test_a_server_that_is_not_there(stack: LocalStack) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with (
            FaultProxy(("127.0.0.1", nobody.getsockname()[1])) as proxy,
            pytest.raises(ConnectionClosedError),
        ):
            s3_client(stack, proxy.url).list_buckets()
