"""The totals of all orders from Materialize, through S3, into Snowflake, and on to where Census sends them."""

from mz_orchestration.dagster import build_export_asset, build_load_asset, build_sync_asset
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.pipelines.check_spec import ChecksSpec

order_totals = build_export_asset(
    export_spec(object="shop.order_totals", to="s3://mz-exports/exports/", connection="local_s3"),
    checks=ChecksSpec(min_rows=1, max_change=0.5),
)
order_totals_in_snowflake = build_load_asset(
    order_totals, stage="DEMO.PUBLIC.MZ_STAGE", table="DEMO.PUBLIC.ORDER_TOTALS", strategy="merge", keys=["order_id"]
)
order_totals_in_census = build_sync_asset(1, after=[order_totals_in_snowflake], at="s3://mz-exports/exports/")
