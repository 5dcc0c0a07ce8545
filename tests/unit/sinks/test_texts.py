"""What is said to people, and to Prometheus."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mz_orchestration.errors import NotFoundError
from mz_orchestration.sinks.alerts import Alert
from mz_orchestration.sinks.facts import ConnectorFacts, Look
from mz_orchestration.sinks.notify import document
from mz_orchestration.sinks.openmetrics import exposition
from mz_orchestration.sinks.selection import Selection
from mz_orchestration.sinks.verdict import Health, Verdict
from mz_orchestration.sinks.watch import Judge

AT = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
ERROR = "kafka: <!channel> @here"
HEALTH = Health(
    id="u1",
    name='shop."Odd"',
    kind="sink",
    type="kafka",
    cluster="c",
    verdict=Verdict.STALLED,
    since=AT,
    at=AT,
    status="stalled",
    error=ERROR,
    evidence=(ERROR,),
    advice="Mend it.",
    staged=5,
    committed=3,
    lag=1.5,
)


def test_an_alert_says_what_is_wrong_since_when_and_what_to_do() -> None:
    told = document([Alert("problem", HEALTH, AT)])
    text = told["text"]
    assert text.startswith(
        'sink shop."Odd" is stalled since 2026-11-23 03:00:00 UTC. kafka: &lt;!channel&gt; @\u200bhere'
    )
    assert text.endswith("Mend it.")
    assert told["alerts"][0]["event"] == "problem"
    assert told["alerts"][0]["verdict"] == "stalled"


def test_many_alerts_are_one_message() -> None:
    told = document([Alert("problem", replace(HEALTH, id=str(i)), AT) for i in range(80)])
    assert told["text"].endswith("75 more.")
    assert len(told["alerts"]) == 50


def test_a_recovery() -> None:
    well = replace(HEALTH, verdict=Verdict.IDLE)
    assert document([Alert("recovery", well, AT)])["text"] == 'sink shop."Odd" is well again (idle).'


def test_metrics() -> None:
    text = exposition({"u1": HEALTH})
    lines = text.splitlines()
    labels = r'id="u1",name="shop.\"Odd\"",kind="sink",type="kafka",cluster="c"'
    assert lines[-1] == "# EOF"
    assert "materialize_watch_up 1" in lines
    assert f"materialize_connector_severity{{{labels}}} 2" in lines
    assert f'materialize_connector_health{{{labels},materialize_connector_health="stalled"}} 1' in lines
    assert f'materialize_connector_health{{{labels},materialize_connector_health="idle"}} 0' in lines
    assert f"materialize_connector_lag_seconds{{{labels}}} 1.5" in lines
    assert exposition({}, up=False).splitlines() == [
        "# TYPE materialize_watch_up gauge",
        "# HELP materialize_watch_up Whether the last look at Materialize succeeded.",
        "materialize_watch_up 0",
        "# EOF",
    ]


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (Selection(), {"a", "b", "c"}),
        (Selection(["orders"]), {"a"}),
        (Selection(["shop.orders"]), {"a"}),
        (Selection(["shop.*"]), {"a", "b"}),
        (Selection(["*"], clusters=["big"]), {"b"}),
        (Selection(types=["iceberg"]), {"c"}),
        (Selection(["nothing*"]), set()),
        (Selection(["orders", "other.*"]), {"a", "c"}),
        (Selection(["other.lake", "shop.payments"]), {"b", "c"}),
        (Selection(["*rders"]), {"a"}),
        (Selection(kind="source"), set()),
    ],
)
def test_what_is_meant(selection: Selection, found: set[str]) -> None:
    assert set(selection.of(look()).connectors) == found


def test_a_name_that_is_none() -> None:
    with pytest.raises(NotFoundError, match=r"no sink or source 'orderz'.*mean 'orders'"):
        Selection(["orderz"]).of(look())
    # It may have been dropped since the look before.
    assert Selection(["orderz"]).of(look(), known=True).connectors == {}


def test_a_name_means_its_end_only() -> None:
    with pytest.raises(NotFoundError):
        Selection(["rders"]).of(look())
    with pytest.raises(NotFoundError):
        Selection(["shop"]).of(look())


def test_a_look_at_some_says_nothing_of_others_and_forgets_none() -> None:
    judge = Judge(selection=Selection(kind="sink"))
    judge.judge(look())
    other = Judge(selection=Selection(["orders"], kind="sink"), memory=judge.memory)
    step = other.judge(look())
    assert set(step.healths) == {"a"}
    assert other.memory["connectors"].keys() == judge.memory["connectors"].keys()
    sources = Judge(selection=Selection(kind="source"), memory=other.memory)
    assert sources.judge(Look(AT, {})).healths == {}
    gone = Judge(selection=Selection(kind="sink"), memory=sources.memory).judge(Look(AT, {}))
    assert {each.verdict for each in gone.healths.values()} == {Verdict.DROPPED}
    assert len(gone.healths) == 3


def look() -> Look:
    facts = [
        ConnectorFacts("a", "shop.orders", type="kafka", cluster="small"),
        ConnectorFacts("b", "shop.payments", type="kafka", cluster="big"),
        ConnectorFacts("c", "other.lake", type="iceberg", cluster="small"),
    ]
    return Look(AT, {each.id: each for each in facts})
