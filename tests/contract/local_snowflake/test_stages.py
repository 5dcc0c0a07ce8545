"""Stages over S3, GCS and S3-compatible stores, and the integrations behind them."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
import snowflake.connector

GCS = (
    "CREATE STORAGE INTEGRATION {name} TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'GCS' ENABLED = TRUE "
    "STORAGE_ALLOWED_LOCATIONS = ({allowed})"
)
KEYS = "CREDENTIALS = (AWS_KEY_ID = 'local' AWS_SECRET_KEY = 'local-secret')"


def values(cursor: Any, sql: str) -> list[Any]:
    return list(cursor.execute(sql).fetchall())


def by_name(cursor: Any, sql: str) -> list[dict[str, Any]]:
    cursor.execute(sql)
    names = [d[0] for d in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def properties(cursor: Any, sql: str) -> dict[str, str]:
    return {r["property"]: r["property_value"] for r in by_name(cursor, sql)}


def fails(cursor: Any, sql: str, errno: int, text: str = "") -> None:
    with pytest.raises(snowflake.connector.errors.DatabaseError) as caught:
        cursor.execute(sql)
    assert caught.value.errno == errno, caught.value
    assert text in str(caught.value)


@pytest.fixture
def gcs(cursor: Any) -> str:
    name = f"GCS_{uuid.uuid4().hex}".upper()
    cursor.execute(GCS.format(name=name, allowed="'gcs://mz-exports/'"))
    return name


def test_gcs_is_read_through_its_integration(cursor: Any, bucket: Any, gcs: str) -> None:
    bucket.put("a.csv", b"1\n2\n")
    described = properties(cursor, f"DESC INTEGRATION {gcs}")
    assert described["STORAGE_PROVIDER"] == "GCS"
    assert described["STORAGE_GCP_SERVICE_ACCOUNT"].endswith(".iam.gserviceaccount.com")
    assert "STORAGE_AWS_ROLE_ARN" not in described
    url = f"gcs://mz-exports/{bucket.prefix}"
    cursor.execute(f"CREATE STAGE S URL = '{url}' STORAGE_INTEGRATION = {gcs}")
    assert [row[0] for row in values(cursor, "LIST @S")] == [f"{url}a.csv"]
    cursor.execute("CREATE TABLE T (A NUMBER)")
    cursor.execute("COPY INTO T FROM @S FILES = ('a.csv')")
    assert cursor.fetchall()[0][:2] == (f"{url}a.csv", "LOADED")
    shown = by_name(cursor, "SHOW STAGES LIKE 'S'")[0]
    assert (shown["cloud"], shown["storage_integration"], shown["url"]) == ("GCP", gcs, url)


def test_a_location_and_its_integration_are_of_one_cloud(cursor: Any, gcs: str) -> None:
    fails(cursor, f"CREATE STAGE S URL = 's3://mz-exports/' STORAGE_INTEGRATION = {gcs}", 1757, "is not allowed")
    fails(cursor, "CREATE STAGE S URL = 'gcs://mz-exports/' STORAGE_INTEGRATION = MZ_INTEGRATION", 1757)
    fails(cursor, "CREATE STAGE S URL = 'gs://mz-exports/'", 1011, "gs://mz-exports/")
    fails(cursor, "CREATE STAGE S URL = 'gcs://mz-exports/'", 2029, "STORAGE_INTEGRATION")
    fails(cursor, GCS.format(name="G", allowed="'s3://mz-exports/'"), 1011, "s3://mz-exports/")
    everywhere = f"{gcs}_ALL"
    cursor.execute(GCS.format(name=everywhere, allowed="'*'"))
    fails(cursor, f"CREATE STAGE S URL = 's3://mz-exports/' STORAGE_INTEGRATION = {everywhere}", 1757)


def test_compatible_stores_are_read_with_keys(cursor: Any, bucket: Any) -> None:
    bucket.put("a.csv", b"1\n")
    url = f"s3compat://mz-exports/{bucket.prefix}"
    create = f"CREATE STAGE S URL = '{url}'"
    endpoint = "ENDPOINT = 'account.r2.cloudflarestorage.com'"
    fails(cursor, f"{create} {KEYS}", 2029, "ENDPOINT")
    fails(cursor, f"{create} {endpoint}", 2029, "CREDENTIALS")
    fails(cursor, f"{create} {endpoint} STORAGE_INTEGRATION = MZ_INTEGRATION", 2301, "not supported for s3compat://")
    for wrong in ("https://r2.example.com", "r2.example.com:9000", "r2.example.com/path"):
        fails(cursor, f"{create} ENDPOINT = '{wrong}' {KEYS}", 1008, wrong)
    fails(cursor, f"CREATE STAGE S URL = 's3://mz-exports/' {endpoint} {KEYS}", 2301, "ENDPOINT")
    cursor.execute(f"{create} {endpoint} {KEYS}")
    assert [row[0] for row in values(cursor, "LIST @S")] == [f"{url}a.csv"]
    described = properties(cursor, "DESC STAGE S")
    assert json.loads(described["URL"]) == [url]
    assert (described["ENDPOINT"], described["AWS_KEY_ID"]) == ("account.r2.cloudflarestorage.com", "local")
    assert described["STORAGE_INTEGRATION"] == ""
    assert "local-secret" not in str(values(cursor, "DESC STAGE S"))
    assert by_name(cursor, "SHOW STAGES LIKE 'S'")[0]["endpoint"] == "account.r2.cloudflarestorage.com"


def test_alter_stage(cursor: Any, bucket: Any) -> None:
    bucket.put("in/a.csv", b"1|2\n")
    here = f"s3://mz-exports/{bucket.prefix}"
    cursor.execute(
        f"CREATE STAGE S URL = '{here}' STORAGE_INTEGRATION = MZ_INTEGRATION DIRECTORY = (ENABLE = FALSE) "
        "FILE_FORMAT = (TYPE = CSV FIELD_DELIMITER = '|')"
    )
    assert properties(cursor, "DESC STAGE S")["FIELD_DELIMITER"] == "|"
    cursor.execute(f"ALTER STAGE S SET URL = '{here}in/' COMMENT = 'c'")
    assert [row[0] for row in values(cursor, "LIST @S")] == [f"{here}in/a.csv"]
    cursor.execute("CREATE TABLE T (A NUMBER, B NUMBER)")
    cursor.execute("COPY INTO T FROM @S")
    assert values(cursor, "SELECT * FROM T") == [(1, 2)]
    fails(cursor, "ALTER STAGE S SET URL = 's3://elsewhere/'", 1757)
    assert json.loads(properties(cursor, "DESC STAGE S")["URL"]) == [f"{here}in/"]
    cursor.execute("ALTER STAGE S RENAME TO S2")
    assert [(r["name"], r["comment"]) for r in by_name(cursor, "SHOW STAGES")] == [("S2", "c")]
    cursor.execute("ALTER STAGE IF EXISTS S SET COMMENT = 'x'")
    fails(cursor, "ALTER STAGE S SET COMMENT = 'x'", 2003, "Stage")


def test_an_integration_is_tried(cursor: Any, bucket: Any) -> None:
    bucket.put("there", b"x")

    def tried(file: str, action: str, location: str = f"s3://mz-exports/{bucket.prefix}") -> Any:
        sql = f"SELECT SYSTEM$VALIDATE_STORAGE_INTEGRATION('MZ_INTEGRATION', '{location}', '{file}', '{action}')"
        return json.loads(values(cursor, sql)[0][0])

    assert tried("there", "read") == {"status": "success", "actions": {"READ": {"status": "success"}}}
    assert tried("there", "list")["actions"] == {"LIST": {"status": "success"}}
    missing = tried("missing", "read")
    assert (missing["status"], missing["actions"]["READ"]["status"]) == ("failure", "failure")
    assert "Status Code: 404" in missing["actions"]["READ"]["message"]
    assert list(tried("new", "all")["actions"]) == ["READ", "DELETE", "LIST", "WRITE"]
    nothing = "SELECT SYSTEM$VALIDATE_STORAGE_INTEGRATION"
    fails(cursor, f"{nothing}('NOPE', 's3://mz-exports/', 'f', 'read')", 2003, "Integration 'NOPE'")
    fails(cursor, f"{nothing}('MZ_INTEGRATION', 's3://elsewhere/', 'f', 'read')", 1757)
