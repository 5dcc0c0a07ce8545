"""Our signature of a request against botocore's."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from mz_orchestration.objectstore.signing import authorization, signed_by

words = st.text(alphabet="abcXYZ019/+=-_.~ %é", min_size=1, max_size=30)
values = st.text(alphabet="abc 0\"'=-/", min_size=1, max_size=20).map(str.strip).filter(bool)


@given(
    key=words,
    etag=values,
    token=st.none() | st.from_regex(r"[A-Za-z0-9+/=]{8,40}", fullmatch=True),
    secret=st.from_regex(r"[A-Za-z0-9+/]{1,60}", fullmatch=True),
    region=st.sampled_from(["us-east-1", "auto", "eu-west-1"]),
    payer=st.booleans(),
)
def test_the_same_as_botocore(key: str, etag: str, token: str | None, secret: str, region: str, payer: bool) -> None:
    url = "http://127.0.0.1:9000/bucket/" + quote(key, safe="/~")
    request = AWSRequest("GET", url, headers={"Range": "bytes=0-7", "If-Match": etag, "User-Agent": "me"})
    if payer:
        request.headers["x-amz-request-payer"] = "requester"
    S3SigV4Auth(ReadOnlyCredentials("AKIDEXAMPLE", secret, token), "s3", region).add_auth(request)
    theirs = request.headers["Authorization"]
    scope, names = signed_by(theirs)
    assert scope == f"AKIDEXAMPLE/{request.headers['X-Amz-Date'][:8]}/{region}/s3/aws4_request"
    signed = {name.lower(): value for name, value in request.headers.items() if name.lower() in names}
    signed["host"] = "127.0.0.1:9000"
    assert set(signed) == names
    path = url.removeprefix("http://127.0.0.1:9000")
    assert authorization(path, signed, "AKIDEXAMPLE", secret, region, "s3") == theirs


@pytest.mark.parametrize("header", ["", "AWS AKID:signature", "AWS4-ECDSA-P256-SHA256 Credential=a, SignedHeaders=b"])
def test_other_kinds_of_signatures(header: str) -> None:
    with pytest.raises(ValueError, match="Signature Version 4"):
        signed_by(header)
