"""Other runs of the same export, for callers that want one at a time: a schedule that is faster than its exports.

A run writes itself down before it looks around, so of two that begin together at least one sees the other; the one
that began later gives way.
"""

from __future__ import annotations

from datetime import timedelta

from mz_orchestration.errors import AlreadyRunningError, DeadlineError
from mz_orchestration.exports.context import ExportContext, ExportStep
from mz_orchestration.exports.give_up import give_up
from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.flow import Flow, call, sleep
from mz_orchestration.materialize.session import Session
from mz_orchestration.runs.record import AttemptState, RunRecord
from mz_orchestration.runs.store import RunStore, StoredRun

POLL = 5.0
# A record that nobody has written for longer than any export may take is no sign of life.
_LOOK_BACK = timedelta(days=1)
# How long a process may take from Materialize's answer to its manifest and still count as running.
_VERIFYING = timedelta(minutes=15)


def let_others_finish(
    stored: StoredRun, session: Session, spec: ExportSpec, runs: RunStore, context: ExportContext
) -> Flow[None]:
    """Return once no other run of the export is in progress that began before this one's attempt.

    One listing of the export's run records, and one GET for each that was written lately.

    Raises:
        AlreadyRunningError: One is, and the policy is not to wait.
        DeadlineError: It did not end within the export's time-out.
    """
    deadline = context.clock.monotonic() + spec.timeout
    noted = ""
    while True:
        other = yield from _earlier(stored, session, spec, runs, context)
        if other is None:
            return
        attempt = other.attempts[-1]
        error: AlreadyRunningError | DeadlineError | None = None
        if context.policy.if_running in ("skip", "fail"):
            error = AlreadyRunningError(
                f"The run {other.run_key!r} of {spec.object} has been in progress since "
                f"{attempt.started_at:%Y-%m-%d %H:%M:%S} UTC.",
                hint="Let it finish, or stop it with 'mz-orchestration runs cancel'.",
            )
        elif context.clock.monotonic() >= deadline:
            error = DeadlineError(
                f"The run {other.run_key!r} of {spec.object} did not end within {spec.timeout:g} seconds.",
                hint="See 'mz-orchestration runs show' for how it stands, or stop it with 'runs cancel'.",
            )
        if error is not None:
            yield from give_up(stored, AttemptState.ABANDONED, error, runs, context)
            raise error
        if noted != other.run_key:
            noted = other.run_key
            context.note(ExportStep.RECORD, f"waiting for the run {other.run_key!r}, in progress since earlier")
        yield from sleep(POLL)


def _earlier(
    stored: StoredRun, session: Session, spec: ExportSpec, runs: RunStore, context: ExportContext
) -> Flow[RunRecord | None]:
    now = context.clock.now()
    since = now - max(_LOOK_BACK, timedelta(seconds=spec.timeout))
    mine = stored.record.attempts[-1].started_at, stored.record.run_key
    for record in (yield from call(runs.written_since, spec.folder_name, since)):
        if record.run_key == stored.record.run_key or not record.attempts:
            continue
        attempt = record.attempts[-1]
        if not attempt.open or (attempt.started_at, record.run_key) >= mine:
            continue
        if attempt.copied is not None:
            if now - record.updated_at < _VERIFYING:
                return record
        elif (yield from call(session.is_active, attempt.session)):
            return record
    return None
