from __future__ import annotations

import warnings
from urllib.parse import urlsplit

import pytest
from airflow.sdk import Asset

from mz_orchestration.airflow.assets.materialize import (
    convert_asset_to_openlineage,
    create_asset,
    materialize_asset,
    sanitize_uri,
)

ORDERS = "materialize://mz.example.com:6875/materialize/shop/orders"


@pytest.mark.parametrize(
    "uri",
    [
        ORDERS,
        f"{ORDERS}/",
        "materialize://mz.example.com/materialize/shop/orders",
        "MATERIALIZE://MZ.Example.com:6875/materialize/shop/orders",
        "materialize://mz.example.com:6875/materialize/shop/%6frders",
    ],
)
def test_airflow_brings_spellings_of_an_address_into_one(uri: str) -> None:
    assert Asset(uri=uri).uri == ORDERS


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("materialize://mz.example.com/shop/orders", "does not name a database, a schema and an object"),
        ("materialize://mz.example.com", "does not name a database, a schema and an object"),
        ("materialize://mz.example.com/a/b/c/d", "does not name a database, a schema and an object"),
        ("materialize://mz.example.com//shop/orders", "does not name a database, a schema and an object"),
        ("materialize:///materialize/shop/orders", "names no host"),
        ("materialize://mz.example.com:many/materialize/shop/orders", "many"),
        ("materialize://mz.example.com/materialize/shop/orders?cluster=x", r"followed by \?"),
    ],
)
def test_what_is_no_address_of_an_object(uri: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Asset(uri=uri)
    assert "write materialize://host:port/database/schema/object" in str(caught.value)


def test_a_user_name_is_refused() -> None:
    """Where Airflow itself does not take it away."""
    with pytest.raises(ValueError, match="holds a user name"):
        sanitize_uri(urlsplit("materialize://me@mz.example.com/materialize/shop/orders"))


def test_a_password_goes_without_a_word_of_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asset = Asset(uri="materialize://me:hunter22@mz.example.com/materialize/shop/orders")
    assert asset.uri == ORDERS


def test_from_names() -> None:
    assert materialize_asset("shop.orders", host="mz.example.com").uri == ORDERS
    assert materialize_asset("Materialize.Shop.ORDERS", host="mz.example.com").uri == ORDERS
    assert materialize_asset("t", host="h", port=1, database="d", schema="s").uri == "materialize://h:1/d/s/t"
    with pytest.raises(ValueError, match="is not a name"):
        materialize_asset("shop..orders", host="h")


def test_from_parts() -> None:
    asset = create_asset(
        host="::1", port=1, database="d", schema="my schema", object="a/b?c.d", name="mine", extra={"owner": "me"}
    )
    assert asset.uri == "materialize://[::1]:1/d/my%20schema/a%2Fb%3Fc.d"
    assert (asset.name, asset.extra) == ("mine", {"owner": "me"})
    assert Asset(uri=asset.uri).uri == asset.uri
    assert create_asset(host="H", database="d", schema="s", object="o").name == "materialize://h:6875/d/s/o"
    with pytest.raises(ValueError, match="does not name a database"):
        create_asset(host="h", database="d", schema="", object="o")


def test_openlineage_knows_the_object_by_its_name() -> None:
    dataset = convert_asset_to_openlineage(Asset(uri="materialize://h/d/my%20schema/o"), None)
    # Without OpenLineage's client Airflow's stand-in for its classes makes nothing.
    assert dataset is None or (dataset.namespace, dataset.name) == ("materialize://h:6875", "d.my schema.o")


@pytest.mark.filterwarnings("ignore:ProvidersManager")
def test_airflow_knows_the_makers_by_the_scheme() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert manager.asset_factories["materialize"] is create_asset
    assert manager.asset_to_openlineage_converters["materialize"] is convert_asset_to_openlineage
