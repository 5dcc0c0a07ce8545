from __future__ import annotations

import pytest

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.objectstore.location import parse_folder, parse_location


def test_a_folder_gets_its_slash() -> None:
    assert str(parse_folder("s3://bucket/a/b", field="--to")) == "s3://bucket/a/b/"
    assert str(parse_folder("gs://bucket/a/", field="--to").child("x/")) == "gs://bucket/a/x/"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("s3://bucket", "without a folder"),
        ("s3://bucket/", "without a folder"),
        ("bucket/a", "not an object-store URL"),
        ("https://bucket/a/", "not an object-store URL"),
        ("s3:///a/", "not a bucket name"),
        ("s3://Bucket/a/", "not a bucket name"),
        ("s3://bucket/a//b/", "''"),
        ("s3://bucket/a b/", "'a b'"),
        ("s3://bucket/../b/", "'..'"),
        ("s3://bucket/ä/", "'ä'"),
        ("s3://bucket/a'/", "a'"),
    ],
)
def test_refused_naming_field_and_value(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_folder(text, field="--to")
    assert said in raised.value.message
    assert raised.value.message.startswith("--to: ")
    assert raised.value.hint


def test_parent_and_name() -> None:
    location = parse_location("s3://bucket/a/b/_manifest.json", field="manifest")
    assert (str(location.parent), location.name) == ("s3://bucket/a/b/", "_manifest.json")
