"""The watcher that polls: what it tells of, and what it still knows after the triggerer has died."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from mz_orchestration.airflow.triggers.sentinel_events import SentinelRemovedEventTrigger
from mz_orchestration.errors import CredentialsError, NotFoundError
from mz_orchestration.local.faults import Answer, FaultProxy, Match
from mz_orchestration.objectstore.location import Location

from .conftest import Export, StateStore, Triggerer, until

NewExport = Callable[..., Export]


@pytest.fixture
def watcher(base: Location, connection: str) -> Callable[..., SentinelRemovedEventTrigger]:
    def make(**options: Any) -> SentinelRemovedEventTrigger:
        arguments: dict[str, Any] = {
            "folder": str(base),
            "poll_interval": 0.05,
            "settle": 0.3,
            "aws_conn_id": connection,
        }
        return SentinelRemovedEventTrigger(**arguments | options)

    return make


@pytest.fixture
def looked(proxy: FaultProxy) -> Callable[[int], Any]:
    """Waits for some more whole looks."""

    async def wait(times: int) -> None:
        before = len(proxy.requests)
        await until(lambda: len(proxy.requests) > before + times)

    return wait


def test_an_event_for_every_export(watcher: Any, new_export: NewExport, looked: Any) -> None:
    new_export("old").whole()
    running = new_export("running").begin().write()

    async def scenario() -> None:
        async with Triggerer() as triggerer:
            triggerer.start(watcher())
            await looked(2)
            await asyncio.to_thread(lambda: running.write(1).end())
            told = await triggerer.next()
            completed_at = told.pop("completed_at")
            assert completed_at.startswith("20")
            assert told == {
                "id": running.id,
                "path": str(running.folder),
                "bucket": "mz-exports",
                "key": running.folder.key,
                "export": "running",
                "files": 2,
                "bytes": 8,
                "manifest": None,
                "sentinel_seen": True,
            }
            short = await asyncio.to_thread(new_export("short", 13).whole)
            assert (await triggerer.next())["id"] == short.id
            await looked(3)
            assert len(triggerer.events) == 2

    asyncio.run(scenario())


def test_a_triggerer_that_is_restarted_goes_on(watcher: Any, new_export: NewExport, looked: Any) -> None:
    one, two = new_export("one").begin().write(), new_export("two").begin().write()
    values: dict[str, Any] = {}

    async def scenario() -> None:
        async with Triggerer() as triggerer:
            triggerer.start(watcher(), StateStore(values))
            await looked(2)
            await asyncio.to_thread(one.end)
            assert (await triggerer.next())["id"] == one.id
            # Kept as soon as the event is stored: the done export is in it.
            await until(lambda: "done" in json.dumps(values) and any(v["watermark"]["done"] for v in values.values()))
        await asyncio.to_thread(two.end)
        short = await asyncio.to_thread(new_export("short").whole)
        async with Triggerer() as triggerer:
            triggerer.start(watcher(), StateStore(values))
            assert (await triggerer.next())["id"] == two.id
            assert (await triggerer.next())["id"] == short.id
            await looked(3)
            assert len(triggerer.events) == 2

    asyncio.run(scenario())


def test_an_event_that_was_not_stored_is_told_of_again(watcher: Any, new_export: NewExport, looked: Any) -> None:
    export = new_export().begin().write()
    values: dict[str, Any] = {}

    async def scenario() -> None:
        async with Triggerer(stores=False) as triggerer:
            triggerer.start(watcher(), StateStore(values))
            await looked(2)
            await until(lambda: values)
            await asyncio.to_thread(export.end)
            assert (await triggerer.next())["id"] == export.id
            await looked(3)
        async with Triggerer() as triggerer:
            triggerer.start(watcher(), StateStore(values))
            assert (await triggerer.next())["id"] == export.id

    asyncio.run(scenario())


def test_a_state_store_that_fails_is_tried_again(watcher: Any, new_export: NewExport, looked: Any) -> None:
    export = new_export().begin().write()
    store = StateStore({})
    store.fails = True

    async def scenario() -> None:
        async with Triggerer() as triggerer:
            triggerer.start(watcher(), store)
            await looked(2)
            await asyncio.to_thread(export.end)
            assert (await triggerer.next())["id"] == export.id
            await looked(2)
            store.fails = False
            await until(lambda: store.values)

    asyncio.run(scenario())


def test_a_state_store_that_cannot_be_read_ends_the_watcher(watcher: Any) -> None:
    """Airflow starts it again; to begin anew would lose what completed meanwhile."""

    class Unreadable(StateStore):
        async def aget(self, key: str, default: Any = None) -> Any:
            raise RuntimeError("no database")

    async def scenario() -> None:
        async with Triggerer() as triggerer:
            await asyncio.wait_for(triggerer.start(watcher(), Unreadable({})), 30)

    with pytest.raises(RuntimeError, match="no database"):
        asyncio.run(scenario())


def test_a_watermark_that_cannot_be_read_begins_anew(
    watcher: Any, new_export: NewExport, capsys: pytest.CaptureFixture[str]
) -> None:
    trigger = watcher()
    store = StateStore({trigger._state_key: {"saved_at": "2026", "watermark": {"version": 99}}})
    export = new_export().begin().write()

    async def scenario() -> None:
        async with Triggerer() as triggerer:
            triggerer.start(trigger, store)
            await until(lambda: store.values[trigger._state_key]["watermark"]["version"] == 1)
            await asyncio.to_thread(export.end)
            assert (await triggerer.next())["id"] == export.id

    asyncio.run(scenario())
    assert "version 99" in capsys.readouterr().out


def test_only_one_export_of_a_folder(watcher: Any, new_export: NewExport, looked: Any) -> None:
    attempt = "20261122T000000Z-0a1b2c3d-01"
    wanted = new_export(f"shop.orders/{attempt}").begin().write()
    other = new_export(f"shop.customers/{attempt}").begin().write()

    async def scenario() -> None:
        async with Triggerer() as triggerer:
            triggerer.start(watcher(export="shop.orders"))
            await looked(2)
            await asyncio.to_thread(lambda: (other.end(), wanted.end()))
            told = await triggerer.next()
            assert (told["id"], told["export"]) == (wanted.id, "shop.orders")
            await looked(3)
            assert len(triggerer.events) == 1

    asyncio.run(scenario())


def test_the_manifest(watcher: Any, new_export: NewExport, looked: Any) -> None:
    export = new_export("shop.orders/20261122T000000Z-0a1b2c3d-01").begin().write()

    async def scenario() -> None:
        async with Triggerer() as triggerer:
            triggerer.start(watcher(require="manifest"))
            await looked(2)
            await asyncio.to_thread(export.end)
            await looked(3)
            assert triggerer.events == []
            await asyncio.to_thread(export.verify)
            assert (await triggerer.next())["manifest"] == f"{export.folder}_manifest.json"

    asyncio.run(scenario())


@pytest.mark.usefixtures("retries_at_once")
def test_an_outage_is_waited_out(watcher: Any, new_export: NewExport, looked: Any, proxy: FaultProxy) -> None:
    export = new_export().begin().write()

    async def scenario() -> None:
        async with Triggerer() as triggerer:
            triggerer.start(watcher())
            await looked(2)
            with proxy.fault(Answer(503), match=Match(method="GET")) as fault:
                await asyncio.to_thread(export.end)
                await asyncio.to_thread(fault.wait, 6, 60)
            assert (await triggerer.next())["id"] == export.id

    asyncio.run(scenario())


def test_what_is_refused_ends_the_watcher_and_says_why(
    watcher: Any, base: Location, proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    async def outcome(trigger: SentinelRemovedEventTrigger) -> None:
        async with Triggerer() as triggerer:
            await asyncio.wait_for(triggerer.start(trigger), 30)

    with pytest.raises(NotFoundError, match="'no-such-bucket' does not exist"):
        asyncio.run(outcome(watcher(folder="s3://no-such-bucket/exports/")))
    assert "The watcher of s3://no-such-bucket/exports/ ends: The bucket 'no-such-bucket' does not" in caplog.text
    with proxy.fault(Answer(403)), pytest.raises(CredentialsError, match=f"refused to list {base}"):
        asyncio.run(outcome(watcher()))


def test_without_shared_streams(watcher: Any, new_export: NewExport, looked: Any) -> None:
    """As before Airflow 3.3."""
    export = new_export().begin().write()

    async def scenario() -> None:
        async with aclosing(watcher().run()) as events:
            waiting = asyncio.ensure_future(anext(events))
            await looked(2)
            await asyncio.to_thread(export.end)
            assert (await asyncio.wait_for(waiting, 30)).payload["id"] == export.id
            short = await asyncio.to_thread(new_export("short").whole)
            assert (await asyncio.wait_for(anext(events), 30)).payload["id"] == short.id

    asyncio.run(scenario())
