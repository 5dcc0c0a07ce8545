"""The sensor in its three modes over a real bucket: the same end, error, result and link."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.sdk import BaseOperator

from mz_orchestration.airflow.exceptions import RetryableError
from mz_orchestration.airflow.sensors.s3 import S3SentinelRemovedSensor
from mz_orchestration.airflow.version_compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from mz_orchestration.local.faults import Answer, FaultProxy, Match
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location

from .driving import OUTLET, Ending, Memory, Rescheduled, again, context_of, finish, first_event

MODES: dict[str, dict[str, Any]] = {
    "poke": {},
    "reschedule": {"mode": "reschedule"},
    "deferred": {"deferrable": True},
}
BUCKET = "mz-exports"
_numbers = itertools.count()


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def drive(operator: BaseOperator, **more: Any) -> Ending:
    context = context_of("wait", ti=Rescheduled("wait"), task_state_store=Memory()) | more
    result, error, deferrals = None, None, 0
    try:
        result, deferrals = finish(operator, context)
    except BaseException as raised:
        error = raised
    links = {name: value for name, value in context["ti"].xcoms.items() if name.startswith("_link_")}
    extra = dict(context["outlet_events"][OUTLET].extra)
    return Ending("failed" if error else "success", error, result, links, extra, deferrals)


class Export:
    """An export whose steps the test takes one by one."""

    def __init__(self, store: ObjectStore) -> None:
        self.s3 = store.client
        self.folder = Location(BUCKET, f"sensor/{next(_numbers):04d}/")
        self.sentinel = f"{self.folder.key}mz-t12-INCOMPLETE"

    def begin(self) -> Export:
        self.s3.put_object(Bucket=BUCKET, Key=self.sentinel, Body=b"")
        return self

    def write(self, number: int = 0) -> Export:
        key = f"{self.folder.key}mz-t12-batch-{number:04d}-0000.parquet"
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=b"data")
        return self

    def end(self) -> Export:
        self.s3.delete_object(Bucket=BUCKET, Key=self.sentinel)
        return self

    def sweep(self) -> None:
        for found in self.s3.list_objects_v2(Bucket=BUCKET, Prefix=self.folder.key)["Contents"]:
            self.s3.delete_object(Bucket=BUCKET, Key=found["Key"])


@pytest.fixture
def export(store: ObjectStore) -> Export:
    return Export(store)


@pytest.fixture
def later() -> Iterator[Callable[..., None]]:
    """Calls something in a while."""
    timers: list[threading.Timer] = []

    def call(seconds: float, *functions: Callable[[], Any]) -> None:
        timers.append(threading.Timer(seconds, lambda: [function() for function in functions]))
        timers[-1].start()

    yield call
    for timer in timers:
        timer.join()


def looked(proxied: FaultProxy) -> None:
    """Wait for the answer to the sensor's first look."""
    until = time.monotonic() + 30
    while not proxied.requests and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.5)


def sensor(mode: str, folder: Location | str, **more: Any) -> S3SentinelRemovedSensor:
    arguments = {"poke_interval": 0.2, "settle": 0.3, "timeout": 60, "outlets": [OUTLET], **MODES[mode], **more}
    return S3SentinelRemovedSensor(task_id="wait", path=str(folder), **arguments)


def test_complete_already(mode: str, export: Export) -> None:
    export.write().write(1)
    ending = drive(sensor(mode, export.folder))
    assert ending.error is None
    assert {name: ending.result[name] for name in ("path", "files", "bytes", "sentinel_seen")} == {
        "path": str(export.folder),
        "files": 2,
        "bytes": 8,
        "sentinel_seen": 0,
    }
    assert set(ending.result) == {"path", "files", "bytes", "strangers", "sentinel_seen", "looks", "seconds"}
    assert ending.extra == {"path": str(export.folder), "files": 2, "bytes": 8}
    assert ending.links == {}  # the local store has no console


def test_completes_after_a_while(mode: str, export: Export, proxied: FaultProxy, later: Callable[..., None]) -> None:
    export.begin().write()
    later(0.0, partial(looked, proxied), lambda: export.write(1), export.end)
    ending = drive(sensor(mode, export.folder, aws_conn_id="proxied", start_deadline="30"))
    assert ending.error is None
    assert (ending.result["files"], ending.result["sentinel_seen"]) == (2, 1)
    assert ending.result["looks"] > 0
    assert ending.deferrals == int(mode == "deferred")


def test_begins_after_a_while(mode: str, export: Export, later: Callable[..., None]) -> None:
    later(0.6, export.begin, export.write, export.end)
    ending = drive(sensor(mode, export.folder, start_deadline=30))
    assert ending.error is None
    assert ending.result["files"] == 1


def outcome(ending: Ending) -> tuple[type[BaseException], str]:
    assert ending.error is not None
    assert (ending.result, ending.extra) == (None, {})
    return type(ending.error), str(ending.error)


def test_abandoned(mode: str, export: Export) -> None:
    kind, message = outcome(drive(sensor(mode, export.begin().write().folder, abandoned_after=0.001)))
    assert kind is AirflowFailException
    assert "is abandoned" in message


def test_abandoned_while_it_waits(mode: str, export: Export) -> None:
    kind, message = outcome(drive(sensor(mode, export.begin().write().folder, abandoned_after=2)))
    assert kind is AirflowFailException
    assert "is abandoned" in message


def test_removed(mode: str, export: Export, proxied: FaultProxy, later: Callable[..., None]) -> None:
    export.begin()
    later(0.0, partial(looked, proxied), export.end)
    kind, message = outcome(drive(sensor(mode, export.folder, aws_conn_id="proxied")))
    assert kind is AirflowFailException
    assert "was removed" in message


def test_what_the_worker_has_seen_the_triggerer_knows(export: Export) -> None:
    operator = sensor("deferred", export.begin().folder)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context_of("wait", ti=Rescheduled("wait")))  # type: ignore[arg-type]
    export.write().end()
    settled = asyncio.run(first_event(again(deferred.value.trigger)))
    assert (settled["status"], settled["result"]["sentinel_seen"]) == ("success", 1)
    export.sweep()
    removed = asyncio.run(first_event(again(deferred.value.trigger)))
    assert (removed["status"], "was removed" in removed["error"]["message"]) == ("failed", True)


def test_nothing_begins_in_time(mode: str, export: Export) -> None:
    kind, message = outcome(drive(sensor(mode, export.folder, start_deadline=1)))
    assert kind is RetryableError
    assert f"No export has begun in {export.folder} within 1 s." in message


def test_the_sensors_own_timeout(mode: str, export: Export) -> None:
    kind, message = outcome(drive(sensor(mode, export.begin().folder, timeout=1)))
    assert kind is AirflowSensorTimeout
    assert "Sensor has timed out" in message


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"aws_conn_id": "stranger"}, "refused"),
        ({"path": "s3://no-such-bucket-here/x/"}, "no-such-bucket-here"),
        ({"aws_conn_id": "nowhere"}, "There is no Airflow connection 'nowhere'"),
        ({"path": "s3://mz-exports/sensor/"}, "is not an attempt's path"),
        ({"path": "exports/"}, "path: 'exports/'"),
        ({"settle": "soon"}, "settle: 'soon' is not a number of seconds"),
    ],
    ids=["403", "bucket", "connection", "folders", "path", "settle"],
)
def test_what_no_retry_can_help(
    mode: str, export: Export, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], more: Any, message: str
) -> None:
    export.begin()
    connection = json.loads(environment["AIRFLOW_CONN_AWS_DEFAULT"])
    stranger = {**connection, "login": "AKIAUNKNOWN000000000", "password": "x" * 40}
    monkeypatch.setenv("AIRFLOW_CONN_STRANGER", json.dumps(stranger))
    operator = sensor(mode, more.get("path", export.folder), **{k: v for k, v in more.items() if k != "path"})
    kind, said = outcome(drive(operator))
    assert kind is AirflowFailException
    assert message in said


@pytest.fixture
def proxied(stack: LocalStack, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A way to the store that breaks on demand: the connection ``proxied``."""
    connection = json.loads(environment["AIRFLOW_CONN_AWS_DEFAULT"])
    with FaultProxy(("127.0.0.1", stack.state.servers["s3"].port)) as proxy:
        connection["extra"] = {**connection.get("extra", {}), "endpoint_url": proxy.url}
        monkeypatch.setenv("AIRFLOW_CONN_PROXIED", json.dumps(connection))
        yield proxy


def test_refused_in_mid_wait(mode: str, export: Export, proxied: FaultProxy, later: Callable[..., None]) -> None:
    later(1.0, lambda: proxied.add(Answer(403), match=Match()))
    kind, message = outcome(drive(sensor(mode, export.begin().folder, aws_conn_id="proxied")))
    assert kind is AirflowFailException
    assert "refused" in message


def test_an_outage_is_waited_for(mode: str, export: Export, proxied: FaultProxy, later: Callable[..., None]) -> None:
    export.begin().write()
    # As often as boto3 tries: one look fails as a whole.
    outage = proxied.add(Answer(503), match=Match(), times=5)
    later(1.0, export.end)
    ending = drive(sensor(mode, export.folder, aws_conn_id="proxied"))
    assert ending.error is None
    assert (ending.result["files"], outage.hits) == (1, 5)


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"soft_fail": True, "timeout": 0.5}, AirflowSkipException),
        ({"never_fail": True, "abandoned_after": 1}, AirflowSkipException),
        ({"soft_fail": True, "abandoned_after": 1}, AirflowSkipException),
        ({"soft_fail": True, "start_deadline": 0.5}, RetryableError),  # its retries apply
    ],
    ids=["timeout soft", "abandoned never", "abandoned soft", "start soft"],
)
def test_failing_softly(mode: str, export: Export, more: dict[str, Any], kind: type[BaseException]) -> None:
    if "start_deadline" not in more:
        export.begin()
    assert outcome(drive(sensor(mode, export.folder, **more)))[0] is kind


def test_failing_silently(mode: str, export: Export, later: Callable[..., None]) -> None:
    later(3.4, export.begin, export.write, export.end)
    ending = drive(sensor(mode, export.folder, silent_fail=True, start_deadline=0.2))
    assert ending.error is None
    assert ending.result["files"] == 1


def test_an_event_that_says_nothing_is_a_failure(export: Export) -> None:
    operator = sensor("deferred", export.folder)
    for event in (None, {}, {"status": "succes"}, {"status": "success"}):
        with pytest.raises(AirflowFailException, match="says nothing"):
            operator.execute_complete({}, event)


def test_the_link_leads_to_the_store(mode: str, export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    """To where its endpoint says that it is; that it cannot be reached from here does not matter."""
    connection = {
        "conn_type": "aws",
        "login": "key",
        "password": "x",
        "extra": {"endpoint_url": GCS, "region_name": "x"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_GCS", json.dumps(connection))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    ending = drive(sensor(mode, export.folder, aws_conn_id="gcs", timeout=0))
    assert ending.links == {
        "_link_ExportFolderLink": f"https://{CONSOLE}/storage/browser/{BUCKET}/{export.folder.key.rstrip('/')}"
    }


GCS = "https://storage.googleapis.com"
CONSOLE = urlsplit("https://console.cloud.google.com").netloc
