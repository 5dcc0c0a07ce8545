from __future__ import annotations

import pytest

from mz_orchestration.materialize.names import parse_object_name


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("orders", ("orders",)),
        ("Shop.Orders", ("shop", "orders")),
        ('"My Shop"."Order ""x"""', ("My Shop", 'Order "x"')),
        ("db.shop.orders", ("db", "shop", "orders")),
        ("café", ("café",)),
    ],
)
def test_parts(text: str, parts: tuple[str, ...]) -> None:
    assert parse_object_name(text) == parts


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "a.b.c.d", "a b", '"a', "1a", "a;drop", 'a"b"'])
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        parse_object_name(text)
