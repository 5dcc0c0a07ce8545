"""Loads that compare every column's values before they publish."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mz_orchestration.errors import ReconciliationError
from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.policy import ExportPolicy
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import parse_folder
from mz_orchestration.runs.store import RunStore
from mz_orchestration.snowflake.load import LoadResult, run_load
from mz_orchestration.snowflake.spec import load_spec

from .conftest import BASE, STAGE, Content, Exported, Query
from .test_kills import STRATEGIES, new_content

QUERY = "SELECT generate_series AS id, 'new ' || generate_series AS name FROM generate_series(41, 100)"
Contents = Callable[[str], Content | None]


def load(exported: Exported, table: str, **fields: Any) -> LoadResult:
    return run_load(load_spec(manifest=exported.url, stage=STAGE, table=table, checks="columns", **fields))


def with_statistics(name: str) -> Manifest:
    spec = export_spec(object=name, query=QUERY, to=BASE, connection="local_s3")
    return run_export(spec, run_key=name, policy=ExportPolicy(statistics=True)).manifest


@pytest.fixture
def told(environment: dict[str, str], today: Exported) -> Exported:
    """Today's rows, with what Materialize says of them."""
    return Exported(with_statistics("told"), today.content)


@pytest.fixture
def mistold(environment: dict[str, str], store: ObjectStore, today: Exported) -> Exported:
    """Today's rows, with something else said of them in a manifest that nothing contradicts."""
    manifest = with_statistics("mistold")
    assert manifest.statistics is not None
    columns = list(manifest.statistics.columns)
    columns[0] = columns[0].model_copy(update={"total": str(today.content[1] + 1)})
    statistics = manifest.statistics.model_copy(update={"columns": tuple(columns)})
    changed = manifest.model_copy(update={"statistics": statistics}).hashed()
    store.put(changed.location, changed.to_json())
    record = RunStore(store, parse_folder(BASE, field="base")).find("mistold", "mistold")
    if record is not None:
        store.delete(record.location)
    return Exported(changed, today.content)


@pytest.mark.parametrize("way", list(STRATEGIES))
def test_agreement_and_disagreement(
    way: str, yesterday: Exported, told: Exported, mistold: Exported, content: Contents, snowflake: Query
) -> None:
    table, fields = f"DEMO.PUBLIC.CHECKED_{way}".upper(), STRATEGIES[way]
    load(yesterday, table)
    with pytest.raises(ReconciliationError) as raised:
        load(mistold, table, **fields)
    rows, total = mistold.content
    assert f"ID: the sum is {total + 1} in Materialize, {total} in Snowflake" in raised.value.message
    assert not raised.value.retryable
    assert content(table) == yesterday.content
    assert snowflake("SHOW TRANSACTIONS") == []
    assert not load(told, table, **fields).repeated
    assert content(table) == new_content(way, yesterday.content, (rows, total))


def test_without_statistics_the_files_are_read(today: Exported, content: Contents, store: ObjectStore) -> None:
    assert today.manifest.statistics is None
    load(today, "DEMO.PUBLIC.CHECKED_FILES")
    assert content("DEMO.PUBLIC.CHECKED_FILES") == today.content
