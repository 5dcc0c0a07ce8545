"""The sweep's second half: cancel, mark, delete, and look again right before each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mz_orchestration.errors import (
    DeadlineError,
    ExportError,
    MzOrchestrationError,
    RunConflictError,
)
from mz_orchestration.exports.sweep.io import abort_uploads, delete_objects, find_run
from mz_orchestration.exports.sweep.judge import AttemptFolder, Fate, SessionState, judge
from mz_orchestration.exports.sweep.look import Look, Orphan, SweepStep
from mz_orchestration.exports.sweep.result import KeptFolder, SweptFolder, SweptUpload
from mz_orchestration.exports.sweep.scan import look_again
from mz_orchestration.flow import Flow, call, sleep
from mz_orchestration.materialize.session import SessionIdentity
from mz_orchestration.objectstore.location import Location
from mz_orchestration.runs.record import AttemptState
from mz_orchestration.runs.store import StoredRun

CANCELS = 30


def cancel_sessions(look: Look, orphans: Sequence[Orphan]) -> Flow[set[int]]:
    """Cancel what orphaned sessions run until they are gone; returns the pids that are.

    A cancel that arrives while a COPY is planned is lost, so it is repeated.
    """
    gone: set[int] = set()
    with look.context.step(SweepStep.CANCEL, "cancel orphaned sessions") as details:
        waiting = list(orphans)
        for _ in range(CANCELS):
            still = []
            for orphan in waiting:
                state = yield from look.ask(orphan.attempt)
                if state is SessionState.GONE:
                    gone.add(orphan.attempt.pid)
                elif state is SessionState.ACTIVE and (yield from _cancel(look, orphan)):
                    still.append(orphan)
            waiting = still
            if not waiting:
                break
            yield from sleep(1.0)
        for orphan in waiting:
            pid = orphan.attempt.pid
            error = DeadlineError(
                f"Session {pid} of attempt {orphan.attempt.number} of the run {orphan.record.run_key!r} is still there "
                f"after {CANCELS} cancels.",
                hint="End the process that holds it open, if there is one, and sweep again.",
                details={"pid": pid},
            )
            look.problem(SweepStep.CANCEL, error)
        details["gone"] = len(gone)
    return gone


def _cancel(look: Look, orphan: Orphan) -> Flow[bool]:
    assert look.session is not None
    try:
        identity = SessionIdentity(orphan.attempt.session, orphan.attempt.environment)
        yield from call(look.session.cancel_session, identity)
    except MzOrchestrationError as error:
        look.problem(SweepStep.CANCEL, error)
        return False
    return True


def remove_folder(look: Look, folder: AttemptFolder, item: SweptFolder) -> Flow[SweptFolder | KeptFolder]:
    """Judge an abandoned attempt anew and remove what is there of it; errors become problems."""
    try:
        return (yield from _remove(look, folder, item))
    except RunConflictError:
        look.context.note(SweepStep.REMOVE, f"another process has gone on with {folder.location}: it is kept")
        return KeptFolder(str(folder.location), Fate.LIVE, "another process has gone on with its run")
    except MzOrchestrationError as error:
        look.problem(SweepStep.REMOVE, error)
        return item


def _remove(look: Look, folder: AttemptFolder, item: SweptFolder) -> Flow[SweptFolder | KeptFolder]:
    store = look.context.store
    folder = yield from _look_again(look, folder)
    stored = yield from call(find_run, look.runs(folder.base), folder)
    attempt = folder.attempt(stored.record) if stored else None
    session = (yield from look.ask(attempt)) if attempt else SessionState.UNKNOWN
    verdict = judge(folder, stored.record if stored else None, session, look.context.clock.now(), look.older_than)
    if verdict.fate is not Fate.REMOVE:
        look.context.note(SweepStep.REMOVE, f"{folder.location} is kept: {verdict.why}")
        return KeptFolder(str(folder.location), verdict.fate, verdict.why)
    if stored is not None and attempt is not None and attempt.open:
        yield from _abandon(look, folder, stored)
        folder = yield from _look_again(look, folder)
        if folder.finished:
            # Who went on with it cannot write it down any more, but its files may be in use.
            return KeptFolder(str(folder.location), Fate.FINISHED, "it has just been finished")
    yield from call(abort_uploads, store, folder)
    yield from call(delete_objects, store, folder)
    look.context.note(SweepStep.REMOVE, f"removed {folder.location}: {verdict.why}")
    return replace(item, files=len(folder.objects), bytes=folder.size, uploads=len(folder.uploads), done=True)


def _abandon(look: Look, folder: AttemptFolder, stored: StoredRun) -> Flow[None]:
    """Take the attempt away from whoever may still want to go on with it: their next write conflicts with this one."""
    attempt = folder.attempt(stored.record)
    assert attempt is not None
    # When it was last seen to move, so that a sweep that is killed here finds it as old as this one did.
    attempt.finished_at = folder.last_sign(stored.record)
    attempt.error = ExportError(
        f"Swept: it was left in state {attempt.state}.", hint="Run the same command again with the same run key."
    ).to_dict()
    attempt.state = AttemptState.ABANDONED
    yield from call(look.runs(folder.base).save, stored, look.context.clock.now())


def _look_again(look: Look, folder: AttemptFolder) -> Flow[AttemptFolder]:
    objects = yield from call(look.context.store.list_objects, folder.location)
    # Where uploads cannot be listed, that has been said already.
    uploads = (yield from call(look.context.store.list_uploads, folder.location)) if look.uploads_listed else []
    return look_again(folder, objects, uploads)


def abort_stale_uploads(look: Look, uploads: Sequence[SweptUpload]) -> Flow[list[SweptUpload]]:
    """Abort uploads into finished folders, one by one; errors become problems."""
    done = []
    for item in uploads:
        at = Location(look.scan.root.bucket, item.url.partition("://")[2].partition("/")[2], look.scan.root.scheme)
        try:
            yield from call(look.context.store.abort_upload, at, item.upload_id)
            done.append(replace(item, done=True))
        except MzOrchestrationError as error:
            look.problem(SweepStep.REMOVE, error)
            done.append(item)
    return done
