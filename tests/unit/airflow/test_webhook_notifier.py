"""What a webhook is told by tasks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mz_orchestration.airflow.exceptions import RetryableError
from mz_orchestration.airflow.notifications.webhook import MaterializeWebhookNotifier, document
from mz_orchestration.airflow.version_compat import AirflowFailException

PROBLEM = {
    "id": "u1/problem/stalled/1",
    "event": "problem",
    "verdict": "stalled",
    "severity": "critical",
    "text": "sink shop.orders is stalled. <@U1> @here",
    "committed": 12,
}
RECOVERY = {
    **PROBLEM,
    "event": "recovery",
    "verdict": "healthy",
    "severity": "ok",
    "text": "sink shop.b is well again.",
}


def context(**more: Any) -> Any:
    return {
        "ti": SimpleNamespace(task_id="wait", log_url="http://airflow/log", state="failed"),
        "dag_run": SimpleNamespace(dag_id="d", run_id="r", state="running"),
        "dag": SimpleNamespace(dag_id="d"),
        **more,
    }


def events(*payloads: Any) -> dict[str, Any]:
    return {"asset": [SimpleNamespace(extra={"payload": each}) for each in payloads]}


def test_events_that_started_the_run() -> None:
    said = document(context(triggering_asset_events=events(RECOVERY, PROBLEM, {"path": "s3://b/"}, None)))
    assert said["text"].startswith("sink shop.orders is stalled. &lt;@\u200bU1&gt; @\u200bhere sink shop.b is well")
    assert [each["event"] for each in said["sinks"]] == ["problem", "recovery"]
    assert said["sinks"][0]["committed"] == "12"
    assert (said["dag_id"], said["run_id"], said["task_id"], said["log_url"]) == (
        "d",
        "r",
        "wait",
        "http://airflow/log",
    )


@pytest.mark.parametrize("kind", [AirflowFailException, RetryableError])
def test_an_error_of_ours(kind: type[Exception]) -> None:
    assert (
        document(context(exception=kind("The sink is\nstalled.")))["text"] == "d.wait has failed: The sink is stalled."
    )


def test_an_error_of_others_may_hold_anything() -> None:
    said = document(context(exception=ValueError("password=hunter2")))["text"]
    assert said == "d.wait has failed: ValueError; its log says more."


def test_without_an_error_or_a_task() -> None:
    assert document(context())["text"] == "d.wait: failed."
    run = SimpleNamespace(dag_id="d", run_id="r", state="success")
    assert document({"dag_run": run})["text"] == "d: success."  # type: ignore[typeddict-unknown-key,typeddict-item]


def test_ones_own_words() -> None:
    assert document(context(), "look!")["text"] == "look!"


@pytest.mark.parametrize(
    ("connection", "said"),
    [
        (None, "nobody was told: There is no Airflow connection 'materialize_webhook'. Define it"),
        ("http://host", "has no password. Write the webhook's whole address there."),
        ("http://:not-an-address@host", "this is not an http(s) address"),
        ("http://:http%3A%2F%2F127.0.0.1%3A9%2Fsecret@host", "cannot be reached (ConnectError)"),
    ],
)
def test_what_cannot_be_told_is_a_warning(
    connection: str | None, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if connection is not None:
        monkeypatch.setenv("AIRFLOW_CONN_MATERIALIZE_WEBHOOK", connection)
    monkeypatch.setattr("mz_orchestration.webhooks.delivery._FIRST_PAUSE", 0.01)
    MaterializeWebhookNotifier().notify(context())
    logged = capsys.readouterr().out
    assert said in logged
    assert "secret" not in logged
    assert "not-an-address" not in logged
