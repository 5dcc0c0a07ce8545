"""Census' API: every operation as a flow over one HTTP client, sent again where that is safe.

What changes nothing, and a cancel, is sent again after any passing failure. A trigger is sent again only if it surely
was not carried out; where that cannot be known, `AmbiguousTriggerError` leaves it to the caller to look.
"""

from __future__ import annotations

import random as chance
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mz_orchestration.census.answers import Answer, UnexpectedAnswerError, read, read_data, read_model, refusal
from mz_orchestration.census.config import CensusConfig
from mz_orchestration.census.models import Item, Page, Source, Sync, SyncRun
from mz_orchestration.census.retry import BUDGET
from mz_orchestration.census.transport import LOST, NOT_SENT, InFlight, Pauses, Query, Transport
from mz_orchestration.errors import ConfigurationError, UnavailableError
from mz_orchestration.flow import Clock, Flow, call

PER_PAGE = 100


def checked_id(value: str) -> str:
    """An id as a part of an address.

    Raises:
        ConfigurationError: It is none.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", value):
        raise ConfigurationError(
            f"{value!r} is not an id of Census'.", hint="It is the number in the address of the sync or the run."
        )
    return value


class AmbiguousTriggerError(UnavailableError):
    """A trigger was sent and its answer lost: Census may have started a run.

    Args:
        sync: Id of the sync.
        why: What came in place of the answer, as a sentence.
    """

    def __init__(self, sync: str, why: str) -> None:
        super().__init__(
            f"It is not known whether sync {sync} was started: {why}",
            hint="Look at the runs of the sync before triggering it again; run_sync does so.",
        )


class CensusApi:
    """The operations we use, as flows; thread-safe.

    Args:
        config: How to reach Census.
        clock: The time to live in.
        note: Told of every pause before a request is sent again.
        random: 0 to 1; replaced in tests.
    """

    def __init__(
        self,
        config: CensusConfig,
        *,
        clock: Clock | None = None,
        note: Callable[[str], None] = lambda text: None,
        random: Callable[[], float] = chance.random,
    ) -> None:
        self._transport = Transport(config, clock, note, random)

    @property
    def config(self) -> CensusConfig:
        """How Census is reached."""
        return self._transport.config

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def trigger(
        self,
        sync: str,
        *,
        full: bool = False,
        before: Callable[[], Flow[None]] | None = None,
        started: Callable[[str], None] = lambda run: None,
        within: float = BUDGET,
    ) -> Flow[str]:
        """Start a run of a sync, once, and return its id.

        Args:
            sync: Id of the sync.
            full: Send all records.
            before: Carried out before every time the request is sent.
            started: Told the run's id, even if an interrupt keeps it from being returned.
            within: Seconds for all pauses together.

        Raises:
            AmbiguousTriggerError: It may have been carried out.
            MzOrchestrationError: It was not.
        """
        what, path = f"sync {sync}", f"/syncs/{checked_id(sync)}/trigger"
        query: Query = {"force_full_sync": "true"} if full else {}
        pauses = Pauses(self._transport, within)
        while True:
            if before is not None:
                yield from before()
            request = InFlight(lambda: self._transport.send("POST", path, query))
            try:
                answer = yield from call(request.result)
            except NOT_SENT as error:
                yield from pauses.wait(self._transport.unreachable(error))
                continue
            except LOST as error:
                raise AmbiguousTriggerError(sync, self._transport.unreachable(error).message) from error
            except Exception:
                raise
            except BaseException:
                # The request is on its way; whoever cancels the run has to know it.
                late = yield from call(request.late_result)
                if late is not None and late.ok:
                    with suppress(AmbiguousTriggerError):
                        started(self._triggered(late, sync))
                raise
            if answer.status == 429:
                yield from pauses.wait(refusal(answer, self.config, what), answer)
                continue
            if not answer.ok:
                refused = refusal(answer, self.config, what)
                if isinstance(refused, UnavailableError):
                    raise AmbiguousTriggerError(sync, refused.message)
                raise refused
            run = self._triggered(answer, sync)
            started(run)
            return run

    def run(self, run: str, *, within: float = BUDGET, timeout: float | None = None) -> Flow[SyncRun]:
        """One run of a sync."""
        what = f"sync run {run}"
        return (
            yield from self._transport.ask(
                "GET",
                f"/sync_runs/{checked_id(run)}",
                what,
                lambda data: _one(SyncRun, data, what),
                within=within,
                timeout=timeout,
            )
        )

    def runs(
        self, sync: str, *, page: int = 1, per_page: int = PER_PAGE, within: float = BUDGET
    ) -> Flow[Page[SyncRun]]:
        """A page of the runs of a sync, newest first."""
        query: Query = {"page": page, "per_page": per_page, "order": "desc"}
        what = f"runs of sync {sync}"
        return (
            yield from self._transport.ask(
                "GET",
                f"/syncs/{checked_id(sync)}/sync_runs",
                what,
                lambda data: _page(SyncRun, data, page, what),
                query=query,
                within=within,
            )
        )

    def cancel(self, run: str, *, within: float = BUDGET, timeout: float | None = None) -> Flow[None]:
        """Ask for a run to be cancelled; one that has ended stays as it is."""
        path = f"/sync_runs/{checked_id(run)}/cancel"
        yield from self._transport.ask(
            "POST", path, f"sync run {run}", lambda data: None, within=within, timeout=timeout
        )

    def sync(self, sync: str, *, within: float = BUDGET) -> Flow[Sync]:
        """One sync."""
        what = f"sync {sync}"
        return (
            yield from self._transport.ask(
                "GET", f"/syncs/{checked_id(sync)}", what, lambda data: _one(Sync, data, what), within=within
            )
        )

    def syncs(self, page: int = 1) -> Flow[Page[Sync]]:
        """A page of the syncs."""
        return (yield from self._listed("syncs", Sync, page))

    def sources(self, page: int = 1) -> Flow[Page[Source]]:
        """A page of the sources."""
        return (yield from self._listed("sources", Source, page))

    def _listed(self, kind: str, model: type[Item], page: int) -> Flow[Page[Item]]:
        group = self.config.group(to=f"list {kind}")
        query: Query = {"page": page, "per_page": PER_PAGE}
        if group is not None:
            query["group_id"] = group
        return (
            yield from self._transport.ask(
                "GET", f"/{kind}", f"list of {kind}", lambda data: _page(model, data, page, f"{kind}"), query=query
            )
        )

    def _triggered(self, answer: Answer, sync: str) -> str:
        what = f"the trigger of sync {sync}"
        try:
            data = read_data(read(answer, self.config), what)
            return read_model(SyncRun, {"id": data.get("sync_run_id"), "status": ""}, what).id
        except UnexpectedAnswerError as error:
            raise AmbiguousTriggerError(sync, error.message) from error


def _one(model: type[Item], answer: dict[str, Any], what: str) -> Item:
    return read_model(model, read_data(answer, what), what)


def _page(model: type[Item], answer: dict[str, Any], page: int, what: str) -> Page[Item]:
    found = answer.get("data")
    if not isinstance(found, list):
        raise UnexpectedAnswerError(f"Census' answer for {what} cannot be read: it holds no list.")
    items = tuple(read_model(model, item, what) for item in found)
    pagination = answer.get("pagination")
    if isinstance(pagination, dict):
        following, total = pagination.get("next_page"), pagination.get("total_records")
    else:
        # Answers of early versions have the address of the next page, also on the last one.
        following, total = (page + 1 if answer.get("next") and len(items) == PER_PAGE else None), None
    # A page that points back, or is empty, would be read for ever.
    onward = isinstance(following, int) and following > page and bool(items)
    return Page(items, following if onward else None, total if isinstance(total, int) else None)
