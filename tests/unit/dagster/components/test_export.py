"""The component of exports in ``defs.yaml``: what its definitions are."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing.test_cases import TestTranslation
from dagster.components.testing.utils import DefsFolderSandbox

from mz_orchestration.dagster.components.export import MaterializeExportComponent
from mz_orchestration.dagster.components.models import ExportEntry, Schedule
from mz_orchestration.dagster.translator import ExportProps, Props
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.pipelines.spec import Defaults

Load = Callable[..., tuple[Any, dg.Definitions]]
WHERE = 'defaults: {to: "s3://exports/dagster/", connection: aws, stage: RAW.PUBLIC.STAGE}\n'
ALONE = WHERE + "resources: environment\n"
ORDERS, CUSTOMERS = "exports/shop/orders", "exports/shop/customers"
FULL = (
    ALONE
    + """
exports:
  - {object: shop.orders, checks: {min_rows: 1}}
  - {object: shop.customers}
loads:
  - {export: shop.orders, table: RAW.PUBLIC.ORDERS}
syncs:
  - {sync: 12, after: [RAW.PUBLIC.ORDERS]}
retention: {keep_last: 3}
"""
)


class Tagged(MaterializeExportComponent):
    """A component of somebody else's: an attribute more, and assets of their own making."""

    domain: str
    limits: dict[str, int] = {}  # noqa: RUF012  (a field of a pydantic model)

    def get_asset_spec(self, props: Props) -> dg.AssetSpec:
        return super().get_asset_spec(props).merge_attributes(tags={"domain": self.domain})


def specs(defs: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def requested(defs: dg.Definitions, *, hours: int = 1) -> list[int]:
    """How many runs of assets are asked for at five past ten, and some hours later."""
    instance, cursor, found = dg.DagsterInstance.ephemeral(), None, []
    for later in (0, hours):
        now = datetime.datetime(2026, 1, 1, 10 + later, 5, tzinfo=datetime.UTC)
        result = dg.evaluate_automation_conditions(defs, instance=instance, evaluation_time=now, cursor=cursor)
        cursor = result.cursor
        found.append(result.total_requested)
    return found


def test_every_part_becomes_an_asset_in_a_group_named_by_the_folder(load: Load) -> None:
    _, defs = load(FULL)
    found = specs(defs)
    parents = {key: {dep.asset_key.to_user_string() for dep in spec.deps} for key, spec in found.items()}
    assert parents["snowflake/raw/public/orders"] == {ORDERS}
    assert parents["census/12"] == {"snowflake/raw/public/orders"}
    assert parents[ORDERS] == {"materialize/shop/orders"}
    assert parents["pipelines/nightly/retention"] >= {ORDERS, CUSTOMERS, "census/12"}
    assert {spec.group_name for key, spec in found.items() if not key.startswith("materialize/")} == {"nightly"}
    checks = {(key.asset_key.to_user_string(), key.name) for key in defs.resolve_asset_graph().asset_check_keys}
    assert (ORDERS, "min_rows") in checks
    assert ("snowflake/raw/public/orders", "counts_reconciled") in checks


def test_a_name_may_be_given(load: Load) -> None:
    _, defs = load(FULL + "name: by-hand\nschedule: {cron: '@daily'}\n")
    assert specs(defs)[ORDERS].group_name == "by_hand"
    assert [schedule.name for schedule in defs.schedules or ()] == ["by_hand_schedule"]


def test_two_components_in_one_file_have_names_of_their_own(sandbox: DefsFolderSandbox, load: Load) -> None:
    load(ALONE + "exports: [{object: shop.orders}]\n")
    file = sandbox.defs_folder_path / "nightly" / "defs.yaml"
    file.write_text(f"{file.read_text()}---\n{file.read_text().replace('shop.orders', 'shop.customers')}")
    with sandbox.build_all_defs() as defs:
        groups = {key: spec.group_name for key, spec in specs(defs).items() if key.startswith("exports/")}
    assert groups == {ORDERS: "nightly", CUSTOMERS: "nightly_2"}


def test_schedules_are_one_for_each_distinct_cron(load: Load) -> None:
    _, defs = load(
        ALONE
        + """
exports:
  - {object: shop.orders, schedule: {cron: "@hourly"}}
  - {object: shop.customers, schedule: {cron: "0 6 * * 1-5", timezone: Europe/Berlin}}
loads:
  - {export: shop.orders, table: T, schedule: {cron: "@hourly"}}
schedule: {cron: "0 2 * * *", default_status: RUNNING}
"""
    )
    schedules = {
        schedule.name: schedule for schedule in defs.schedules or () if isinstance(schedule, dg.ScheduleDefinition)
    }
    assert {name: (each.cron_schedule, each.execution_timezone) for name, each in schedules.items()} == {
        "nightly_hourly_schedule": ("@hourly", "UTC"),
        "nightly_0_6_x_x_1_5_Europe_Berlin_schedule": ("0 6 * * 1-5", "Europe/Berlin"),
        "nightly_schedule": ("0 2 * * *", "UTC"),
    }
    running = {name for name, each in schedules.items() if each.default_status is dg.DefaultScheduleStatus.RUNNING}
    assert running == {"nightly_schedule"}
    graph = {
        job: {key.to_user_string() for key in defs.resolve_job_def(job).asset_layer.executable_asset_keys}
        for job in ("nightly_hourly", "nightly")
    }
    assert graph["nightly_hourly"] == {ORDERS, "snowflake/t"}
    assert graph["nightly"] == {ORDERS, CUSTOMERS, "snowflake/t"}


def test_schedules_whose_names_would_be_alike_are_told_apart(load: Load) -> None:
    _, defs = load(
        ALONE
        + """
exports:
  - {object: shop.orders, schedule: {cron: "0 6 * * 1-5"}}
  - {object: shop.customers, schedule: {cron: "0 6 * * 1,5"}}
"""
    )
    names = {schedule.name for schedule in defs.schedules or ()}
    assert len(names) == 2
    assert all(name.startswith("nightly_0_6_x_x_1_5_") for name in names)


def test_exports_of_one_timestamp_are_scheduled_together(load: Load) -> None:
    _, defs = load(
        ALONE
        + """
exports:
  - {object: shop.orders, consistency_group: g, schedule: {cron: "@hourly"}}
  - {object: shop.customers, consistency_group: g}
"""
    )
    keys = defs.resolve_job_def("nightly_hourly").asset_layer.executable_asset_keys
    assert {key.to_user_string() for key in keys} == {ORDERS, CUSTOMERS}


def test_a_schedule_of_partitions_runs_the_latest(load: Load) -> None:
    _, defs = load(
        ALONE
        + """
exports: [{object: shop.orders}]
partitions_def: {type: daily, start_date: "2026-01-01"}
schedule: {cron: "@daily"}
"""
    )
    [schedule] = defs.schedules or ()
    assert isinstance(schedule, dg.ScheduleDefinition)
    # As long as the definitions know it, its job can be found.
    [request] = (
        schedule.evaluate_tick(dg.build_schedule_context(repository_def=defs.get_repository_def())).run_requests or ()
    )
    assert request.partition_key == dg.DailyPartitionsDefinition("2026-01-01").get_last_partition_key()


def test_freshness_of_all_and_of_one(load: Load) -> None:
    _, defs = load(
        ALONE
        + """
exports:
  - {object: shop.orders}
  - object: shop.customers
    freshness: {deadline_cron: "0 8 * * *", lower_bound_delta: 2h, timezone: Europe/Berlin}
freshness: {fail_window: 26h, warn_window: 25h}
retention: {}
"""
    )
    found, hours = specs(defs), datetime.timedelta
    assert found[ORDERS].freshness_policy == dg.FreshnessPolicy.time_window(hours(hours=26), hours(hours=25))
    assert found[CUSTOMERS].freshness_policy == dg.FreshnessPolicy.cron("0 8 * * *", hours(hours=2), "Europe/Berlin")
    assert found["pipelines/nightly/retention"].freshness_policy is None


@pytest.mark.parametrize(
    "condition",
    [
        "on_cron(@hourly)",
        "'{{ dg.AutomationCondition.on_cron(\"@hourly\") }}'",
        # In steps of an hour, and with a comma that divides no time zone.
        "on_cron(0,30 * * * *, Europe/Berlin)",
    ],
)
def test_on_cron_runs_exports_of_objects_that_nobody_materializes(load: Load, condition: str) -> None:
    _, defs = load(ALONE + f"exports: [{{object: shop.orders}}]\nautomation_condition: {condition}\n")
    assert requested(defs) == [0, 1]


def test_on_cron_waits_for_what_the_code_location_makes(load: Load) -> None:
    _, defs = load(
        ALONE
        + """
exports: [{object: shop.orders}]
source_translation: {key: "dbt/{{ props.object.split('.')[-1] }}"}
automation_condition: on_cron(@hourly)
"""
    )

    @dg.asset(key=["dbt", "orders"])
    def model() -> None: ...

    assert requested(dg.Definitions.merge(defs, dg.Definitions(assets=[model]))) == [0, 0]


def test_eager_loads_follow_their_exports(load: Load) -> None:
    _, defs = load(
        ALONE
        + """
exports: [{object: shop.orders}]
loads: [{export: shop.orders, table: T, automation_condition: eager}]
"""
    )
    instance = dg.DagsterInstance.ephemeral()
    before = dg.evaluate_automation_conditions(defs, instance=instance)
    instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey(["exports", "shop", "orders"])))
    after = dg.evaluate_automation_conditions(defs, instance=instance, cursor=before.cursor)
    assert (before.total_requested, after.total_requested) == (0, 1)
    assert after.get_num_requested(dg.AssetKey(["snowflake", "t"])) == 1


def test_what_an_item_says_goes_before_what_the_component_says(load: Load) -> None:
    _, defs = load(
        ALONE
        + """
exports:
  - object: shop.orders
    automation_condition: eager
    translation: {owners: ["team:orders"], tags: {of: "{{ props.name }}"}}
  - {object: shop.customers}
automation_condition: on_missing
translation: {group_name: raw, owners: ["team:data"], tags: {layer: raw}, key_prefix: acme}
"""
    )
    orders, customers = (specs(defs)[f"acme/{key}"] for key in (ORDERS, CUSTOMERS))
    assert [each.group_name for each in (orders, customers)] == ["raw", "raw"]
    assert [list(each.owners) for each in (orders, customers)] == [["team:orders"], ["team:data"]]
    assert {"of": "shop.orders", "layer": "raw"}.items() <= orders.tags.items()
    assert [
        str(each.automation_condition and each.automation_condition.get_label()) for each in (orders, customers)
    ] == [
        "eager",
        "on_missing",
    ]


def test_systems_are_the_projects_unless_they_are_given(load: Load) -> None:
    def needed(extra: str) -> set[str]:
        _, defs = load(FULL.replace(ALONE, WHERE) + extra)
        made = [each for each in defs.assets or () if isinstance(each, dg.AssetsDefinition)]
        # Dagster's own, of whatever returns nothing.
        return set().union(*(each.required_resource_keys for each in made)) - {"io_manager"}

    assert needed("") == {"materialize", "object_store", "snowflake", "census"}
    assert needed("resources: environment\n") == set()
    assert needed("materialize: {host: mz}\nsnowflake: {}\n") == {"object_store", "census"}


def test_secrets_from_the_environment_stay_text_and_out_of_sight(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MZ_PASSWORD", "0123456789")
    monkeypatch.setenv("MZ_PORT", "6875")
    component, defs = load(FULL + "materialize: {password: \"{{ env('MZ_PASSWORD') }}\", port: '{{ env.MZ_PORT }}'}\n")
    assert component.materialize.password == "0123456789"
    assert component.materialize.port == 6875
    shown = [repr(component), *(repr(spec.metadata) for spec in specs(defs).values())]
    assert not any("0123456789" in text for text in shown)


def test_text_that_looks_like_a_number_stays_text(load: Load) -> None:
    component, _ = load(ALONE + 'exports: [{object: shop.orders, name: "12"}]\n')
    assert component.exports[0].name == "12"


def test_lists_may_come_from_a_template(sandbox: DefsFolderSandbox, load: Load) -> None:
    path = sandbox.defs_folder_path / "nightly"
    path.mkdir()
    (path / "template_vars.py").write_text(
        "import dagster as dg\n"
        "@dg.template_var\n"
        "def tables():\n"
        "    return [{'object': f'shop.{name}'} for name in ('orders', 'customers')]\n"
    )
    (path / "defs.yaml").write_text(
        f"type: {MaterializeExportComponent.__module__}.MaterializeExportComponent\n"
        "template_vars_module: .template_vars\n"
        "attributes:\n"
        "  defaults: {to: 's3://exports/dagster/', connection: aws}\n"
        "  resources: environment\n"
        "  exports: '{{ tables }}'\n"
    )
    with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
        assert {ORDERS, CUSTOMERS} <= specs(defs).keys()


def test_a_subclass_may_add_attributes_and_change_assets(load: Load) -> None:
    component, defs = load(
        ALONE + "exports: [{object: shop.orders}]\ndomain: \"{{ 'sa' + 'les' }}\"\nlimits: {a: 1}\n", cls=Tagged
    )
    assert (component.domain, component.limits) == ("sales", {"a": 1})
    assert specs(defs)[ORDERS].tags["domain"] == "sales"


def test_a_component_may_be_made_in_python() -> None:
    component = MaterializeExportComponent(
        name="python",
        resources="environment",
        defaults=Defaults(to="s3://exports/dagster/", connection="aws"),
        exports=(ExportEntry(object="shop.orders", schedule=Schedule(cron="@daily"), translation=_owned),),
    )
    defs = component.build_defs(dg.ComponentTree.for_test().load_context)
    assert list(specs(defs)[ORDERS].owners) == ["team:python"]
    assert [schedule.name for schedule in defs.schedules or ()] == ["python_daily_schedule"]


def test_a_component_may_be_made_from_a_dictionary() -> None:
    where = {"to": "s3://exports/dagster/", "connection": "aws"}
    attributes = {"name": "dictionary", "defaults": where, "exports": [{"object": "shop.orders"}], "retention": None}
    context = dg.ComponentTree.for_test().load_context
    component = MaterializeExportComponent.from_attributes_dict(attributes={**attributes, "resources": "environment"})
    assert ORDERS in specs(component.build_defs(context))
    wrong = MaterializeExportComponent.from_attributes_dict(
        attributes={**attributes, "loads": [{"export": "x", "table": "T"}]}
    )
    with pytest.raises(ConfigurationError, match=r"^loads\[0\].export: there is no export 'x'"):
        wrong.build_defs(context)


def _owned(spec: dg.AssetSpec, props: Props) -> dg.AssetSpec:
    assert isinstance(props, ExportProps)
    return spec.replace_attributes(owners=["team:python"])


class TestTranslationOfAttributes(TestTranslation):
    """Dagster's own cases: all that ``translation`` may say, of a component and of one export."""

    @pytest.mark.parametrize("of_one", [False, True])
    def test_translation(
        self,
        load: Load,
        of_one: bool,
        attributes: dict[str, Any],
        assertion: Callable[[dg.AssetSpec], bool],
        key_modifier: Callable[[dg.AssetKey], dg.AssetKey] | None,
    ) -> None:
        # JSON is YAML.
        import json

        text = f"translation: {json.dumps(attributes)}"
        item, whole = (f", {text}", "") if of_one else ("", f"{text}\n")
        _, defs = load(ALONE + f"exports: [{{object: shop.orders{item}}}]\n{whole}")
        key = dg.AssetKey(ORDERS.split("/"))
        spec = specs(defs)[(key_modifier(key) if key_modifier else key).to_user_string()]
        assert assertion(spec)
