"""The faults of a raw connection, before the stack's Materialize, with psycopg."""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.local.faults import (
    Answer,
    Delay,
    Fault,
    FaultProxy,
    HalfClose,
    Match,
    Reset,
    StaleListing,
    Truncate,
)

Connect = Callable[..., psycopg.Connection[Any]]


def test_a_session_passes_unharmed(connect: Connect) -> None:
    connection = connect()
    rows = connection.execute("SELECT i, repeat('x', 1000) FROM generate_series(1, 5000) AS s(i)").fetchall()
    assert [number for number, _ in rows] == list(range(1, 5001))
    with pytest.raises(psycopg.Error, match="nothing_here"):
        connection.execute("SELECT * FROM nothing_here")
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_cancel_request_passes(connect: Connect) -> None:
    connection = connect()
    timer = threading.Timer(0.2, connection.cancel_safe)
    timer.start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute("SELECT pg_sleep(20)")
    timer.join()


def test_a_reset_when_a_statement_is_sent(connect: Connect, pg_proxy: FaultProxy) -> None:
    fault = pg_proxy.add(Reset(delay=0.2), match=Match(contains=b"COPY (SELECT"))
    connection, other = connect(), connect()
    assert connection.execute("SELECT 1").fetchone() == (1,)
    assert fault.hits == 0
    with pytest.raises(psycopg.OperationalError):
        connection.execute("COPY (SELECT pg_sleep(20)) TO STDOUT")
    assert fault.hits == 1
    assert connection.broken
    assert other.execute("SELECT 1").fetchone() == (1,)


def test_a_statement_that_is_cut_by_its_answer_was_done(connect: Connect, pg_proxy: FaultProxy) -> None:
    """The server has heard the statement, the client never hears that it ended."""
    connection, witness = connect(), connect()
    connection.execute("CREATE TABLE heard (id int)")
    with (
        pg_proxy.fault(Reset(delay=1.0), match=Match(contains=b"INSERT INTO heard")),
        pytest.raises(psycopg.OperationalError),
    ):
        connection.execute("INSERT INTO heard VALUES (1)")
    with (
        pg_proxy.fault(Reset(direction="request"), match=Match(contains=b"INSERT INTO heard")) as fault,
        pytest.raises(psycopg.OperationalError),
    ):
        connect().execute("INSERT INTO heard VALUES (2)")
    assert fault.hits == 1
    assert witness.execute("SELECT id FROM heard").fetchall() == [(1,)]


@pytest.mark.parametrize("how", [Reset, Truncate, HalfClose])
def test_a_result_is_cut(how: Any, connect: Connect, pg_proxy: FaultProxy) -> None:
    fault = pg_proxy.add(how(50_000), match=Match(contains=b"generate_series"), times=1)
    with pytest.raises(psycopg.OperationalError):
        connect().execute("SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
    assert fault.hits == 1
    rows = connect().execute("SELECT repeat('x', 1000) FROM generate_series(1, 5000)").fetchall()
    assert len(rows) == 5000


def test_silence(connect: Connect, pg_proxy: FaultProxy) -> None:
    """Nothing comes and nothing ends: only a deadline of the client's own helps."""
    connection = connect()
    fault = pg_proxy.add(Delay(math.inf, "response"), match=Match(contains=b"SELECT 42"))
    outcome: list[BaseException] = []

    def ask() -> None:
        try:
            connection.execute("SELECT 42")
        except BaseException as error:
            outcome.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    fault.wait()
    asking.join(0.3)
    assert asking.is_alive()
    assert pg_proxy.drop_connections() == 1
    asking.join(10)
    assert [type(error) for error in outcome] == [psycopg.OperationalError]


def test_late_chunks_are_whole(connect: Connect, pg_proxy: FaultProxy) -> None:
    connection = connect()
    with pg_proxy.fault(Delay(0.01)) as slow, pg_proxy.fault(Delay(0.01, "response"), times=2) as twice:
        rows = connection.execute("SELECT i FROM generate_series(1, 1000) AS s(i)").fetchall()
    assert len(rows) == 1000
    assert slow.hits >= 1
    assert 1 <= twice.hits <= 2


def test_a_server_that_is_down(connect: Connect, pg_proxy: FaultProxy) -> None:
    connection = connect()
    pg_proxy.refuse(True)
    with pytest.raises(psycopg.OperationalError, match="refused"):
        connect()
    assert connection.execute("SELECT 1").fetchone() == (1,)
    pg_proxy.refuse(False)
    assert connect().execute("SELECT 1").fetchone() == (1,)


def test_a_lost_network(connect: Connect, pg_proxy: FaultProxy) -> None:
    connections = [connect() for _ in range(3)]
    assert pg_proxy.drop_connections() == 3
    for connection in connections:
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert pg_proxy.drop_connections() == 0
    assert connect().execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    ("fault", "match"), [(Answer(503), None), (StaleListing(), None), (Reset(), Match(method="GET"))]
)
def test_what_needs_http_is_refused(fault: Fault, match: Match | None, pg_proxy: FaultProxy) -> None:
    with pytest.raises(ConfigurationError, match="protocol is 'tcp'"):
        pg_proxy.add(fault, match=match)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        yield listening


@pytest.fixture
def pair(listener: socket.socket) -> Iterator[Callable[..., tuple[FaultProxy, socket.socket, socket.socket]]]:
    """Makes a proxy with one fault, a client's and a server's socket on its two sides."""
    opened: list[Any] = []

    def make(fault: Fault, **options: Any) -> tuple[FaultProxy, socket.socket, socket.socket]:
        proxy = FaultProxy(listener.getsockname(), protocol="tcp").__enter__()
        opened.append(proxy)
        proxy.add(fault, **options)
        client = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
        server, _ = listener.accept()
        server.settimeout(10)
        opened.extend([client, server])
        return proxy, client, server

    yield make
    for each in reversed(opened):
        each.__exit__(None, None, None)


def everything(end: socket.socket) -> tuple[bytes, str]:
    """What a socket receives, and how it ends."""
    received = b""
    try:
        while chunk := end.recv(1 << 16):
            received += chunk
    except ConnectionResetError:
        return received, "reset"
    except TimeoutError:
        return received, "silence"
    return received, "end"


DATA = bytes(range(256)) * 8192


@pytest.mark.parametrize("direction", ["request", "response"])
@pytest.mark.parametrize("passing", [0, 1, 100_000, 2_000_000])
@pytest.mark.parametrize(("how", "ending"), [(Reset, "reset"), (Truncate, "end"), (HalfClose, "end")])
def test_a_cut_comes_after_exactly_so_many_bytes(
    how: Any, ending: str, passing: int, direction: str, pair: Callable[..., Any]
) -> None:
    _, client, server = pair(how(passing, direction))
    source, sink = (client, server) if direction == "request" else (server, client)
    sender = threading.Thread(target=_send, args=(source, DATA))
    sender.start()
    assert everything(sink) == (DATA[:passing], ending)
    source.shutdown(socket.SHUT_RDWR) if how is HalfClose else None
    sender.join(10)
    assert not sender.is_alive()


def _send(end: socket.socket, data: bytes) -> None:
    try:
        end.sendall(data)
    except OSError:
        return


def test_both_ends_are_reset(pair: Callable[..., Any]) -> None:
    _, client, server = pair(Reset(3))
    server.sendall(b"abcdef")
    assert (everything(client), everything(server)) == ((b"abc", "reset"), (b"", "reset"))


def test_a_server_is_given_time_to_act(pair: Callable[..., Any]) -> None:
    _, client, server = pair(Reset(delay=1.0), match=Match(contains=b"go"))
    for part in (b"go", b"on"):
        client.sendall(part)
        assert server.recv(100) == part
    server.sendall(b"too late")
    assert (everything(client), everything(server)) == ((b"", "reset"), (b"", "reset"))


def test_a_half_closed_connection_is_silent(pair: Callable[..., Any]) -> None:
    _, client, server = pair(HalfClose(3))
    server.sendall(b"abcdef")
    assert everything(client) == (b"abc", "end")
    client.sendall(b"heard by nobody")
    server.settimeout(0.2)
    assert everything(server) == (b"", "silence")
    client.close()
    server.settimeout(10)
    assert everything(server) == (b"", "end")


def test_a_text_is_found_across_chunks(pair: Callable[..., Any]) -> None:
    _, client, server = pair(Reset(direction="request"), match=Match(contains=b"COPY ("))
    client.sendall(b"first CO")
    assert server.recv(100) == b"first CO"
    client.sendall(b"PY ")
    assert server.recv(100) == b"PY "
    client.sendall(b"(SELECT")
    assert everything(server) == (b"", "reset")


def test_a_text_is_found_once(pair: Callable[..., Any]) -> None:
    proxy, client, server = pair(Delay(0), match=Match(contains=b"ab"))
    fault = proxy.add(Delay(0), match=Match(contains=b"a much longer text"))
    for part in (b"xxab", b"yy", b"zz", b"ab"):
        client.sendall(part)
        assert server.recv(100) == part
    with proxy.fault(Delay(0), match=Match(contains=b"b")) as late:
        client.sendall(b"c")
        assert server.recv(100) == b"c"
    assert (late.hits, fault.hits) == (0, 0)


def test_an_orderly_end_of_one_direction_passes(pair: Callable[..., Any]) -> None:
    """PostgreSQL's own half-closes are no fault."""
    _, client, server = pair(Delay(0))
    client.sendall(b"last words")
    client.shutdown(socket.SHUT_WR)
    assert everything(server) == (b"last words", "end")
    server.sendall(b"answer")
    server.close()
    assert everything(client) == (b"answer", "end")


def test_a_reset_by_the_server_passes(pair: Callable[..., Any]) -> None:
    _, client, server = pair(Delay(0))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    server.close()
    assert everything(client) == (b"", "reset")


def test_every_nth_connection(listener: socket.socket) -> None:
    with FaultProxy(listener.getsockname(), protocol="tcp") as proxy:
        fault = proxy.add(Truncate(), after=1, times=1)
        endings = []
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as client:
                server, _ = listener.accept()
                with server:
                    server.sendall(b"greeting")
                    client.settimeout(0.2)
                    endings.append(everything(client))
    assert endings == [(b"greeting", "silence"), (b"", "end"), (b"greeting", "silence")]
    assert fault.hits == 1
