"""The tests of types export and load by the library, in this process."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.progress import Event
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.load import run_load
from mz_orchestration.snowflake.quoting import Sql
from mz_orchestration.snowflake.session import SnowflakeSession
from mz_orchestration.snowflake.spec import load_spec

BASE = "s3://mz-exports/types/"


@pytest.fixture(autouse=True)
def in_the_stack(environment: dict[str, str]) -> None:
    """Everything in this folder talks to the stack."""


@dataclass
class Exports:
    """Exports queries, and reads what they wrote."""

    store: ObjectStore
    name: str
    notes: list[str] = field(default_factory=list)

    def __call__(self, query: str, format: str = "parquet", **fields: Any) -> Manifest:
        spec = export_spec(
            object=f"{self.name}_{format}", query=query, to=BASE, connection="local_s3", format=format, **fields
        )
        self.notes.clear()
        key = repr((self.name, format, query[:50], fields))
        return run_export(spec, run_key=key, on_event=self._note).manifest

    def _note(self, event: Event) -> None:
        self.notes.append(event.message)

    def table(self, manifest: Manifest) -> pa.Table:
        return pa.concat_tables(pq.read_table(io.BytesIO(body)) for body in self._bodies(manifest))

    def records(self, manifest: Manifest) -> list[list[str]]:
        texts = (body.decode() for body in self._bodies(manifest))
        return [record for text in texts for record in csv.reader(io.StringIO(text, newline=""))]

    def _bodies(self, manifest: Manifest) -> list[bytes]:
        return [self.store.get(manifest.folder.child(file.name))[0] for file in manifest.files]


@pytest.fixture
def export(store: ObjectStore, request: pytest.FixtureRequest) -> Exports:
    return Exports(store, request.node.originalname)


@pytest.fixture
def snowflake(environment: None) -> Iterator[SnowflakeSession]:
    with SnowflakeSession(SnowflakeConfig.from_environment()) as session:
        yield session


Load = Callable[[Manifest], list[dict[str, Any]]]


@pytest.fixture
def load(snowflake: SnowflakeSession, request: pytest.FixtureRequest) -> Load:
    """Loads a manifest into a table of the test's own and returns its rows in order of the first column."""
    table = "DEMO.PUBLIC." + re.sub(r"\W+", "_", request.node.name.upper()).strip("_")

    def run(manifest: Manifest) -> list[dict[str, Any]]:
        spec = load_spec(manifest=str(manifest.location), stage="DEMO.PUBLIC.MZ_STAGE", table=table)
        assert run_load(spec).rows == manifest.rows
        return snowflake.query(Sql(f"SELECT * FROM {table} ORDER BY 1")).rows

    return run
