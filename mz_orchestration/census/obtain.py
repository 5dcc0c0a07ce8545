"""Getting a run of a sync: one that an earlier process has left, one of others, or a new one, triggered once."""

from __future__ import annotations

from mz_orchestration.census.api import AmbiguousTriggerError
from mz_orchestration.census.context import Job, SyncStep
from mz_orchestration.census.judge import RunState, is_active, state_of, verdict
from mz_orchestration.census.models import SyncRun
from mz_orchestration.census.record import SyncAttempt, SyncAttemptState
from mz_orchestration.census.retry import poll_delay
from mz_orchestration.census.watch import watch
from mz_orchestration.errors import (
    DeadlineError,
    MzOrchestrationError,
    RunConflictError,
    SyncError,
    UnavailableError,
)
from mz_orchestration.flow import Flow, sleep

# Seconds that we look for the run of a trigger whose answer was lost; and how long after a trigger was sent by
# another process a run of it may still appear. The second is longer than any request lives.
LOOK_FOR, APPEARS_WITHIN = 60.0, 180.0
# Runs that end skipped although nothing is seen that they were skipped for.
_SKIPS = 5
# Pages of runs that are looked through for an active one: 2000 runs that did nothing.
_PAGES = 20


def obtain(job: Job) -> Flow[SyncAttempt]:
    """The last attempt, with a run.

    Raises:
        DeadlineError: The time was up before anything could be triggered.
        RunConflictError: Another run is active, and that is to be refused; or another process works on this one.
        SyncError: Whether there is a run is not known.
    """
    attempt = job.attempt
    if attempt is not None and attempt.run is not None:
        job.context.note(SyncStep.OVERLAP, f"going on with run {attempt.run}, which an earlier call has left")
        return attempt
    if attempt is not None and (yield from _adopt_left_behind(job, attempt)):
        return attempt
    there = yield from _others(job)
    if there is None:
        attached = job.attempt
        assert attached is not None
        return attached
    return (yield from _trigger(job, there))


def after_a_skip(job: Job, attempt: SyncAttempt, run: SyncRun) -> Flow[None]:
    """Make ready for another attempt behind a run that did nothing, since another was active.

    Raises:
        SyncError: The policy is to fail, or there is nothing to attach to.
    """
    error = verdict(run, job.spec, job.url)
    job.end(attempt, run, error)
    yield from job.save()
    job.skips += 1
    if error is not None and (job.spec.on_overlap == "fail" or job.skips > _SKIPS):
        raise error
    job.context.note(SyncStep.OVERLAP, f"run {run.id} was skipped, since another run is active")
    if job.spec.on_overlap == "wait":
        yield from sleep(min(poll_delay(job.skips, job.context.random()), job.budget))
        return
    newest = yield from _newest(job)
    other = next((each for each in newest if each.id != run.id and _took_place_of(each, run)), None)
    if other is not None and _will_do(job, other):
        yield from _attach(job, other)
    elif error is not None:
        raise error


def _took_place_of(other: SyncRun, skipped: SyncRun) -> bool:
    if state_of(other) is RunState.SKIPPED:
        return False
    if is_active(other):
        return True
    # A run that failed may have no time at which it completed.
    ended = other.completed_at or other.updated_at
    return ended is not None and skipped.created_at is not None and ended >= skipped.created_at


def _will_do(job: Job, run: SyncRun) -> bool:
    """Whether a run of others does what we want done."""
    return not job.spec.full or run.full_sync is not False


def _adopt_left_behind(job: Job, attempt: SyncAttempt) -> Flow[bool]:
    """Look for the run of a trigger that an earlier process may have sent."""
    context = job.context
    asked = attempt.asked_at or attempt.started_at
    with context.step(SyncStep.OVERLAP, "look for the run that an earlier call asked for"):
        patience = APPEARS_WITHIN - (context.clock.now() - asked).total_seconds()
        run = yield from _look_up(job, attempt, min(max(patience, 0.0), APPEARS_WITHIN))
        if run is None:
            job.end(attempt, None, SyncError("No run came of it."))
            return False
        job.adopt(attempt, run, attached=False)
        yield from job.save()
        context.note(SyncStep.OVERLAP, f"found run {run.id}")
    return True


def _look_up(job: Job, attempt: SyncAttempt, patience: float) -> Flow[SyncRun | None]:
    """The newest run that was not there before the trigger; rather one that works than one that was skipped.

    Raises:
        DeadlineError: None was there when the call's time was up, and one may still appear.
    """
    context = job.context
    until = context.clock.monotonic() + patience
    look = 0
    while True:
        page = yield from context.api.runs(job.spec.sync, within=job.budget)
        new = [run for run in page.items if attempt.is_new(run) and _will_do(job, run)]
        if new:
            return next((run for run in new if state_of(run) is not RunState.SKIPPED), new[0])
        left = until - context.clock.monotonic()
        if left <= 0:
            return None
        _in_time(job, "a run of the trigger that was sent may still appear")
        yield from sleep(min(poll_delay(look, context.random()), left, job.left))
        look += 1


def _in_time(job: Job, state: str) -> None:
    if job.left <= 0:
        raise DeadlineError(
            f"The time for the Census sync {job.spec.sync}, {job.spec.timeout:g} s, was up: {state}.",
            hint="Run it again; with a run key it goes on from there. Give it more with timeout.",
        )


def _newest(job: Job) -> Flow[list[SyncRun]]:
    """The newest runs, and as many as stand before the last that did something: an active one may be behind them."""
    found: list[SyncRun] = []
    following: int | None = 1
    while following is not None and following <= _PAGES:
        page = yield from job.context.api.runs(job.spec.sync, page=following, within=job.budget)
        found += page.items
        if not all(state_of(run) in (RunState.SKIPPED, RunState.CANCELLED) for run in page.items):
            break
        following = page.next_page
    return found


def _others(job: Job) -> Flow[list[SyncRun] | None]:
    """The runs that are there, none of them active; None if one of them was attached to."""
    context, policy = job.context, job.spec.on_overlap
    with context.step(SyncStep.OVERLAP, "look for an active run of the sync"):
        while True:
            there = yield from _newest(job)
            active = next((run for run in there if is_active(run)), None)
            if active is None:
                return there
            if policy == "fail":
                raise RunConflictError(
                    f"Run {active.id} of the Census sync {job.spec.sync} is {active.status}; nothing was triggered.",
                    hint=f"Run it again once that has ended, or say on_overlap: wait. See {job.url}.",
                    retryable=True,
                    details={"sync_run": active.id, "status": active.status},
                )
            if policy == "attach" and _will_do(job, active):
                yield from _attach(job, active)
                return None
            why = "" if policy == "wait" else ", which does not send all records,"
            context.note(SyncStep.OVERLAP, f"run {active.id}{why} is {active.status}; waiting for it to end first")
            yield from watch(job, active.id, SyncStep.OVERLAP, lambda run: not is_active(run))


def _attach(job: Job, run: SyncRun) -> Flow[None]:
    attempt = job.begin(SyncAttemptState.ATTACHED)
    job.adopt(attempt, run, attached=True)
    job.context.note(SyncStep.OVERLAP, f"attached to run {run.id}, which somebody else has started")
    yield from job.save()


def _trigger(job: Job, there: list[SyncRun]) -> Flow[SyncAttempt]:
    context, spec = job.context, job.spec
    _in_time(job, "nothing was triggered")
    attempt = job.begin(SyncAttemptState.ASKED)
    attempt.learn_of(there)
    asked = attempt.asked_at = context.clock.now()
    with context.step(SyncStep.RECORD, f"write down attempt {attempt.number}"):
        yield from job.save()
    sent = False

    def renew() -> Flow[None]:
        nonlocal sent
        now = context.clock.now()
        if sent or (now - asked).total_seconds() > LOOK_FOR:
            # Somebody else may have taken us for gone meanwhile, and begun an attempt; then this is refused.
            attempt.asked_at = now
            yield from job.save()
        sent = True

    def started(run: str) -> None:
        attempt.state, attempt.run, attempt.triggered = SyncAttemptState.TRIGGERED, run, True

    with context.step(SyncStep.TRIGGER, f"trigger sync {spec.sync}") as details:
        try:
            yield from context.api.trigger(spec.sync, full=spec.full, before=renew, started=started, within=job.budget)
        except AmbiguousTriggerError as error:
            context.note(SyncStep.TRIGGER, f"{error.message} Looking for its run.")
            yield from _resolve(job, attempt, error)
        except RunConflictError:
            raise
        except MzOrchestrationError as error:
            # Surely not carried out: the next call need not look for a run of it.
            job.end(attempt, None, error)
            yield from job.save()
            raise
        details["sync_run"] = attempt.run
        yield from job.save()
    return attempt


def _resolve(job: Job, attempt: SyncAttempt, error: AmbiguousTriggerError) -> Flow[None]:
    """Find the run of a trigger whose answer was lost.

    Raises:
        SyncError: There is none yet.
    """
    why = f"No run of it has appeared within {LOOK_FOR:.0f} s."
    try:
        run = yield from _look_up(job, attempt, LOOK_FOR)
    except (UnavailableError, DeadlineError) as lost:
        run, why = None, lost.message
    if run is None:
        raise SyncError(
            f"{error.message} {why}",
            hint="Run it again: with a run key it looks for the run first, and triggers only if there is none. "
            f"See {job.url}.",
            retryable=True,
        ) from error
    job.adopt(attempt, run, attached=False)
    job.context.note(SyncStep.TRIGGER, f"found run {run.id}")
