"""The export itself: plan, record, COPY TO, sentinel gone, verify, manifest, record.

Written as a flow, so that `run_export` and an event loop share every decision. A process may be killed between any
two steps: the next call with the same run key returns what is finished, adopts what Materialize completed
meanwhile, or starts the next attempt in a path of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mz_orchestration.errors import (
    ExportError,
    MzOrchestrationError,
    NotFoundError,
    RunConflictError,
    UnavailableError,
    VerificationError,
)
from mz_orchestration.exports.manifest import DataFile, Manifest, parse_manifest
from mz_orchestration.exports.paths import attempt_location
from mz_orchestration.exports.result import ExportResult
from mz_orchestration.exports.sentinel import ExportState, Listing, read_listing
from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.exports.statements import copy_statement, describe_statement
from mz_orchestration.exports.stored_manifest import publish_manifest
from mz_orchestration.exports.verify import AGAIN, count_rows, prepare_reader
from mz_orchestration.flow import Clock, Flow, call, run, sleep
from mz_orchestration.materialize.session import MaterializeConfig, Session
from mz_orchestration.materialize.types import Column, warnings, with_casts
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location, parse_folder
from mz_orchestration.progress import OnEvent, Progress, ignore
from mz_orchestration.runs.key import record_location
from mz_orchestration.runs.record import Attempt, AttemptState, RunRecord
from mz_orchestration.runs.store import RunStore, StoredRun

# How long after `COPY n` a listing may still show the sentinel, on stores that list with a delay.
SENTINEL_GRACE = 30.0
# Two listings this far apart must agree before files nobody vouched for count as complete.
SETTLE = 2.0
POLL = 5.0
CANCELS = 30


class ExportStep(StrEnum):
    """The steps of an export, in order; a process may die before or after each."""

    PLAN = "plan"
    RECORD = "record"
    COPY = "copy"
    SENTINEL = "sentinel"
    VERIFY = "verify"
    MANIFEST = "manifest"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class ExportContext(Progress):
    """What an export works with.

    Attributes:
        open_session: Opens a session with Materialize on the export's cluster; called only when one is needed.
        store: The object store the files land in.
    """

    open_session: Callable[[], Session]
    store: ObjectStore


def run_export(
    spec: ExportSpec,
    *,
    run_key: str,
    materialize: MaterializeConfig | None = None,
    store: ObjectStore | None = None,
    on_event: OnEvent = ignore,
    clock: Clock | None = None,
) -> ExportResult:
    """Export, verify and write the manifest; safe to call again with the same run key.

    Args:
        spec: What to export, and where to.
        run_key: Names the logical run. A finished run is returned as it is.
        materialize: How to reach Materialize; libpq's environment by default.
        store: The object store; boto3's environment by default.
        on_event: Told of every step.
        clock: The time to live in.

    Raises:
        MzOrchestrationError: Its class, ``retryable`` and ``hint`` say what to do.
    """
    clock = clock or Clock()
    config = (materialize or MaterializeConfig()).model_copy(update={"cluster": spec.cluster} if spec.cluster else {})
    context = ExportContext(clock, on_event, lambda: Session(config), store or ObjectStore())
    return run(export_flow(spec, run_key, context), clock)


def export_flow(spec: ExportSpec, run_key: str, context: ExportContext) -> Flow[ExportResult]:
    """The export as a flow; see `run_export`."""
    began = context.clock.monotonic()
    runs = RunStore(context.store, spec.base)
    with context.step(ExportStep.PLAN, "read the run record and the columns"):
        stored = yield from call(runs.find, spec.folder_name, run_key)
        if stored is not None:
            finished = yield from _finished(stored, spec, run_key, context)
            if finished is not None:
                return ExportResult(
                    finished,
                    attempt=len(stored.record.attempts),
                    repeated=True,
                    adopted=False,
                    seconds=context.clock.monotonic() - began,
                )
        session = yield from call(context.open_session)
    try:
        columns = yield from _columns(spec, session, context)
        if stored is None:
            stored = _new_run(spec, run_key, context.clock.now())
        adopted = yield from _adopt(stored, session, spec, runs, context)
        if adopted:
            now = yield from call(runs.find, spec.folder_name, run_key)
            if now is not None and now.etag != stored.etag:
                # The process that seemed to be gone was alive and has gone on meanwhile.
                return (yield from export_flow(spec, run_key, context))
        else:
            yield from _attempt(stored, session, spec, columns, runs, context)
    finally:
        session.close()
    try:
        manifest = yield from _verify(stored, spec, columns, context)
    except VerificationError as error:
        # These files will not get better: the next call starts anew in a path of its own.
        yield from _give_up(stored, AttemptState.FAILED, error, runs, context)
        raise
    with context.step(ExportStep.FINISH, "finish the run record"):
        attempt = stored.record.attempts[-1]
        attempt.state, attempt.finished_at = AttemptState.SUCCEEDED, context.clock.now()
        stored.record.manifest = manifest.model_dump(mode="json")
        yield from call(runs.save, stored, context.clock.now())
    return ExportResult(
        manifest,
        attempt=attempt.number,
        repeated=False,
        adopted=adopted,
        seconds=context.clock.monotonic() - began,
    )


def _finished(stored: StoredRun, spec: ExportSpec, run_key: str, context: ExportContext) -> Flow[Manifest | None]:
    if stored.record.spec_fingerprint != spec.fingerprint():
        raise RunConflictError(
            f"The run key {run_key!r} was used for a different export of {spec.object} "
            f"({_differences(stored.record.spec, spec)}).",
            hint="Use another run key, or the arguments of the first run.",
        )
    if stored.record.manifest is None:
        return None
    manifest = parse_manifest(json.dumps(stored.record.manifest), source=str(stored.location))
    try:
        yield from call(context.store.get, manifest.location)
        context.note(ExportStep.PLAN, f"the run {run_key!r} was finished before: nothing is exported")
    except NotFoundError:
        context.note(ExportStep.PLAN, f"the files of {manifest.path} are gone; they are exported again")
        stored.record.manifest = None
        return None
    return manifest


def _differences(earlier: dict[str, object], spec: ExportSpec) -> str:
    now = spec.model_dump(mode="json")
    changed = [f"{key}: {earlier.get(key)!r} then, {now[key]!r} now" for key in now if earlier.get(key) != now[key]]
    return "; ".join(changed)


def _columns(spec: ExportSpec, session: Session, context: ExportContext) -> Flow[list[Column]]:
    described = yield from call(session.describe, describe_statement(spec))
    yield from call(session.check_aws_connection, spec.connection)
    columns = with_casts(described, spec.format)
    for column in columns:
        if column.cast is not None:
            context.note(ExportStep.PLAN, f"{column.name} {column.sql_type} is exported as {column.cast}")
    for warning in warnings(columns, spec.format):
        context.note(ExportStep.PLAN, warning)
    return columns


def _new_run(spec: ExportSpec, run_key: str, now: datetime) -> StoredRun:
    record = RunRecord(
        run_key=run_key,
        export=spec.folder_name,
        object=spec.object,
        spec_fingerprint=spec.fingerprint(),
        spec=spec.model_dump(mode="json"),
        created_at=now,
        updated_at=now,
    )
    return StoredRun(record, record_location(spec.base, spec.folder_name, run_key), None)


def _attempt(
    stored: StoredRun,
    session: Session,
    spec: ExportSpec,
    columns: list[Column],
    runs: RunStore,
    context: ExportContext,
) -> Flow[None]:
    """One new attempt: written down with path and pid, then COPY, then its answer written down."""
    now = context.clock.now()
    number = len(stored.record.attempts) + 1
    folder = attempt_location(spec.base, spec.folder_name, stored.record.run_key, number, now)
    attempt = Attempt(
        number=number,
        path=str(folder),
        state=AttemptState.STARTED,
        pid=session.backend_pid,
        started_at=now,
    )
    with context.step(ExportStep.RECORD, f"write down attempt {number}"):
        stored.record.attempts.append(attempt)
        yield from call(runs.save, stored, now)
    statement = copy_statement(spec, columns, str(folder))
    if spec.format == "parquet":
        prepare_reader()
    with context.step(ExportStep.COPY, f"COPY {spec.object} TO {folder}") as details:
        try:
            attempt.copied = yield from call(session.copy_to, statement, timeout=spec.timeout)
        except UnavailableError:
            # The export may be running on: the record must keep saying so, and the next call looks at the path.
            raise
        except BaseException as error:
            # Under an event loop the statement's thread does not learn that its caller has gone.
            if not (yield from call(session.cancel)):
                context.note(ExportStep.COPY, "the COPY does not react to cancelling and may still be running")
                raise
            context.note(ExportStep.COPY, "the COPY has ended")
            yield from _give_up(stored, AttemptState.FAILED, error, runs, context)
            raise
        details["copied"] = attempt.copied
        attempt.state = AttemptState.COPIED
        yield from call(runs.save, stored, context.clock.now())


def _give_up(
    stored: StoredRun,
    state: AttemptState,
    error: BaseException | None,
    runs: RunStore,
    context: ExportContext,
) -> Flow[None]:
    attempt = stored.record.attempts[-1]
    attempt.state, attempt.finished_at = state, context.clock.now()
    if isinstance(error, MzOrchestrationError):
        attempt.error = error.to_dict()
    elif error is not None:
        attempt.error = ExportError(f"Interrupted by {type(error).__name__}; the COPY was cancelled.").to_dict()
    try:
        yield from call(runs.save, stored, context.clock.now())
    except MzOrchestrationError as unsaved:
        if error is None:
            raise
        # What ended the attempt matters more than that it could not be written down: the next call looks for itself.
        context.note(ExportStep.RECORD, f"the run record could not be updated: {unsaved.message}")


def _adopt(stored: StoredRun, session: Session, spec: ExportSpec, runs: RunStore, context: ExportContext) -> Flow[bool]:
    """Whether the last attempt, left behind by an earlier process, can be finished in place of a new one."""
    attempt = stored.record.attempts[-1] if stored.record.attempts else None
    if attempt is None or attempt.state not in (AttemptState.STARTED, AttemptState.COPIED):
        return False
    folder = parse_folder(attempt.path, field="path")
    context.note(ExportStep.PLAN, f"attempt {attempt.number} was left behind in state {attempt.state}: {folder}")
    deadline = context.clock.monotonic() + spec.timeout
    try:
        adopted = yield from _wait_for_left_behind(attempt, folder, deadline, session, context)
    except MzOrchestrationError:
        raise
    except BaseException as error:
        # Whoever stops this run means its COPY too, although another process began it.
        if (yield from _cancel_left_behind(attempt, session, context)):
            yield from _give_up(stored, AttemptState.FAILED, error, runs, context)
        raise
    if adopted:
        context.note(ExportStep.PLAN, f"Materialize completed attempt {attempt.number}; it is adopted")
        return True
    context.note(ExportStep.PLAN, f"attempt {attempt.number} left nothing to adopt; a new one is started")
    yield from _give_up(stored, AttemptState.ABANDONED, None, runs, context)
    return False


def _wait_for_left_behind(
    attempt: Attempt, folder: Location, deadline: float, session: Session, context: ExportContext
) -> Flow[bool]:
    """Whether the files of a COPY that lost its client are complete, once nobody writes them any more."""
    while True:
        listing = read_listing((yield from call(context.store.list_objects, folder)))
        active = yield from call(session.is_active, attempt.pid, attempt.started_at)
        if listing.state is ExportState.COMPLETE and (attempt.copied is not None or not active):
            yield from sleep(SETTLE if attempt.copied is None else 0)
            if attempt.copied is not None or (
                read_listing((yield from call(context.store.list_objects, folder))) == listing
            ):
                return True
            continue
        if not active:
            return False
        if context.clock.monotonic() >= deadline:
            yield from _cancel_left_behind(attempt, session, context)
            return False
        yield from sleep(POLL)


def _cancel_left_behind(attempt: Attempt, session: Session, context: ExportContext) -> Flow[bool]:
    """Cancel the COPY of another session, repeatedly, until it has ended; whether it has."""
    for _ in range(CANCELS):
        if not (yield from call(session.is_active, attempt.pid, attempt.started_at)):
            context.note(ExportStep.PLAN, f"the COPY of attempt {attempt.number} has ended")
            return True
        yield from call(session.cancel_backend, attempt.pid)
        yield from sleep(1.0)
    context.note(ExportStep.PLAN, f"the COPY of attempt {attempt.number} does not react to cancelling")
    return False


def _verify(stored: StoredRun, spec: ExportSpec, columns: list[Column], context: ExportContext) -> Flow[Manifest]:
    """Sentinel gone, rows counted in the files and compared, manifest written last."""
    attempt = stored.record.attempts[-1]
    folder = parse_folder(attempt.path, field="path")
    with context.step(ExportStep.SENTINEL, "wait for the sentinel to be gone"):
        listing = yield from _settled_listing(folder, context)
    with context.step(ExportStep.VERIFY, "count the rows in the files") as details:
        csv = spec.csv if spec.format == "csv" else None
        rows = yield from call(count_rows, context.store, folder, listing.data, columns, csv)
        details.update(rows=sum(rows), files=len(rows))
        if attempt.copied is not None and sum(rows) != attempt.copied:
            raise VerificationError(
                f"Materialize says it copied {attempt.copied} rows, but the files in {folder} hold {sum(rows)}.",
                hint=AGAIN,
                details={"copied": attempt.copied, "rows": sum(rows)},
            )
    with context.step(ExportStep.MANIFEST, "write the manifest") as details:
        manifest = Manifest(
            run_key=stored.record.run_key,
            export=spec.folder_name,
            object=spec.object,
            base=str(spec.base),
            path=str(folder),
            format=spec.format,
            csv=csv,
            spec_fingerprint=stored.record.spec_fingerprint,
            columns=tuple(columns),
            copied=attempt.copied,
            rows=sum(rows),
            files=tuple(
                DataFile(name=item.key.rpartition("/")[2], bytes=item.size, etag=item.etag, rows=count)
                for item, count in zip(listing.data, rows, strict=True)
            ),
            started_at=attempt.started_at,
            finished_at=context.clock.now(),
        ).hashed()
        manifest = yield from call(publish_manifest, context.store, manifest)
        details["bytes"] = manifest.size
    return manifest


def _settled_listing(folder: Location, context: ExportContext) -> Flow[Listing]:
    deadline = context.clock.monotonic() + SENTINEL_GRACE
    while True:
        listing = read_listing((yield from call(context.store.list_objects, folder)))
        if listing.state is ExportState.COMPLETE or context.clock.monotonic() >= deadline:
            break
        yield from sleep(1.0)
    if listing.state is not ExportState.COMPLETE:
        raise VerificationError(
            f"The COPY ended, but {folder} "
            + ("still holds its sentinel." if listing.state is ExportState.RUNNING else "holds no data file."),
            hint=AGAIN,
        )
    if listing.strangers:
        raise VerificationError(
            f"{folder} holds objects that this export did not write: {', '.join(listing.strangers[:5])}.",
            hint=f"Find out who writes there. {AGAIN}",
        )
    return listing
