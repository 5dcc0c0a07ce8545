"""Looks at a watched folder, over and over, as a stream that Airflow shares and tells when events were stored."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from mz_orchestration.airflow.connections import aresolve
from mz_orchestration.errors import ConfigurationError, UnavailableError
from mz_orchestration.flow import in_daemon_thread
from mz_orchestration.objectstore.location import Location, parse_folder

try:
    from airflow.triggers.shared_stream import SharedStreamProducer as SharedStreamProducer
except ImportError:  # before 3.3
    SharedStreamProducer = object  # type: ignore[assignment,misc]

#: Airflow tells the producer of a shared stream when the events that came of it were stored.
TELLS_WHEN_STORED = SharedStreamProducer is not object

if TYPE_CHECKING:
    from airflow.triggers.shared_stream import AdvanceItem

    from mz_orchestration.objectstore.client import ObjectInfo, ObjectStore

log = logging.getLogger(__name__)

# A store may be out of reach for this long; boto3 has tried several times within each look.
_PATIENCE = 600.0
_LONGEST_PAUSE = 60.0
# A watcher that fails is started again within a second, for ever.
PAUSE_AFTER_FAILURE = 60.0


@dataclass(slots=True, eq=False)
class Look:
    """
    One listing of a watched folder.

    :param stored: the events that came of it are in Airflow's database.
    :param changed: there is something to be kept once that is so.
    """

    objects: list[ObjectInfo]
    at: datetime
    took: float
    stored: bool = False
    changed: bool = False


class LookProducer(SharedStreamProducer):
    """
    Lists a folder again and again.

    :param folder: the folder.
    :param aws_conn_id: connection to its store.
    :param poll_interval: seconds between two looks.
    """

    def __init__(self, folder: Location, aws_conn_id: str | None, poll_interval: float) -> None:
        self._folder = folder
        self._aws_conn_id = aws_conn_id
        self._poll_interval = poll_interval
        self._stored = asyncio.Event()

    async def open_stream(self) -> AsyncGenerator[tuple[Look | None, Look | None]]:
        """
        Yield looks, and None when a look's events were stored.

        :raises MzOrchestrationError: the store refuses, or has been out of reach for minutes.
        """
        try:
            async with aclosing(self._looks()) as looks:
                async for look in looks:
                    yield look, look
        except Exception as error:
            await pause_after(error, str(self._folder))
            raise

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Note that the events of looks were stored."""
        for look, outcome in batch:
            if look is not None and outcome.is_clean:
                look.stored = True
                if look.changed:
                    self._stored.set()

    async def _looks(self) -> AsyncGenerator[Look | None]:
        store = await open_store(self._aws_conn_id)
        failing_since: float | None = None
        pause = self._poll_interval
        while True:
            began = time.monotonic()
            try:
                objects = await in_daemon_thread(partial(store.list_objects, self._folder))
            except UnavailableError as error:
                failing_since = began if failing_since is None else failing_since
                if began - failing_since >= _PATIENCE:
                    raise
                pause = max(self._poll_interval, min(_LONGEST_PAUSE, 2 * pause))
                log.warning("%s Trying again in %g s.", error.message, pause)
                await asyncio.sleep(pause)
                continue
            failing_since, pause = None, self._poll_interval
            yield Look(objects, datetime.now(UTC), time.monotonic() - began)
            async for _ in self._stored_within(self._poll_interval):
                yield None

    async def _stored_within(self, seconds: float) -> AsyncGenerator[None]:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                await asyncio.wait_for(self._stored.wait(), left)
            except TimeoutError:
                return
            self._stored.clear()
            yield


def watched_folder(folder: str, export: str | None) -> Location:
    """
    Return the folder below which exports are watched.

    :param folder: as the author of the DAG wrote it.
    :param export: the name of one export below, or None.
    :raises ConfigurationError: it cannot be one.
    """
    location = parse_folder(folder, field="folder")
    return parse_folder(f"{location}{export}/", field="export") if export else location


def positive_seconds(name: str, value: object) -> None:
    """
    Refuse what is no number of seconds.

    :param name: of the argument.
    :param value: its value.
    :raises ConfigurationError: it is none.
    """
    if not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ConfigurationError(f"{name}: {value!r} is not a number of seconds.")


async def open_store(aws_conn_id: str | None) -> ObjectStore:
    """
    Return a client for a connection; making one takes boto3 half a second.

    :param aws_conn_id: the connection; None leaves it to boto3.
    """
    systems = await aresolve({"aws": aws_conn_id})
    return await in_daemon_thread(systems.store)


async def pause_after(error: Exception, what: str) -> None:
    """
    Tell what ended a watcher, and wait before Airflow starts it again.

    :param error: why it ends.
    :param what: what it watches.
    """
    log.error("The watcher of %s ends: %s It begins anew in %g s.", what, error, PAUSE_AFTER_FAILURE)
    await asyncio.sleep(PAUSE_AFTER_FAILURE)
