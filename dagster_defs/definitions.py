"""The jobs of dags/ as Dagster definitions: assets in code here and in to_snowflake.py, components and more in defs/.

Credentials come from the variables that ``mz-orchestration local env`` prints. For systems in the cloud leave out what
only the local stack needs: the store's endpoint, and Snowflake's host, port and protocol.
"""

from __future__ import annotations

from pathlib import Path

from dagster import (
    AssetKey,
    AssetSelection,
    Definitions,
    EnvVar,
    ScheduleDefinition,
    define_asset_job,
    load_from_defs_folder,
)

from dagster_defs.to_snowflake import order_totals, order_totals_in_census, order_totals_in_snowflake
from mz_orchestration.dagster import (
    CensusResource,
    MaterializeResource,
    ObjectStoreResource,
    SnowflakeResource,
    build_export_completion_sensor,
    build_export_job,
    build_load_asset,
    build_source_assets,
)

to_snowflake = define_asset_job(
    "order_totals_to_snowflake",
    AssetSelection.assets(order_totals, order_totals_in_snowflake, order_totals_in_census),
)

# Whoever exports the order totals below this folder, and whenever: once an export is verified, it is loaded.
FROM_ELSEWHERE = AssetKey(["elsewhere", "shop", "order_totals"])
order_totals_by_event = build_load_asset(
    FROM_ELSEWHERE, stage="DEMO.PUBLIC.MZ_STAGE", table="DEMO.PUBLIC.ORDER_TOTALS_BY_EVENT"
)
exports_elsewhere = build_export_completion_sensor(
    folder="s3://mz-exports/elsewhere/",
    loads=[order_totals_by_event],
    asset_key_of=lambda arrival: FROM_ELSEWHERE if arrival.export == "shop.order_totals" else None,
    minimum_interval_seconds=10,
)

defs = Definitions.merge(
    Definitions(
        assets=[
            *build_source_assets(["shop.customers", "shop.order_totals"], group_name="materialize"),
            order_totals,
            order_totals_in_snowflake,
            order_totals_in_census,
            order_totals_by_event,
        ],
        jobs=[to_snowflake, build_export_job()],
        schedules=[ScheduleDefinition(name="order_totals_daily", job=to_snowflake, cron_schedule="0 2 * * *")],
        sensors=[exports_elsewhere],
        resources={
            "materialize": MaterializeResource(
                host=EnvVar("PGHOST"),
                port=EnvVar.int("PGPORT"),
                user=EnvVar("PGUSER"),
                password=EnvVar("PGPASSWORD"),
                database=EnvVar("PGDATABASE"),
            ),
            "object_store": ObjectStoreResource(
                endpoint_url=EnvVar("AWS_ENDPOINT_URL"),
                region_name=EnvVar("AWS_REGION"),
                aws_access_key_id=EnvVar("AWS_ACCESS_KEY_ID"),
                aws_secret_access_key=EnvVar("AWS_SECRET_ACCESS_KEY"),
            ),
            "snowflake": SnowflakeResource(
                account=EnvVar("SNOWFLAKE_ACCOUNT"),
                user=EnvVar("SNOWFLAKE_USER"),
                password=EnvVar("SNOWFLAKE_PASSWORD"),
                role=EnvVar("SNOWFLAKE_ROLE"),
                warehouse=EnvVar("SNOWFLAKE_WAREHOUSE"),
                database=EnvVar("SNOWFLAKE_DATABASE"),
                schema=EnvVar("SNOWFLAKE_SCHEMA"),
                host=EnvVar("SNOWFLAKE_HOST"),
                port=EnvVar.int("SNOWFLAKE_PORT"),
                protocol=EnvVar("SNOWFLAKE_PROTOCOL"),
            ),
            # Without settings of its own it reads CENSUS_*, as the command line does.
            "census": CensusResource(),
        },
    ),
    load_from_defs_folder(path_within_project=Path(__file__).parent),
)
