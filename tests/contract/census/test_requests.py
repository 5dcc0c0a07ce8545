"""Requests that go wrong on the way: what is asked again, and how often a sync is triggered by it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from mz_orchestration.census.api import AmbiguousTriggerError
from mz_orchestration.census.client import CensusClient
from mz_orchestration.census.sync import run_sync
from mz_orchestration.errors import ConfigurationError, CredentialsError, NotFoundError, SyncError, UnavailableError

from .conftest import Census, FastClock, both_versions, eventually, sync_spec

PASSING = [
    {"status": 429, "retry_after": "2"},
    {"status": 500},
    {"status": 502},
    {"status": 503},
    {"status": 504},
    {"status": 520},
    {"status": 524},
    {"status": 599},
    {"reset": True},
    {"delay": 0.8},
    {"truncated": True},
    {"not_json": True},
]
LOST = [fault for fault in PASSING if fault.get("status") != 429]


def name(fault: dict[str, Any]) -> str:
    return "-".join(str(part) for pair in fault.items() for part in pair)


@pytest.mark.parametrize("fault", PASSING, ids=name)
def test_looking_is_done_again(census: Census, fault: dict[str, Any]) -> None:
    sync, clock = census.new_sync(), FastClock()
    census.lose(sync, "GET", "/sync_runs/", times=2, **fault)
    result = run_sync(sync_spec(sync=sync), census=census.impatient, clock=clock, on_event=clock.listen)
    assert result.run.status == "completed"
    assert census.triggers(sync) == 1
    assert sum("Asking again in" in text for text in clock.notes) == 2


def test_a_trigger_that_was_turned_away_is_sent_again(census: Census) -> None:
    sync, clock = census.new_sync(), FastClock()
    census.lose(sync, "POST", "/trigger", times=3, status=429, retry_after="40")
    assert run_sync(sync_spec(sync=sync), census=census.config, clock=clock).run.status == "completed"
    assert clock.slept >= 120
    assert (census.triggers(sync), len(census.runs(sync))) == (4, 1)


@pytest.mark.parametrize("fault", LOST, ids=name)
def test_a_trigger_whose_answer_was_lost_is_never_sent_again(census: Census, fault: dict[str, Any]) -> None:
    sync, clock = census.new_sync(), FastClock()
    earlier = run_sync(sync_spec(sync=sync), census=census.config, clock=FastClock()).run.id
    census.lose(sync, "POST", "/trigger", after=True, **fault)
    result = run_sync(sync_spec(sync=sync), census=census.impatient, clock=clock, on_event=clock.listen)
    assert result.run.id != earlier
    assert not result.attached
    eventually(lambda: census.triggers(sync) == 2)
    assert len(census.runs(sync)) == 2
    assert any(f"found run {result.run.id}" in text for text in clock.notes)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 599])
def test_a_trigger_that_left_no_run_is_said_to_be_unknown(census: Census, status: int) -> None:
    sync = census.new_sync()
    census.lose(sync, "POST", "/trigger", status=status)
    with pytest.raises(SyncError, match="not known whether") as caught:
        run_sync(sync_spec(sync=sync), census=census.config, clock=FastClock())
    assert caught.value.retryable
    assert census.triggers(sync) == 1


def test_the_clients_own_trigger_is_not_sent_again_either(census: Census) -> None:
    sync = census.new_sync()
    census.lose(sync, "POST", "/trigger", after=True, status=502)
    with CensusClient(census.config, clock=FastClock()) as client:
        with pytest.raises(AmbiguousTriggerError):
            client.trigger(sync)
        assert len(list(client.runs(sync))) == census.triggers(sync) == 1


def test_who_asks_for_too_much_patience_is_not_waited_for(census: Census) -> None:
    sync, clock = census.new_sync(), FastClock()
    census.lose(sync, "GET", f"/syncs/{sync}", status=503, retry_after="3600")
    with pytest.raises(UnavailableError, match="alone for 3600 s"):
        run_sync(sync_spec(sync=sync), census=census.config, clock=clock)
    assert clock.slept == 0


def test_the_budget_ends(census: Census) -> None:
    sync, clock = census.new_sync(), FastClock()
    census.lose(sync, "GET", f"/syncs/{sync}", times=50, status=500)
    with pytest.raises(UnavailableError, match="status 500"):
        run_sync(sync_spec(sync=sync), census=census.config, clock=clock)
    assert 150 < clock.slept <= 300


def test_no_server(census: Census) -> None:
    nobody = census.config.model_copy(update={"url": "http://127.0.0.1:1"})
    with pytest.raises(UnavailableError, match="does not answer"):
        run_sync(sync_spec(sync=1), census=nobody, clock=FastClock())


@both_versions
def test_an_unknown_sync(census: Census) -> None:
    with pytest.raises(NotFoundError, match="no sync 987654"):
        run_sync(sync_spec(sync=987654), census=census.config, clock=FastClock())


@both_versions
def test_an_unknown_run(census: Census) -> None:
    with CensusClient(census.config) as client, pytest.raises(NotFoundError, match="no sync run 987654"):
        client.run(987654)


def test_ids_do_not_lead_elsewhere(census: Census) -> None:
    with CensusClient(census.config) as client, pytest.raises(ConfigurationError, match="not an id"):
        client.run("../syncs")


@both_versions
def test_a_wrong_token(census: Census) -> None:
    with pytest.raises(CredentialsError, match="refuses the token"):
        run_sync(sync_spec(sync=1), census=census.with_token("wrong"), clock=FastClock())


@both_versions
def test_the_other_versions_token(census: Census) -> None:
    with pytest.raises(CredentialsError, match="refuses the token"):
        run_sync(sync_spec(sync=1), census=census.with_token(census.other_token), clock=FastClock())


@both_versions
def test_syncs_of_type_append_refuse_to_send_all(census: Census) -> None:
    sync = census.new_sync(operation="append")
    with pytest.raises(ConfigurationError, match="full"):
        run_sync(sync_spec(sync=sync, full=True), census=census.config, clock=FastClock())
    assert census.runs(sync) == []


@both_versions
def test_the_token_is_nowhere(
    census: Census,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(0)
    # Airflow's own logging, which another test in this process may have set up, silences some.
    for name in ("httpx", "httpcore", "httpcore.connection", "httpcore.http11"):
        monkeypatch.setattr(logging.getLogger(name), "disabled", False)
        caplog.set_level(0, logger=name)
    sync, clock = census.new_sync(), FastClock()
    told: list[str] = []
    census.lose(sync, "POST", "/trigger", after=True, status=500)
    result = run_sync(
        sync_spec(sync=sync), census=census.config, clock=clock, on_event=lambda event: told.append(repr(event))
    )
    token = census.config.token.get_secret_value()
    with pytest.raises(CredentialsError) as caught, CensusClient(census.with_token(f"{token}x")) as client:
        client.sync(sync)
    output = capfd.readouterr()
    everything = [*told, repr(result), repr(caught.value.to_dict()), repr(client.__dict__), caplog.text, *output]
    assert "HTTP Request" in caplog.text
    assert not [text for text in everything if token in text]
