"""The fast way to read footers is boto3's way, and boto3 takes over where it ends."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from hashlib import md5
from http import HTTPStatus
from pathlib import Path

import pytest

from mz_orchestration.errors import CredentialsError, MzOrchestrationError, NotFoundError, VerificationError
from mz_orchestration.exports.verify import verify_files
from mz_orchestration.exports.verify_level import VerifyLevel
from mz_orchestration.objectstore.client import ObjectStore, ObjectStoreConfig
from mz_orchestration.objectstore.ranges import TailReader

from .conftest import BUCKET, COLUMNS, FOLDER, Answer, Request, Server, environment, listed, name, parquet, put

BODY = parquet(10)
OTHER = bytes(len(BODY))
ETAG = f'"{md5(BODY, usedforsecurity=False).hexdigest()}"'
RANGE = f"bytes 0-{len(BODY) - 1}/{len(BODY)}"


def from_boto3(request: Request) -> bool:
    """boto3 numbers its attempts; nobody else does."""
    return "amz-sdk-request" in request.headers


def error(status: HTTPStatus, code: str) -> Answer:
    return Answer(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())


def test_the_first_by_boto3_and_the_others_alike(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session token")
    store = ObjectStore()
    put(server, *[BODY] * 20)
    files = listed(store)
    server.log.clear()
    verify_files(store, FOLDER, files, COLUMNS, None)
    first, *others = server.log
    assert from_boto3(first)
    assert not any(map(from_boto3, others))
    assert len(others) == 19
    own = {"amz-sdk-request", "amz-sdk-invocation-id"}
    for other in others:
        assert set(other.headers) == set(first.headers) - own
        for same in ("host", "user-agent", "x-amz-content-sha256", "x-amz-security-token"):
            assert other.headers[same] == first.headers[same]
    assert others[0].headers["x-amz-security-token"] == "session token"


def test_keys_that_change_are_used(server: Server, store: ObjectStore) -> None:
    put(server, BODY)
    (file,) = listed(store)
    with TailReader(store, FOLDER) as tails:
        tails.read(file, 8)
        keys = store.client._request_signer._credentials  # type: ignore[attr-defined]
        keys.access_key = "renewed"
        assert tails.read(file, 8) == BODY[-8:]
    assert not from_boto3(server.log[-1])
    assert "Credential=renewed/" in server.log[-1].headers["authorization"]


@pytest.mark.parametrize(
    "answer",
    [
        error(HTTPStatus.SERVICE_UNAVAILABLE, "SlowDown"),
        error(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError"),
        error(HTTPStatus.TOO_MANY_REQUESTS, "SlowDown"),
        Answer(HTTPStatus.OK, BODY),
        Answer(HTTPStatus.PARTIAL_CONTENT, BODY[-7:]),
        Answer(HTTPStatus.PARTIAL_CONTENT, OTHER, {"ETag": ETAG}),
        Answer(HTTPStatus.PARTIAL_CONTENT, OTHER, {"ETag": ETAG, "Content-Range": RANGE.replace("0-", "1-")}),
        Answer(HTTPStatus.PARTIAL_CONTENT, OTHER, {"ETag": '"other"', "Content-Range": RANGE}),
        Answer(HTTPStatus.PARTIAL_CONTENT, OTHER, {"Content-Range": RANGE}),
    ],
)
def test_other_answers_are_left_to_boto3(server: Server, store: ObjectStore, answer: Answer) -> None:
    put(server, *[BODY] * 300)
    files = listed(store)
    server.hook = lambda request: None if from_boto3(request) else answer
    server.log.clear()
    assert verify_files(store, FOLDER, files, COLUMNS, None).total == 3_000
    assert sum(map(from_boto3, server.log)) == 300
    assert len(server.log) < 500  # the fast way is given up where it has never worked


def test_one_other_answer_among_many(server: Server, store: ObjectStore) -> None:
    put(server, *[BODY] * 300)
    files = listed(store)
    busy = error(HTTPStatus.SERVICE_UNAVAILABLE, "SlowDown")
    server.hook = lambda request: busy if request.path.endswith(name(299)) and not from_boto3(request) else None
    server.log.clear()
    assert verify_files(store, FOLDER, files, COLUMNS, None).total == 3_000
    assert sum(map(from_boto3, server.log)) == 2
    assert len(server.log) == 301


def test_slow_down_is_answered_by_backing_off(server: Server, store: ObjectStore) -> None:
    put(server, *[BODY] * 3)
    files = listed(store)
    asked: Counter[str] = Counter()

    def busy(request: Request) -> Answer | None:
        asked[request.path] += 1
        return error(HTTPStatus.SERVICE_UNAVAILABLE, "SlowDown") if asked[request.path] <= 2 else None

    server.hook = busy
    assert verify_files(store, FOLDER, files, COLUMNS, None).rows == (10, 10, 10)
    assert set(asked.values()) == {3}


def test_connections_that_break(server: Server, store: ObjectStore) -> None:
    """The store closes each connection behind one answer."""
    put(server, *[BODY] * 30)
    files = listed(store)
    server.closing = True
    server.log.clear()
    assert verify_files(store, FOLDER, files, COLUMNS, None).rows == (10,) * 30
    assert len(server.log) == 30


@pytest.mark.parametrize(
    ("status", "code", "raised"),
    [
        (HTTPStatus.FORBIDDEN, "AccessDenied", CredentialsError),
        (HTTPStatus.FORBIDDEN, "ExpiredToken", CredentialsError),
        (HTTPStatus.NOT_FOUND, "NoSuchBucket", NotFoundError),
    ],
)
def test_errors_are_those_of_the_store(
    server: Server, store: ObjectStore, status: HTTPStatus, code: str, raised: type[Exception]
) -> None:
    put(server, *[BODY] * 3)
    files = listed(store)
    server.hook = lambda request: error(status, code) if request.path.endswith(name(2)) else None
    with pytest.raises(raised, match=BUCKET):
        verify_files(store, FOLDER, files, COLUMNS, None)


def test_keys_that_cannot_be_renewed(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that hold for minutes only are renewed for each request, until the program that makes them fails."""
    keys = {"Version": 1, "AccessKeyId": "made", "SecretAccessKey": "made", "SessionToken": "made"}
    made = tmp_path / "keys"
    made.write_text(
        json.dumps({**keys, "Expiration": f"{datetime.now(UTC) + timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}"})
    )
    profiles = tmp_path / "config"
    profiles.write_text(f"[profile renewed]\ncredential_process = /bin/cat {made}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(profiles))
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    store = ObjectStore(ObjectStoreConfig(profile_name="renewed"))
    put(server, BODY)
    (file,) = listed(store)
    with TailReader(store, FOLDER) as tails:
        assert [tails.read(file, 8) for _ in range(2)] == [BODY[-8:]] * 2
        assert not from_boto3(server.log[-1])
        made.unlink()
        with pytest.raises(MzOrchestrationError, match="custom-process"):
            tails.read(file, 8)


def test_a_store_that_ignores_ranges(server: Server, store: ObjectStore) -> None:
    small, large = parquet(10), parquet(10_000)
    put(server, small, small, large)
    *few, file = listed(store)

    def ignore(request: Request) -> None:
        request.headers.pop("range", None)

    server.hook = ignore
    assert verify_files(store, FOLDER, few, COLUMNS, None).total == 20
    with pytest.raises(VerificationError, match=rf"The store ignores ranges: .*{name(2)}") as caught:
        verify_files(store, FOLDER, [file], COLUMNS, None)
    assert "--verify full" in caught.value.hint
    assert verify_files(store, FOLDER, [file], COLUMNS, None, VerifyLevel.FULL).total == 10_000


def test_another_range_than_was_asked_for(server: Server, store: ObjectStore) -> None:
    put(server, parquet(10_000))
    files = listed(store)

    def begin(request: Request) -> None:
        if "range" in request.headers:
            request.headers["range"] = "bytes=0-8191"

    server.hook = begin
    with pytest.raises(VerificationError, match="did not stop changing"):
        verify_files(store, FOLDER, files, COLUMNS, None)


def test_a_proxy_is_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    put(server, *[BODY] * 3)
    files = listed(ObjectStore())
    environment(monkeypatch, "http://store.invalid")
    monkeypatch.setenv("HTTP_PROXY", server.url)

    def through(request: Request) -> Answer | None:
        assert request.path.startswith("http://store.invalid/")
        request.path = request.path.removeprefix("http://store.invalid")
        return None

    server.hook = through
    server.log.clear()
    assert verify_files(ObjectStore(), FOLDER, files, COLUMNS, None).rows == (10, 10, 10)
    assert all(map(from_boto3, server.log))
    assert len(server.log) == 3
