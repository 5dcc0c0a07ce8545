"""What the builders make, run in this process over the local stack."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mz_orchestration.dagster import (
    BoundResources,
    CensusResource,
    DagsterMaterializeTranslator,
    MaterializeResource,
    ObjectStoreResource,
    SnowflakeResource,
    build_export_asset,
    build_export_assets,
    build_export_job,
    build_load_asset,
    build_sync_asset,
    materialize_exports,
)
from mz_orchestration.dagster.translator import Props
from mz_orchestration.exports.spec import ExportSpec, export_spec
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.pipelines.check_spec import ChecksSpec

Query = Callable[[str], list[dict[str, Any]]]
STAGE = "DEMO.PUBLIC.MZ_STAGE"
RESOURCES = {
    "materialize": MaterializeResource(),
    "object_store": ObjectStoreResource(),
    "snowflake": SnowflakeResource(),
    "census": CensusResource(),
}
DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01")


def spec(object: str = "shop.customers", **fields: Any) -> ExportSpec:
    return export_spec(**{"object": object, "to": "s3://mz-exports/builders/", "connection": "local_s3", **fields})


@pytest.fixture
def run(instance: dg.DagsterInstance) -> Callable[..., dg.ExecuteInProcessResult]:
    def run(*assets: dg.AssetsDefinition, **options: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize([*assets], resources=RESOURCES, instance=instance, **{"raise_on_error": False, **options})

    return run


Run = Callable[..., dg.ExecuteInProcessResult]


def made(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    return {
        data.materialization.asset_key.to_user_string(): {
            name: value.value for name, value in data.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
        if (data := event.step_materialization_data)
    }


def checks(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], bool]:
    return {
        (each.asset_key.to_user_string(), each.check_name): each.passed for each in result.get_asset_check_evaluations()
    }


def failure(result: dg.ExecuteInProcessResult) -> str:
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    error = failed.step_failure_data.error
    assert error is not None
    return error.message


def test_metadata_lineage_and_data_versions(run: Run) -> None:
    export = build_export_asset(spec(), checks=ChecksSpec(min_rows=1, max_change=0.5))
    load = build_load_asset(export, stage=STAGE, table="DEMO.PUBLIC.B_LINEAGE", strategy="overwrite")
    result = run(export, load)
    assert result.success
    exported, loaded = made(result)["exports/shop/customers"], made(result)["snowflake/demo/public/b_lineage"]
    lineage = exported["dagster/column_lineage"].deps_by_column
    assert lineage["id"] == [dg.TableColumnDep(dg.AssetKey(["materialize", "shop", "customers"]), "id")]
    assert loaded["dagster/column_lineage"].deps_by_column["id"] == [dg.TableColumnDep(export.key, "id")]
    assert loaded["dagster/row_count"] == exported["dagster/row_count"] == loaded["snowflake/rows_loaded"] > 0
    versions = {
        event.asset_key: data.materialization.tags["dagster/data_version"]
        for event in result.get_asset_materialization_events()
        if (data := event.step_materialization_data) and data.materialization.tags
    }
    assert versions[export.key] == versions[load.key] != ""
    assert all(checks(result).values())
    assert len(checks(result)) == 4


def test_one_that_fails_in_a_batch_is_named_and_the_others_are_materialized(run: Run) -> None:
    (batch,) = build_export_assets([spec(), spec("shop.nothing"), spec("shop.payments")], batch=True)
    result = run(batch)
    assert not result.success
    assert set(made(result)) == {"exports/shop/customers", "exports/shop/payments"}
    assert "1 of 3 exports failed. shop.nothing: " in failure(result)


def test_part_of_a_batch_and_a_check_alone(run: Run) -> None:
    (batch,) = build_export_assets([spec(), spec("shop.payments")], batch=True, checks=ChecksSpec(min_rows=1))
    only = run(batch, selection=["exports/shop/payments"])
    assert set(made(only)) == {"exports/shop/payments"}
    assert {asset for asset, _ in checks(only)} == {"exports/shop/payments"}
    wanted = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(["exports", "shop", "payments"]), "min_rows"))
    alone = run(batch, selection=wanted)
    assert alone.success
    assert (made(alone), checks(alone)) == ({}, {("exports/shop/payments", "min_rows"): True})


def test_a_function_of_ones_own_around_exports(run: Run) -> None:
    # Dagster reads the annotations of the function itself.
    def body(context, materialize: MaterializeResource, object_store: ObjectStoreResource):  # type: ignore[no-untyped-def]
        yield from materialize.export(context=context, object_store=object_store)

    body.__annotations__ = {"materialize": MaterializeResource, "object_store": ObjectStoreResource}
    assets = materialize_exports(exports=[spec(), spec("shop.payments")], group_name="nightly")(body)
    assert {each.group_name for each in assets.specs} == {"nightly"}
    assert set(made(run(assets))) == {"exports/shop/customers", "exports/shop/payments"}


def test_a_check_that_fails_keeps_the_load_from_running_with_it_and_alone(run: Run, snowflake: Query) -> None:
    export = build_export_asset(spec(), checks=ChecksSpec(min_rows=10**9))
    load = build_load_asset(export, stage=STAGE, table="DEMO.PUBLIC.B_BLOCKED")
    together = run(export, load)
    assert set(made(together)) == {"exports/shop/customers"}
    assert checks(together)[("exports/shop/customers", "min_rows")] is False
    alone = run(export, load, selection=[load.key])
    assert made(alone) == {}
    assert "min_rows is 1000000000" in failure(alone)
    assert snowflake("SELECT TABLE_NAME FROM DEMO.INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME = 'B_BLOCKED'") == []


def test_partitions_name_when_an_export_was_made(run: Run) -> None:
    export = build_export_asset(spec(), partitions_def=DAYS, partition_folders=True)
    load = build_load_asset(export, stage=STAGE, table="DEMO.PUBLIC.B_DAYS", strategy="append", partitions_def=DAYS)
    latest = DAYS.get_last_partition_key()
    assert latest is not None
    said = made(run(export, load, partition_key=latest))
    assert said["exports/shop/customers"]["dagster/uri"].startswith(f"s3://mz-exports/builders/{latest}/")
    assert said["exports/shop/customers"]["dagster/partition_row_count"] > 0
    past = run(export, load, partition_key="2026-02-01")
    assert made(past) == {}
    assert "an export is always of now" in failure(past)
    missing = run(export, load, partition_key="2026-02-01", selection=[load.key])
    assert "has not been materialized with a manifest for the partition 2026-02-01" in failure(missing)
    asked_for = build_export_asset(spec(), partitions_def=DAYS, allow_backfill=True)
    assert run(asked_for, partition_key="2026-02-01").success


def test_several_partitions_in_one_run_are_refused(run: Run) -> None:
    export = build_export_asset(spec(), partitions_def=DAYS, allow_backfill=True)
    tags = {"dagster/asset_partition_range_start": "2026-02-01", "dagster/asset_partition_range_end": "2026-02-03"}
    result = run(export, tags=tags)
    assert made(result) == {}
    assert "2026-02-01 to 2026-02-03" in failure(result)


def test_what_is_set_at_launch_goes_for_this_run(run: Run) -> None:
    export = build_export_asset(spec())

    def launched(**config: Any) -> dg.ExecuteInProcessResult:
        return run(export, run_config={"ops": {export.op.name: {"config": config}}})

    key = uuid.uuid4().hex
    first = made(launched(run_key=key, to="s3://mz-exports/elsewhere-once/", verify="full"))["exports/shop/customers"]
    assert first["dagster/uri"].startswith("s3://mz-exports/elsewhere-once/")
    assert (first["materialize/verified"], first["materialize/run_key"]) == ("full", key)
    again = made(launched(run_key=key, to="s3://mz-exports/elsewhere-once/", verify="full"))["exports/shop/customers"]
    assert (again["materialize/repeated"], again["dagster/uri"]) == (1, first["dagster/uri"])
    for config, text in (
        ({"to": "nonsense"}, "to: 'nonsense' is not an object-store URL"),
        ({"verify": "hope"}, "verify"),
        ({"timeout": -1.0}, "timeout"),
    ):
        assert text in failure(launched(**config))


def test_an_export_that_is_wanted_once(instance: dg.DagsterInstance) -> None:
    job = dg.Definitions(jobs=[build_export_job()], resources=RESOURCES).resolve_job_def("export_once")
    config = {"object": "shop.payments", "to": "s3://mz-exports/once/", "connection": "local_s3", "format": "csv"}
    result = job.execute_in_process(instance=instance, run_config={"ops": {"export_once_op": {"config": config}}})
    assert result.success
    event = instance.get_latest_materialization_event(dg.AssetKey(["exports", "shop", "payments"]))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["materialize/format"].value == "csv"


def test_a_translator_is_asked_for_every_key(run: Run) -> None:
    class Ours(DagsterMaterializeTranslator):
        def get_asset_spec(self, props: Props) -> dg.AssetSpec:
            asset = super().get_asset_spec(props)
            return asset.replace_attributes(key=asset.key.with_prefix("ours"), group_name="ours")

    export = build_export_asset(spec(), translator=Ours())
    load = build_load_asset(export, stage=STAGE, table="DEMO.PUBLIC.B_OURS", translator=Ours())
    assert [dep.asset_key.path[0] for dep in next(iter(export.specs)).deps] == ["ours"]
    # And what a code location does to keys afterwards changes nothing.
    export = export.with_attributes(asset_key_replacements={export.key: dg.AssetKey("renamed")})
    load = load.with_attributes(
        asset_key_replacements={dg.AssetKey(["ours", "exports", "shop", "customers"]): dg.AssetKey("renamed")}
    )
    assert run(export).success
    assert made(run(export))["renamed"]["dagster/row_count"] > 0


@pytest.fixture
def census_faults(stack: LocalStack) -> Iterator[Callable[..., None]]:
    from mz_orchestration.local.census.ask import adjust_rules

    def add(**values: Any) -> None:
        adjust_rules(stack.state, {name: str(value) for name, value in values.items()}, clear=False)

    yield add
    adjust_rules(stack.state, {}, clear=True)


def test_syncs_and_rejected_records(run: Run, census_faults: Callable[..., None]) -> None:
    export = build_export_asset(spec("shop.order_totals"))
    load = build_load_asset(export, stage=STAGE, table="DEMO.PUBLIC.ORDER_TOTALS")
    sync = build_sync_asset(1, after=[load], at="s3://mz-exports/builders/")
    result = run(export, load, sync)
    assert result.success
    assert made(result)["census/1"]["census/status"] == "completed"
    census_faults(failed_records=2, times=1)
    rejected = run(build_sync_asset(1, after=[load], at="s3://mz-exports/builders/", full=True))
    assert made(rejected) == {}
    assert checks(rejected) == {("census/1", "records_accepted"): False}
    assert "2 of" in failure(rejected)


def test_nothing_that_dagster_stores_holds_a_secret(
    stack: LocalStack, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    environment = stack.environment
    secrets = [environment["PGPASSWORD"], environment["AWS_SECRET_ACCESS_KEY"], environment["SNOWFLAKE_PASSWORD"]]
    bound = BoundResources(
        MaterializeResource(
            host=environment["PGHOST"],
            port=int(environment["PGPORT"]),
            user=environment["PGUSER"],
            password=environment["PGPASSWORD"],
            database=environment["PGDATABASE"],
        ),
        ObjectStoreResource(
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            region_name=environment["AWS_REGION"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        ),
        SnowflakeResource(
            account="local",
            user="nobody",
            password="marker-of-a-password",
            host=environment["SNOWFLAKE_HOST"],
            port=int(environment["SNOWFLAKE_PORT"]),
            protocol="http",
        ),
    )
    export = build_export_asset(spec(), resources=bound)
    failing = build_export_asset(spec("shop.nothing"), resources=bound)
    load = build_load_asset(export, stage=STAGE, table="DEMO.PUBLIC.B_SECRET", resources=bound)
    assert "password" not in repr(bound)
    result = dg.materialize([export, failing, load], instance=instance, raise_on_error=False)
    assert set(made(result)) == {"exports/shop/customers"}
    files = [path for path in Path(instance.root_directory).rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    for path in files:
        content = path.read_bytes()
        for secret in [*secrets, "marker-of-a-password"]:
            assert secret.encode() not in content, path
