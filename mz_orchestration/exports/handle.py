"""Exports that are started, looked at and cancelled by different callers, or by one caller that does not wait.

`start_export` returns once the COPY is on its way. Its `ExportHandle` is small JSON: any process can poll or cancel
with it, and `run_export` with the same spec and run key finishes what has ended. A process that goes away behind
`start_export` leaves a COPY behind that the next `run_export` adopts.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from mz_orchestration.errors import ExportError, NotFoundError
from mz_orchestration.exports.context import ExportContext, ExportStep
from mz_orchestration.exports.export import export_context, export_flow, refuse_another_spec
from mz_orchestration.exports.give_up import give_up
from mz_orchestration.exports.left_behind import cancel_attempt, identity_of
from mz_orchestration.exports.policy import ExportPolicy
from mz_orchestration.exports.sentinel import ExportState, read_listing
from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.flow import Flow, arun, call, run, sleep
from mz_orchestration.materialize.connection import MaterializeConfig
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import parse_folder
from mz_orchestration.progress import Event, OnEvent, ignore
from mz_orchestration.runs.record import Attempt, AttemptState, RunRecord
from mz_orchestration.runs.store import RunStore, StoredRun

# How many seconds whoever owns a cancelled COPY gets to write down how it ended.
_OWNERS_TURN = 3


class ExportHandle(BaseModel):
    """Names one attempt, for whoever wants to look at it or end it.

    It holds no credentials, but the export's query as it was given.

    Attributes:
        run_key: The logical run.
        spec: What is exported.
        attempt: Number of the attempt, from 1.
        path: Its folder.
        pid: Backend of the session that runs the COPY.
        session: Id of that session.
        environment: Id of the Materialize it belongs to.
        tag: Name of that session's application.
        started_at: When it began.
        deadline_at: When its COPY will be cancelled by whoever started it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_key: str
    spec: ExportSpec
    attempt: int
    path: str
    pid: int
    session: str
    environment: str
    tag: str
    started_at: datetime
    deadline_at: datetime | None


class HandleState(StrEnum):
    """How an attempt stands."""

    RUNNING = "running"  # its COPY is being carried out
    ENDED = "ended"  # its files are complete but not verified: run_export with the same run key does that
    SUCCEEDED = "succeeded"  # the manifest is written
    FAILED = "failed"
    LOST = "lost"  # nobody works on it and it left nothing of use: run_export starts the next attempt


@dataclass(frozen=True, slots=True)
class ExportStatus:
    """The answer to a poll.

    Attributes:
        state: How the attempt stands.
        manifest_url: Where its manifest lies, once it has succeeded.
        rows: Rows exported, once known.
        error: `MzOrchestrationError.to_dict` of what ended it, if it failed.
    """

    state: HandleState
    manifest_url: str | None = None
    rows: int | None = None
    error: dict[str, Any] | None = None

    @property
    def done(self) -> bool:
        """Whether polling again will never say anything else."""
        return self.state in (HandleState.SUCCEEDED, HandleState.FAILED)


def handles_of(record: RunRecord) -> list[ExportHandle]:
    """The handles of a run's attempts, in order."""
    spec = ExportSpec.model_validate(record.spec)
    return [
        ExportHandle(
            run_key=record.run_key,
            spec=spec,
            attempt=attempt.number,
            path=attempt.path,
            pid=attempt.pid,
            session=attempt.session,
            environment=attempt.environment,
            tag=attempt.tag,
            started_at=attempt.started_at,
            deadline_at=attempt.deadline_at,
        )
        for attempt in record.attempts
    ]


def handle_of(record: RunRecord) -> ExportHandle:
    """The handle of a run's last attempt.

    Raises:
        NotFoundError: The run has no attempt yet.
    """
    handles = handles_of(record)
    if not handles:
        raise NotFoundError(f"The run {record.run_key!r} of {record.object} has not begun an attempt.")
    return handles[-1]


def start_export(
    spec: ExportSpec,
    *,
    run_key: str,
    materialize: MaterializeConfig | None = None,
    store: ObjectStore | None = None,
    policy: ExportPolicy | None = None,
    on_event: OnEvent = ignore,
) -> ExportHandle:
    """Start an export in the background of this process and return once its COPY is on its way.

    A run that is finished, or whose last attempt is still open, is not started again: its handle is returned.

    Raises:
        MzOrchestrationError: It ended before the COPY began.
    """
    under_way = threading.Event()
    failure: list[BaseException] = []

    def listen(event: Event) -> None:
        on_event(event)
        if event.step is ExportStep.COPY and event.state == "started":
            under_way.set()

    context = export_context(spec, materialize, store, policy, listen)
    runs = RunStore(context.store, spec.base)
    stored = runs.find(spec.folder_name, run_key)
    if stored is not None:
        refuse_another_spec(stored.record, spec)
    if stored is not None and (stored.record.manifest or (stored.record.attempts and stored.record.attempts[-1].open)):
        return handle_of(stored.record)

    def work() -> None:
        try:
            run(export_flow(spec, run_key, context))
        except BaseException as error:
            # The run record says how it ended; only what came before it is for the caller.
            failure.append(error)
        finally:
            under_way.set()

    threading.Thread(target=work, name=f"export-{spec.folder_name}", daemon=True).start()
    under_way.wait()
    if failure:
        raise failure[0]
    stored = runs.find(spec.folder_name, run_key)
    if stored is None:
        raise NotFoundError(f"The record of the run {run_key!r} was removed while it began.")
    return handle_of(stored.record)


def poll_export(
    handle: ExportHandle, *, materialize: MaterializeConfig | None = None, store: ObjectStore | None = None
) -> ExportStatus:
    """How an attempt stands; at most two requests to the store and, while it copies, one session."""
    return run(poll_flow(handle, export_context(handle.spec, materialize, store)))


def cancel_export(
    handle: ExportHandle,
    *,
    materialize: MaterializeConfig | None = None,
    store: ObjectStore | None = None,
    on_event: OnEvent = ignore,
) -> bool:
    """Cancel an attempt's COPY, from any process, repeatedly until it has ended.

    Returns:
        Whether it was stopped; False if it had ended before or does not react.
    """
    return run(cancel_flow(handle, export_context(handle.spec, materialize, store, on_event=on_event)))


async def astart_export(spec: ExportSpec, **arguments: Any) -> ExportHandle:
    """`start_export` on an event loop."""

    def start() -> Flow[ExportHandle]:
        return (yield from call(start_export, spec, **arguments))

    return await arun(start())


async def apoll_export(
    handle: ExportHandle, *, materialize: MaterializeConfig | None = None, store: ObjectStore | None = None
) -> ExportStatus:
    """`poll_export` on an event loop."""
    return await arun(poll_flow(handle, export_context(handle.spec, materialize, store)))


async def acancel_export(
    handle: ExportHandle, *, materialize: MaterializeConfig | None = None, store: ObjectStore | None = None
) -> bool:
    """`cancel_export` on an event loop."""
    return await arun(cancel_flow(handle, export_context(handle.spec, materialize, store)))


def poll_flow(handle: ExportHandle, context: ExportContext) -> Flow[ExportStatus]:
    """`poll_export` as a flow."""
    found = yield from _find(handle, context)
    if found is None:
        return ExportStatus(HandleState.LOST)
    stored, attempt = found
    manifest = stored.record.manifest
    if attempt.state is AttemptState.SUCCEEDED and manifest is not None:
        url = str(parse_folder(attempt.path, field="path").child("_manifest.json"))
        return ExportStatus(HandleState.SUCCEEDED, url, manifest["rows"])
    if not attempt.open:
        return ExportStatus(HandleState.FAILED, error=attempt.error)
    if attempt.copied is not None:
        return ExportStatus(HandleState.ENDED, rows=attempt.copied)
    if (yield from _is_active(attempt, context)):
        return ExportStatus(HandleState.RUNNING)
    folder = parse_folder(attempt.path, field="path")
    listing = read_listing((yield from call(context.store.list_objects, folder)))
    return ExportStatus(HandleState.ENDED if listing.state is ExportState.COMPLETE else HandleState.LOST)


def cancel_flow(handle: ExportHandle, context: ExportContext) -> Flow[bool]:
    """`cancel_export` as a flow."""
    found = yield from _find(handle, context)
    if found is None or found[1].copied is not None or found[1].state is AttemptState.SUCCEEDED:
        return False
    identity = identity_of(found[1])
    session = yield from call(context.open_session, handle.tag)
    try:
        active = yield from call(session.is_active, identity)
        if active and not (yield from cancel_attempt(found[1], session, context, ExportStep.COPY)):
            return False
    finally:
        yield from call(session.close)
    for _ in range(_OWNERS_TURN if active else 0):
        found = yield from _find(handle, context)
        if found is None or not found[1].open:
            return active
        yield from sleep(1.0)
    if found is not None and found[1].open and found[1].number == found[0].record.attempts[-1].number:
        folder = parse_folder(handle.path, field="path")
        listing = read_listing((yield from call(context.store.list_objects, folder)))
        if not active and listing.state is ExportState.COMPLETE:
            context.note(ExportStep.COPY, f"attempt {handle.attempt} has ended; its files wait to be verified")
            return False
        # Nobody is left to write down how it ended.
        how = "was cancelled from another process" if active else "had ended without a result"
        error = ExportError(f"The COPY {how}.", hint="Run the same command again to start over.")
        runs = RunStore(context.store, handle.spec.base)
        yield from give_up(found[0], AttemptState.FAILED, error, runs, context)
    return active


def _find(handle: ExportHandle, context: ExportContext) -> Flow[tuple[StoredRun, Attempt] | None]:
    runs = RunStore(context.store, handle.spec.base)
    stored = yield from call(runs.find, handle.spec.folder_name, handle.run_key)
    if stored is None:
        return None
    for attempt in stored.record.attempts:
        if attempt.number == handle.attempt and attempt.path == handle.path:
            return stored, attempt
    return None


def _is_active(attempt: Attempt, context: ExportContext) -> Flow[bool]:
    session = yield from call(context.open_session, attempt.tag)
    try:
        return (yield from call(session.is_active, identity_of(attempt)))
    finally:
        yield from call(session.close)
