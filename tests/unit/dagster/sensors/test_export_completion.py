"""Which asset an export is, whose it is, and what is refused when the code location loads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from mz_orchestration.dagster import DagsterMaterializeTranslator, ExportProps, build_export_completion_sensor
from mz_orchestration.dagster.sensors.export_completion import default_asset_key
from mz_orchestration.dagster.sensors.known import Known
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.exports.watch.arrival import Arrival
from mz_orchestration.objectstore.location import parse_folder


def arrival(export: str) -> Arrival:
    folder = parse_folder(f"s3://bucket/exports/{export}/20261122T000000Z-0a1b2c3d-01/", field="path")
    return Arrival(folder, export, "t7", 1, 4, None, True, datetime(2026, 11, 22, tzinfo=UTC))


@pytest.mark.parametrize("object", ["orders", "shop.orders", "db.Shop.orders", 'shop."Order Totals"', '"a.b".c'])
def test_an_export_that_is_named_as_dagster_would_is_the_same_asset(object: str) -> None:
    spec = export_spec(object=object, to="s3://bucket/exports/", connection="c")
    expected = DagsterMaterializeTranslator().get_asset_spec(ExportProps.of(spec)).key
    if object == '"a.b".c':
        # The path does not say where the dots are the name's own.
        assert default_asset_key(arrival(spec.folder_name)).path[0] == "exports"
    else:
        assert default_asset_key(arrival(spec.folder_name)) == expected


def test_exports_of_others_are_named_by_their_path() -> None:
    assert default_asset_key(arrival("by-hand/day=1")).path == ["exports", "by_hand", "day_1"]


@pytest.mark.parametrize(
    ("key", "ours"),
    [
        ("{run}/exports/shop/orders", True),
        ("nightly/{run}/shop.orders", True),
        ("cron/2026-11-22", False),
        ("nightly/other/{run}", False),
        ("00000000-0000-0000-0000-000000000000/exports/x", False),
    ],
)
def test_whose_an_export_is(key: str, ours: bool) -> None:
    with dg.instance_for_test() as instance:

        @dg.op
        def nothing() -> None: ...

        @dg.job
        def empty() -> None:
            nothing()

        run = empty.execute_in_process(instance=instance).run_id
        assert Known(instance).made_here(key.format(run=run)) is ours


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"folder": "s3://bucket/"}, "without a folder"),
        ({"require": "luck"}, "neither 'sentinel' nor 'manifest'"),
        ({"settle": -1}, "settle"),
        ({"budget": 0}, "budget: 0 is not between"),
        ({"budget": 60}, "budget: 60 is not between"),
    ],
)
def test_arguments_that_cannot_be_used(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        build_export_completion_sensor(**{"folder": "s3://bucket/exports/", **options})
