"""The asset watcher of sinks: what it is made of, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import Asset, AssetWatcher

from mz_orchestration.airflow.triggers.sink_events import SinkHealthEventTrigger
from mz_orchestration.errors import ConfigurationError


def test_made_again_it_is_the_same() -> None:
    trigger = SinkHealthEventTrigger(
        sinks=("shop.*",), clusters=["sinks"], minimum="critical", policy={"stuck_after": 600}
    )
    classpath, kwargs = trigger.serialize()
    assert classpath == "mz_orchestration.airflow.triggers.sink_events.SinkHealthEventTrigger"
    assert SinkHealthEventTrigger(**json.loads(json.dumps(kwargs))).serialize() == (classpath, kwargs)


def test_an_asset_takes_it() -> None:
    watcher = AssetWatcher(name="sinks", trigger=SinkHealthEventTrigger())
    assert Asset("sinks", watchers=[watcher]).watchers == [watcher]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sinks", "shop.orders"),
        ("sinks", []),
        ("clusters", [""]),
        ("kind", "table"),
        ("minimum", "info"),
        ("debounce", -1),
        ("recover_after", "soon"),
        ("remind_every", 1),
        ("poll_interval", 0),
        ("policy", {"stuck": 600}),
        ("policy", {"stuck_after": 0}),
    ],
)
def test_mistakes_show_when_the_dag_is_read(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{field}: "):
        SinkHealthEventTrigger(**{field: value}).serialize()


def test_what_is_kept_goes_by_what_is_watched() -> None:
    every = SinkHealthEventTrigger()
    assert every.watched == "all sinks at materialize_default"
    assert SinkHealthEventTrigger(debounce=1).watched == every.watched
    assert SinkHealthEventTrigger(sinks=["a"], clusters=["c"], materialize_conn_id="m").watched == "a of c at m"
