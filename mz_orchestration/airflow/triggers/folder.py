"""A watched folder of an object store: its name, its client, and looks at it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from mz_orchestration.airflow.connections import aresolve
from mz_orchestration.airflow.triggers.looks import LookProducer
from mz_orchestration.errors import UnavailableError
from mz_orchestration.flow import in_daemon_thread
from mz_orchestration.objectstore.location import Location, parse_folder

if TYPE_CHECKING:
    from mz_orchestration.objectstore.client import ObjectInfo, ObjectStore

log = logging.getLogger(__name__)

# A store may be out of reach for this long; boto3 has tried several times within each look.
_PATIENCE = 600.0
_LONGEST_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class Listing:
    """
    What lies below a folder.

    :param at: when the listing had ended.
    :param took: seconds that it took.
    """

    objects: list[ObjectInfo]
    at: datetime
    took: float


class FolderProducer(LookProducer):
    """
    Lists a folder again and again.

    :param folder: the folder.
    :param aws_conn_id: connection to its store.
    :param poll_interval: seconds between two looks.
    """

    def __init__(self, folder: Location, aws_conn_id: str | None, poll_interval: float) -> None:
        super().__init__(str(folder))
        self._folder = folder
        self._aws_conn_id = aws_conn_id
        self._poll_interval = poll_interval

    async def looks(self) -> AsyncGenerator[Listing]:
        """
        Yield listings.

        :raises MzOrchestrationError: the store refuses, or has been out of reach for minutes.
        """
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
            yield Listing(objects, datetime.now(UTC), time.monotonic() - began)
            await asyncio.sleep(self._poll_interval)


def watched_folder(folder: str, export: str | None) -> Location:
    """
    Return the folder below which exports are watched.

    :param folder: as the author of the DAG wrote it.
    :param export: the name of one export below, or None.
    :raises ConfigurationError: it cannot be one.
    """
    location = parse_folder(folder, field="folder")
    return parse_folder(f"{location}{export}/", field="export") if export else location


async def open_store(aws_conn_id: str | None) -> ObjectStore:
    """
    Return a client for a connection; making one takes boto3 half a second.

    :param aws_conn_id: the connection; None leaves it to boto3.
    """
    systems = await aresolve({"aws": aws_conn_id})
    return await in_daemon_thread(systems.store)
