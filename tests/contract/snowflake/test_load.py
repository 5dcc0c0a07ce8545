"""An export and its load, as the slice does it, under this environment's connector."""

from __future__ import annotations

import pytest

from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.load import run_load
from mz_orchestration.snowflake.quoting import Sql
from mz_orchestration.snowflake.session import SnowflakeSession
from mz_orchestration.snowflake.spec import load_spec


@pytest.mark.parametrize("format", ["parquet", "csv"])
@pytest.mark.parametrize("table", ["order_lines", "order_totals", "customers"])
def test_export_load_and_once_more(table: str, format: str) -> None:
    fields = {"object": f"shop.{table}", "to": "s3://mz-exports/contract/", "connection": "local_s3", "format": format}
    export = run_export(export_spec(**fields), run_key=f"contract-{format}")
    target = f"DEMO.PUBLIC.CONTRACT_{table}_{format}".upper()
    spec = load_spec(manifest=export.manifest_url, stage="DEMO.PUBLIC.MZ_STAGE", table=target)
    first, second = run_load(spec), run_load(spec)
    assert (first.repeated, second.repeated) == (False, True)
    assert first.rows == second.rows == export.manifest.rows > 0
    assert len(first.query_ids) == 1
    with SnowflakeSession(SnowflakeConfig.from_environment()) as session:
        assert session.query(Sql(f"SELECT COUNT(*) AS N FROM {target}")).rows == [{"n": export.manifest.rows}]
