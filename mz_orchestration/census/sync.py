"""A run of a Census sync: triggered once, waited for, judged, written down.

Written as a flow, so that `run_sync` and an event loop share every decision. With a run key, a process may be killed
between any two steps: the next call returns what is finished, goes on waiting for the run that was started, or looks
for one whose number was not written down in time. The trigger itself is never sent again before that.
"""

from __future__ import annotations

from dataclasses import dataclass

from mz_orchestration.census.config import CensusConfig
from mz_orchestration.census.context import (
    Job,
    SyncContext,
    SyncStep,
    refuse_half_a_record,
    sync_context,
)
from mz_orchestration.census.judge import RunState, state_of, verdict
from mz_orchestration.census.models import Sync, SyncRun
from mz_orchestration.census.obtain import after_a_skip, obtain
from mz_orchestration.census.record import StoredSync, SyncAttempt, SyncRecord, find_sync, sync_record_location
from mz_orchestration.census.spec import SyncSpec
from mz_orchestration.census.watch import cancel_run, watch
from mz_orchestration.errors import DeadlineError, MzOrchestrationError, RunConflictError, SyncError
from mz_orchestration.flow import Clock, Flow, arun, call, run
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.progress import OnEvent, ignore

__all__ = ["SyncContext", "SyncResult", "SyncStep", "arun_sync", "run_sync", "sync_context", "sync_flow"]


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What came of a sync.

    Attributes:
        sync: Its id.
        run: The run, ended.
        attached: Whether somebody else had started it.
        repeated: It had been finished under this run key before; nothing was done now.
        seconds: How long this call took.
        url: Where a person can see the runs of the sync.
    """

    sync: str
    run: SyncRun
    attached: bool
    repeated: bool
    seconds: float
    url: str

    def to_metadata(self) -> dict[str, int | float | str]:
        """Flat facts for XCom, asset metadata and ``--json``; counts that Census leaves out are left out."""
        run = self.run
        facts: dict[str, int | float | str | None] = {
            "sync": self.sync,
            "sync_run": run.id,
            "status": run.status if not run.canceled else "cancelled",
            "records_processed": run.records_processed,
            "records_updated": run.records_updated,
            "records_failed": run.records_failed,
            "records_invalid": run.source_record_invalids,
            "source_records": run.source_record_count,
            "full": None if run.full_sync is None else int(run.full_sync),
            "attached": int(self.attached),
            "repeated": int(self.repeated),
            "seconds": round(self.seconds, 3),
            "url": self.url,
        }
        return {name: value for name, value in facts.items() if value is not None}


def run_sync(
    spec: SyncSpec,
    *,
    run_key: str | None = None,
    at: str | None = None,
    census: CensusConfig | None = None,
    store: ObjectStore | None = None,
    on_event: OnEvent = ignore,
    clock: Clock | None = None,
) -> SyncResult:
    """Run a sync and wait until it has ended well; safe to call again with the same run key.

    Args:
        spec: Which sync, and what is accepted of it.
        run_key: Names the logical run; goes with ``at``. Without them, nothing is written down.
        at: Folder that holds the record: ``s3://bucket/folder/``.
        census: How to reach Census; the environment by default.
        store: The object store; boto3's environment by default.
        on_event: Told of every step.
        clock: The time to live in.

    Raises:
        MzOrchestrationError: Its class, ``retryable`` and ``hint`` say what to do.
    """
    refuse_half_a_record(run_key, at)
    context = sync_context(at, census, store, on_event, clock)
    try:
        return run(sync_flow(spec, context, run_key), context.clock)
    finally:
        context.api.close()


async def arun_sync(
    spec: SyncSpec,
    *,
    run_key: str | None = None,
    at: str | None = None,
    census: CensusConfig | None = None,
    store: ObjectStore | None = None,
    on_event: OnEvent = ignore,
) -> SyncResult:
    """`run_sync` on an event loop; cancelling the task cancels the run, if it was triggered by it."""
    refuse_half_a_record(run_key, at)
    context = sync_context(at, census, store, on_event)
    try:
        return await arun(sync_flow(spec, context, run_key))
    finally:
        context.api.close()


def sync_flow(spec: SyncSpec, context: SyncContext, run_key: str | None = None) -> Flow[SyncResult]:
    """The sync as a flow; see `run_sync`."""
    began = context.clock.monotonic()
    with context.step(SyncStep.READ, "read the record and the sync"):
        job = yield from open_job(spec, context, run_key)
        done = yield from done_before(job)
        if done is None:
            _warn(job, (yield from context.api.sync(spec.sync, within=job.budget)))
    if done is not None and done.result is not None:
        return _result(job, done, done.result, began, repeated=True)
    try:
        while True:
            attempt = yield from obtain(job)
            with context.step(SyncStep.WAIT, f"wait for run {attempt.run}") as details:
                ended = yield from watch(job, attempt.run or "", SyncStep.WAIT)
                details.update(status=ended.status, records_processed=ended.records_processed)
            if state_of(ended) is RunState.SKIPPED:
                yield from after_a_skip(job, attempt, ended)
            elif attempt.cancel_asked and state_of(ended) is RunState.CANCELLED:
                # By us, when an earlier call was interrupted.
                job.end(attempt, ended, verdict(ended, spec, job.url))
                yield from job.save()
                context.note(SyncStep.WAIT, f"run {ended.id} has ended, as an earlier call wanted; trying again")
            else:
                break
    except GeneratorExit:
        raise
    except BaseException as error:
        yield from let_go(job, error)
        raise
    with context.step(SyncStep.FINISH, "write the result down"):
        failure = verdict(ended, spec, job.url)
        job.end(attempt, ended, failure)
        yield from job.save()
    if failure is not None:
        raise failure
    return _result(job, attempt, ended, began, repeated=False)


def open_job(spec: SyncSpec, context: SyncContext, run_key: str | None) -> Flow[Job]:
    """A call's own state, with the record of earlier calls.

    Raises:
        RunConflictError: The run key was used for something else.
    """
    until = context.clock.monotonic() + spec.timeout
    for sentence in context.api.config.warnings():
        context.note(SyncStep.READ, f"warning: {sentence}")
    now, host = context.clock.now(), context.api.config.host
    record = SyncRecord(
        run_key=run_key or "",
        sync=spec.sync,
        where=host,
        spec_fingerprint=spec.fingerprint(),
        created_at=now,
        updated_at=now,
    )
    if run_key is None or context.base is None or context.store is None:
        return Job(spec, context, StoredSync(record), until)
    location = sync_record_location(context.base, spec.sync, run_key)
    stored = yield from call(find_sync, context.store, location)
    if stored is None:
        return Job(spec, context, StoredSync(record, location), until)
    if stored.record.spec_fingerprint != spec.fingerprint() or stored.record.where != host:
        other = f"at {stored.record.where}" if stored.record.where != host else "with another choice of full"
        raise RunConflictError(
            f"The run key {run_key!r} was used for the Census sync {spec.sync} {other}.",
            hint="Use another run key, or the settings of the first run.",
        )
    return Job(spec, context, stored, until)


def done_before(job: Job) -> Flow[SyncAttempt | None]:
    """The attempt that did what is wanted, if one did."""
    attempts = job.stored.record.attempts
    last = attempts[-1] if attempts and not attempts[-1].open else None
    if last is None or last.result is None:
        return None
    if last.error is not None:
        # Completed, but too many records were bad: by the limits of now that may be fine.
        if state_of(last.result) is not RunState.COMPLETED or verdict(last.result, job.spec, job.url) is not None:
            return None
        last.error = None
        yield from job.save()
    job.context.note(SyncStep.READ, f"the run was finished before, by run {last.run} in Census: nothing is triggered")
    return last


def _warn(job: Job, sync: Sync) -> None:
    note = job.context.note
    starts = [f"its schedule ({sync.schedule})"] if sync.schedule and not sync.paused else []
    if starts := [*starts, *sync.other_triggers]:
        note(
            SyncStep.READ,
            f"warning: {sync.name} is also started by {', '.join(starts)}: of two runs that overlap, one is skipped",
        )
    if sync.paused:
        note(SyncStep.READ, f"warning: {sync.name} is paused in Census")


def let_go(job: Job, error: BaseException) -> Flow[None]:
    """Cancel what we have started, if we were interrupted or the time is up; else the next call goes on with it."""
    attempt, note = job.attempt, job.context.note
    if attempt is None or (isinstance(error, Exception) and not isinstance(error, DeadlineError)):
        return
    if attempt.run is None:
        note(SyncStep.TRIGGER, "it is not known whether a run was started; the next call with the run key looks first")
        return
    if not attempt.triggered:
        note(SyncStep.WAIT, f"run {attempt.run} goes on: it is not known to be ours")
        return
    next_call = "the next call with the run key goes on with it"
    try:
        ended = yield from cancel_run(job.context, attempt.run)
    except MzOrchestrationError as refused:
        ended = None
        note(
            SyncStep.WAIT,
            f"run {attempt.run} could not be cancelled: {refused.message} It may still be running; {next_call}",
        )
    else:
        if ended is None:
            note(SyncStep.WAIT, f"run {attempt.run} was asked to end, and may still be running; {next_call}")
    if ended is None:
        attempt.cancel_asked = True
    elif state_of(ended) is RunState.COMPLETED:
        note(SyncStep.WAIT, f"run {attempt.run} had completed before it could be cancelled")
        job.end(attempt, ended, verdict(ended, job.spec, job.url))
    else:
        note(SyncStep.WAIT, f"run {attempt.run} was cancelled and has ended")
        why = error if isinstance(error, MzOrchestrationError) else SyncError(f"Interrupted ({type(error).__name__}).")
        job.end(attempt, ended, why)
    try:
        yield from job.save()
    except MzOrchestrationError as unsaved:
        note(SyncStep.FINISH, f"the record could not be updated: {unsaved.message}")


def _result(job: Job, attempt: SyncAttempt, run: SyncRun, began: float, *, repeated: bool) -> SyncResult:
    seconds = job.context.clock.monotonic() - began
    return SyncResult(job.spec.sync, run, attempt.attached, repeated, seconds, job.url)
