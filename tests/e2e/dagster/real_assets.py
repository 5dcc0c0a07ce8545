"""The example code location, with exports slow enough to be ended in the middle."""

# Annotations are not postponed: Dagster reads those of ops as they are.
from dagster import AssetsDefinition, DefaultSensorStatus, Definitions, OpExecutionContext, job, op

from dagster_defs import definitions
from mz_orchestration.dagster import (
    build_export_asset,
    build_load_asset,
    build_sink_assets,
    build_sink_checks,
    build_sink_health_sensor,
    build_sync_asset,
)
from mz_orchestration.exports.spec import export_spec


def slow(name: str, rows: int) -> str:
    """A hundred rows a second, in a column by which the COPY is known."""
    return f"SELECT i AS id, pg_sleep(0.01)::text AS {name} FROM generate_series(1, {rows}) AS s(i)"


def export(name: str, rows: int) -> AssetsDefinition:
    spec = export_spec(object=name, query=slow(name, rows), to="s3://mz-exports/real/", connection="local_s3")
    return build_export_asset(spec)


killed = export("killed", 1_500)
killed_in_snowflake = build_load_asset(killed, stage="DEMO.PUBLIC.MZ_STAGE", table="DEMO.PUBLIC.KILLED")

customers = build_export_asset(export_spec(object="shop.customers", to="s3://mz-exports/real/", connection="local_s3"))
# What is asked of Snowflake and of Census takes as long as the tests have told them to take.
terminated_load = build_load_asset(
    customers,
    stage="DEMO.PUBLIC.MZ_STAGE",
    table="DEMO.PUBLIC.TERMINATED",
)
terminated_sync = build_sync_asset(3, at="s3://mz-exports/real/")

WATCHED = ["watched.orders_kafka"]


@op
def tell(context: OpExecutionContext) -> None:
    context.log.info(f"{context.run.tags['materialize/sink']} is {context.run.tags['materialize/verdict']}")


@job
def tell_of_sinks() -> None:
    tell()


defs = Definitions.merge(
    definitions.defs,
    Definitions(
        [
            export("terminated", 100_000),
            killed,
            killed_in_snowflake,
            customers,
            terminated_load,
            terminated_sync,
            *build_sink_assets(WATCHED),
        ],
        asset_checks=[build_sink_checks(WATCHED)],
        jobs=[tell_of_sinks],
        sensors=[
            build_sink_health_sensor(
                WATCHED,
                debounce=1,
                recover_after=1,
                materialize_every=1,
                minimum_interval_seconds=1,
                job="tell_of_sinks",
                default_status=DefaultSensorStatus.STOPPED,
            )
        ],
    ),
)
