"""Answers that Census never gives, over real sockets: other servers, proxies, and one that has ended."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mz_orchestration.census.answers import UnexpectedAnswerError
from mz_orchestration.census.client import CensusClient
from mz_orchestration.census.config import CensusConfig
from mz_orchestration.errors import ConfigurationError, MzOrchestrationError, NotFoundError, UnavailableError
from mz_orchestration.flow import run as carry_out

from .conftest import FastClock

TOKEN = "s3cret-token-of-nobody"
Serve = Callable[..., CensusClient]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A client of a server that answers everything with the same bytes."""
    listeners: list[socket.socket] = []

    def start(answer: str, *, drip: float = 0.0, drip_head: float = 0.0, **config: Any) -> CensusClient:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def work() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    head, _, body = answer.partition("\n\n")
                    try:
                        send(connection, head.replace("\n", "\r\n") + "\r\n\r\n", drip_head)
                        send(connection, body, drip)
                    except OSError:
                        pass

        threading.Thread(target=work, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        return CensusClient(CensusConfig(token=TOKEN, url=url, group_id="g", **config), clock=FastClock())

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def send(connection: socket.socket, text: str, drip: float) -> None:
    for part in text if drip else [text]:
        connection.sendall(part.encode("latin-1"))
        time.sleep(drip)


def ok(body: str) -> str:
    return f"HTTP/1.1 200 OK\nContent-Length: {len(body)}\n\n{body}"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<html>Sign in</html>", "not with a JSON object: <html>Sign in</html>"),
        ("", "the answer is empty"),
        ("[]", "not with a JSON object"),
        ('{"status": "success"}', "no object under 'data'"),
        ('{"data": []}', "no object under 'data'"),
        ('{"data": {"id": 5}}', "status: Field required"),
        ('{"data": {"id": "../5", "status": "x"}}', "id: "),
        ("\x1b[2J\x07" + "x" * 1000, r"\x1b[2J\x07xxx"),
    ],
)
def test_answers_that_are_none(serve: Serve, body: str, said: str) -> None:
    with serve(ok(body)) as client, pytest.raises(UnexpectedAnswerError) as caught:
        client.run(5)
    assert said in caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 600


def test_an_answer_that_drips_for_ever(serve: Serve) -> None:
    with serve(ok(" " * 5000), drip=0.1, timeout=0.3) as client, pytest.raises(UnavailableError, match="does not end"):
        carry_out(client.api.run("5", within=0))


@pytest.mark.parametrize("head", ["HTTP/1.1 200 OK\nX: ", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n"])
def test_a_head_that_drips_for_ever(serve: Serve, head: str) -> None:
    """Each byte comes in time, and the HTTP client hands none of them on."""
    drip = {"drip": 0.1} if "chunked" in head else {"drip_head": 0.1}
    with serve(head + "0" * 5000, timeout=0.3, **drip) as client, pytest.raises(UnavailableError, match="does not end"):
        carry_out(client.api.run("5", within=0))


def test_a_compressed_answer_without_an_end(serve: Serve) -> None:
    """A name of the file that goes on for ever, before anything that could be unpacked."""
    answer = "HTTP/1.1 200 OK\nContent-Encoding: gzip\n\n\x1f\x8b\x08\x08" + "a" * 5000
    with serve(answer, drip=0.1, timeout=0.3) as client, pytest.raises(UnavailableError, match="does not end"):
        carry_out(client.api.run("5", within=0))


@pytest.mark.parametrize("body", ["[" * 200_000, '{"data":' * 200_000, '{"data": 1' + "0" * 5000 + "}"])
def test_answers_that_nobody_can_read(serve: Serve, body: str) -> None:
    with serve(ok(body)) as client, pytest.raises(UnexpectedAnswerError):
        client.run(5)


ESCAPED = TOKEN.replace("s", "\\u0073")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (("401 No", f'{{"message": "no token {TOKEN} here"}}'), "no token *** here"),
        (("401 No", f'{{"message": "no token {ESCAPED} here"}}'), "no token *** here"),
        (("401 No", f'{{"errors": [{{"{TOKEN}": 1}}]}}'), "***"),
        # Cut in its middle, it would not be known any more.
        (("401 No", "x" * 290 + TOKEN), "x***"),
        (("401 No", " " * 1195 + TOKEN), "***"),
        (("302 No\nLocation: http://other.example.com/?" + TOKEN, ""), "other.example.com/?***"),
        (("200 OK", f'{{"data": {{"id": 5, "status": {{"{TOKEN}": "{TOKEN}"}}}}}}'), "status"),
        ((f"200 OK\nX {TOKEN}", ""), "illegal header line"),
    ],
)
def test_the_token_is_not_shown_when_it_is_sent_back(serve: Serve, answer: tuple[str, str], said: str) -> None:
    head, body = answer
    text = f"HTTP/1.1 {head}\nContent-Length: {len(body)}\n\n{body}"
    with serve(text) as client, pytest.raises(MzOrchestrationError) as caught:
        client.run(5)
    assert said in caught.value.message
    assert TOKEN[:8] not in str(caught.value)


def test_the_token_is_not_in_what_a_run_says(serve: Serve) -> None:
    with serve(ok(f'{{"data": {{"id": 5, "status": "failed", "error_message": "{TOKEN}"}}}}')) as client:
        assert client.run(5).error_message == "***"


def test_a_redirect_is_not_followed(serve: Serve) -> None:
    answer = "HTTP/1.1 302 Found\nLocation: http://other.example.com/\nContent-Length: 0\n\n"
    with serve(answer) as client, pytest.raises(ConfigurationError, match=r"elsewhere, to http://other\.example\.com/"):
        client.run(5)


def test_v1_once_it_has_ended(serve: Serve) -> None:
    answer = "HTTP/1.1 410 Gone\nContent-Length: 0\n\n"
    with serve(answer, api="v1") as client, pytest.raises(ConfigurationError, match="V1 has ended") as caught:
        client.run(5)
    assert "CENSUS_API_VERSION=v2" in caught.value.hint
    with serve(answer) as client, pytest.raises(NotFoundError):
        client.run(5)


@pytest.mark.parametrize(
    ("data", "following"), [('[{"id": 1}]', "1"), ('[{"id": 1}]', '"x"'), ('[{"id": 1}]', "null"), ("[]", "2")]
)
def test_pages_that_lead_nowhere_end(serve: Serve, data: str, following: str) -> None:
    with serve(ok(f'{{"data": {data}, "pagination": {{"next_page": {following}}}}}')) as client:
        assert [sync.id for sync in client.syncs()] == ["1"] * (data != "[]")


def test_lists_of_early_versions(serve: Serve) -> None:
    """The address of a next page is there even on the last one."""
    with serve(ok('{"data": [{"id": 1}], "next": "https://app.getcensus.com/api/v1/syncs"}')) as client:
        assert [sync.id for sync in client.syncs()] == ["1"]
