"""Waiting for a run to end, and ending it."""

from __future__ import annotations

from collections.abc import Callable

from mz_orchestration.census.answers import UnexpectedAnswerError
from mz_orchestration.census.context import Job, SyncContext, SyncStep
from mz_orchestration.census.judge import RunState, is_known, state_of
from mz_orchestration.census.models import SyncRun
from mz_orchestration.census.retry import BUDGET, poll_delay
from mz_orchestration.errors import DeadlineError, MzOrchestrationError, UnavailableError
from mz_orchestration.flow import Flow, sleep

# A process that is being stopped has little time.
_CANCELS, _CANCEL_TIMEOUT = 2, 5.0
_ENDS_WITHIN = 10
# The pauses between answers that are no answers of Census, all together.
_ODD_SECONDS = 5.0


def has_ended(run: SyncRun) -> bool:
    """Whether a run will not change any more."""
    return state_of(run) is not RunState.RUNNING


def watch(job: Job, run_id: str, step: SyncStep, ended: Callable[[SyncRun], bool] = has_ended) -> Flow[SyncRun]:
    """Look at a run until it has ended.

    Raises:
        DeadlineError: It has not, or nobody can tell, and the time is up.
        UnavailableError: Nobody can tell, and there would be time.
    """
    context = job.context
    look, status = 0, ""
    while True:
        budget = job.budget
        try:
            run = yield from context.api.run(run_id, within=budget)
        except UnavailableError as error:
            # Odd answers are asked again for a few seconds only, whatever time there is.
            odd = isinstance(error, UnexpectedAnswerError) and job.left > _ODD_SECONDS
            if budget >= BUDGET or odd:
                raise
            raise DeadlineError(
                f"{error.message} Nobody can tell how run {run_id} of the Census sync {job.spec.sync} stands, and its "
                f"{job.spec.timeout:g} s are over.",
                hint=f"Run it again, and give it more with timeout. See {job.url}.",
                details={"sync_run": run_id, "status": status or None},
            ) from error
        if not is_known(run) and run.status not in job.warned:
            job.warned.add(run.status)
            context.note(
                step, f"warning: run {run.id} has the status {run.status!r}, which is not known; taken for running"
            )
        if ended(run):
            return run
        if run.status != status:
            status = run.status
            context.note(step, f"run {run.id} is {status}{f' ({run.current_step})' if run.current_step else ''}")
        if job.left <= 0:
            raise DeadlineError(
                f"Run {run.id} of the Census sync {job.spec.sync} was still {status!r} after "
                f"{job.spec.timeout:g} s, when the time was up.",
                hint=f"Give it more with timeout. See {job.url}.",
                details={"sync_run": run.id, "status": status},
            )
        yield from sleep(min(poll_delay(look, context.random()), max(job.left, 0.0)))
        look += 1


def cancel_run(context: SyncContext, run_id: str) -> Flow[SyncRun | None]:
    """Cancel a run and look whether it ends; the run as it ended, or None if it does not, or nobody can tell.

    Raises:
        MzOrchestrationError: It was not asked to end, or that is not known; and it is not known to have ended.
    """
    for chance in range(_CANCELS):
        try:
            yield from context.api.cancel(run_id, within=0, timeout=_CANCEL_TIMEOUT)
            break
        except MzOrchestrationError as error:
            # A run that is over may be refused as if there were none.
            if (ended := (yield from _ended(context, run_id))) is not None:
                return ended
            if chance + 1 == _CANCELS or not error.retryable:
                raise
            context.note(SyncStep.WAIT, f"run {run_id} could not be cancelled: {error.message} Trying once more.")
            yield from sleep(1.0)
    for _ in range(_ENDS_WITHIN):
        if (ended := (yield from _ended(context, run_id))) is not None:
            return ended
        yield from sleep(1.0)
    return None


def _ended(context: SyncContext, run_id: str) -> Flow[SyncRun | None]:
    """The run, if it is known to have ended."""
    try:
        run = yield from context.api.run(run_id, within=0, timeout=_CANCEL_TIMEOUT)
    except MzOrchestrationError:
        return None
    return run if has_ended(run) else None
