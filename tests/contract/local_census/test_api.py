"""The endpoints of both versions: who may ask, what is listed, what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from mz_orchestration.local.stack import LocalStack

from .conftest import Census, Table, client


def test_the_syncs_that_a_stack_starts_with(both: Census) -> None:
    syncs = both.get("/syncs", group_id="local", order="asc", per_page=3)
    assert [(sync["id"], sync["label"], sync["schedule_frequency"], sync["paused"]) for sync in syncs] == [
        (1, "order_totals to Braze", "never", False),
        (2, "customers to Braze", "never", False),
        (3, "order_totals to Braze, continuously", "continuous", True),
    ]
    assert both.get("/syncs/1") == syncs[0]
    assert [source["name"] for source in both.get("/sources", group_id="local", order="asc")] == [
        "Snowflake",
        "Materialize",
    ]


def test_destinations_have_another_name_and_ids_that_are_text_in_v2(both: Census) -> None:
    second = "v2" in str(both.http.base_url)
    path, other = ("/activations", "/destinations") if second else ("/destinations", "/activations")
    assert both.get(path, group_id="local") == [{"id": "11" if second else 11, "name": "Braze", "type": "braze"}]
    assert both.http.get(other, params={"group_id": "local"}).status_code == 404


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("path", ["/syncs?group_id=local", "/syncs/1", "/sync_runs/1001", "/sources?group_id=local"])
def test_only_the_token_of_the_version_signs_in(stack: LocalStack, version: str, path: str) -> None:
    secrets = stack.state.secrets
    right, wrong = secrets.census_token, secrets.census_workspace_key
    if version == "v1":
        right, wrong = wrong, right
    for token, refused in ((right, False), (wrong, True), ("", True), ("nonsense", True)):
        with client(stack, version, token) as http:
            answer = http.get(path)
        assert (answer.status_code == 401) is refused
        assert not refused or answer.json()["status"] == 401


def test_v2_lists_what_is_in_a_group(census: Census, stack: LocalStack) -> None:
    for path in ("/syncs", "/sources", "/activations"):
        assert census.http.get(path).status_code == 422
        assert census.http.get(path, params={"group_id": "other"}).status_code == 404
    with client(stack, "v1", stack.state.secrets.census_workspace_key) as http:
        assert http.get("/syncs").status_code == 200


def test_pages(both: Census, table: Table) -> None:
    for _ in range(101):
        both.create(table.settings())
    first = both.http.get("/syncs", params={"group_id": "local", "per_page": 1000}).json()
    total = first["pagination"]["total_records"]
    assert total >= 104
    assert first["pagination"] == {
        "total_records": total,
        "per_page": 100,
        "prev_page": None,
        "page": 1,
        "next_page": 2,
        "last_page": -(-total // 100),
    }
    pages = [first]
    while (address := pages[-1]["next"]) is not None:
        pages.append(both.http.get(address).json())
    assert [sync["id"] for page in pages for sync in page["data"]] == list(range(total, 0, -1))
    assert pages[-1]["pagination"]["prev_page"] == len(pages) - 1
    assert both.get("/syncs", group_id="local", order="asc", page=0, per_page=1)[0]["id"] == 1
    assert len(both.get("/syncs", group_id="local")) == 25
    assert both.get("/syncs", group_id="local", page=99) == []


@pytest.mark.parametrize("query", ["page=x", "per_page=-1", "order=up"])
def test_pages_that_cannot_be(both: Census, query: str) -> None:
    assert both.http.get(f"/syncs?group_id=local&{query}").status_code == 422


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/syncs/999999"),
        ("PATCH", "/syncs/999999"),
        ("POST", "/syncs/999999/trigger"),
        ("GET", "/syncs/999999/sync_runs"),
        ("GET", "/sync_runs/1"),
        ("POST", "/sync_runs/1/cancel"),
        ("GET", "/syncs/abc"),
        ("GET", "/nonsense"),
        ("DELETE", "/syncs/1"),
    ],
)
def test_what_is_not_there(both: Census, method: str, path: str) -> None:
    answer = both.http.request(method, path)
    assert answer.status_code == 404
    assert answer.json()["status"] == 404


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"operation": "nonsense"}, "operation"),
        ({"mappings": []}, "exactly one mapping"),
        ({"nonsense": 1}, "nonsense"),
        ({"source_attributes": {"connection_id": 9}}, "source_attributes"),
        ({"destination_attributes": {"connection_id": 9, "object": "x"}}, "there is no destination 9"),
        ({"schedule_frequency": "sometimes"}, "schedule_frequency"),
        # Neither a source nor a materialized view.
        ({"schedule_frequency": "continuous"}, "sources and materialized views only"),
    ],
)
def test_syncs_that_cannot_be(census: Census, table: Table, changes: dict[str, Any], said: str) -> None:
    answer = census.http.post("/syncs", json=table.settings(**changes))
    assert answer.status_code == 422
    assert said in answer.json()["message"]
    sync = census.create(table.settings())
    before = census.get(f"/syncs/{sync}")
    assert census.http.patch(f"/syncs/{sync}", json=changes).status_code == 422
    assert census.get(f"/syncs/{sync}") == before


def test_bodies_that_are_no_objects(census: Census) -> None:
    for content in (b"{", b"[]"):
        assert census.http.post("/syncs/1/trigger", content=content).status_code == 400


def test_sources_are_known_by_type(census: Census) -> None:
    address = f"{census.base}/local/sources"
    for wrong in ({"oracle": {"port": 1, "password": "x"}}, {"snowflake": {"post": 1}}, {"snowflake": 1}):
        assert census.http.post(address, json=wrong).status_code == 400
    assert census.http.post(address, json={}).json() == {"sources": [1, 2]}


def test_requests_are_logged_without_tokens(
    census: Census, stack: LocalStack, requests: Callable[[], list[dict[str, Any]]]
) -> None:
    seen = len(requests())
    census.get("/syncs", group_id="local", page=2)
    with client(stack, "v2", "wrong") as http:
        http.post("/syncs/1/trigger")
    census.fault(sync="1", path="/trigger", reset=True)
    with pytest.raises(httpx.RemoteProtocolError):
        census.http.post("/syncs/1/trigger")
    new = requests()[seen:]
    assert [(each["method"], each["path"], each["query"], each["status"]) for each in new] == [
        ("GET", "/api/v2/syncs", "group_id=local&page=2", 200),
        ("POST", "/api/v2/syncs/1/trigger", "", 401),
        ("POST", "/api/v2/syncs/1/trigger", "", None),
    ]
    written = b"".join(path.read_bytes() for path in (stack.folder / "logs").glob("census.log"))
    written += (stack.folder / "census-requests.jsonl").read_bytes()
    assert stack.state.secrets.census_token.encode() not in written


def test_the_process_wants_its_tokens(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mz_orchestration.local.census", "--dir", str(tmp_path)]
    answer = subprocess.run(
        [*command, "--requests", str(tmp_path / "requests")],
        env={**os.environ, "MZ_LOCAL_CENSUS_TOKEN": "x"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 2
    assert "MZ_LOCAL_CENSUS_WORKSPACE_KEY is not set" in answer.stderr
