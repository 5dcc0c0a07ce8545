"""A code location whose export takes a quarter of an hour, to be terminated in the middle."""

from __future__ import annotations

from dagster import Definitions

from dagster_defs import definitions
from mz_orchestration.dagster import build_export_asset
from mz_orchestration.exports.spec import export_spec

SLOW = "SELECT i AS id, pg_sleep(0.01)::text AS killed_by_dagster FROM generate_series(1, 100000) AS s(i)"

defs = Definitions(
    [build_export_asset(export_spec(object="slow", query=SLOW, to="s3://mz-exports/dagster/", connection="local_s3"))],
    resources=definitions.defs.resources,
)
