"""Asset watchers that look again and again: the stream of looks, and what was seen, kept once its events are stored.

On Airflow 3.3 what was seen is kept in the state stores of the watched assets, and only once the events before it are
stored: a triggerer that dies in between tells of something twice, never not at all. The looks reach the trigger through
Airflow's shared streams, for those, and only those, tell when events were stored.
"""

from __future__ import annotations

import asyncio
import json
import logging
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.flow import in_daemon_thread

try:
    from airflow.triggers.shared_stream import SharedStreamProducer as SharedStreamProducer
except ImportError:  # before 3.3
    SharedStreamProducer = object  # type: ignore[assignment,misc]

#: Airflow tells the producer of a shared stream when the events that came of it were stored.
TELLS_WHEN_STORED = SharedStreamProducer is not object

if TYPE_CHECKING:
    from airflow.triggers.shared_stream import AdvanceItem

log = logging.getLogger(__name__)

# A watcher that fails is started again within a second, for ever.
PAUSE_AFTER_FAILURE = 60.0


@dataclass(slots=True, eq=False)
class Look:
    """
    One look at what is watched.

    :param found: what was there.
    :param stored: the events that came of it are in Airflow's database.
    :param changed: there is something to be kept once that is so.
    """

    found: Any
    stored: bool = False
    changed: bool = False


class LookProducer(SharedStreamProducer):
    """
    Looks again and again.

    :param what: what it looks at, for logs.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._stored = asyncio.Event()

    @abstractmethod
    def looks(self) -> AsyncGenerator[Any]:
        """Yield what is there, without end."""

    async def open_stream(self) -> AsyncGenerator[tuple[Look | None, Look | None]]:
        """
        Yield looks, and None when a look's events were stored.

        :raises MzOrchestrationError: what is watched cannot be.
        """
        try:
            async with aclosing(self.looks()) as looks, aclosing(self._with_stored(looks)) as both:
                async for look in both:
                    yield look, look
        except Exception as error:
            await pause_after(error, self._what)
            raise

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Note that the events of looks were stored."""
        for look, outcome in batch:
            if look is not None and outcome.is_clean:
                look.stored = True
                if look.changed:
                    self._stored.set()

    async def _with_stored(self, looks: AsyncGenerator[Any]) -> AsyncGenerator[Look | None]:
        coming: asyncio.Future[Any] = asyncio.ensure_future(anext(looks))
        stored = asyncio.ensure_future(self._stored.wait())
        try:
            while True:
                await asyncio.wait((coming, stored), return_when=asyncio.FIRST_COMPLETED)
                if stored.done():
                    self._stored.clear()
                    stored = asyncio.ensure_future(self._stored.wait())
                    yield None
                if coming.done():
                    found = coming.result()
                    yield Look(found)
                    coming = asyncio.ensure_future(anext(looks))
        finally:
            stored.cancel()
            coming.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await coming


class Seen(Protocol):
    """What was seen of something, and what that comes to."""

    def events(self, found: Any) -> list[dict[str, Any]]:
        """
        Return the payloads of the events that a look comes to; runs in a thread.

        :param found: what was there.
        """

    @property
    def kept(self) -> dict[str, Any]:
        """What the next triggerer has to know, as JSON; equal to what it was before if that has not changed."""


class LookingEventTrigger(BaseEventTrigger):
    """The trigger of an ``AssetWatcher`` that looks again and again."""

    @abstractmethod
    def producer(self) -> LookProducer:
        """Return what looks."""

    @abstractmethod
    def seen(self, kept: dict[str, Any] | None) -> Seen:
        """
        Return what was seen.

        :param kept: by an earlier triggerer; None without.
        :raises ConfigurationError: what was kept cannot be read.
        """

    @property
    @abstractmethod
    def watched(self) -> str:
        """What is watched, in words; what was seen is kept by them."""

    def shared_stream_key(self) -> Hashable | None:
        """Return a key of its own: the stream is not for sharing, but for learning when events were stored."""
        if not TELLS_WHEN_STORED:
            return None
        classpath, kwargs = self.serialize()
        return classpath, json.dumps(kwargs, sort_keys=True)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> LookProducer:
        """Return what looks."""
        return cls(**kwargs).producer()

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncGenerator[TriggerEvent]:
        """
        Tell of what each look comes to.

        :param shared_stream: looks, and None when one before was stored.
        """
        try:
            seen = await self._seen()
        except Exception as error:
            await pause_after(error, self.watched)
            raise
        newest: dict[str, Any] | None = None
        unsaved: list[tuple[Look, dict[str, Any]]] = []
        async for look in shared_stream:
            if look is not None:
                payloads = await in_daemon_thread(partial(seen.events, look.found))
                kept = seen.kept
                look.changed = kept != newest
                for payload in payloads:
                    yield TriggerEvent(payload)  # type: ignore[no-untyped-call]
                if look.changed:
                    newest = kept
                    unsaved.append((look, kept))
            stored = sum(each.stored for each, _ in unsaved)
            if stored and await self._save(unsaved[stored - 1][1]):
                del unsaved[:stored]

    async def run(self) -> AsyncGenerator[TriggerEvent]:
        """Do the same where there are no shared streams, which is before Airflow 3.3."""
        async with (
            aclosing(self.producer().open_stream()) as looks,
            aclosing(_stored_by_the_next(looks)) as stream,
            aclosing(self.filter_shared_stream(stream)) as events,
        ):
            async for event in events:
                yield event

    # What was seen: every watched asset has a state store of its own, and any of them may leave.

    async def _seen(self) -> Seen:
        found = [value for each in self._stores() if isinstance(value := await each.aget(self._state_key), dict)]
        newest = max(found, key=lambda value: str(value.get("saved_at")), default=None)
        if newest is not None:
            try:
                return self.seen(newest.get("watermark"))
            except ConfigurationError as error:
                self.log.error("%s What has happened meanwhile is not told of.", error)
        self.log.info("Watching %s from now on.", self.watched)
        return self.seen(None)

    async def _save(self, kept: dict[str, Any]) -> bool:
        value = {"saved_at": datetime.now(UTC).isoformat(), "watermark": kept}
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
        return f"mz_orchestration.watched.{blake2b(self.watched.encode(), digest_size=8).hexdigest()}"


async def _stored_by_the_next(looks: AsyncIterator[tuple[Look | None, Any]]) -> AsyncGenerator[Look | None]:
    """Take a look's events for stored when the next look comes: nobody tells, and they are within a second or two."""
    before: Look | None = None
    async for look, _ in looks:
        if before is not None:
            before.stored = True
        yield look
        before = look


async def pause_after(error: Exception, what: str) -> None:
    """
    Tell what ended a watcher, and wait before Airflow starts it again.

    :param error: why it ends.
    :param what: what it watches.
    """
    log.error("The watcher of %s ends: %s It begins anew in %g s.", what, error, PAUSE_AFTER_FAILURE)
    await asyncio.sleep(PAUSE_AFTER_FAILURE)


def positive_seconds(name: str, value: object) -> None:
    """
    Refuse what is no number of seconds.

    :param name: of the argument.
    :param value: its value.
    :raises ConfigurationError: it is none.
    """
    if not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ConfigurationError(f"{name}: {value!r} is not a number of seconds.")
