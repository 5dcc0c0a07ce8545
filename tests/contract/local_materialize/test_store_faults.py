"""The requests of a COPY in their order, and what happens when the store refuses one of them.

A scripted store stands here instead of a real emulator: none of those can refuse a single request.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

_LISTING = "<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"
_STARTED = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
_COMPLETED = "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"


@dataclass
class ScriptedStore:
    """Answers every request well, but those named in ``refuse``."""

    port: int = 0
    requests: list[str] = field(default_factory=list)
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)

    def answer(self, method: str, target: str) -> tuple[int, str]:
        parts = urlsplit(target)
        query = parse_qs(parts.query, keep_blank_values=True)
        name = f"{method} {_kind(method, parts.path, query)}"
        self.requests.append(name)
        if name in self.refuse:
            status, code = self.refuse[name]
            return status, f"<Error><Code>{code}</Code><Message>as told</Message></Error>"
        bodies = {"GET list": _LISTING, "POST start": _STARTED, "POST complete": _COMPLETED}
        return (204 if method == "DELETE" else 200), bodies.get(name, "")


def _kind(method: str, path: str, query: dict[str, list[str]]) -> str:
    if method == "GET":
        return "list"
    if method == "POST":
        return "start" if "uploads" in query else "complete"
    if path.endswith("-INCOMPLETE"):
        return "sentinel"
    return "probe" if path.endswith("-batch-0000-0000.delete_object_test") else "part"


@pytest.fixture
def store() -> Iterator[ScriptedStore]:
    scripted = ScriptedStore()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = scripted.answer(self.command, self.path)
            self.send_response(status)
            self.send_header("ETag", '"e"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_PUT = do_POST = do_DELETE = _serve

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scripted.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield scripted
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run(connection: psycopg.Connection[Any], store: ScriptedStore) -> Iterator[Callable[[], str | None]]:
    connection.execute(
        "CREATE CONNECTION scripted TO AWS (ACCESS KEY ID = 'local', SECRET ACCESS KEY = SECRET local_key,"
        f" ENDPOINT = 'http://127.0.0.1:{store.port}')"
    )
    sql = "COPY (SELECT 1 AS n WHERE false) TO 's3://b/p/' (FORMAT csv, AWS CONNECTION scripted)"
    yield lambda: connection.execute(sql).statusmessage
    connection.execute("DROP CONNECTION scripted")


_ALL = [
    "GET list",
    "DELETE probe",
    "PUT sentinel",
    "POST start",
    "PUT part",
    "POST complete",
    "DELETE sentinel",
]


def test_the_requests_of_a_copy(run: Callable[[], str | None], store: ScriptedStore) -> None:
    assert run() == "COPY 0"
    assert store.requests == _ALL


REFUSALS = [
    ("GET list", (403, "AccessDenied"), r"^service error: unhandled error \(AccessDenied\): Error \{ code: "),
    ("DELETE probe", (403, "AccessDenied"), "^AccessDenied error when using DeleteObject$"),
    ("DELETE probe", (400, "Odd"), r"^Error when using DeleteObject: service error: unhandled error \(Odd\)"),
    ("PUT sentinel", (403, "AccessDenied"), "AccessDenied"),
    ("POST start", (403, "AccessDenied"), "AccessDenied"),
    ("PUT part", (403, "AccessDenied"), "AccessDenied"),
    ("POST complete", (404, "NoSuchUpload"), r'NoSuchUpload.*code: "NoSuchUpload", message: "as told"'),
    ("DELETE sentinel", (403, "AccessDenied"), "AccessDenied"),
]


@pytest.mark.parametrize(("request_name", "answer", "message"), REFUSALS)
def test_a_refused_request_ends_the_copy_there(
    run: Callable[[], str | None],
    store: ScriptedStore,
    request_name: str,
    answer: tuple[int, str],
    message: str,
) -> None:
    store.refuse[request_name] = answer
    with pytest.raises(psycopg.errors.InternalError_) as caught:
        run()
    assert re.search(message, caught.value.diag.message_primary or "")
    # Nothing after it: neither is an upload aborted nor the sentinel deleted.
    assert store.requests == _ALL[: _ALL.index(request_name) + 1]


def test_a_probe_that_finds_nothing_is_well(run: Callable[[], str | None], store: ScriptedStore) -> None:
    store.refuse["DELETE probe"] = (404, "NoSuchKey")
    assert run() == "COPY 0"
