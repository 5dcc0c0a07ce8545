"""Faults that tests ask for: in answers, and in runs."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from .conftest import Census, Table
from .test_runs import counts


@pytest.fixture
def sync(census: Census, table: Table) -> int:
    return census.create(table.settings())


def triggers(census: Census, sync: int) -> int:
    return len(census.get(f"/syncs/{sync}/sync_runs"))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("after", [False, True])
def test_answers_fail_so_often(census: Census, sync: int, status: int, after: bool) -> None:
    census.fault(sync=sync, method="post", path="/trigger", status=status, retry_after=7, times=2, after=after)
    for _ in range(2):
        answer = census.http.post(f"/syncs/{sync}/trigger")
        assert (answer.status_code, answer.headers["retry-after"]) == (status, "7")
    assert triggers(census, sync) == (2 if after else 0)
    assert census.http.post(f"/syncs/{sync}/trigger").status_code == 200


@pytest.mark.parametrize("after", [False, True])
def test_a_reset(census: Census, sync: int, after: bool) -> None:
    census.fault(sync=sync, path="/trigger", reset=True, after=after, times=1)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        census.http.post(f"/syncs/{sync}/trigger")
    assert triggers(census, sync) == int(after)


def test_odd_answers_are_given_after_the_work(census: Census, sync: int) -> None:
    census.fault(sync=sync, path="/trigger", truncated=True, times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        census.http.post(f"/syncs/{sync}/trigger")
    assert triggers(census, sync) == 1
    census.fault(sync=sync, path="/trigger", truncated=False, not_json=True)
    answer = census.http.post(f"/syncs/{sync}/trigger")
    assert (answer.status_code, answer.text[:9]) == (200, "<!DOCTYPE")
    assert triggers(census, sync) == 2


def test_a_late_answer_has_done_its_work(census: Census, sync: int) -> None:
    census.fault(sync=sync, path="/trigger", delay=0.5, times=1)
    with pytest.raises(httpx.ReadTimeout):
        census.http.post(f"/syncs/{sync}/trigger", timeout=0.2)
    assert triggers(census, sync) == 1


def test_scopes(census: Census, sync: int) -> None:
    run = census.ran(sync)["id"]
    census.fault(sync=sync, method="GET", path="/sync_runs/", status=503)
    census.fault(method="GET", path="/sources", status=502)
    assert census.http.get(f"/sync_runs/{run}").status_code == 503
    assert census.http.get(f"/syncs/{sync}/sync_runs").status_code == 200
    assert census.http.get("/sync_runs/1").status_code == 404
    assert census.http.get("/sources", params={"group_id": "local"}).status_code == 502
    rules = census.http.get(f"{census.base}/local/faults").json()["rules"]
    assert {"sync": str(sync), "method": "GET", "path": "/sync_runs/", "status": 503}.items() <= rules[1].items()
    assert [rule["answers_struck"] for rule in rules] == [0, 1, 1]


def test_a_run_that_fails(census: Census, sync: int, table: Table) -> None:
    census.fault(sync=sync, fail_run={"code": "DOWN", "message": "Braze is away", "detail": "503"}, times=1)
    run = census.ran(sync)
    assert (run["status"], run["error_code"], run["error_message"], run["error_detail"]) == (
        "failed",
        "DOWN",
        "Braze is away",
        "503",
    )
    assert census.arrived(table.object) == {}
    assert counts(census.ran(sync)) == (3, 3, 0, 0, 3, 3, 0)


def test_a_run_that_somebody_cancels(census: Census, sync: int, table: Table) -> None:
    census.fault(sync=sync, cancel_run=True)
    run = census.ran(sync)
    assert (run["status"], run["canceled"]) == ("completed", True)
    assert census.arrived(table.object) == {}


def test_a_status_nobody_knows(census: Census, sync: int) -> None:
    census.fault(sync=sync, run_status={"preparing": 0.4, "hibernating": 0.4})
    run = census.trigger(sync)
    for status in ("preparing", "hibernating", "completed"):
        census.wait(run, status)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"failed_records": 2}, (3, 3, 0, 0, 3, 1, 2)),
        ({"failed_records": 9}, (3, 3, 0, 0, 3, 0, 3)),
        ({"failed_ratio": 0.34}, (3, 3, 0, 0, 3, 2, 1)),
        ({"invalid_records": 2}, (3, 1, 0, 2, 1, 1, 0)),
        ({"invalid_ratio": 1}, (3, 0, 0, 3, 0, 0, 0)),
    ],
)
def test_bad_records(census: Census, sync: int, table: Table, rule: dict[str, Any], expected: tuple[int, ...]) -> None:
    census.fault(sync=sync, times=1, **rule)
    assert counts(census.ran(sync)) == expected
    assert len(census.arrived(table.object)) == expected[5]
    # All that did not arrive is sent again.
    assert counts(census.ran(sync))[3:] == (0, 3 - expected[5], 3 - expected[5], 0)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"nonsense": 1}, "there is no fault 'nonsense' of Census; known are sync, method"),
        ({"status": 200}, "status=200: input should be greater than or equal to 400"),
        ({"times": 0}, "times=0"),
        ({"failed_ratio": 2}, "failed_ratio=2"),
        ({"fail_run": {}}, "fail_run.code"),
        ({"run_status": "x:y"}, "run_status.x=y"),
    ],
)
def test_what_cannot_be_understood_is_refused(census: Census, body: dict[str, Any], said: str) -> None:
    address = f"{census.base}/local/faults"
    before = census.http.get(address).json()
    answer = census.http.post(address, json=body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert census.http.post(address, json={}).json() == before
    assert census.http.post(address, content=b"{").status_code == 400


def test_faults_end(census: Census, sync: int) -> None:
    census.fault(sync=sync, status=503)
    assert census.http.delete(f"{census.base}/local/faults").json() == {"rules": []}
    assert census.http.get(f"/syncs/{sync}").status_code == 200
