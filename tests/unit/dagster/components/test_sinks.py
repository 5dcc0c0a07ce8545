"""The component of sinks: what it makes of its attributes, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from mz_orchestration.dagster.components.sinks import MaterializeSinksComponent
from mz_orchestration.dagster.resources import MaterializeResource

from .conftest import Load


def test_assets_checks_and_a_sensor(load: Load) -> None:
    _, defs = load(
        """
        sinks: [shop.orders_sink, totals]
        sensor: {debounce: 5, default_status: RUNNING, minimum_interval_seconds: 30}
        policy: {flap_count: 5}
        translation: {group_name: sinks, key_prefix: live}
        """,
        cls=MaterializeSinksComponent,
        folder="streams",
    )
    bound = dg.Definitions.merge(
        defs, dg.Definitions(resources={"materialize": MaterializeResource(host="h", user="u")})
    )
    dg.Definitions.validate_loadable(bound)
    specs = {spec.key.to_user_string(): spec for spec in bound.resolve_all_asset_specs()}
    assert set(specs) == {"live/materialize/shop/orders_sink", "live/materialize/totals"}
    assert {spec.group_name for spec in specs.values()} == {"sinks"}
    checks = {check.key.asset_key.to_user_string() for each in defs.asset_checks or () for check in each.check_specs}  # type: ignore[union-attr]
    assert checks == set(specs)
    (sensor,) = defs.sensors or ()
    assert isinstance(sensor, dg.SensorDefinition)
    assert sensor.name == "streams_health"
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 30


def test_settings_of_its_own_need_no_resource(load: Load) -> None:
    for own in ("resources: environment", "materialize: {host: h, user: u}"):
        _, defs = load(f"sinks: [a]\n{own}", cls=MaterializeSinksComponent)
        dg.Definitions.validate_loadable(defs)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ("sinks: []", "defs.yaml:3: sinks: (): name one sink at least"),
        ("sinks: [a, a]", "defs.yaml:3: sinks: ('a', 'a'): name one sink at least, in a list, and none twice"),
        ('sinks: ["shop.*"]', "defs.yaml:3: sinks: 'shop.*' is a pattern, and assets have names. List the sinks"),
        ("sinks: [a]\nsensor: {debounce: -1}", "attributes.sensor.debounce at defs.yaml:4"),
        ("sinks: [a]\nsensor: {debunce: 1}", "attributes.sensor.debunce at defs.yaml:4"),
        ("sinks: [a]\npolicy: {flap_count: 1}", "attributes.policy.flap_count at defs.yaml:4"),
        ("sinks: [a]\nkind: table", "attributes.kind at defs.yaml:4"),
        ("kind: sink", "attributes.sinks"),
    ],
)
def test_what_is_refused(refusal: Callable[..., Any], attributes: str, said: str) -> None:
    assert said in refusal(attributes, cls=MaterializeSinksComponent)
