"""Settings of Census: where the token goes, and where it never does."""

from __future__ import annotations

import pytest

from mz_orchestration.census.config import CensusConfig
from mz_orchestration.errors import ConfigurationError

SECRET = "s3cret-token-of-nobody"


def config(**settings: str) -> CensusConfig:
    return CensusConfig.from_environment({"CENSUS_API_TOKEN": SECRET, **settings})


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({}, "https://app.getcensus.com/api/v2"),
        ({"CENSUS_API_VERSION": "v1"}, "https://app.getcensus.com/api/v1"),
        ({"CENSUS_API_VERSION": "v1", "CENSUS_REGION": "eu"}, "https://app-eu.getcensus.com/api/v1"),
        ({"CENSUS_REGION": "eu"}, "https://app-eu.getcensus.com/api/v2"),
        ({"CENSUS_URL": "https://census.example.com/"}, "https://census.example.com/api/v2"),
        ({"CENSUS_URL": "http://127.0.0.1:9003", "CENSUS_REGION": "eu"}, "http://127.0.0.1:9003/api/v2"),
        ({"CENSUS_URL": "http://[::1]:9003"}, "http://[::1]:9003/api/v2"),
        ({"CENSUS_URL": "http://localhost"}, "http://localhost/api/v2"),
    ],
)
def test_addresses(settings: dict[str, str], address: str) -> None:
    assert config(**settings).base_url == address


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://census.example.com", "in the clear"),
        ("http://127.0.0.1.example.com", "in the clear"),
        ("http://localhost.example.com", "in the clear"),
        ("https://census.example.com/api/v2", "without a path"),
        ("https://census.example.com?x=1", "without a path"),
        ("https://me:pass@census.example.com", "name or password"),
        ("https://127.0.0.1@census.example.com", "name or password"),
        ("census.example.com", "not an address"),
        ("ftp://census.example.com", "not an address"),
        ("https://census.example.com:port", "not an address"),
        ("https://a b", "not an address"),
    ],
)
def test_refused_addresses(url: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        config(CENSUS_URL=url)


@pytest.mark.parametrize("token", ["", " ", "a b", "line\n", "ümlaut"])
def test_refused_tokens_are_not_shown(token: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        CensusConfig.from_environment({"CENSUS_API_TOKEN": token})
    assert "CENSUS_API_TOKEN" in str(caught.value)
    assert not token.strip() or token not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("CENSUS_API_VERSION", "v3"), ("CENSUS_REGION", "au")])
def test_refused_choices(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=value):
        config(**{name: value})


def test_the_token_is_never_shown() -> None:
    shown = config()
    assert SECRET not in f"{shown!r} {shown} {shown.model_dump()} {shown.model_dump_json()}"


def test_the_group_is_asked_for_where_it_is_needed() -> None:
    with pytest.raises(ConfigurationError, match="CENSUS_GROUP_ID"):
        config().group(to="list syncs")
    assert config(CENSUS_GROUP_ID="g").group(to="list syncs") == "g"
    assert config(CENSUS_API_VERSION="v1").group(to="list syncs") is None


def test_warnings() -> None:
    [v1] = config(CENSUS_API_VERSION="v1").warnings()
    assert "15 January 2027" in v1
    assert "CENSUS_API_VERSION=v2" in v1
    assert config().warnings() == []
    assert "app-eu" in config(CENSUS_REGION="eu").warnings()[0]
