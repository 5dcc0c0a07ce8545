# Annotations are not postponed: Dagster reads those of functions inside functions as they are.
import warnings

import dagster as dg
import pytest

from mz_orchestration.dagster import (
    MaterializeResource,
    ObjectStoreResource,
    SnowflakeResource,
    build_export_asset,
    build_load_asset,
)
from mz_orchestration.dagster.errors import as_dagster_errors
from mz_orchestration.errors import ConfigurationError, ExportError, UnavailableError
from mz_orchestration.exports.spec import export_spec

TOTALS = export_spec(object='shop."Order Totals"', to="s3://bucket/exports/", connection="local_s3")


def spec_of(assets: dg.AssetsDefinition) -> dg.AssetSpec:
    (spec,) = assets.specs
    return spec


def deps(assets: dg.AssetsDefinition) -> list[dg.AssetKey]:
    return [dep.asset_key for dep in spec_of(assets).deps]


def test_keys_and_lineage() -> None:
    export = build_export_asset(TOTALS)
    load = build_load_asset(export, stage="demo.public.stage", table='demo."Public".totals')
    assert spec_of(export).key == dg.AssetKey(["exports", "shop", "order_totals"])
    assert deps(export) == [dg.AssetKey(["materialize", "shop", "order_totals"])]
    assert spec_of(load).key == dg.AssetKey(["snowflake", "demo", "public", "totals"])
    assert deps(load) == [spec_of(export).key]
    (check,) = load.check_specs
    assert (check.name, check.blocking, check.asset_key) == ("counts_reconciled", True, spec_of(load).key)


def test_keys_of_ones_own_and_what_is_mapped_on_afterwards() -> None:
    export = build_export_asset(TOTALS, key=dg.AssetKey("totals_files"), pool="materialize")
    export = export.map_asset_specs(lambda spec: spec.replace_attributes(group_name="nightly", owners=["team:data"]))
    load = build_load_asset(export, stage="s", table="t", key=dg.AssetKey("totals"))
    assert (spec_of(export).key, spec_of(export).group_name) == (dg.AssetKey("totals_files"), "nightly")
    assert (spec_of(load).key, deps(load)) == (dg.AssetKey("totals"), [dg.AssetKey("totals_files")])
    assert export.op.pool == "materialize"
    # A job of several exports and loads needs operations of distinct names.
    others = [build_export_asset(TOTALS.model_copy(update={"object": name})) for name in ("shop.a", "shop.b")]
    resources = {
        "materialize": MaterializeResource(),
        "object_store": ObjectStoreResource(),
        "snowflake": SnowflakeResource(account="a"),
    }
    dg.Definitions.validate_loadable(dg.Definitions([export, load, *others], resources=resources))


@pytest.mark.parametrize("table", ["", "a.b.c.d", "DEMO.PUBLIC.", "DEMO.PUBLIC.MY TABLE"])
def test_a_table_that_is_no_name_fails_when_the_code_location_loads(table: str) -> None:
    with pytest.raises(ConfigurationError, match="table"):
        build_load_asset(build_export_asset(TOTALS), stage="s", table=table)


def test_a_spec_that_is_wrong_fails_when_the_code_location_loads() -> None:
    with pytest.raises(ConfigurationError, match="without a folder"):
        build_export_asset(export_spec(object="a", to="s3://bucket/", connection="c"))


def outcome(error: Exception) -> tuple[dg.ExecuteInProcessResult, list[dg.DagsterEvent]]:
    """Run an asset that raises an error of the core."""

    @dg.asset
    def failing(context: dg.AssetExecutionContext) -> None:
        with as_dagster_errors(context):
            raise error

    with dg.instance_for_test() as instance, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = dg.materialize([failing], instance=instance, raise_on_error=False)
        return result, list(result.all_events)


def test_a_permanent_error_is_a_failure_without_retries() -> None:
    result, events = outcome(ExportError("Materialize ended it.", hint="Do this.", details={"sqlstate": "XX000"}))
    assert not result.success
    assert not [event for event in events if event.is_step_up_for_retry]
    (failed,) = [event for event in events if event.is_step_failure]
    data = failed.step_failure_data.user_failure_data
    assert data is not None
    assert data.description == "Materialize ended it. Do this."
    assert {name: value.value for name, value in data.metadata.items()} == {
        "error": "ExportError",
        "sqlstate": "XX000",
    }


def test_a_retryable_error_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mz_orchestration.dagster.errors.FIRST_DELAY", 0)
    result, events = outcome(UnavailableError("Not now."))
    assert not result.success
    assert len([event for event in events if event.is_step_up_for_retry]) == 3


def test_the_load_without_an_export_says_what_to_do() -> None:
    load = build_load_asset(build_export_asset(TOTALS), stage="s", table="t")
    result = dg.materialize(
        [load],
        resources={"object_store": ObjectStoreResource(), "snowflake": SnowflakeResource(account="a")},
        raise_on_error=False,
    )
    assert not result.success
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert "exports/shop/order_totals has not been materialized" in str(failed.step_failure_data.error)
    assert "Materialize it first" in str(failed.step_failure_data.error)
