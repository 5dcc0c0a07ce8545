"""Each HTTP fault does to boto3 what it says, before the stack's S3 server."""

from __future__ import annotations

import concurrent.futures
import math
from typing import Any

import httpx
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    HTTPClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from mz_orchestration.local.faults import (
    Answer,
    Delay,
    FaultProxy,
    HalfClose,
    Match,
    Reset,
    SeenRequest,
    StaleListing,
    Truncate,
)
from mz_orchestration.local.state import BUCKET

from .conftest import S3

PUT = Match(method="PUT")
GET = Match(method="GET")


def put(client: Any, key: str, body: bytes = b"x" * 1000) -> None:
    client.put_object(Bucket=BUCKET, Key=key, Body=body)


def body_of(client: Any, key: str) -> bytes:
    body: bytes = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return body


def keys(client: Any, prefix: str, **options: Any) -> list[str]:
    answer = client.list_objects_v2(Bucket=BUCKET, Prefix=prefix, **options)
    return [item["Key"].removeprefix(prefix) for item in answer.get("Contents", [])]


@pytest.mark.parametrize(
    ("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (403, "AccessDenied"), (429, "TooManyRequests")]
)
def test_an_answer_in_the_servers_place(
    status: int, code: str, s3: S3, direct: Any, folder: str, s3_proxy: FaultProxy
) -> None:
    client = s3()
    with (
        s3_proxy.fault(Answer(status, headers={"Retry-After": "7"}), match=PUT) as fault,
        pytest.raises(ClientError) as caught,
    ):
        put(client, f"{folder}a")
    assert caught.value.response["Error"]["Code"] == code
    metadata = caught.value.response["ResponseMetadata"]
    assert (metadata["HTTPStatusCode"], metadata["HTTPHeaders"]["retry-after"]) == (status, "7")
    assert fault.hits == 1
    assert keys(direct, folder) == []
    # The same connection serves on once the fault is over.
    put(client, f"{folder}a")
    assert keys(direct, folder) == ["a"]


def test_boto3_retries_a_busy_store(s3: S3, direct: Any, folder: str, s3_proxy: FaultProxy) -> None:
    fault = s3_proxy.add(Answer(503), match=Match(method="PUT", path=f"/{folder}a$"), times=2)
    put(s3(attempts=5), f"{folder}a")
    assert fault.hits == 2
    assert s3_proxy.requests == [SeenRequest("PUT", f"/{BUCKET}/{folder}a", ())] * 3
    assert body_of(direct, f"{folder}a") == b"x" * 1000


def test_a_head_gets_no_body(s3: S3, folder: str, s3_proxy: FaultProxy) -> None:
    client = s3()
    put(client, f"{folder}a")
    with s3_proxy.fault(Answer(403)), pytest.raises(ClientError) as caught:
        client.head_object(Bucket=BUCKET, Key=f"{folder}a")
    assert caught.value.response["Error"]["Code"] == "403"
    assert client.head_object(Bucket=BUCKET, Key=f"{folder}a")["ContentLength"] == 1000


@pytest.mark.parametrize("status", [200, 204, 304, 299])
def test_answers_that_are_no_errors(status: int, s3_proxy: FaultProxy) -> None:
    s3_proxy.add(Answer(status, body=b"body"))
    with httpx.Client() as client:
        answers = [client.get(f"{s3_proxy.url}/x") for _ in range(2)]
    expected = b"" if status in (204, 304) else b"body"
    assert [(answer.status_code, answer.content) for answer in answers] == [(status, expected)] * 2


def test_a_large_body_is_answered_without_the_server(s3: S3, direct: Any, folder: str, s3_proxy: FaultProxy) -> None:
    """Both when the client waits to be asked for its body, as boto3 does, and when it is sending already."""
    client = s3()
    with s3_proxy.fault(Answer(503, code="Custom", message="a < b"), match=PUT), pytest.raises(ClientError) as caught:
        put(client, f"{folder}a", b"x" * 5_000_000)
    assert caught.value.response["Error"] == {"Code": "Custom", "Message": "a < b"}
    with s3_proxy.fault(Answer(429, body='{"code": 7}', content_type="application/json"), match=PUT):
        answer = httpx.put(f"{s3_proxy.url}/{BUCKET}/{folder}b", content=b"x" * 5_000_000)
    assert (answer.status_code, answer.json()) == (429, {"code": 7})
    assert keys(direct, folder) == []


def test_after_and_times(s3: S3, folder: str, s3_proxy: FaultProxy) -> None:
    client = s3()
    first = s3_proxy.add(Answer(500), match=PUT, after=1, times=1)
    second = s3_proxy.add(Answer(429), match=PUT, times=2, after=1)
    outcomes = []
    for number in range(6):
        try:
            put(client, f"{folder}{number}")
        except ClientError as error:
            outcomes.append(error.response["ResponseMetadata"]["HTTPStatusCode"])
        else:
            outcomes.append(200)
    # The first spares one (as does the second, which is asked next); then each strikes in its turn.
    assert outcomes == [200, 500, 429, 429, 200, 200]
    assert (first.hits, second.hits) == (1, 2)


@pytest.mark.parametrize(
    ("match", "strikes"),
    [
        (Match(), {"put", "get", "list"}),
        (Match(method="get"), {"get", "list"}),
        (Match(query="list-type"), {"list"}),
        (Match(query="list-type=2", method="GET", path=f"^/{BUCKET}/?$"), {"list"}),
        (Match(query="list-type=3"), set()),
        (Match(path=r"/a b\+ü$"), {"put", "get"}),
        (Match(path=r"/a b\+ü$", method="PUT"), {"put"}),
        (Match(contains=b"needle"), {"put"}),
        (Match(contains=b"missing"), set()),
    ],
)
def test_what_a_match_names(match: Match, strikes: set[str], s3: S3, s3_proxy: FaultProxy) -> None:
    client, key = s3(), "matching/a b+ü"
    calls = {
        "put": lambda: client.upload_part(
            Bucket=BUCKET, Key=key, UploadId="none", PartNumber=1, Body=b"hay needle hay"
        ),
        "get": lambda: client.get_object(Bucket=BUCKET, Key=key),
        "list": lambda: client.list_objects_v2(Bucket=BUCKET, Prefix="matching/"),
    }
    s3_proxy.add(Answer(418, code="Struck"), match=match)
    struck = set()
    for name, call in calls.items():
        try:
            call()
        except ClientError as error:
            if error.response["Error"]["Code"] == "Struck":
                struck.add(name)
    assert struck == strikes


def test_a_delayed_answer_is_work_done(s3: S3, direct: Any, folder: str, s3_proxy: FaultProxy) -> None:
    fault = s3_proxy.add(Delay(math.inf, direction="response"), match=PUT, times=1)
    with pytest.raises(ReadTimeoutError):
        put(s3(timeout=0.3), f"{folder}a")
    assert fault.hits == 1
    assert keys(direct, folder) == ["a"]


def test_a_delayed_request_is_work_not_begun(s3: S3, direct: Any, folder: str, s3_proxy: FaultProxy) -> None:
    fault = s3_proxy.add(Delay(math.inf), match=PUT, times=1)
    with pytest.raises(ReadTimeoutError):
        put(s3(timeout=0.3), f"{folder}a")
    assert fault.hits == 1
    assert keys(direct, folder) == []


def test_a_delayed_request_arrives_after_its_client_has_gone(
    s3: S3, direct: Any, folder: str, s3_proxy: FaultProxy
) -> None:
    put(direct, f"{folder}a")
    s3_proxy.add(Delay(1.0), match=Match(method="DELETE"), times=1)
    with pytest.raises(ReadTimeoutError):
        s3(timeout=0.1).delete_object(Bucket=BUCKET, Key=f"{folder}a")
    assert keys(direct, folder) == ["a"]
    gone = direct.get_waiter("object_not_exists")
    gone.wait(Bucket=BUCKET, Key=f"{folder}a", WaiterConfig={"Delay": 0.1, "MaxAttempts": 100})


def test_a_reset_after_the_work_was_done(s3: S3, direct: Any, folder: str, s3_proxy: FaultProxy) -> None:
    with s3_proxy.fault(Reset(), match=PUT) as fault, pytest.raises(ConnectionClosedError):
        put(s3(), f"{folder}a")
    assert fault.hits == 1
    assert keys(direct, folder) == ["a"]


@pytest.mark.parametrize("passing", [0, 400_000])
def test_a_reset_of_the_request(passing: int, s3: S3, direct: Any, folder: str, s3_proxy: FaultProxy) -> None:
    with (
        s3_proxy.fault(Reset(passing, "request"), match=PUT) as fault,
        pytest.raises(HTTPClientError),
    ):
        put(s3(), f"{folder}a", b"x" * 1_000_000)
    assert fault.hits == 1
    assert keys(direct, folder) == []


@pytest.mark.parametrize("how", [Reset, HalfClose, Truncate])
@pytest.mark.parametrize("passing", [1, 70_000, 3_000_000])
def test_a_body_is_cut(how: Any, passing: int, s3: S3, direct: Any, folder: str, s3_proxy: FaultProxy) -> None:
    put(direct, f"{folder}a", b"x" * 4_000_000)
    with s3_proxy.fault(how(passing), match=GET, times=1) as fault:
        body = s3().get_object(Bucket=BUCKET, Key=f"{folder}a")["Body"]
        read: list[bytes] = []
        with pytest.raises((IncompleteReadError, ResponseStreamingError)):
            read.extend(iter(lambda: body.read(1000), b""))
        fault.wait()
    # The client drops its last piece when it meets the end.
    assert passing - 1000 <= sum(map(len, read)) <= passing
    assert body_of(s3(), f"{folder}a") == b"x" * 4_000_000


def test_a_truncated_answer_has_its_head(s3: S3, folder: str, s3_proxy: FaultProxy) -> None:
    client = s3()
    put(client, f"{folder}a")
    with s3_proxy.fault(Truncate(), match=GET):
        answer = client.get_object(Bucket=BUCKET, Key=f"{folder}a")
        assert answer["ContentLength"] == 1000
        with pytest.raises((IncompleteReadError, ResponseStreamingError)):
            answer["Body"].read()


def test_a_body_that_is_shorter_than_the_cut(s3: S3, folder: str, s3_proxy: FaultProxy) -> None:
    client = s3()
    with s3_proxy.fault(Truncate(1000)) as fault:
        put(client, f"{folder}a")
        assert body_of(client, f"{folder}a") == b"x" * 1000
    assert fault.hits == 0


def test_a_half_closed_request_is_silence(s3: S3, direct: Any, folder: str, s3_proxy: FaultProxy) -> None:
    with (
        s3_proxy.fault(HalfClose(1000, "request"), match=PUT) as fault,
        pytest.raises(ReadTimeoutError),
    ):
        put(s3(timeout=0.5), f"{folder}a", b"x" * 10_000)
    assert fault.hits == 1
    assert keys(direct, folder) == []


def test_stale_listings(s3: S3, direct: Any, folder: str, s3_proxy: FaultProxy) -> None:
    client = s3()
    put(direct, f"{folder}a")
    put(direct, f"{folder}sub/b")
    with s3_proxy.fault(StaleListing()) as fault:
        assert keys(client, folder) == ["a", "sub/b"]
        direct.delete_object(Bucket=BUCKET, Key=f"{folder}a")
        put(direct, f"{folder}c")
        assert keys(client, folder) == ["a", "sub/b"]
        # In another connection as well; another question is another listing; a HEAD sees what is there.
        assert keys(s3(), folder) == ["a", "sub/b"]
        assert keys(client, f"{folder}sub/") == ["b"]
        assert keys(client, folder, MaxKeys=1) == ["c"]
        assert body_of(client, f"{folder}c") == b"x" * 1000
        assert fault.hits == 2
    assert keys(client, folder) == ["c", "sub/b"]


def test_a_listing_becomes_fresh_again(s3: S3, direct: Any, folder: str, s3_proxy: FaultProxy) -> None:
    client = s3()
    s3_proxy.add(StaleListing(), match=Match(query=f"prefix={folder}"), times=2)
    assert keys(client, folder) == []
    put(direct, f"{folder}a")
    assert [keys(client, folder) for _ in range(3)] == [[], [], ["a"]]


def test_an_error_is_no_listing_to_remember(s3: S3, direct: Any, s3_proxy: FaultProxy) -> None:
    s3_proxy.add(StaleListing())
    with pytest.raises(ClientError, match="NoSuchBucket"):
        s3().list_objects_v2(Bucket="made-later")
    direct.create_bucket(Bucket="made-later")
    assert s3().list_objects_v2(Bucket="made-later")["KeyCount"] == 0


def test_every_page_of_a_stale_listing(s3: S3, direct: Any, folder: str, s3_proxy: FaultProxy) -> None:
    for number in range(5):
        put(direct, f"{folder}{number}", b"")
    s3_proxy.add(StaleListing())

    def listed() -> list[str]:
        pages = s3().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=folder, MaxKeys=2)
        return [item["Key"].removeprefix(folder) for page in pages for item in page["Contents"]]

    assert listed() == list("01234")
    for number in range(3):
        direct.delete_object(Bucket=BUCKET, Key=f"{folder}{number}")
    assert listed() == list("01234")
    s3_proxy.clear()
    assert listed() == list("34")


def test_delays_add_to_other_faults(s3: S3, folder: str, s3_proxy: FaultProxy) -> None:
    slow = s3_proxy.add(Delay(0.01))
    slower = s3_proxy.add(Delay(0.01, "response"))
    busy = s3_proxy.add(Answer(503))
    never = s3_proxy.add(Answer(500))
    with pytest.raises(ClientError, match="SlowDown"):
        put(s3(), f"{folder}a")
    assert [fault.hits for fault in (slow, slower, busy, never)] == [1, 1, 1, 0]


def test_parallel_clients_share_the_count(s3: S3, folder: str, s3_proxy: FaultProxy) -> None:
    fault = s3_proxy.add(Answer(503), match=PUT, times=7)
    client = s3()

    def attempt(number: int) -> bool:
        try:
            put(client, f"{folder}{number}")
        except ClientError:
            return False
        return True

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(attempt, range(40)))
    assert outcomes.count(False) == fault.hits == 7
    assert len(keys(client, folder)) == 33
