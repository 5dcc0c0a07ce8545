"""Ids of tasks, and the connection to Census."""

from __future__ import annotations

import pytest
from airflow.models.connection import Connection

from mz_orchestration.airflow.connections import census_config
from mz_orchestration.airflow.pipelines import _task_ids
from mz_orchestration.errors import ConfigurationError


def test_ids_of_tasks_hold_what_airflow_takes_and_stay_apart() -> None:
    names = ["load DB.S.T", 'load "a b"', "load 'a b'", f"load {'x' * 300}"]
    ids = _task_ids(names)
    assert ids["load DB.S.T"] == "load_DB.S.T"
    assert len(set(ids.values())) == len(names)
    assert all(len(each) <= 250 and all(sign.isalnum() or sign in "_.-" for sign in each) for each in ids.values())
    assert _task_ids(reversed(names)) == ids


@pytest.mark.parametrize(
    ("fields", "host"),
    [
        ({}, "https://app.getcensus.com"),
        ({"host": "census.example.com"}, "https://census.example.com"),
        ({"host": "127.0.0.1", "port": 8080, "schema": "http"}, "http://127.0.0.1:8080"),
        ({"host": "http://127.0.0.1:8080"}, "http://127.0.0.1:8080"),
        ({"extra": '{"region": "eu", "api_version": "v1"}'}, "https://app-eu.getcensus.com"),
    ],
)
def test_a_connection_to_census(fields: dict[str, object], host: str) -> None:
    config = census_config(Connection(conn_id="c", conn_type="census", password="secret-token", **fields))
    assert (config.host, config.token.get_secret_value()) == (host, "secret-token")
    assert config.api == ("v1" if "extra" in fields else "v2")


def test_a_connection_to_census_that_cannot_be_used() -> None:
    with pytest.raises(ConfigurationError, match="'c' has no password"):
        census_config(Connection(conn_id="c", conn_type="census"))
    with pytest.raises(ConfigurationError, match="'c' cannot be used: url") as caught:
        census_config(Connection(conn_id="c", conn_type="census", password="secret", host="http://elsewhere.example"))
    assert "secret" not in str(caught.value)
