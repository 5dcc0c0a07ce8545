"""The hook for Census over the local stack."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from airflow.sdk import BaseHook

from mz_orchestration.airflow.hooks.census import CensusHook
from mz_orchestration.local.stack import LocalStack

NAME = "AIRFLOW_CONN_CENSUS_DEFAULT"


@pytest.mark.parametrize(
    ("fields", "working", "message"),
    [
        ({}, True, "Signed in to Census; syncs: "),
        ({"extra": {"api_version": "v2"}}, True, "The token was not refused. Without a group_id"),
        ({"password": "wrong-token"}, False, "token"),
        ({"extra": {"group_id": "theirs"}}, False, "group"),
        ({"port": None, "host": "http://127.0.0.1:1"}, False, "does not answer"),
        ({"extra": {"api_version": "v3"}}, False, "api"),
    ],
    ids=["fine", "without group", "wrong token", "wrong group", "nobody there", "wrong version"],
)
def test_the_test_button(
    connections: dict[str, str], monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], working: bool, message: str
) -> None:
    monkeypatch.setenv(NAME, json.dumps({**json.loads(connections[NAME]), **fields}))
    hook = BaseHook.get_hook("census_default")
    assert isinstance(hook, CensusHook)
    done, text = hook.test_connection()
    assert (done, message in text) == (working, True), text
    assert "wrong-token" not in text


def test_by_the_version_that_ends(
    stack: LocalStack, connections: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"password": stack.state.secrets.census_workspace_key, "extra": {"api_version": "v1"}}
    monkeypatch.setenv(NAME, json.dumps({**json.loads(connections[NAME]), **fields}))
    assert CensusHook().test_connection()[0]


def test_both_clients_see_the_same() -> None:
    hook = CensusHook()
    with hook.get_client() as client:
        blocking = [each.id for each in client.sources()]

    async def asynchronously() -> list[str]:
        async with await hook.aget_client() as client:
            return [each.id async for each in client.sources()]

    assert blocking
    assert asyncio.run(asynchronously()) == blocking
