"""The totals of all orders from Materialize, through S3, into Snowflake, as two assets.

Credentials come from the variables that ``mz-orchestration local env`` prints. For systems in the cloud leave out what
only the local stack needs: the store's endpoint, and Snowflake's host, port and protocol.
"""

from __future__ import annotations

from dagster import Definitions, EnvVar

from mz_orchestration.dagster import (
    MaterializeResource,
    ObjectStoreResource,
    SnowflakeResource,
    build_export_asset,
    build_load_asset,
)
from mz_orchestration.exports.spec import export_spec

order_totals = build_export_asset(
    export_spec(object="shop.order_totals", to="s3://mz-exports/exports/", connection="local_s3")
)
order_totals_in_snowflake = build_load_asset(
    order_totals, stage="DEMO.PUBLIC.MZ_STAGE", table="DEMO.PUBLIC.ORDER_TOTALS"
)

defs = Definitions(
    assets=[order_totals, order_totals_in_snowflake],
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
    },
)
