"""The servers these tests talk to, as processes, and real connectors to them.

Only pytest, boto3, pyarrow, httpx and the connector are imported, so that the folder also runs in a small
environment holding the other major of the connector; MZ_LOCAL_SERVER_PYTHON then names the interpreter that
has the servers.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The connector must not look for a cloud, a log server or a certificate list.
os.environ["SNOWFLAKE_DISABLE_PLATFORM_DETECTION"] = "true"
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

import boto3
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import snowflake.connector

PYTHON = os.environ.get("MZ_LOCAL_SERVER_PYTHON", sys.executable)
PASSWORD = "right-password"
BUCKET = "mz-exports"
KEYS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local-secret", "AWS_REGION": "us-east-1"}
# Major 5 has another name for the limit of a request, and wants to be told how to log out.
BY_MAJOR: dict[str, Any] = (
    {"network_timeout": 30}
    if int(snowflake.connector.__version__.partition(".")[0]) < 5
    else {"request_timeout": 30, "enable_server_session_keep_alive_auto_detection": False}
)


def stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


@dataclass
class Server:
    """A running stand-in."""

    process: subprocess.Popen[str]
    port: int
    statements: Path
    password: str = PASSWORD

    def connect(self, **options: Any) -> Any:
        settings: dict[str, Any] = {
            "account": "local",
            "user": "LOCAL",
            "password": PASSWORD,
            "host": "127.0.0.1",
            "port": self.port,
            "protocol": "http",
            "login_timeout": 10,
            "session_parameters": {"TIMEZONE": "UTC"},
            **BY_MAJOR,
        }
        settings.update(options)
        return snowflake.connector.connect(**settings)

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.statements.read_text().splitlines()]

    def stop(self) -> None:
        stop(self.process)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


def start_server(folder: Path, s3_endpoint: str) -> Server:
    statements = folder / "statements.jsonl"
    command = [PYTHON, "-m", "mz_orchestration.local.snowflake", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--dir", str(folder / "snowflake"), "--statements", str(statements), "--s3-endpoint", s3_endpoint],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **KEYS, "MZ_LOCAL_SNOWFLAKE_PASSWORD": PASSWORD},
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    ready = json.loads(line) if line else {}
    assert ready.get("ready") is True, f"the server did not start: {line!r}"
    return Server(process, ready["port"], statements)


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("s3") / "moto.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [PYTHON, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        deadline = time.monotonic() + 30
        port = ""
        while not port and time.monotonic() < deadline and process.poll() is None:
            found = [w for w in log.read_text().split() if w.startswith("http://127.0.0.1:")]
            port = found[0].rsplit(":", 1)[1].strip("/") if found else ""
            time.sleep(0.05)
        assert port, log.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(process)


@pytest.fixture(scope="session")
def server(s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = start_server(tmp_path_factory.mktemp("state"), s3_endpoint)
    try:
        with running.connect() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE DEMO")
            cursor.execute(
                "CREATE STORAGE INTEGRATION MZ_INTEGRATION TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'S3' "
                "ENABLED = TRUE STORAGE_AWS_ROLE_ARN = 'arn:aws:iam::123456789012:role/reader' "
                f"STORAGE_ALLOWED_LOCATIONS = ('s3://{BUCKET}/')"
            )
            cursor.execute(
                f"CREATE STAGE DEMO.PUBLIC.MZ_STAGE STORAGE_INTEGRATION = MZ_INTEGRATION URL = 's3://{BUCKET}/'"
            )
        yield running
    finally:
        running.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server for one test alone, without a store."""
    running = start_server(tmp_path, "http://127.0.0.1:9")
    yield running
    running.stop()


@dataclass
class Bucket:
    """A folder of the bucket for one test."""

    client: Any
    prefix: str

    def put(self, name: str, body: bytes) -> str:
        self.client.put_object(Bucket=BUCKET, Key=self.prefix + name, Body=body)
        return f"s3://{BUCKET}/{self.prefix}{name}"

    def parquet(self, name: str, table: pa.Table) -> str:
        out = io.BytesIO()
        pq.write_table(table, out)
        return self.put(name, out.getvalue())

    @property
    def stage(self) -> str:
        return f"@DEMO.PUBLIC.MZ_STAGE/{self.prefix}"


@pytest.fixture(scope="session")
def s3(s3_endpoint: str) -> Any:
    client = boto3.client(
        "s3",
        endpoint_url=s3_endpoint,
        region_name=KEYS["AWS_REGION"],
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture
def bucket(s3: Any) -> Bucket:
    return Bucket(s3, f"exports/{uuid.uuid4().hex}/")


@pytest.fixture
def connection(server: Server) -> Iterator[Any]:
    """A connection whose current schema belongs to this test alone."""
    schema = f"T_{uuid.uuid4().hex}".upper()
    opened = server.connect(database="DEMO")
    opened.cursor().execute(f"CREATE SCHEMA DEMO.{schema}")
    yield opened
    opened.close()


@pytest.fixture
def cursor(connection: Any) -> Any:
    return connection.cursor()


@pytest.fixture
def other(server: Server, connection: Any) -> Iterator[Any]:
    """A second session in the same schema."""
    opened = server.connect(database="DEMO", schema=connection.schema)
    yield opened.cursor()
    opened.close()


@pytest.fixture
def faults(server: Server) -> Iterator[Any]:
    with httpx.Client(base_url=server.url("")) as client:
        yield client
        client.delete("/local/faults").raise_for_status()
