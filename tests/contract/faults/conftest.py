"""One stack for all tests of this folder; each test has proxies of its own before it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import psycopg
import pytest
from botocore.config import Config

from mz_orchestration.local.faults import FaultProxy
from mz_orchestration.local.stack import LocalStack

S3 = Callable[..., Any]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack() as local:
        yield local.start(tmp_path_factory.mktemp("faults") / "mz", servers=("s3", "materialize"))


@pytest.fixture
def s3_proxy(stack: LocalStack) -> Iterator[FaultProxy]:
    with FaultProxy(("127.0.0.1", stack.state.servers["s3"].port)) as proxy:
        yield proxy


@pytest.fixture
def pg_proxy(stack: LocalStack) -> Iterator[FaultProxy]:
    with FaultProxy(("127.0.0.1", stack.state.servers["materialize"].port), protocol="tcp") as proxy:
        yield proxy


def s3_client(stack: LocalStack, url: str, *, attempts: int = 1, timeout: float = 20) -> Any:
    environment = stack.environment
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        config=Config(
            retries={"mode": "standard", "total_max_attempts": attempts},
            read_timeout=timeout,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            max_pool_connections=32,
        ),
    )


@pytest.fixture
def s3(stack: LocalStack, s3_proxy: FaultProxy) -> S3:
    """Makes clients that go through the proxy; without retries unless asked for."""
    return lambda **options: s3_client(stack, s3_proxy.url, **options)


@pytest.fixture
def direct(stack: LocalStack) -> Any:
    """A client that does not go through the proxy."""
    return s3_client(stack, stack.environment["AWS_ENDPOINT_URL"])


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> str:
    """A prefix of the test's own."""
    return f"{request.node.name}/"


@pytest.fixture
def connect(stack: LocalStack, pg_proxy: FaultProxy) -> Iterator[Callable[..., psycopg.Connection[Any]]]:
    """Connects to Materialize, through the proxy unless another port is given."""
    opened: list[psycopg.Connection[Any]] = []
    environment = stack.environment

    def open_one(**options: Any) -> psycopg.Connection[Any]:
        settings: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": pg_proxy.port,
            "user": environment["PGUSER"],
            "password": environment["PGPASSWORD"],
            "dbname": environment["PGDATABASE"],
            "autocommit": True,
            "connect_timeout": 10,
        }
        connection = psycopg.connect(**{**settings, **options})
        opened.append(connection)
        return connection

    yield open_one
    for connection in opened:
        connection.close()


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name == "fault-proxy"] == []
