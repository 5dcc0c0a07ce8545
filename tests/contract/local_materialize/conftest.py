"""One stand-in and one S3 server for all tests of this folder; each test gets a folder of its own in the bucket."""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

PASSWORD = "correct horse; battery 'staple'"
BUCKET = "exports"
KEYS = {
    "aws_access_key_id": "local",
    "aws_secret_access_key": "local-secret",
    "region_name": "us-east-1",
}


@dataclass
class StandIn:
    """A running server process."""

    process: subprocess.Popen[bytes]
    port: int
    statements: Path
    state: Path

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        settings: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": "materialize",
            "password": PASSWORD,
            "dbname": "materialize",
            "autocommit": True,
            "connect_timeout": 10,
        }
        return psycopg.connect(**{**settings, **options})

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.statements.read_text().splitlines()]


def launch(state: Path, *arguments: str) -> StandIn:
    statements = state.with_name(f"{state.name}-statements.jsonl")
    command = [sys.executable, "-m", "mz_orchestration.local.materialize", "--dir", str(state)]
    process = subprocess.Popen(
        [*command, "--statements", str(statements), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "MZ_LOCAL_PASSWORD": PASSWORD},
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the server ended with code {process.wait(20)}"
    ready = json.loads(line)
    assert ready["ready"] is True
    return StandIn(process, ready["port"], statements, state)


def end(server: StandIn) -> None:
    assert server.process.stdin is not None
    server.process.stdin.close()
    server.process.wait(30)


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@dataclass
class Bucket:
    """What an S3 client sees below one prefix."""

    client: Any
    prefix: str

    @property
    def uri(self) -> str:
        return f"s3://{BUCKET}/{self.prefix}"

    def names(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=self.prefix).get("Contents", [])
        return [item["Key"].removeprefix(self.prefix) for item in found]

    def read(self, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=BUCKET, Key=self.prefix + key)["Body"].read()
        return body

    def parquet(self) -> list[pq.ParquetFile]:
        return [pq.ParquetFile(io.BytesIO(self.read(key))) for key in self.names() if key.endswith(".parquet")]

    def table(self) -> pa.Table:
        return pa.concat_tables(file.read() for file in self.parquet())

    def csv(self) -> bytes:
        return b"".join(self.read(key) for key in self.names() if key.endswith(".csv"))

    def sentinel(self) -> bool:
        return any(key.endswith("-INCOMPLETE") for key in self.names())


_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def s3(endpoint: str) -> Any:
    client = boto3.client("s3", endpoint_url=endpoint, **KEYS)
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture
def bucket(s3: Any) -> Bucket:
    return Bucket(s3, f"test-{next(_numbers):04}/")


def prepare(connection: psycopg.Connection[Any], endpoint: str) -> None:
    """What every COPY of these tests needs."""
    connection.execute(f"CREATE SECRET local_key AS '{KEYS['aws_secret_access_key']}'")
    connection.execute(
        "CREATE CONNECTION local_s3 TO AWS (ACCESS KEY ID = 'local', SECRET ACCESS KEY = SECRET local_key,"
        f" ENDPOINT = '{endpoint}', REGION = 'us-east-1')"
    )
    connection.execute("CREATE TABLE numbers AS SELECT i AS n, 'row ' || i AS t FROM generate_series(1, 500) i")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, endpoint: str, s3: Any) -> Iterator[StandIn]:
    running = launch(tmp_path_factory.mktemp("stand-in") / "state")
    with running.connect() as connection:
        prepare(connection, endpoint)
        connection.execute("CREATE CONNECTION some_kafka TO KAFKA (BROKER 'localhost:9092')")
        connection.execute("CREATE CLUSTER nobody (SIZE = '25cc', REPLICATION FACTOR = 0)")
    yield running
    end(running)


@pytest.fixture
def connection(server: StandIn) -> Iterator[psycopg.Connection[Any]]:
    with server.connect() as opened:
        yield opened


Copy = Callable[..., str | None]


@pytest.fixture
def copy(connection: psycopg.Connection[Any], bucket: Bucket) -> Copy:
    """Runs one COPY into the test's own folder and returns its tag."""

    def run(what: str, options: str = "FORMAT = 'parquet'") -> str | None:
        text = f"COPY {what} TO '{bucket.uri}' WITH ({options}, AWS CONNECTION = local_s3)"
        return connection.execute(text).statusmessage

    return run


@dataclass
class Refusal:
    """The error a statement ended with."""

    code: str | None
    message: str | None
    detail: str | None = None
    hint: str | None = None
    other: dict[str, str | None] = field(default_factory=dict)


@pytest.fixture
def refused(connection: psycopg.Connection[Any]) -> Callable[[str], Refusal]:
    """Runs a statement that must fail and returns its error."""

    def run(sql: str) -> Refusal:
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(sql)
        diag = caught.value.diag
        other = {"context": diag.context, "query": diag.internal_query, "position": diag.statement_position}
        return Refusal(diag.sqlstate, diag.message_primary, diag.message_detail, diag.message_hint, other)

    return run


def wait_for(condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds:.0f} s"
        time.sleep(0.02)
