"""A code location of a hundred exports, each with its load."""

import dagster as dg

from mz_orchestration.dagster import (
    MaterializeResource,
    ObjectStoreResource,
    SnowflakeResource,
    build_export_assets,
    build_load_asset,
)
from mz_orchestration.exports.spec import export_spec

exports = build_export_assets(
    [export_spec(object=f"shop.t{number}", to="s3://bucket/exports/", connection="c") for number in range(100)]
)
loads = [build_load_asset(each, stage="DB.PUBLIC.S", table=f"DB.PUBLIC.T{n}") for n, each in enumerate(exports)]
defs = dg.Definitions(
    assets=[*exports, *loads],
    resources={
        "materialize": MaterializeResource(),
        "object_store": ObjectStoreResource(),
        "snowflake": SnowflakeResource(),
    },
)
