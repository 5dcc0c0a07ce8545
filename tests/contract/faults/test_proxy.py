"""The proxy's own life: what it leaves behind, its switches over HTTP, and what it refuses."""

from __future__ import annotations

import gc
import math
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, ResponseStreamingError

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.local.errors import LocalStackError
from mz_orchestration.local.faults import Answer, Delay, FaultProxy, Match, Reset, Truncate
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.local.state import BUCKET

from .conftest import S3


def test_nothing_is_left(stack: LocalStack) -> None:
    """Neither threads nor descriptors, whatever the connections are doing at the end."""
    # The pools of other tests' clients are closed when they are collected.
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    threads = threading.active_count()
    upstream = ("127.0.0.1", stack.state.servers["s3"].port)
    clients = []
    with FaultProxy(upstream) as proxy:
        held = proxy.add(Delay(math.inf), match=Match(path="/held"))
        for path in ("/held", "/quick", ""):
            client = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
            clients.append(client)
            if path:
                client.sendall(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        held.wait()
        assert clients[1].recv(9) == b"HTTP/1.1 "
        port = proxy.port
    for client in clients:
        while _received(client):
            pass
        client.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(LocalStackError, match="with block"):
        _ = proxy.port


def _received(client: socket.socket) -> bytes:
    try:
        return client.recv(1 << 16)
    except ConnectionResetError:
        return b""


def test_it_listens_on_this_machine_only(s3_proxy: FaultProxy) -> None:
    with pytest.raises(ConnectionRefusedError):
        # All of 127/8 is this machine; a listener on every address would answer.
        socket.create_connection(("127.0.0.2", s3_proxy.port), timeout=10)


def test_a_store_that_is_down(s3: S3, s3_proxy: FaultProxy) -> None:
    s3_proxy.refuse(True)
    with pytest.raises(EndpointConnectionError):
        s3().list_objects_v2(Bucket=BUCKET, Prefix="none/")
    s3_proxy.clear()
    assert s3().list_objects_v2(Bucket=BUCKET, Prefix="none/")["KeyCount"] == 0


def test_a_network_that_is_lost_in_the_middle_of_an_answer(s3: S3, direct: Any, s3_proxy: FaultProxy) -> None:
    direct.put_object(Bucket=BUCKET, Key="lost/a", Body=b"x" * 50_000_000)
    client = s3()
    body = client.get_object(Bucket=BUCKET, Key="lost/a")["Body"]
    assert body.read(1000) == b"x" * 1000
    assert s3_proxy.drop_connections() == 1
    with pytest.raises(ResponseStreamingError):
        body.read()
    assert client.head_object(Bucket=BUCKET, Key="lost/a")["ContentLength"] == 50_000_000


def test_waiting_for_a_fault_has_a_deadline(s3_proxy: FaultProxy) -> None:
    with pytest.raises(TimeoutError, match=r"Answer\(status=503.* 0 times within 0.05 s, not 2"):
        s3_proxy.add(Answer(503)).wait(2, timeout=0.05)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda proxy: Delay(-1), "seconds is -1"),
        (lambda proxy: Delay(math.nan), "seconds is nan"),
        (lambda proxy: Reset(after_bytes=-1), "after_bytes is -1"),
        (lambda proxy: Truncate(direction="both"), "direction is 'both'"),
        (lambda proxy: Answer(100), "status is 100"),
        (lambda proxy: Match(path="("), "no regular expression"),
        (lambda proxy: Match(contains=b""), "contains is empty"),
        (lambda proxy: proxy.add(Answer(503), times=-1), "times is -1"),
        (lambda proxy: proxy.add(Answer(503), after=-1), "after is -1"),
        (lambda proxy: FaultProxy(("127.0.0.1", 1), protocol="udp"), "protocol is 'udp'"),
    ],
)
def test_what_could_never_strike_is_refused(make: Callable[[Any], Any], says: str, s3_proxy: FaultProxy) -> None:
    with pytest.raises(ConfigurationError, match=says):
        make(s3_proxy)


def test_a_proxy_runs_once(s3_proxy: FaultProxy) -> None:
    with pytest.raises(LocalStackError, match="running already"):
        s3_proxy.__enter__()
