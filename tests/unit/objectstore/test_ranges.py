"""How a request is repeated without boto3: to the same address, in the same style."""

from __future__ import annotations

import io
import ssl
from typing import Any

import botocore.awsrequest
import pytest
from botocore import UNSIGNED
from pydantic import SecretStr

from mz_orchestration.objectstore.client import ObjectInfo, ObjectStore, ObjectStoreConfig
from mz_orchestration.objectstore.location import Location
from mz_orchestration.objectstore.ranges import TailReader, _Route

HEADERS = {"ETag": '"e"', "Content-Length": "8", "Content-Range": "bytes 92-99/100"}


class _Raw(io.BytesIO):
    def stream(self, **options: Any) -> Any:
        yield self.read()


def learnt(store: ObjectStore, bucket: str) -> tuple[_Route | None, list[Any]]:
    """What is learnt from a request that never reaches a network, and the request."""
    sent: list[Any] = []

    def answer(request: Any, **more: Any) -> Any:
        sent.append(request)
        raw = _Raw(b"12345678")
        return botocore.awsrequest.AWSResponse(request.url, 206, HEADERS, raw)

    store.client.meta.events.register_last("before-send.s3.GetObject", answer)
    with TailReader(store, Location(bucket, "")) as tails:
        assert tails.read(ObjectInfo("run=1/a.parquet", 100, "e"), 8) == b"12345678"
        return tails._route, sent


def config(**fields: Any) -> ObjectStoreConfig:
    keys = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": SecretStr("secret")}
    return ObjectStoreConfig(region_name="eu-west-1", **keys, **fields)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("bucket", "endpoint", "host", "path"),
    [
        ("exports", None, "exports.s3.eu-west-1.amazonaws.com", "/run%3D1/a.parquet"),
        ("my.exports", None, "s3.eu-west-1.amazonaws.com", "/my.exports/run%3D1/a.parquet"),
        ("exports", "https://store.example:9000/s3", "store.example:9000", "/s3/exports/run%3D1/a.parquet"),
    ],
)
def test_addressing_is_that_of_boto3(bucket: str, endpoint: str | None, host: str, path: str) -> None:
    route, [sent] = learnt(ObjectStore(config(endpoint_url=endpoint)), bucket)
    assert route is not None
    found, headers = route.request(ObjectInfo("run=1/a.parquet", 100, "e"), 92)
    assert found == path
    assert headers["host"] == host
    assert headers["range"] == sent.headers["Range"].decode() == "bytes=92-99"
    assert route.tls is not None
    assert route.tls.verify_mode is ssl.CERT_REQUIRED
    assert route.tls.check_hostname


def test_what_cannot_be_repeated_stays_with_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert learnt(ObjectStore(config()), "exports")[0] is None
    monkeypatch.delenv("HTTPS_PROXY")
    unsigned = ObjectStore(config())
    unsigned.client.meta.events.register("choose-signer.s3", lambda **more: UNSIGNED)
    assert learnt(unsigned, "exports")[0] is None
