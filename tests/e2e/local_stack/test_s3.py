"""The bucket server as a client meets it: who gets in, what it answers, what it writes down."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from mz_orchestration.local.stack import LocalStack
from mz_orchestration.local.state import AccessKey

BUCKET = "mz-exports"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s3") / "mz"


@pytest.fixture(scope="module")
def s3_only(home: Path) -> Iterator[LocalStack]:
    with LocalStack() as stack:
        yield stack.start(home, servers=("s3",))


def client(stack: LocalStack, key: AccessKey, service: str = "s3") -> Any:
    return boto3.client(
        service,
        endpoint_url=stack.environment["AWS_ENDPOINT_URL"],
        region_name=stack.environment["AWS_REGION"],
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret_access_key,
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


@pytest.fixture(params=["developer", "materialize"])
def s3(request: pytest.FixtureRequest, s3_only: LocalStack) -> Any:
    """A client for those who may write."""
    return client(s3_only, s3_only.state.secrets.access_keys[request.param])


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_objects_go_in_and_come_out(s3: Any) -> None:
    keys = [f"runs/ü {n}+&=%2F/mz t1.parquet" for n in range(3)]
    for key in keys:
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    listing = s3.list_objects_v2(Bucket=BUCKET, Prefix="runs/ü ")
    assert [entry["Key"] for entry in listing["Contents"]] == keys
    assert s3.get_object(Bucket=BUCKET, Key=keys[1], Range="bytes=0-3")["Body"].read() == b"runs"
    for key in keys:
        s3.delete_object(Bucket=BUCKET, Key=key)
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix="runs/ü ")["KeyCount"] == 0


def test_a_multipart_upload_shows_when_it_is_complete(s3: Any) -> None:
    key = "big/file.bin"
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    parts = [
        {
            "PartNumber": n,
            "ETag": s3.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=n, Body=b"x" * (5 << 20))[
                "ETag"
            ],
        }
        for n in (1, 2)
    ]
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix="big/")["KeyCount"] == 0
    s3.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    assert s3.head_object(Bucket=BUCKET, Key=key)["ContentLength"] == 10 << 20
    s3.delete_object(Bucket=BUCKET, Key=key)
    abandoned = s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    s3.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=abandoned)


def test_put_if_absent(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="once", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as second:
        s3.put_object(Bucket=BUCKET, Key="once", Body=b"2", IfNoneMatch="*")
    assert code(second) == "PreconditionFailed"
    s3.delete_object(Bucket=BUCKET, Key="once")


def test_wrong_credentials_and_missing_bucket_answer_as_aws_does(s3_only: LocalStack) -> None:
    good = s3_only.state.secrets.access_keys["developer"]
    unknown = client(s3_only, AccessKey.random())
    wrong = client(s3_only, AccessKey(access_key_id=good.access_key_id, secret_access_key="x" * 40))
    for bad, expected in ((unknown, "InvalidAccessKeyId"), (wrong, "SignatureDoesNotMatch")):
        for call in (
            lambda bad=bad: bad.list_objects_v2(Bucket=BUCKET),
            lambda bad=bad: bad.put_object(Bucket=BUCKET, Key="k", Body=b""),
            lambda bad=bad: bad.delete_object(Bucket=BUCKET, Key="k"),
        ):
            with pytest.raises(ClientError) as refused:
                call()
            assert code(refused) == expected
    for user in ("developer", "materialize", "snowflake"):
        with pytest.raises(ClientError) as missing:
            client(s3_only, s3_only.state.secrets.access_keys[user]).list_objects_v2(Bucket="no-such-bucket")
        assert code(missing) == "NoSuchBucket"


def test_the_warehouse_reads_and_does_not_write(s3_only: LocalStack) -> None:
    keys = s3_only.state.secrets.access_keys
    client(s3_only, keys["developer"]).put_object(Bucket=BUCKET, Key="seen", Body=b"1")
    warehouse = client(s3_only, keys["snowflake"])
    assert warehouse.get_object(Bucket=BUCKET, Key="seen")["Body"].read() == b"1"
    with pytest.raises(ClientError) as refused:
        warehouse.put_object(Bucket=BUCKET, Key="seen", Body=b"2")
    assert code(refused) == "AccessDenied"


def test_each_key_belongs_to_its_user(s3_only: LocalStack) -> None:
    for user, key in s3_only.state.secrets.access_keys.items():
        identity = client(s3_only, key, "sts").get_caller_identity()
        assert identity["Arn"] == f"arn:aws:iam::123456789012:user/{user}"


def test_the_warehouse_assumes_its_role(s3_only: LocalStack) -> None:
    sts = client(s3_only, s3_only.state.secrets.access_keys["snowflake"], "sts")
    role = "arn:aws:iam::123456789012:role/snowflake-integration"
    answer = sts.assume_role(RoleArn=role, RoleSessionName="load")["Credentials"]
    s3 = boto3.client(
        "s3",
        endpoint_url=s3_only.environment["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id=answer["AccessKeyId"],
        aws_secret_access_key=answer["SecretAccessKey"],
        aws_session_token=answer["SessionToken"],
    )
    assert s3.list_objects_v2(Bucket=BUCKET)["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer x"}])
@pytest.mark.parametrize("path", ["/mz-exports", "/mz-exports/key", "/moto-api/reset"])
def test_unsigned_requests_are_refused(s3_only: LocalStack, header: dict[str, str], path: str) -> None:
    request = urllib.request.Request(s3_only.environment["AWS_ENDPOINT_URL"] + path, headers=header)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 403
    assert b"AccessDenied" in refused.value.read()
    refused.value.close()


def test_every_request_is_written_down_before_it_is_answered(home: Path, s3_only: LocalStack) -> None:
    log = home / "s3_requests.jsonl"
    key = s3_only.state.secrets.access_keys["developer"]
    s3 = client(s3_only, key)
    before = len(log.read_text().splitlines())
    s3.put_object(Bucket=BUCKET, Key="näme", Body=b"")
    with pytest.raises(ClientError):
        s3.head_object(Bucket=BUCKET, Key="absent")
    s3.list_objects_v2(Bucket=BUCKET, Prefix="secret-looking")
    entries = [json.loads(line) for line in log.read_text().splitlines()[before:]]
    assert [(e["method"], e["path"], e["status"]) for e in entries] == [
        ("PUT", "/mz-exports/näme", 200),
        ("HEAD", "/mz-exports/absent", 404),
        ("GET", "/mz-exports", 200),
    ]
    assert entries[2]["query"] == ["encoding-type", "list-type", "prefix"]
    assert {entry["access_key_id"] for entry in entries} == {key.access_key_id}
    assert "secret-looking" not in log.read_text()
