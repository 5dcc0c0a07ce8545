"""Notifications over real sockets: what arrives, what is tried again, and that addresses stay secret."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mz_orchestration.flow import Clock
from mz_orchestration.pipelines.notifications import notify
from mz_orchestration.pipelines.record import NodeEntry, NodeState, PipelineRecord, PipelineState
from mz_orchestration.pipelines.spec import NotificationsSpec
from mz_orchestration.webhooks import delivery

SECRET = "T0KEN-in-the-path"
FAILED, SUCCEEDED = PipelineState.FAILED, PipelineState.SUCCEEDED


class Pauses(Clock):
    """Time that passes at once."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@dataclass
class Site:
    """A server that answers as it is told, then 200."""

    url: str = ""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    got: list[tuple[str, str, Any]] = field(default_factory=list)

    def spec(self, **more: Any) -> NotificationsSpec:
        return NotificationsSpec.model_validate(
            {"webhooks": [{"url": f"{self.url}/{SECRET}?key={SECRET}", "on": ["failure", "recovery"]}], **more}
        )


def serve(tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            site.got.append((self.command, self.path, json.loads(body) if body else None))
            status, headers = site.answers.pop(0) if site.answers else (200, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(f"a body that echoes {SECRET}".encode())

        do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    site.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    yield from serve()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """All that was logged, by whomever."""
    caplog.set_level(logging.DEBUG)
    return lambda: caplog.text


def record(state: PipelineState) -> PipelineRecord:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    error = {"message": "It has 0 rows, and min_rows is 1.", "hint": "Look."} if state is FAILED else None
    node = NodeEntry(
        name="check shop.orders", kind="check", run_key="r", error=error,
        state=NodeState.FAILED if error else NodeState.SUCCEEDED,
    )  # fmt: skip
    return PipelineRecord(
        pipeline="nightly", run_key="r", at="s3://b/to/", state=state, created_at=now, updated_at=now, nodes=[node]
    )


def test_a_failure_is_told_once_with_a_text_that_can_be_read(site: Site, logged: Callable[[], str]) -> None:
    spec = site.spec(heartbeat=f"{site.url}/beat")
    assert notify(spec, record(FAILED), SUCCEEDED) == []
    [(method, path, body)] = site.got
    assert (method, path) == ("POST", f"/{SECRET}?key={SECRET}")
    assert body["event"] == "failure"
    assert body["text"].startswith("nightly r failed. check shop.orders: It has 0 rows")
    assert SECRET not in logged()
    assert "127.0.0.1" not in logged()


@pytest.mark.parametrize(
    ("previous", "on", "expected"),
    [
        (FAILED, ["failure", "recovery"], ["recovery"]),
        (FAILED, ["success", "recovery"], ["recovery"]),
        (FAILED, ["success"], ["success"]),
        (SUCCEEDED, ["failure", "recovery"], []),
        (None, ["success"], ["success"]),
    ],
)
def test_a_success_is_told_to_those_who_asked_and_the_heartbeat_beats(
    site: Site, previous: PipelineState | None, on: list[str], expected: list[str]
) -> None:
    data = {"webhooks": [{"url": f"{site.url}/hook", "on": on}], "heartbeat": f"{site.url}/beat"}
    assert notify(NotificationsSpec.model_validate(data), record(SUCCEEDED), previous) == []
    assert [body["event"] for method, _, body in site.got if method == "POST"] == expected
    assert [(path, body) for method, path, body in site.got if method == "GET"] == [("/beat", None)]


@pytest.mark.parametrize("state", [PipelineState.INTERRUPTED, PipelineState.RUNNING])
def test_a_run_that_has_not_ended_is_told_to_nobody(site: Site, state: PipelineState) -> None:
    assert notify(site.spec(heartbeat=f"{site.url}/beat"), record(state), FAILED) == []
    assert site.got == []


@pytest.mark.parametrize(
    ("answers", "pauses", "asked", "warning"),
    [
        ([(500, {})], [1.0], 2, ""),
        ([(503, {}), (502, {})], [1.0, 2.0], 3, ""),
        ([(500, {})] * 3, [1.0, 2.0], 3, "it answered 500"),
        ([(429, {"Retry-After": "7"})], [7.0], 2, ""),
        ([(429, {"Retry-After": "31"})], [], 1, "it answered 429"),
        ([(429, {"Retry-After": "soon"})], [1.0], 2, ""),
        ([(404, {})], [], 1, "it answered 404"),
        ([(302, {"Location": "http://127.0.0.1:9/elsewhere"})], [], 1, "it answered 302, a redirect"),
    ],
)
def test_what_may_pass_is_tried_again_and_the_rest_is_a_warning(
    site: Site,
    logged: Callable[[], str],
    answers: list[tuple[int, dict[str, str]]],
    pauses: list[float],
    asked: int,
    warning: str,
) -> None:
    site.answers = list(answers)
    clock = Pauses()
    warnings = notify(site.spec(), record(FAILED), None, clock=clock)
    assert clock.slept == pauses
    assert len(site.got) == asked
    assert len(warnings) == bool(warning)
    assert all(each.startswith(f"notifications.webhooks[0] was not told: {warning}") for each in warnings)
    for text in (str(warnings), logged()):
        assert SECRET not in text
        assert "127.0.0.1" not in text


def test_a_date_to_come_back_at_is_waited_for(site: Site) -> None:
    clock = Pauses()
    moment = datetime.now(UTC) + timedelta(seconds=20)
    site.answers = [(503, {"Retry-After": moment.strftime("%a, %d %b %Y %H:%M:%S GMT")})]
    assert notify(site.spec(), record(FAILED), None, clock=clock) == []
    assert 0 < clock.slept[0] <= 20


def test_nobody_there_and_a_name_that_is_none_are_warnings(site: Site, logged: Callable[[], str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        data = {
            "webhooks": [
                {"url": f"http://127.0.0.1:{port}/{SECRET}"},
                {"url": f"http://{SECRET.lower()}.invalid/"},
                {"url": f"{site.url}/fine"},
            ]
        }
        warnings = notify(NotificationsSpec.model_validate(data), record(FAILED), None, clock=Pauses())
    assert warnings == [
        "notifications.webhooks[0] was not told: it cannot be reached (ConnectError)",
        "notifications.webhooks[1] was not told: it cannot be reached (ConnectError)",
    ]
    assert [path for _, path, _ in site.got] == ["/fine"]
    assert SECRET.lower() not in logged().lower()


def test_a_certificate_of_nobody_is_refused_at_once(tmp_path: Path) -> None:
    for site in serve(self_signed(tmp_path)):
        clock = Pauses()
        [warning] = notify(site.spec(), record(FAILED), None, clock=clock)
        assert "does not prove to be who it should be; check its certificate" in warning
        assert clock.slept == []
        assert site.got == []


@pytest.mark.parametrize(
    ("constant", "warning"),
    [("_TIMEOUT", "it did not answer within 0.2 seconds"), ("_DEADLINE", "it took longer than 0.2 seconds")],
)
def test_who_never_answers_holds_up_nobody(
    site: Site, monkeypatch: pytest.MonkeyPatch, constant: str, warning: str
) -> None:
    monkeypatch.setattr(delivery, constant, 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        data = {"webhooks": [{"url": address}, {"url": f"{site.url}/fine"}]}
        warnings = notify(NotificationsSpec.model_validate(data), record(FAILED), None, clock=Pauses())
    assert warnings == [f"notifications.webhooks[0] was not told: {warning}"]
    assert [path for _, path, _ in site.got] == ["/fine"]


def test_a_proxy_of_the_environment_never_sees_a_plain_address(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert notify(site.spec(), record(FAILED), None, clock=Pauses()) == []


def test_others_may_log_their_requests_meanwhile(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Airflow's own logging, which another test in this process may have set up, silences it.
    monkeypatch.setattr(logging.getLogger("httpx"), "disabled", False)
    caplog.set_level(logging.INFO, logger="httpx")
    assert notify(site.spec(), record(FAILED), None) == []
    httpx.get(f"{site.url}/another", trust_env=False)
    assert [entry.name for entry in caplog.records] == ["httpx"]


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "both.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context
