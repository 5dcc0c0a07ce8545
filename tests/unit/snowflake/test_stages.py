"""Which stage covers a manifest, which store it leads to, and what Snowflake must see through it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mz_orchestration.errors import ConfigurationError, NotFoundError
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.objectstore.client import ObjectInfo
from mz_orchestration.snowflake.stage_store import check_store
from mz_orchestration.snowflake.stages import (
    StageFacts,
    endpoint_statement,
    judge_probe,
    path_below_stage,
    probe_statement,
    stage_facts,
    with_endpoint,
)

NAME = ("DB", "SCH", "STG")
ATTEMPT = "shop.orders/20261122T000000Z-0123abcd-01/"
CLOUD = "xy12345.eu-west-1.snowflakecomputing.com"


def manifest(base: str = "s3://bucket/exports/") -> Manifest:
    return Manifest.model_construct(base=base, path=f"{base}{ATTEMPT}")


def stage(url: str | None, **more: Any) -> StageFacts:
    if url and url.lower().startswith("gcs"):
        more.setdefault("integration", "GCS_INT")
    return StageFacts('"DB"."SCH"."STG"', url, **more)


def described(*pairs: tuple[str, str | None]) -> list[dict[str, Any]]:
    return [{"parent_property": "", "property": name, "property_value": value} for name, value in pairs]


@pytest.mark.parametrize(
    ("rows", "facts"),
    [
        (
            described(("TYPE", "CSV"), ("URL", '["s3://bucket/exports/"]'), ("STORAGE_INTEGRATION", "S3_INT")),
            stage("s3://bucket/exports/", integration="S3_INT"),
        ),
        (described(("URL", "s3://bucket/"), ("AWS_KEY_ID", "AKIA")), stage("s3://bucket/", has_credentials=True)),
        (described(("URL", ""), ("STORAGE_INTEGRATION", None)), stage(None)),
        (described(("URL", '[""]')), stage(None)),
        (described(("URL", "[]")), stage(None)),
        (described(("DIRECTORY", "false")), stage(None)),
        (
            described(("URL", '["s3compat://bucket/"]'), ("ENDPOINT", "a.r2.cloudflarestorage.com")),
            stage("s3compat://bucket/", endpoint="a.r2.cloudflarestorage.com"),
        ),
    ],
)
def test_what_desc_stage_says(rows: list[dict[str, Any]], facts: StageFacts) -> None:
    assert stage_facts(rows, NAME) == facts


def test_an_endpoint_that_only_show_stages_has() -> None:
    assert endpoint_statement(("DB", "SCH", "it's")) == "SHOW STAGES LIKE 'it''s' IN SCHEMA \"DB\".\"SCH\""
    facts = stage("s3compat://bucket/")
    rows = [{"name": "XSTG", "endpoint": "other.example.com"}, {"name": "STG", "endpoint": "s3.example.com"}]
    assert with_endpoint(facts, rows, NAME).endpoint == "s3.example.com"
    assert with_endpoint(facts, rows[:1], NAME) == facts
    assert with_endpoint(facts, [{"name": "STG"}], NAME) == facts


@pytest.mark.parametrize(
    ("url", "base", "path"),
    [
        ("s3://bucket/", "s3://bucket/exports/", f"exports/{ATTEMPT}"),
        ("s3://bucket", "s3://bucket/exports/", f"exports/{ATTEMPT}"),
        ("S3://bucket/exports", "s3://bucket/exports/", ATTEMPT),
        ("s3gov://bucket/exports/", "s3://bucket/exports/", ATTEMPT),
        ("s3china://bucket/exports/", "s3://bucket/exports/", ATTEMPT),
        (f"s3://bucket/exports/{ATTEMPT}", "s3://bucket/exports/", ""),
        ("gcs://bucket/", "gs://bucket/exports/", f"exports/{ATTEMPT}"),
        ("gcs://bucket/", "s3://bucket/exports/", f"exports/{ATTEMPT}"),
        ("s3compat://bucket/exports/", "s3://bucket/exports/", ATTEMPT),
    ],
)
def test_the_path_below_a_stage(url: str, base: str, path: str) -> None:
    assert path_below_stage(stage(url), manifest(base)) == path


@pytest.mark.parametrize(
    ("url", "base", "said", "hint"),
    [
        (None, "s3://bucket/exports/", "is internal", "covers s3://bucket/exports/shop.orders/"),
        ("azure://acc.blob.core.windows.net/c/", "s3://bucket/exports/", "does not export to", "s3compat://"),
        ("s3://other/", "s3://bucket/exports/", "does not cover", "s3://bucket/exports/"),
        ("s3://buck", "s3://bucket/exports/", "same letters", "s3://bucket/ or a folder above"),
        ("s3://bucket/exports", "s3://bucket/exports_archive/", "same letters", "s3://bucket/exports_archive/"),
        ("s3://bucket/exports/", "s3://bucket/exports_archive/", "same letters", "s3://bucket/exports_archive/"),
        ("s3://bucket/Exports/", "s3://bucket/exports/", "upper and lower case", "s3://bucket/exports/"),
        ("s3://bucket/day%3D1/", "s3://bucket/day=1/", "'%'", "s3://bucket/day=1/"),
        ("gcs://bucket/other/", "gs://bucket/exports/", "does not cover", "gcs://bucket/exports/"),
        ("s3://bucket/", "gs://bucket/exports/", "lies in Google Cloud Storage", "gcs://bucket/exports/"),
        ("s3compat://bucket/", "gs://bucket/exports/", "lies in Google Cloud Storage", "gcs://bucket/exports/"),
    ],
)
def test_stages_that_do_not_cover_a_manifest(url: str | None, base: str, said: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        path_below_stage(stage(url), manifest(base))
    assert raised.value.message.startswith("stage: ")
    assert said in raised.value.message
    assert hint in raised.value.hint
    if url:
        assert url in raised.value.message


R2 = "0123.r2.cloudflarestorage.com"


@pytest.mark.parametrize(
    ("facts", "endpoint"),
    [
        (stage("s3://bucket/"), None),
        (stage("s3://bucket/"), "https://s3.eu-west-1.amazonaws.com"),
        (stage("S3://bucket/"), "https://bucket.vpce-0a1b.s3.us-east-1.vpce.amazonaws.com"),
        (stage("s3china://bucket/"), "https://s3.cn-north-1.amazonaws.com.cn"),
        (stage("s3gov://bucket/"), "https://s3.us-gov-west-1.amazonaws.com"),
        (stage("gcs://bucket/"), "https://storage.googleapis.com"),
        (stage("GCS://bucket/"), "https://storage.googleapis.com:443/"),
        (stage("gcs://bucket/"), "https://storage.europe-west3.rep.googleapis.com"),
        (stage("gcs://bucket/"), "https://bucket.storage.googleapis.com"),
        (stage("gcs://bucket/"), "https://storage-psc.p.googleapis.com"),
        (stage("s3compat://bucket/", endpoint=R2), f"https://{R2}"),
        (stage("s3compat://bucket/", endpoint=R2), f"https://bucket.{R2}"),
        (stage("s3compat://bucket/", endpoint=R2.upper()), f"https://{R2}/"),
        (stage("s3compat://bucket/", endpoint="s3.cn-north-1.amazonaws.com.cn"), "s3.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_stores_that_a_stage_reads(facts: StageFacts, endpoint: str | None) -> None:
    assert check_store(facts, store_endpoint=endpoint, snowflake_host=CLOUD) == []
    assert check_store(facts, store_endpoint=endpoint, snowflake_host=None) == []


@pytest.mark.parametrize(
    ("facts", "endpoint", "said", "hint"),
    [
        # What Snowflake takes for Amazon's lies elsewhere.
        (stage("s3://b/"), "http://minio:9000", "reads Amazon S3, but", "http://minio:9000 has the port 9000"),
        (stage("s3://b/"), "https://minio.corp.internal", "reads Amazon S3", "only a private network knows"),
        (stage("s3://b/"), "http://s3.example.com", "reads Amazon S3", "is plain HTTP"),
        (stage("s3://b/"), f"https://{R2}", "reads Amazon S3", f"s3compat://b/ with ENDPOINT = '{R2}'"),
        (stage("s3://b/"), "https://storage.googleapis.com", "reads Amazon S3", "gcs://b/ with a storage integration"),
        (stage("s3://b/"), "https://s3.amazonaws.com.evil.org", "reads Amazon S3", "s3compat://b/"),
        (stage("gcs://b/"), None, "reads Google Cloud Storage", "s3://b/ with a storage integration"),
        (stage("gcs://b/"), f"https://{R2}", "reads Google Cloud Storage", "s3compat://b/"),
        (stage("s3compat://b/", endpoint=R2), None, f"reads the store at {R2}", "s3://b/"),
        (
            stage("s3compat://b/", endpoint="storage.googleapis.com"),
            "https://storage.googleapis.com",
            "reads",
            "gcs://",
        ),
        # The stage itself cannot work.
        (
            replace(stage("gcs://b/"), integration=None),
            "https://storage.googleapis.com",
            "no storage integration",
            "GCS",
        ),
        (stage("s3compat://b/", endpoint=R2, integration="I"), f"https://{R2}", "the storage integration I", "CREDENT"),
        (stage("s3compat://b/", endpoint=f"https://{R2}"), f"https://{R2}", "has a scheme", "bare"),
        (stage("s3compat://b/", endpoint=f"{R2}/b"), f"https://{R2}", "has a path", "bare"),
        (stage("s3compat://b/", endpoint="s3.example.com:9000"), "https://s3.example.com:9000", "port 9000", "usual"),
        (stage("s3compat://b/", endpoint="minio"), "http://minio:9000", "private network", "public DNS"),
        (stage("s3compat://b/", endpoint="localhost"), "http://localhost:9000", "private network", "public DNS"),
        (stage("s3compat://b/", endpoint="minio.minio.svc"), "http://minio.minio.svc", "private network", "public DNS"),
        (stage("s3compat://b/", endpoint="10.0.0.7"), "https://10.0.0.7", "is an address", "public DNS"),
        (stage("s3compat://b/", endpoint="127.0.0.1:9000"), "http://127.0.0.1:9000", "port 9000", "public DNS"),
        (stage("s3compat://b/", endpoint="[fd00::1]"), "https://[fd00::1]", "is an address", "public DNS"),
    ],
)
def test_stores_that_a_stage_does_not_read(facts: StageFacts, endpoint: str | None, said: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        check_store(facts, store_endpoint=endpoint, snowflake_host=CLOUD)
    assert raised.value.message.startswith("stage: ")
    assert said in raised.value.message
    # The value and the way out: the hint of a bare host says what Snowflake calls.
    assert hint in str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "snowflake.localhost"])
def test_a_snowflake_on_this_machine_reaches_what_we_reach(host: str) -> None:
    for facts in (stage("s3://b/"), stage("gcs://b/"), stage("s3compat://b/", endpoint="localhost")):
        assert check_store(facts, store_endpoint="http://127.0.0.1:9000", snowflake_host=host) == []
    with pytest.raises(ConfigurationError, match="has the port"):
        check_store(stage("s3compat://b/", endpoint="localhost:9000"), store_endpoint=None, snowflake_host=host)


@pytest.mark.parametrize(
    ("facts", "endpoint", "note"),
    [
        (stage("s3compat://b/"), f"https://{R2}", "does not show the ENDPOINT"),
        (stage("s3compat://b/", endpoint="s3.example.com"), "http://minio:9000", "reached through http://minio:9000"),
        (stage("s3compat://a.b/", endpoint=R2), f"https://{R2}", "a dot in its name"),
        (stage("s3://b/"), "https://s3.cn-north-1.amazonaws.com.cn", "documents s3china://"),
        (stage("s3://b/"), "https://s3.us-gov-west-1.amazonaws.com", "documents s3gov://"),
        (stage("s3gov://b/"), None, "documents s3://"),
    ],
)
def test_what_only_the_probe_can_tell(facts: StageFacts, endpoint: str | None, note: str) -> None:
    [found] = check_store(facts, store_endpoint=endpoint, snowflake_host=CLOUD)
    assert note in found


def test_no_secret_of_an_endpoint_is_repeated() -> None:
    with pytest.raises(ConfigurationError) as raised:
        check_store(stage("s3://b/"), store_endpoint="https://key:hunter2@s3.example.com", snowflake_host=CLOUD)
    assert "hunter2" not in str(raised.value)
    assert "https://s3.example.com" in str(raised.value)


def test_the_probe_names_one_object() -> None:
    assert probe_statement(NAME, f"exports/{ATTEMPT}", manifest()) == (
        f'LIST @"DB"."SCH"."STG"/exports/{ATTEMPT}_manifest.json'
    )


AT = f"bucket/exports/{ATTEMPT}_manifest.json"
STORED = ObjectInfo(f"exports/{ATTEMPT}_manifest.json", 812, "0" * 31 + "a")


def listed(name: str, size: object = 812, md5: str | None = STORED.etag) -> dict[str, Any]:
    return {"name": name, "size": size, "md5": md5, "last_modified": "Sun, 22 Nov 2026 08:00:00 GMT"}


@pytest.mark.parametrize(
    ("rows", "stored"),
    [
        ([listed(f"s3://{AT}")], STORED),
        ([listed(f"s3compat://{AT}", "812")], STORED),
        ([listed(f"s3://{AT}.bak", 1), listed(f"gcs://{AT}")], STORED),
        ([listed(f"s3://{AT}", md5=STORED.etag.upper())], STORED),
        # Not a digest on either side, or on one.
        ([listed(f"s3://{AT}", md5="ff" * 16)], replace(STORED, etag="0123-2")),
        ([listed(f"s3://{AT}", md5="0123-2")], STORED),
        ([listed(f"s3://{AT}", md5=None)], STORED),
    ],
)
def test_snowflake_sees_the_manifest(rows: list[dict[str, Any]], stored: ObjectInfo) -> None:
    judge_probe(rows, stage("s3://bucket/", integration="S3_INT"), manifest(), stored)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [listed(f"s3://{AT}.bak")],
        [listed(f"s3://other-{AT}")],
        [listed("s3://bucket/_manifest.json")],
    ],
)
def test_snowflake_sees_nothing(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(NotFoundError) as raised:
        judge_probe(rows, stage("s3://bucket/", integration="S3_INT"), manifest(), STORED)
    assert f"s3://{AT}" in raised.value.message
    assert "the role of the integration S3_INT" in raised.value.hint


@pytest.mark.parametrize("row", [listed(f"s3://{AT}", 811), listed(f"s3://{AT}", md5="ff" * 16)])
def test_snowflake_sees_another_file(row: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="sees another") as raised:
        judge_probe([row], stage("s3://bucket/", has_credentials=True), manifest(), STORED)
    assert "812 bytes" in raised.value.message
