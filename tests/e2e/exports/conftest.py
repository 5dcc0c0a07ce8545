"""Exports in this process over the shared stack, with a proxy before each of its servers where a test asks for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from mz_orchestration.exports.attempts import session_tag
from mz_orchestration.exports.spec import ExportSpec, export_spec
from mz_orchestration.flow import Clock
from mz_orchestration.local.faults import FaultProxy
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.local.state import HOST
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import parse_folder
from mz_orchestration.runs.store import RunStore

BASE = "s3://mz-exports/exports-tests/"


class Brisk(Clock):
    """A clock whose pauses are short, so that polls follow each other quickly."""

    def sleep(self, seconds: float) -> None:
        super().sleep(min(seconds, 0.1))


@pytest.fixture(autouse=True)
def in_the_stack(environment: dict[str, str]) -> None:
    """Everything in this folder talks to the stack."""


@pytest.fixture
def network(
    stack: LocalStack, materialize: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultProxy]:
    """The network between this process and Materialize."""
    with FaultProxy((HOST, stack.state.servers["materialize"].port), protocol="tcp") as proxy:
        monkeypatch.setenv("PGPORT", str(proxy.port))
        yield proxy


@pytest.fixture
def web(stack: LocalStack) -> Iterator[FaultProxy]:
    """The network between this process and the object store; `proxied_store` goes through it."""
    with FaultProxy((HOST, stack.state.servers["s3"].port)) as proxy:
        yield proxy


@pytest.fixture
def proxied_store(web: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, web.url)
    return ObjectStore()


@pytest.fixture
def runs(store: ObjectStore) -> RunStore:
    return RunStore(store, parse_folder(BASE, field="base"))


Spec = Callable[..., ExportSpec]


@pytest.fixture
def spec() -> Spec:
    def make(name: str, **fields: Any) -> ExportSpec:
        given = {"query": "SELECT * FROM shop.orders", "to": BASE, "connection": "local_s3", **fields}
        return export_spec(object=name, **given)

    return make


@pytest.fixture
def order_count(materialize: psycopg.Connection[Any]) -> int:
    row = materialize.execute("SELECT count(*) FROM shop.orders").fetchone()
    assert row is not None
    return int(row[0])


def active_copies(materialize: psycopg.Connection[Any], run_key: str) -> int:
    """How many sessions of a run are busy with a COPY."""
    row = materialize.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND application_name = %s",
        (session_tag(run_key),),
    ).fetchone()
    assert row is not None
    return int(row[0])
