"""Loads through stages of every kind, of more files than a statement takes, and what is said of them in Snowflake."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
import requests

from mz_orchestration.errors import ConfigurationError, LoadError, NotFoundError
from mz_orchestration.snowflake import copy, load, staging
from mz_orchestration.snowflake.load import LoadResult, run_load
from mz_orchestration.snowflake.spec import load_spec

from .conftest import STAGE, Content, Exported, Query, export

Contents = Callable[[str], Content | None]


def load_through(stage: str, exported: Exported, table: str, **fields: Any) -> LoadResult:
    return run_load(load_spec(manifest=exported.url, stage=stage, table=f"DEMO.PUBLIC.{table}", **fields))


def credentials() -> str:
    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    return f"CREDENTIALS = (AWS_KEY_ID = '{key}' AWS_SECRET_KEY = '{secret}')"


@pytest.fixture
def integration(snowflake: Query) -> str:
    snowflake(
        "CREATE STORAGE INTEGRATION IF NOT EXISTS LOADS_GCS TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'GCS' "
        "ENABLED = TRUE STORAGE_ALLOWED_LOCATIONS = ('gcs://mz-exports/')"
    )
    return "STORAGE_INTEGRATION = LOADS_GCS"


@pytest.mark.parametrize("path", ["", "loads-tests/"])
def test_google(path: str, today: Exported, snowflake: Query, integration: str, content: Contents) -> None:
    snowflake(f"CREATE OR REPLACE STAGE DEMO.PUBLIC.OTHER_STAGE URL = 'gcs://mz-exports/{path}' {integration}")
    table = f"GOOGLE{len(path)}"
    assert load_through("DEMO.PUBLIC.OTHER_STAGE", today, table).rows == 60
    assert content(f"DEMO.PUBLIC.{table}") == today.content


@pytest.mark.parametrize("strategy", ["swap", "transaction"])
def test_other_stores(strategy: str, today: Exported, snowflake: Query, content: Contents) -> None:
    url = "'s3compat://mz-exports/' ENDPOINT = 'store.localhost'"
    snowflake(f"CREATE OR REPLACE STAGE DEMO.PUBLIC.OTHER_STAGE URL = {url} {credentials()}")
    snowflake(f"CREATE TABLE DEMO.PUBLIC.OTHER_{strategy} (ID NUMBER(38,0), NAME VARCHAR)")
    table = f"OTHER_{strategy}".upper()
    assert load_through("DEMO.PUBLIC.OTHER_STAGE", today, table, strategy=strategy).rows == 60
    assert content(f"DEMO.PUBLIC.{table}") == today.content


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://another-bucket/", "s3://another-bucket/ does not cover"),
        ("s3://mz-exports/other/", "s3://mz-exports/other/ does not cover"),
        ("s3://mz-exports/loads", "which begins with the same letters but is another folder"),
        ("s3://mz-exports/Loads-Tests/", "upper and lower case differ"),
    ],
)
def test_a_stage_that_does_not_cover_the_export(
    url: str, said: str, today: Exported, snowflake: Query, content: Contents
) -> None:
    snowflake(f"CREATE OR REPLACE STAGE DEMO.PUBLIC.WRONG URL = '{url}' {credentials()}")
    with pytest.raises(ConfigurationError, match="stage: ") as raised:
        load_through("DEMO.PUBLIC.WRONG", today, "WRONG_PLACE")
    assert said in raised.value.message
    assert raised.value.hint
    assert content("DEMO.PUBLIC.WRONG_PLACE") is None


def test_no_such_stage(today: Exported) -> None:
    with pytest.raises(NotFoundError, match="NOWHERE"):
        load_through("DEMO.PUBLIC.NOWHERE", today, "WRONG_PLACE")


@pytest.fixture
def files(today: Exported, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Exported:
    """An export that takes a statement for each of its files."""
    query = "SELECT generate_series AS id, 'n' || generate_series AS name FROM generate_series(1, 6000)"
    exported = Exported(export(query, "files", name="files"), (6000, 6000 * 6001 // 2))
    monkeypatch.setattr(load, "_GRACE", 0.0)
    for module in (copy, staging):
        monkeypatch.setattr(module, "MAX_FILES", 1)
    assert len(exported.manifest.files) > 1
    return exported


@pytest.mark.parametrize("strategy", ["swap", "transaction", "append"])
def test_many_files_are_one_transaction(
    strategy: str,
    files: Exported,
    yesterday: Exported,
    snowflake: Query,
    content: Contents,
    environment: dict[str, str],
) -> None:
    table = f"MANY_{strategy}".upper()
    load_through(STAGE, yesterday, table)
    url = f"http://{environment['SNOWFLAKE_HOST']}:{environment['SNOWFLAKE_PORT']}/local/faults"
    fields = {"strategy": strategy, "lineage": False}
    fault = {"fail": {"containing": files.manifest.files[-1].name, "errno": 604, "message": "Cancelled."}}
    requests.post(url, json=fault, timeout=5).raise_for_status()
    with pytest.raises(LoadError, match=r"Cancelled\."):
        load_through(STAGE, files, table, **fields)
    assert content(f"DEMO.PUBLIC.{table}") == yesterday.content
    assert snowflake("SHOW TRANSACTIONS") == []
    result = load_through(STAGE, files, table, **fields)
    assert len(result.query_ids) == len(files.manifest.files)
    rows, total = files.content
    old = yesterday.content if strategy == "append" else (0, 0)
    assert content(f"DEMO.PUBLIC.{table}") == (rows + old[0], total + old[1])
    left = snowflake(
        f"SELECT COUNT(*) AS N FROM DEMO.INFORMATION_SCHEMA.TABLES WHERE STARTSWITH(TABLE_NAME, '{table}__MZ_')"
    )
    assert left[0]["n"] == 0


def test_statements_say_what_they_are_for(today: Exported, snowflake: Query) -> None:
    result = load_through(STAGE, today, "TAGGED")
    [row] = snowflake(
        f"SELECT QUERY_TAG FROM TABLE(DEMO.INFORMATION_SCHEMA.QUERY_HISTORY()) WHERE QUERY_ID = '{result.query_ids[0]}'"
    )
    tag = json.loads(row["query_tag"])
    assert row["query_tag"] == json.dumps(tag, separators=(",", ":"), ensure_ascii=False)
    assert tag == {
        "tool": "mz-orchestration",
        "run_key": "today",
        "object": today.manifest.object,
        "target": "DEMO.PUBLIC.TAGGED",
        "manifest": today.manifest.sha256,
    }
