"""The asset watcher that polls: an event for every export below a folder whose sentinel is removed.

On Airflow 3.3 what was seen is kept in the state stores of the watched assets, and only once the events before it are
stored: a triggerer that dies in between tells of an export twice, never not at all. The listings reach the trigger
through Airflow's shared streams, for those, and only those, tell when events were stored.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Hashable
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from mz_orchestration.airflow.triggers.looks import (
    TELLS_WHEN_STORED,
    Look,
    LookProducer,
    pause_after,
    positive_seconds,
    watched_folder,
)
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.watch.arrivals import ArrivalPolicy, Arrivals
from mz_orchestration.flow import in_daemon_thread


class SentinelRemovedEventTrigger(BaseEventTrigger):
    """
    Watch a folder for exports that complete: the trigger of an ``AssetWatcher``.

    Every ``poll_interval`` seconds it lists what lies below the folder. An export is told of when its sentinel was
    there and is gone and data is; when no look fell into its short life, after two equal looks ``settle`` seconds
    apart. What is complete when the watcher looks for the first time is not told of. What failed, was swept away or has
    gone silent is not either.

    One event an export. Its payload is ``triggering_asset_events[asset][i].extra["payload"]``; one DAG run may be
    given several events::

        {
            "id": "s3://bucket/exports/shop.orders/20261122T000000Z-0a1b2c3d-01/#t3786",
            "path": "s3://bucket/exports/shop.orders/20261122T000000Z-0a1b2c3d-01/",
            "bucket": "bucket",
            "key": "exports/shop.orders/20261122T000000Z-0a1b2c3d-01/",
            "export": "shop.orders",
            "files": 2,
            "bytes": 36071654,
            "manifest": "s3://bucket/.../_manifest.json",
            "sentinel_seen": True,
            "completed_at": "2026-11-22T00:03:11+00:00",
        }

    ``export`` is the name of one of our own exports, else the path below the folder; ``manifest`` is None where there
    is none (yet); ``completed_at`` is when the newest data file was written, by the store's clock.

    An export is told of at least once: twice if the triggerer dies within the second or two between storing an event
    and storing what was seen. ``id`` is the same both times; a load from a manifest does nothing the second time.
    Before Airflow 3.3 there is no state store: a triggerer that is restarted begins anew, and does not tell of what
    completed meanwhile. Deleting and recreating the asset does the same.

    :param folder: ``s3://bucket/folder/``; everything below is watched.
    :param aws_conn_id: connection to the object store; None leaves it to boto3.
    :param export: only the exports below the folder of this name.
    :param require: ``sentinel``: it is gone; of our own exports, the manifest follows when the files are verified.
        ``manifest``: our manifest is there, which is what loads take; exports by other means never get one.
    :param poll_interval: seconds between two looks.
    :param settle: how many seconds apart two equal looks must be where the sentinel was never seen.
    :param abandoned_after: seconds without a new file after which an export counts as dead.
    """

    def __init__(
        self,
        *,
        folder: str,
        aws_conn_id: str | None = "aws_default",
        export: str | None = None,
        require: str = "sentinel",
        poll_interval: float = 10.0,
        settle: float = 5.0,
        abandoned_after: float = 24 * 3600.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.folder = folder
        self.aws_conn_id = aws_conn_id
        self.export = export
        self.require = require
        self.poll_interval = poll_interval
        self.settle = settle
        self.abandoned_after = abandoned_after

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """
        Return what makes the trigger again elsewhere.

        :raises ConfigurationError: an argument cannot be used. Here, for this is called when the DAG is read, where its
            author sees it; an error of the constructor would end the triggerer.
        """
        watched_folder(self.folder, self.export)
        self._policy()
        positive_seconds("poll_interval", self.poll_interval)
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "folder": self.folder,
            "aws_conn_id": self.aws_conn_id,
            "export": self.export,
            "require": self.require,
            "poll_interval": self.poll_interval,
            "settle": self.settle,
            "abandoned_after": self.abandoned_after,
        }

    def shared_stream_key(self) -> Hashable | None:
        """Return a key of its own: the stream is not for sharing, but for learning when events were stored."""
        if not TELLS_WHEN_STORED:
            return None
        classpath, kwargs = self.serialize()
        return classpath, json.dumps(kwargs, sort_keys=True)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> LookProducer:
        """Return what lists the folder."""
        return cls(**kwargs)._producer()

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncGenerator[TriggerEvent]:
        """
        Tell of the exports that have completed by each look.

        :param shared_stream: looks, and None when one before was stored.
        """
        try:
            arrivals = await self._arrivals()
        except Exception as error:
            await pause_after(error, self.folder)
            raise
        newest: dict[str, Any] | None = None
        unsaved: list[tuple[Look, dict[str, Any]]] = []
        async for look in shared_stream:
            if look is not None:
                found = await in_daemon_thread(partial(arrivals.look, look.objects, look.at, look.took))
                watermark = arrivals.watermark
                look.changed = watermark != newest
                for arrival in found:
                    self.log.info("The export to %s is complete, files: %d.", arrival.folder, arrival.files)
                    yield TriggerEvent(arrival.to_payload())  # type: ignore[no-untyped-call]
                if look.changed:
                    newest = watermark
                    unsaved.append((look, watermark))
            stored = sum(each.stored for each, _ in unsaved)
            if stored and await self._save(unsaved[stored - 1][1]):
                del unsaved[:stored]

    async def run(self) -> AsyncGenerator[TriggerEvent]:
        """Do the same where there are no shared streams, which is before Airflow 3.3."""
        async with (
            aclosing(self._producer().open_stream()) as looks,
            aclosing(_stored_by_the_next(looks)) as stream,
            aclosing(self.filter_shared_stream(stream)) as events,
        ):
            async for event in events:
                yield event

    def _policy(self) -> ArrivalPolicy:
        return ArrivalPolicy(self.require, self.settle, self.abandoned_after)

    def _producer(self) -> LookProducer:
        return LookProducer(watched_folder(self.folder, self.export), self.aws_conn_id, self.poll_interval)

    # The watermark: every watched asset has a state store of its own, and any of them may leave.

    async def _arrivals(self) -> Arrivals:
        folder = watched_folder(self.folder, self.export)
        found = [value for each in self._stores() if isinstance(value := await each.aget(self._state_key), dict)]
        newest = max(found, key=lambda value: str(value.get("saved_at")), default=None)
        if newest is not None:
            try:
                return Arrivals(folder, self._policy(), newest.get("watermark"))
            except ConfigurationError as error:
                self.log.error("%s Exports that completed meanwhile are not told of.", error)
        self.log.info("Watching %s from now on.", folder)
        return Arrivals(folder, self._policy())

    async def _save(self, watermark: dict[str, Any]) -> bool:
        value = {"saved_at": datetime.now(UTC).isoformat(), "watermark": watermark}
        try:
            for each in self._stores():
                await each.aset(self._state_key, value)
        except Exception:
            self.log.exception("What was seen could not be kept; the next look tries again.")
            return False
        return True

    def _stores(self) -> list[Any]:
        accessors = getattr(self, "asset_state_store", None)
        if accessors is None:
            return []
        # Of several watched assets the names are not told otherwise.
        by_name = getattr(accessors, "_by_name", {})
        return list(by_name.values()) or [accessors]

    @property
    def _state_key(self) -> str:
        watched = f"{watched_folder(self.folder, self.export)} {self.require}"
        return f"mz_orchestration.arrivals.{blake2b(watched.encode(), digest_size=8).hexdigest()}"


async def _stored_by_the_next(looks: AsyncIterator[tuple[Look | None, Any]]) -> AsyncGenerator[Look | None]:
    """Take a look's events for stored when the next look comes: nobody tells, and they are within a second or two."""
    before: Look | None = None
    async for look, _ in looks:
        if before is not None:
            before.stored = True
        yield look
        before = look
