"""What the asset watchers are made of and made again from."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from typing import Any

import pytest
from airflow.sdk import Asset, AssetWatcher
from airflow.triggers.base import BaseEventTrigger

from mz_orchestration.airflow.triggers.looks import TELLS_WHEN_STORED
from mz_orchestration.airflow.triggers.sentinel_events import SentinelRemovedEventTrigger
from mz_orchestration.airflow.triggers.sentinel_queue import SentinelRemovedQueueTrigger
from mz_orchestration.errors import ConfigurationError

try:
    from airflow.serialization.encoders import encode_trigger
except ImportError:  # before 3.2
    from airflow.serialization.serialized_objects import _encode_trigger as encode_trigger

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/removals"
TRIGGERS: list[tuple[type[BaseEventTrigger], dict[str, Any]]] = [
    (SentinelRemovedEventTrigger, {"folder": "s3://bucket/exports/"}),
    (SentinelRemovedQueueTrigger, {"folder": "s3://bucket/exports/", "queue": QUEUE}),
]
each_trigger = pytest.mark.parametrize(("kind", "arguments"), TRIGGERS)


@each_trigger
def test_made_again_it_is_the_same(kind: type[BaseEventTrigger], arguments: dict[str, Any]) -> None:
    classpath, kwargs = kind(**arguments).serialize()
    module, _, name = classpath.rpartition(".")
    again = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(kwargs)))
    assert type(again) is kind
    assert again.serialize() == (classpath, kwargs)


@each_trigger
def test_equal_watchers_are_one_trigger(kind: type[BaseEventTrigger], arguments: dict[str, Any]) -> None:
    def hashed(**options: Any) -> int:
        encoded = encode_trigger(kind(**arguments | options))
        return BaseEventTrigger.hash(encoded["classpath"], encoded["kwargs"])

    assert hashed() == hashed()
    assert hashed() != hashed(folder="s3://bucket/others/")


@each_trigger
def test_nothing_secret_is_told(kind: type[BaseEventTrigger], arguments: dict[str, Any]) -> None:
    """Connections go by their names."""
    assert kind(**arguments, aws_conn_id="my_store").serialize()[1]["aws_conn_id"] == "my_store"


@each_trigger
def test_an_asset_takes_it(kind: type[BaseEventTrigger], arguments: dict[str, Any]) -> None:
    watcher = AssetWatcher(name="exports", trigger=kind(**arguments))
    assert Asset("exports", watchers=[watcher]).watchers == [watcher]


@each_trigger
@pytest.mark.parametrize(
    ("field", "value"),
    [("folder", "bucket/exports"), ("folder", "s3://bucket/"), ("export", "a b"), ("require", "everything")],
)
def test_mistakes_show_when_the_dag_is_read(
    kind: type[BaseEventTrigger], arguments: dict[str, Any], field: str, value: str
) -> None:
    trigger = kind(**arguments | {field: value})
    with pytest.raises(ConfigurationError, match=field):
        trigger.serialize()


@pytest.mark.parametrize(("field", "value"), [("poll_interval", 0), ("settle", -1), ("abandoned_after", "1h")])
def test_mistakes_in_seconds(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=field):
        SentinelRemovedEventTrigger(folder="s3://bucket/exports/", **{field: value}).serialize()


@pytest.mark.parametrize(("field", "value"), [("forget_after", -1), ("queue", "removals")])
def test_mistakes_about_the_queue(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=field):
        SentinelRemovedQueueTrigger(**{"folder": "s3://bucket/exports/", "queue": QUEUE} | {field: value}).serialize()


def test_watchers_of_one_queue_share_its_reader() -> None:
    one, two = (SentinelRemovedQueueTrigger(queue=QUEUE, folder=f"s3://bucket/{name}/") for name in ("one", "two"))
    if not TELLS_WHEN_STORED:  # before Airflow 3.3
        assert one.shared_stream_key() is None
        return
    assert one.shared_stream_key() == two.shared_stream_key()
    other = SentinelRemovedQueueTrigger(queue=f"{QUEUE}-2", folder="s3://bucket/one/")
    assert other.shared_stream_key() != one.shared_stream_key()


def test_they_load_nothing_heavy_and_do_without_shared_streams() -> None:
    """As before Airflow 3.3."""
    program = """
import sys
import airflow.triggers.base
sys.modules["airflow.triggers.shared_stream"] = None
import mz_orchestration.airflow.triggers.sentinel_events as events
import mz_orchestration.airflow.triggers.sentinel_queue as queue
import mz_orchestration.airflow.triggers.sink_events as sinks
sinks.SinkHealthEventTrigger().serialize()
assert sinks.SinkHealthEventTrigger().shared_stream_key() is None
assert events.SentinelRemovedEventTrigger(folder="s3://bucket/").shared_stream_key() is None
assert queue.SentinelRemovedQueueTrigger(folder="s3://bucket/", queue="").shared_stream_key() is None
print(*sorted({"boto3", "botocore", "pyarrow", "snowflake", "psycopg"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""
