from __future__ import annotations

from typing import Any

import pytest

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.spec import export_spec, parse_size

GOOD: dict[str, Any] = {"object": "shop.orders", "to": "s3://bucket/exports", "connection": "local_s3"}


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"object": "a b"}, "object", "'a b' is not a name"),
        ({"to": "s3://bucket"}, "to", "without a folder"),
        ({"connection": ""}, "connection", "not a name"),
        ({"query": "SELECT 1 LIMIT 1"}, "query", "Wrap it"),
        ({"format": "json"}, "format", "'json'"),
        ({"max_file_size": "1MB"}, "max_file_size", "16MB to 4GB"),
        ({"max_file_size": "256mb"}, "max_file_size", "not a size"),
        ({"timeout": 0}, "timeout", "got 0"),
        ({"csv": {"delimiter": ";"}}, "", "format=csv only"),
        ({"format": "csv", "csv": {"delimiter": ";;"}}, "csv.delimiter", "single one-byte"),
        ({"format": "csv", "csv": {"quote": ","}}, "csv", "must be different"),
        ({"colour": "red"}, "colour", "red"),
    ],
)
def test_refusals_name_field_and_reason(change: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        export_spec(**{**GOOD, **change})
    assert field in raised.value.message
    assert said in raised.value.message


@pytest.mark.parametrize(("text", "size"), [("16MB", 16 << 20), ("4GB", 4 << 30), ("16777216", 16 << 20)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_the_folder_name_is_safe_and_unique() -> None:
    objects = ('shop."a b"', 'shop."a/b"', "shop.a_b", '"shop.a_b"', 'shop."a.b"', "shop.a.b")
    names = {export_spec(**{**GOOD, "object": name}).folder_name for name in objects}
    assert len(names) == len(objects)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-") for name in names)


def test_the_fingerprint_covers_what_decides_the_rows() -> None:
    spec = export_spec(**GOOD)
    assert spec.fingerprint() == export_spec(**{**GOOD, "to": "s3://bucket/exports/", "timeout": 5}).fingerprint()
    assert spec.fingerprint() != export_spec(**{**GOOD, "query": "SELECT 1"}).fingerprint()
