"""Builders refuse what they cannot use when the code location loads, by the argument's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from mz_orchestration.dagster import (
    build_export_asset,
    build_export_assets,
    build_load_asset,
    build_source_assets,
    build_sync_asset,
    materialize_exports,
)
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.spec import export_spec

SPEC = export_spec(object="shop.orders", to="s3://bucket/exports/", connection="aws")
OTHER = export_spec(object="shop.payments", to="s3://bucket/exports/", connection="aws")
ANY: Any = None
NAME: Any = "shop.orders"


def load(export: Any) -> dg.AssetsDefinition:
    return build_load_asset(export, stage="A.B.STAGE", table="A.B.T")


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: build_export_asset(NAME), r"spec: 'shop\.orders' is not what to export"),
        (lambda: build_export_asset(SPEC, partition_folders=True), "partition_folders: there are no partitions"),
        (lambda: build_export_asset(SPEC, allow_backfill=True), "allow_backfill: there are no partitions"),
        (lambda: build_export_assets([]), "specs: there is nothing to export"),
        (lambda: build_export_assets([SPEC, OTHER], key="one"), "key: several assets cannot have one key"),
        # It would wait for a turn for ever.
        (lambda: build_export_assets([SPEC], batch=True, max_parallel=0), "max_parallel: 0"),
        (lambda: materialize_exports(exports=[]), "exports: there is nothing to export"),
        (lambda: load(None), "export: None is no asset"),
        (lambda: load(build_export_assets([SPEC, OTHER], batch=True)[0]), "makes 2 assets"),
        # A text is a sequence, too: of letters.
        (lambda: build_sync_asset(1, after="snowflake/a"), "after: 'snowflake/a' is not a list"),
        (lambda: build_sync_asset(1, after=[ANY]), "export: None is no asset"),
        (lambda: build_source_assets("shop.orders"), r"objects: 'shop\.orders' is not a list"),
        (lambda: build_source_assets(["a.b.c.d"]), r"objects: 'a\.b\.c\.d' is not a name"),
    ],
)
def test_what_cannot_be_used(build: Callable[[], Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        build()


@pytest.mark.parametrize(
    "key", ["exports/shop/orders", ["exports", "shop", "orders"], dg.AssetKey(["exports", "shop", "orders"])]
)
def test_a_key_in_each_of_dagsters_ways(key: Any) -> None:
    [dependency] = [dep.asset_key for spec in load(key).specs for dep in spec.deps]
    assert dependency == dg.AssetKey(["exports", "shop", "orders"])
