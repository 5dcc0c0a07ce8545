"""The sensors over the local stack: exports and runs of syncs that somebody else has made."""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import dagster as dg
import pytest

from mz_orchestration.census.client import CensusClient
from mz_orchestration.dagster import (
    BoundResources,
    CensusResource,
    MaterializeResource,
    ObjectStoreResource,
    SnowflakeResource,
    build_census_run_sensor,
    build_export_asset,
    build_export_completion_sensor,
    build_load_asset,
    build_sync_asset,
)
from mz_orchestration.errors import NotFoundError
from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.result import ExportResult
from mz_orchestration.exports.spec import ExportSpec, export_spec

Query = Callable[[str], list[dict[str, Any]]]
RESOURCES = BoundResources(MaterializeResource(), ObjectStoreResource(), SnowflakeResource(), CensusResource())
TOTALS = dg.AssetKey(["exports", "shop", "order_totals"])


class Watch:
    """A sensor that ticks as its daemon would have it: events are stored, then the cursor."""

    def __init__(self, sensor: dg.SensorDefinition, instance: dg.DagsterInstance) -> None:
        self.sensor, self.instance = sensor, instance
        self.cursor: str | None = None

    def tick(self, *, store_cursor: bool = True) -> dg.SensorResult:
        context = dg.build_sensor_context(self.instance, self.cursor)
        result = self.sensor(context)
        assert isinstance(result, dg.SensorResult)
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        if store_cursor:
            self.cursor = result.cursor
        return result


@pytest.fixture
def spec() -> ExportSpec:
    """An export below a folder of the test's own."""
    return export_spec(
        object="shop.order_totals", to=f"s3://mz-exports/watched/{uuid.uuid4().hex}/", connection="local_s3"
    )


@pytest.fixture
def watch(instance: dg.DagsterInstance, spec: ExportSpec) -> Callable[..., Watch]:
    def build(**options: Any) -> Watch:
        sensor = build_export_completion_sensor(folder=spec.to, object_store=ObjectStoreResource(), **options)
        return Watch(sensor, instance)

    return build


def elsewhere(spec: ExportSpec) -> ExportResult:
    return run_export(spec, run_key=f"cron/{uuid.uuid4().hex}")


def told(result: dg.SensorResult) -> list[str]:
    events = [event for event in result.asset_events if isinstance(event, dg.AssetMaterialization)]
    return [str(event.metadata["dagster/uri"].value) for event in events]


def test_an_export_of_others_is_told_of_once_and_loaded(
    instance: dg.DagsterInstance, spec: ExportSpec, watch: Callable[..., Watch], snowflake: Query
) -> None:
    load = build_load_asset(
        build_export_asset(spec), stage="DEMO.PUBLIC.MZ_STAGE", table="DEMO.PUBLIC.WATCHED", resources=RESOURCES
    )
    watched = watch(loads=[load])
    before = elsewhere(spec)
    assert told(watched.tick()) == []  # what was there before the first look is old
    export = elsewhere(spec)
    result = watched.tick()
    assert told(result) == [export.manifest.path] != [before.manifest.path]
    (event,) = result.asset_events
    assert event.asset_key == TOTALS
    assert event.metadata["dagster/row_count"].value == export.manifest.rows
    assert event.metadata["materialize/run_key"].value == export.manifest.run_key
    assert event.tags["dagster/data_version"] == export.manifest.sha256
    (request,) = result.run_requests or []
    assert request.asset_selection == [load.key]
    assert dg.materialize([load], instance=instance).success
    assert snowflake("SELECT COUNT(*) AS N FROM DEMO.PUBLIC.WATCHED") == [{"n": export.manifest.rows}]
    again = watched.tick()
    assert (told(again), again.run_requests) == ([], [])
    assert "no export has completed" in str(again.skip_reason)


def test_a_daemon_that_dies_before_its_cursor_is_stored_tells_nothing_twice_and_requests_again(
    spec: ExportSpec, watch: Callable[..., Watch]
) -> None:
    load = build_load_asset(build_export_asset(spec), stage="DEMO.PUBLIC.MZ_STAGE", table="T")
    watched = watch(loads=[load])
    watched.tick()
    elsewhere(spec)
    first = watched.tick(store_cursor=False)
    second = watched.tick()
    assert len(told(first)) == 1
    assert told(second) == []
    # Dagster compares run keys.
    keys = [[each.run_key for each in result.run_requests or []] for result in (first, second)]
    assert keys[0] == keys[1] != []


def test_what_dagster_has_exported_is_left_to_it(
    instance: dg.DagsterInstance, spec: ExportSpec, watch: Callable[..., Watch]
) -> None:
    watched = watch()
    watched.tick()
    assert dg.materialize([build_export_asset(spec, resources=RESOURCES)], instance=instance).success
    result = watched.tick()
    assert told(result) == []
    assert "Dagster made them itself" in str(result.skip_reason)
    assert len(instance.fetch_materializations(TOTALS, limit=10).records) == 1


@pytest.mark.parametrize("require", ["sentinel", "manifest"])
def test_exports_by_other_means(spec: ExportSpec, watch: Callable[..., Watch], require: Any) -> None:
    watched = watch(require=require, settle=0)
    watched.tick()
    s3: Any = boto3.client("s3")
    key = spec.base.child("by-hand/").key
    s3.put_object(Bucket="mz-exports", Key=f"{key}mz-t7-INCOMPLETE", Body=b"")
    assert told(watched.tick()) == []
    s3.put_object(Bucket="mz-exports", Key=f"{key}mz-t7-batch-0000-0000.parquet", Body=b"data")
    s3.delete_object(Bucket="mz-exports", Key=f"{key}mz-t7-INCOMPLETE")
    # One of ours that is not verified yet.
    ours = spec.base.child("shop.x/20261122T000000Z-0a1b2c3d-01/").key
    s3.put_object(Bucket="mz-exports", Key=f"{ours}mz-t8-batch-0000-0000.parquet", Body=b"data")
    result, last = watched.tick(), watched.tick()
    wanted = {"sentinel": [str(spec.base.child("by-hand/"))], "manifest": []}[require]
    assert told(result) + told(last) == wanted
    if wanted:
        assert [event.asset_key.path for event in result.asset_events] == [["exports", "by_hand"]]
        assert result.asset_events[0].metadata["materialize/files"].value == 1


def test_what_a_tick_has_no_time_for_is_the_next_ones(
    spec: ExportSpec, watch: Callable[..., Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watch(budget=30)
    watched.tick()
    exports = [elsewhere(spec) for _ in range(3)]
    # The sensor's own clock only: others of this process read theirs in between.
    clock = SimpleNamespace(monotonic=itertools.count(0, 20).__next__)
    monkeypatch.setattr("mz_orchestration.dagster.sensors.export_completion.time", clock)
    said: list[str] = []
    for _ in range(8):
        said += told(watched.tick())
        assert len(said) <= 3
    # Stores tell the second: among those of one, the order is any.
    assert sorted(said) == sorted(export.manifest.path for export in exports)


@pytest.mark.parametrize(
    "cursor", ["", "nonsense", "[]", '{"version": 2}', '{"version": 1, "folder": 7}', None], ids=repr
)
def test_a_cursor_that_cannot_be_read(
    cursor: str | None, instance: dg.DagsterInstance, spec: ExportSpec, watch: Callable[..., Watch]
) -> None:
    watched = watch()
    elsewhere(spec)
    watched.cursor = cursor
    assert told(watched.tick()) == []
    export = elsewhere(spec)
    assert told(watched.tick()) == [export.manifest.path]
    # The watermark inside may be spoilt, too, and another folder's is of no use.
    for spoilt in ({"verified": {"version": 1}}, {"pending": [{}]}, {"folder": "s3://other/folder/"}):
        watched.cursor = json.dumps({**json.loads(watched.cursor or "{}"), **spoilt})
        assert told(watched.tick()) == []


def test_a_store_that_refuses_ends_the_tick(instance: dg.DagsterInstance) -> None:
    sensor = build_export_completion_sensor(folder="s3://no-such-bucket/x/", object_store=ObjectStoreResource())
    with pytest.raises(NotFoundError):
        Watch(sensor, instance).tick()


@pytest.fixture
def queue(spec: ExportSpec) -> Iterator[str]:
    """A queue that is told of removed sentinels below the test's folder."""
    sqs: Any = boto3.client("sqs")
    url = sqs.create_queue(QueueName=f"q{uuid.uuid4().hex}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    s3: Any = boto3.client("s3")
    rules = [{"Name": "prefix", "Value": spec.base.key}, {"Name": "suffix", "Value": "-INCOMPLETE"}]
    wanted = {"QueueArn": arn, "Events": ["s3:ObjectRemoved:*"], "Filter": {"Key": {"FilterRules": rules}}}
    s3.put_bucket_notification_configuration(
        Bucket="mz-exports", NotificationConfiguration={"QueueConfigurations": [wanted]}
    )
    yield url
    s3.put_bucket_notification_configuration(Bucket="mz-exports", NotificationConfiguration={})
    sqs.delete_queue(QueueUrl=url)


def waiting(url: str) -> int:
    sqs: Any = boto3.client("sqs")
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(
        int(each) for each in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()
    )


def test_by_the_buckets_events(
    instance: dg.DagsterInstance, spec: ExportSpec, watch: Callable[..., Watch], queue: str
) -> None:
    watched = watch(queue=queue, minimum_interval_seconds=1)
    export = elsewhere(spec)
    assert dg.materialize([build_export_asset(spec, resources=RESOURCES)], instance=instance).success
    first = watched.tick()
    assert told(first) == [export.manifest.path]
    # Dagster's own is through; that of others stays until the event is seen to be stored.
    assert waiting(queue) == 1
    for _ in range(10):
        assert told(watched.tick()) == []
        if not waiting(queue):
            return
    raise AssertionError("the message was not deleted")


def test_runs_of_syncs_that_others_started(instance: dg.DagsterInstance, snowflake: Query, spec: ExportSpec) -> None:
    load = build_load_asset(
        build_export_asset(spec, resources=RESOURCES),
        stage="DEMO.PUBLIC.MZ_STAGE",
        table="DEMO.PUBLIC.ORDER_TOTALS",
        resources=RESOURCES,
    )
    assert dg.materialize([build_export_asset(spec, resources=RESOURCES), load], instance=instance).success
    key = dg.AssetKey(["census", "1"])
    watched = Watch(build_census_run_sensor(syncs=[1], census=CensusResource(), settle=0), instance)
    with CensusClient() as client:
        wait_for(client, client.trigger(1))
        assert watched.tick().asset_events == []
        run = wait_for(client, client.trigger(1))
    events = watched.tick().asset_events
    assert [type(event) for event in events] == [dg.AssetMaterialization, dg.AssetCheckEvaluation]
    assert events[0].asset_key == key
    assert events[0].metadata["census/sync_run"].value == run
    assert isinstance(events[1], dg.AssetCheckEvaluation)
    assert events[1].passed
    assert watched.tick().asset_events == []
    # A step of ours tells of its own.
    assert dg.materialize([build_sync_asset(1, at=spec.to, resources=RESOURCES)], instance=instance).success
    assert watched.tick().asset_events == []
    assert len(instance.fetch_materializations(key, limit=10).records) == 2
    # One that fails is no materialization.
    snowflake("DROP TABLE DEMO.PUBLIC.ORDER_TOTALS")
    with CensusClient() as client:
        run = wait_for(client, client.trigger(1))
    (event,) = watched.tick().asset_events
    assert isinstance(event, dg.AssetObservation)
    assert (event.metadata["census/sync_run"].value, event.metadata["error"].value) == (run, "SyncError")


def wait_for(client: CensusClient, run: str) -> str:
    """Until it has ended."""
    for _ in range(200):
        found = next(each for each in client.runs(1) if each.id == run)
        if found.status in ("failed", "completed"):
            return run
        time.sleep(0.1)
    raise AssertionError(f"{run} did not end")
