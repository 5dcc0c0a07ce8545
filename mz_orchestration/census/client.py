"""Clients of Census' API for programs: one that blocks, one for event loops, over the same flows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Self

from mz_orchestration.census.api import CensusApi
from mz_orchestration.census.config import CensusConfig
from mz_orchestration.census.models import Item, Page, Source, Sync, SyncRun
from mz_orchestration.flow import Clock, Flow, arun, run


class CensusClient:
    """A blocking client; use it in a ``with`` statement, or close it.

    Args:
        config: How to reach Census; the environment by default.
        clock: The time to live in.
    """

    def __init__(self, config: CensusConfig | None = None, *, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self.api = CensusApi(config or CensusConfig.from_environment(), clock=self._clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.api.close()

    def trigger(self, sync: str | int, *, full: bool = False) -> str:
        """Start a run and return its id; `run_sync` also waits for it and judges it.

        Raises:
            AmbiguousTriggerError: It may have been started; it is not sent twice.
        """
        return run(self.api.trigger(str(sync), full=full), self._clock)

    def run(self, run_id: str | int) -> SyncRun:
        """One run."""
        return run(self.api.run(str(run_id)), self._clock)

    def runs(self, sync: str | int) -> Iterator[SyncRun]:
        """All runs of a sync, newest first, a page at a time."""
        return self._all(lambda page: self.api.runs(str(sync), page=page))

    def last_run(self, sync: str | int) -> SyncRun | None:
        """The newest run of a sync, if it has ever run."""
        page = run(self.api.runs(str(sync), per_page=1), self._clock)
        return page.items[0] if page.items else None

    def cancel(self, run_id: str | int) -> None:
        """Ask for a run to be cancelled, whoever started it."""
        run(self.api.cancel(str(run_id)), self._clock)

    def sync(self, sync: str | int) -> Sync:
        """One sync."""
        return run(self.api.sync(str(sync)), self._clock)

    def syncs(self) -> Iterator[Sync]:
        """All syncs, a page at a time."""
        return self._all(self.api.syncs)

    def sources(self) -> Iterator[Source]:
        """All sources, a page at a time."""
        return self._all(self.api.sources)

    def _all(self, get: Callable[[int], Flow[Page[Item]]]) -> Iterator[Item]:
        following: int | None = 1
        while following is not None:
            page = run(get(following), self._clock)
            yield from page.items
            following = page.next_page


class AsyncCensusClient:
    """`CensusClient` for event loops: pauses hold no thread.

    Args:
        config: How to reach Census; the environment by default.
    """

    def __init__(self, config: CensusConfig | None = None) -> None:
        self.api = CensusApi(config or CensusConfig.from_environment())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.api.close()

    async def trigger(self, sync: str | int, *, full: bool = False) -> str:
        """`CensusClient.trigger`."""
        return await arun(self.api.trigger(str(sync), full=full))

    async def run(self, run_id: str | int) -> SyncRun:
        """One run."""
        return await arun(self.api.run(str(run_id)))

    def runs(self, sync: str | int) -> AsyncIterator[SyncRun]:
        """All runs of a sync, newest first, a page at a time."""
        return self._all(lambda page: self.api.runs(str(sync), page=page))

    async def cancel(self, run_id: str | int) -> None:
        """Ask for a run to be cancelled, whoever started it."""
        await arun(self.api.cancel(str(run_id)))

    async def sync(self, sync: str | int) -> Sync:
        """One sync."""
        return await arun(self.api.sync(str(sync)))

    def syncs(self) -> AsyncIterator[Sync]:
        """All syncs, a page at a time."""
        return self._all(self.api.syncs)

    def sources(self) -> AsyncIterator[Source]:
        """All sources, a page at a time."""
        return self._all(self.api.sources)

    async def _all(self, get: Callable[[int], Flow[Page[Item]]]) -> AsyncIterator[Item]:
        following: int | None = 1
        while following is not None:
            page = await arun(get(following))
            for item in page.items:
                yield item
            following = page.next_page
