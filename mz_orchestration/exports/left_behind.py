"""COPYs whose process has gone: in current versions they run on, and what they complete can be used.

A lost connection does not stop a COPY, and nobody is told its answer. What is left are the attempt's path, its
sentinel, and the session, which stays in ``mz_sessions`` until the COPY has ended. Where a restart of the server or
an older version ended the COPY, the session is gone and the sentinel stays.
"""

from __future__ import annotations

from datetime import datetime

from mz_orchestration.errors import AlreadyRunningError, MzOrchestrationError
from mz_orchestration.exports.context import ExportContext, ExportStep
from mz_orchestration.exports.give_up import give_up
from mz_orchestration.exports.overlap import cancel_command
from mz_orchestration.exports.sentinel import ExportState, read_listing
from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.flow import Flow, call, sleep
from mz_orchestration.materialize.session import Session, SessionIdentity
from mz_orchestration.objectstore.location import Location, parse_folder
from mz_orchestration.progress import Progress
from mz_orchestration.runs.record import Attempt, AttemptState, RunRecord
from mz_orchestration.runs.store import RunStore, StoredRun

# Two listings this far apart must agree before files nobody vouched for count as complete.
SETTLE = 2.0
# In rare cases Materialize deletes the sentinel although the statement fails; only a count tells.
UNWITNESSED = "; its answer is lost, and only a count taken beforehand (--count) could vouch for the number of rows"
POLL = 5.0
CANCELS = 30


def adopt(stored: StoredRun, session: Session, spec: ExportSpec, runs: RunStore, context: ExportContext) -> Flow[bool]:
    """Whether the last attempt, left behind by an earlier process or a lost connection, takes the place of a new one.

    Raises:
        AlreadyRunningError: Its COPY is running, and the policy is not to wait for it.
    """
    attempt = stored.record.attempts[-1] if stored.record.attempts else None
    if attempt is None or not attempt.open:
        return False
    folder = parse_folder(attempt.path, field="path")
    context.note(ExportStep.PLAN, f"attempt {attempt.number} was left behind in state {attempt.state}: {folder}")
    if attempt.copied is None and (yield from _is_let_be(stored.record, spec, session, context)):
        adopted = False
    else:
        try:
            adopted = yield from _wait(attempt, folder, _deadline(attempt, spec), session, context)
        except MzOrchestrationError:
            raise
        except BaseException as error:
            # Whoever stops this run means its COPY too, although another process began it.
            if (yield from cancel_attempt(attempt, session, context, ExportStep.PLAN)):
                yield from give_up(stored, AttemptState.FAILED, error, runs, context)
            raise
    if adopted:
        witness = "" if attempt.copied is not None or attempt.counted is not None else UNWITNESSED
        context.note(ExportStep.PLAN, f"Materialize completed attempt {attempt.number}; it is adopted{witness}")
        return True
    context.note(ExportStep.PLAN, f"attempt {attempt.number} left nothing to adopt; a new one is started")
    yield from give_up(stored, AttemptState.ABANDONED, None, runs, context)
    return False


def identity_of(attempt: Attempt) -> SessionIdentity:
    """By what the session of an attempt can be found."""
    return SessionIdentity(attempt.session, attempt.environment)


def cancel_attempt(attempt: Attempt, session: Session, progress: Progress, step: ExportStep) -> Flow[bool]:
    """Cancel the COPY of another session, repeatedly, until it has ended; whether it has.

    A cancel that arrives while the COPY is planned or in preflight is lost.
    """
    for _ in range(CANCELS):
        if not (yield from call(session.is_active, identity_of(attempt))):
            progress.note(step, f"the COPY of attempt {attempt.number} has ended")
            return True
        yield from call(session.cancel_session, identity_of(attempt))
        yield from sleep(1.0)
    progress.note(step, f"the COPY of attempt {attempt.number} does not react to cancelling")
    return False


def _is_let_be(record: RunRecord, spec: ExportSpec, session: Session, context: ExportContext) -> Flow[bool]:
    """Whether the policy is to do without a COPY that still runs; done here, if that takes cancelling it."""
    policy, attempt = context.policy, record.attempts[-1]
    if policy.left_behind == "wait" and policy.if_running not in ("skip", "fail"):
        return False
    if not (yield from call(session.is_active, identity_of(attempt))):
        return False
    if policy.if_running in ("skip", "fail"):
        raise AlreadyRunningError(
            f"Attempt {attempt.number} of this run has been copying to {attempt.path} since "
            f"{attempt.started_at:%Y-%m-%d %H:%M:%S} UTC.",
            hint=f"Let it finish, or stop it: {cancel_command(record.run_key, spec)}",
        )
    if policy.left_behind == "cancel":
        yield from cancel_attempt(attempt, session, context, ExportStep.PLAN)
    else:
        context.note(ExportStep.PLAN, f"the COPY of attempt {attempt.number} is left running")
    return True


def _deadline(attempt: Attempt, spec: ExportSpec) -> datetime:
    return attempt.deadline_at or spec.deadline(attempt.started_at)


def _wait(
    attempt: Attempt, folder: Location, deadline: datetime, session: Session, context: ExportContext
) -> Flow[bool]:
    """Whether the files of a COPY that lost its client are complete, once nobody writes them any more."""
    while True:
        # In this order: what is listed once the session has gone is final.
        active = yield from call(session.is_active, identity_of(attempt))
        listing = read_listing((yield from call(context.store.list_objects, folder)))
        if listing.state is ExportState.COMPLETE and (attempt.copied is not None or not active):
            yield from sleep(SETTLE if attempt.copied is None else 0)
            if attempt.copied is not None or (
                read_listing((yield from call(context.store.list_objects, folder))) == listing
            ):
                return True
            continue
        if not active:
            return False
        if context.clock.now() >= deadline:
            yield from cancel_attempt(attempt, session, context, ExportStep.PLAN)
            return False
        yield from sleep(POLL)
