"""Every way of loading, and a load that another process ends, under this environment's connector."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.handle import LoadHandleState, poll_load, start_load
from mz_orchestration.snowflake.load import arun_load, run_load
from mz_orchestration.snowflake.quoting import Sql
from mz_orchestration.snowflake.session import SnowflakeSession
from mz_orchestration.snowflake.spec import LoadSpec, load_spec

WAYS: dict[str, dict[str, Any]] = {
    "swap": {"checks": "columns"},
    "overwrite": {"strategy": "overwrite"},
    "transaction": {"strategy": "transaction"},
    "append": {"strategy": "append"},
    "merge": {"strategy": "merge", "keys": "id", "delete_missing": True},
    "variant": {"layout": "variant"},
}


def spec(way: str, where: str) -> tuple[LoadSpec, int]:
    fields = {"object": f"way_{way}", "to": "s3://mz-exports/contract/", "connection": "local_s3"}
    query = f"SELECT * FROM shop.customers WHERE {where}"
    export = run_export(export_spec(query=query, **fields), run_key=f"contract-{where}")
    target = {"stage": "DEMO.PUBLIC.MZ_STAGE", "table": f"DEMO.PUBLIC.WAY_{way}".upper()}
    return load_spec(manifest=export.manifest_url, **target, **WAYS[way]), export.manifest.rows


def count(table: str) -> int:
    with SnowflakeSession(SnowflakeConfig.from_environment()) as session:
        return int(session.query(Sql(f"SELECT COUNT(*) AS N FROM {table}")).rows[0]["n"])


@pytest.mark.parametrize("way", list(WAYS))
def test_two_loads_and_one_more(way: str) -> None:
    (first, before), (second, after) = spec(way, "id > 3"), spec(way, "id <= 20")
    assert before != after
    assert not run_load(first).repeated
    assert not asyncio.run(arun_load(second)).repeated
    assert count(first.table) == (before + after if way == "append" else after)
    assert run_load(second).repeated


def test_started_and_polled() -> None:
    started, rows = spec("swap", "id > 5")
    handle = start_load(started)
    while not (status := poll_load(handle)).done:
        time.sleep(0.1)
    assert (status.state, status.rows) == (LoadHandleState.SUCCEEDED, rows)
