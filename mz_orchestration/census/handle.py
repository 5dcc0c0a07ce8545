"""Runs of syncs that are started, looked at and cancelled by different callers, or by one that does not wait.

`start_sync` returns once Census has a run. Its `SyncHandle` is small JSON: any process can poll or cancel with it, and
`run_sync` with the same spec and run key finishes the record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from mz_orchestration.census.config import CensusConfig
from mz_orchestration.census.context import (
    Job,
    SyncContext,
    SyncStep,
    history_url,
    refuse_half_a_record,
    sync_context,
)
from mz_orchestration.census.judge import RunState, state_of, verdict
from mz_orchestration.census.models import SyncRun
from mz_orchestration.census.obtain import obtain
from mz_orchestration.census.record import SyncAttempt
from mz_orchestration.census.spec import SyncSpec
from mz_orchestration.census.sync import done_before, let_go, open_job
from mz_orchestration.census.watch import cancel_run
from mz_orchestration.errors import ConfigurationError, NotFoundError, UnavailableError
from mz_orchestration.flow import Flow, arun, run
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.progress import OnEvent, ignore


class SyncHandle(BaseModel):
    """Names one run of a sync, for whoever wants to look at it or end it. It holds no credentials.

    Attributes:
        spec: What was asked for; polls judge by it.
        run: Id of the run.
        where: Scheme and host of the Census it belongs to.
        triggered: Whether it was started by us; only then `cancel_sync` cancels it.
        run_key: The logical run, if a record is kept.
        at: The folder that holds the record.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: SyncSpec
    run: str
    where: str
    triggered: bool
    run_key: str | None = None
    at: str | None = None


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """The answer to a poll.

    Attributes:
        state: What the run has come to.
        run: The run.
        error: `MzOrchestrationError.to_dict` of why it is no success: it failed, or too many records were bad.
    """

    state: RunState
    run: SyncRun
    error: dict[str, Any] | None = None

    @property
    def done(self) -> bool:
        """Whether polling again will never say anything else."""
        return self.state is not RunState.RUNNING


def start_sync(
    spec: SyncSpec,
    *,
    run_key: str | None = None,
    at: str | None = None,
    census: CensusConfig | None = None,
    store: ObjectStore | None = None,
    on_event: OnEvent = ignore,
) -> SyncHandle:
    """Start a run and return; with ``on_overlap: wait`` it first waits for the active run of others.

    Where the run has been started or finished under this run key before, the handle is that run's; unless it was
    cancelled, skipped or failed: then another is started.

    Raises:
        MzOrchestrationError: There is no run.
    """
    refuse_half_a_record(run_key, at)
    context = sync_context(at, census, store, on_event)
    try:
        return run(start_flow(spec, context, run_key), context.clock)
    finally:
        context.api.close()


async def astart_sync(
    spec: SyncSpec,
    *,
    run_key: str | None = None,
    at: str | None = None,
    census: CensusConfig | None = None,
    store: ObjectStore | None = None,
    on_event: OnEvent = ignore,
) -> SyncHandle:
    """`start_sync` on an event loop."""
    refuse_half_a_record(run_key, at)
    context = sync_context(at, census, store, on_event)
    try:
        return await arun(start_flow(spec, context, run_key))
    finally:
        context.api.close()


def poll_sync(handle: SyncHandle, *, census: CensusConfig | None = None) -> SyncStatus:
    """How a run stands; one request."""
    context = _context(handle, census)
    try:
        return run(poll_flow(handle, context), context.clock)
    finally:
        context.api.close()


async def apoll_sync(handle: SyncHandle, *, census: CensusConfig | None = None) -> SyncStatus:
    """`poll_sync` on an event loop."""
    context = _context(handle, census)
    try:
        return await arun(poll_flow(handle, context))
    finally:
        context.api.close()


def cancel_sync(handle: SyncHandle, *, census: CensusConfig | None = None, on_event: OnEvent = ignore) -> bool:
    """Cancel a run that was started by us, from any process, and look whether it ends.

    Returns:
        Whether it was stopped; False if it had ended before, is somebody else's, or does not react.

    Raises:
        MzOrchestrationError: Census refuses to say how it stands, or to cancel it.
    """
    context = _context(handle, census, on_event)
    try:
        return run(cancel_flow(handle, context), context.clock)
    finally:
        context.api.close()


async def acancel_sync(handle: SyncHandle, *, census: CensusConfig | None = None, on_event: OnEvent = ignore) -> bool:
    """`cancel_sync` on an event loop."""
    context = _context(handle, census, on_event)
    try:
        return await arun(cancel_flow(handle, context))
    finally:
        context.api.close()


def start_flow(spec: SyncSpec, context: SyncContext, run_key: str | None = None) -> Flow[SyncHandle]:
    """`start_sync` as a flow."""
    with context.step(SyncStep.READ, "read the record"):
        job = yield from open_job(spec, context, run_key)
        attempt = yield from done_before(job)
    if attempt is None:
        try:
            attempt = yield from _living(job)
        except GeneratorExit:
            raise
        except BaseException as error:
            yield from let_go(job, error)
            raise
    if attempt.run is None:
        raise NotFoundError(f"The record of the sync {spec.sync} names no run.", hint="Use another run key.")
    return SyncHandle(
        spec=spec,
        run=attempt.run,
        where=context.api.config.host,
        triggered=attempt.triggered,
        run_key=run_key,
        at=None if context.base is None else str(context.base),
    )


def _living(job: Job) -> Flow[SyncAttempt]:
    """An attempt with a run that is active, or has completed and nobody has heard of it."""
    while True:
        left_behind = job.attempt
        attempt = yield from obtain(job)
        if attempt is not left_behind:
            return attempt
        found = yield from job.context.api.run(attempt.run or "", within=job.budget)
        state = state_of(found)
        if state is RunState.RUNNING:
            return attempt
        # Whoever polls would be told of the same end for ever.
        failure = verdict(found, job.spec, job.url)
        job.end(attempt, found, failure)
        yield from job.save()
        if state is RunState.COMPLETED or (failure is None and not attempt.cancel_asked):
            return attempt
        job.context.note(SyncStep.OVERLAP, f"run {found.id} has ended: {state}; trying again")


def poll_flow(handle: SyncHandle, context: SyncContext) -> Flow[SyncStatus]:
    """`poll_sync` as a flow."""
    found = yield from context.api.run(handle.run)
    state = state_of(found)
    if state is RunState.RUNNING:
        return SyncStatus(state, found)
    failure = verdict(found, handle.spec, history_url(context.api.config, handle.spec.sync))
    return SyncStatus(state, found, None if failure is None else failure.to_dict())


def cancel_flow(handle: SyncHandle, context: SyncContext) -> Flow[bool]:
    """`cancel_sync` as a flow."""
    for sentence in context.api.config.warnings():
        context.note(SyncStep.READ, f"warning: {sentence}")
    if not handle.triggered:
        context.note(SyncStep.WAIT, f"run {handle.run} goes on: it is not known to be ours")
        return False
    if state_of((yield from context.api.run(handle.run))) is not RunState.RUNNING:
        return False
    try:
        ended = yield from cancel_run(context, handle.run)
    except UnavailableError as error:
        context.note(SyncStep.WAIT, f"run {handle.run} could not be cancelled: {error.message}")
        return False
    return ended is not None and state_of(ended) is RunState.CANCELLED


def _context(handle: SyncHandle, census: CensusConfig | None, on_event: OnEvent = ignore) -> SyncContext:
    context = sync_context(census=census, on_event=on_event)
    if context.api.config.host != handle.where:
        context.api.close()
        raise ConfigurationError(
            f"Run {handle.run} belongs to {handle.where}, and {context.api.config.host} is set.",
            hint="Set CENSUS_URL or CENSUS_REGION to the Census that runs it.",
        )
    return context
