"""Keys, names and the run that a step belongs to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from mz_orchestration.dagster.keys import (
    asset_key,
    cluster_pool,
    logical_run,
    own_run_key,
    refuse_collisions,
    told_apart,
)
from mz_orchestration.errors import ConfigurationError

FIRST, THIS = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"


def context(**tags: str) -> Any:
    """Of a step in a run that another one has led to."""
    return SimpleNamespace(run=dg.DagsterRun("job", THIS, root_run_id=FIRST, parent_run_id=FIRST, tags=tags))


@pytest.mark.parametrize(
    ("tags", "run"),
    [
        ({"dagster/is_resume_retry": "true"}, FIRST),
        ({"dagster/retry_number": "1"}, FIRST),
        # All steps again, by the button or with other settings: something new is wanted.
        ({"dagster/is_resume_retry": "false"}, THIS),
        ({}, THIS),
    ],
)
def test_who_goes_on_with_a_run(tags: dict[str, str], run: str) -> None:
    assert logical_run(context(**tags)) == run
    assert own_run_key(context(**tags), dg.AssetKey(["exports", "a"]), "a", None) == f"{run}/exports/a"


def test_a_run_of_its_own() -> None:
    alone: Any = SimpleNamespace(run=dg.DagsterRun("job", THIS, tags={"dagster/retry_number": "1"}))
    assert logical_run(alone) == THIS


def test_what_a_key_cannot_hold() -> None:
    assert asset_key("exports", ("Shop", "Order-Totals.é")).path == ["exports", "shop", "order_totals__"]
    assert (cluster_pool(None), cluster_pool("my-cluster")) == ("materialize", "materialize_my_cluster")


def test_keys_that_came_out_alike() -> None:
    same = dg.AssetSpec("same")
    specs = told_apart({"a": same, "b": same, "c": dg.AssetSpec("c")})
    keys = {name: spec.key.to_user_string() for name, spec in specs.items()}
    assert keys["c"] == "c"
    assert keys["a"].startswith("same/")
    assert keys["b"].startswith("same/")
    assert keys["a"] != keys["b"]
    # Whatever else there is and in which order.
    assert {name: spec.key for name, spec in told_apart({"b": same, "a": same}).items()} == {
        name: specs[name].key for name in ("a", "b")
    }


def test_keys_that_may_not_be_alike() -> None:
    refuse_collisions([dg.AssetSpec("one"), dg.AssetSpec("two")], ["shop.one", "shop.two"])
    with pytest.raises(ConfigurationError, match=r"shop\.one and shop\.One would both be the asset same") as error:
        refuse_collisions([dg.AssetSpec("same"), dg.AssetSpec("same")], ["shop.one", "shop.One"])
    assert "get_asset_spec" in (error.value.hint or "")
