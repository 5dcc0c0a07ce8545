"""Values of every kind come back from Snowflake as what was exported, under this environment's connector."""

from __future__ import annotations

import pytest

from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.policy import ExportPolicy
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.flow import run
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.snowflake.checks import column_checks
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.load import run_load
from mz_orchestration.snowflake.quoting import Sql
from mz_orchestration.snowflake.session import SnowflakeSession
from mz_orchestration.snowflake.spec import load_spec

QUERY = """
SELECT 9223372036854775807::bigint AS n, -0.05::numeric(38,2) AS amount, 0.1::real AS r, 'NaN'::double precision AS nan,
       1e-300::double precision AS d, true AS flag, DATE '0001-01-01' AS day, TIME '23:59:59.999999' AS clock,
       TIMESTAMP '1969-12-31 23:59:59.999999' AS local, TIMESTAMPTZ '9999-12-31 23:59:59.999999+00' AS instant,
       'ä"' AS name, NULL::text AS nothing
"""


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_the_values_of_an_export(format: str) -> None:
    spec = export_spec(
        object="all_kinds", query=QUERY, to="s3://mz-exports/contract/", connection="local_s3", format=format
    )
    export = run_export(spec, run_key=f"checks-{format}", policy=ExportPolicy(statistics=True))
    table = f"CONTRACT_CHECKS_{format.upper()}"
    run_load(load_spec(manifest=export.manifest_url, stage="DEMO.PUBLIC.MZ_STAGE", table=f"DEMO.PUBLIC.{table}"))
    target = ("DEMO", "PUBLIC", table)
    by_files = export.manifest.model_copy(update={"statistics": None})
    with SnowflakeSession(SnowflakeConfig.from_environment()) as session:
        assert run(column_checks(export.manifest, target, session, ObjectStore())) == []
        assert run(column_checks(by_files, target, session, ObjectStore())) == []
        session.query(Sql(f"UPDATE DEMO.PUBLIC.{table} SET INSTANT = '9999-12-31 23:59:59+00:00', N = N - 1"))
        found = run(column_checks(export.manifest, target, session, ObjectStore()))
    assert [line.partition(":")[0] for line in found] == ["N", "N", "N", "INSTANT", "INSTANT"]
