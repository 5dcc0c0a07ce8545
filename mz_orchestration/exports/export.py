"""The export itself: plan, record, COPY TO, sentinel gone, verify, manifest, record.

Written as a flow, so that `run_export` and an event loop share every decision. A process may be killed between any
two steps: the next call with the same run key returns what is finished, adopts what Materialize completed
meanwhile, or starts the next attempt in a path of its own. A connection that is lost on the way is opened again, and
the attempt adopted in the same manner.
"""

from __future__ import annotations

import json

from pydantic import ValidationError

from mz_orchestration.errors import (
    ConnectionLostError,
    NotFoundError,
    RunConflictError,
    TimestampGoneError,
    UnavailableError,
    VerificationError,
)
from mz_orchestration.exports.attempts import new_attempt, session_tag
from mz_orchestration.exports.context import ExportContext, ExportStep, HeldRead
from mz_orchestration.exports.give_up import give_up
from mz_orchestration.exports.left_behind import adopt
from mz_orchestration.exports.manifest import Manifest, parse_manifest
from mz_orchestration.exports.overlap import take_turn
from mz_orchestration.exports.policy import ExportPolicy
from mz_orchestration.exports.publish import publish
from mz_orchestration.exports.result import ExportResult
from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.exports.statements import describe_statement
from mz_orchestration.exports.statistics import read_described
from mz_orchestration.flow import Clock, Flow, arun, call, run, sleep
from mz_orchestration.materialize.connection import MaterializeConfig
from mz_orchestration.materialize.session import Session
from mz_orchestration.materialize.types import Column, notes, warnings, with_casts
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.progress import OnEvent, ignore
from mz_orchestration.runs.key import record_location
from mz_orchestration.runs.record import Attempt, AttemptState, RunRecord
from mz_orchestration.runs.store import RunStore, StoredRun
from mz_orchestration.validation import describe_validation

# How often a call gets over a lost connection, and for how many seconds it tries to open a new one each time.
LOSSES = 3
RECONNECT = 120.0
_RETRY_EVERY = 5.0


def run_export(
    spec: ExportSpec,
    *,
    run_key: str,
    materialize: MaterializeConfig | None = None,
    store: ObjectStore | None = None,
    policy: ExportPolicy | None = None,
    on_event: OnEvent = ignore,
    clock: Clock | None = None,
) -> ExportResult:
    """Export, verify and write the manifest; safe to call again with the same run key.

    Args:
        spec: What to export, and where to.
        run_key: Names the logical run. A finished run is returned as it is.
        materialize: How to reach Materialize; libpq's environment by default.
        store: The object store; boto3's environment by default.
        policy: How to behave where there is a choice.
        on_event: Told of every step.
        clock: The time to live in.

    Raises:
        MzOrchestrationError: Its class, ``retryable`` and ``hint`` say what to do.
    """
    context = export_context(spec, materialize, store, policy, on_event, clock)
    return run(export_flow(spec, run_key, context), context.clock)


async def arun_export(
    spec: ExportSpec,
    *,
    run_key: str,
    materialize: MaterializeConfig | None = None,
    store: ObjectStore | None = None,
    policy: ExportPolicy | None = None,
    on_event: OnEvent = ignore,
) -> ExportResult:
    """`run_export` on an event loop; cancelling the task cancels the COPY."""
    context = export_context(spec, materialize, store, policy, on_event)
    return await arun(export_flow(spec, run_key, context))


def export_context(
    spec: ExportSpec,
    materialize: MaterializeConfig | None = None,
    store: ObjectStore | None = None,
    policy: ExportPolicy | None = None,
    on_event: OnEvent = ignore,
    clock: Clock | None = None,
) -> ExportContext:
    """What an export works with, from what callers give; see `run_export`."""
    config = (materialize or MaterializeConfig()).model_copy(update={"cluster": spec.cluster} if spec.cluster else {})
    return ExportContext(
        clock or Clock(),
        on_event,
        lambda name: Session(config, application_name=name),
        store or ObjectStore(),
        policy or ExportPolicy(),
    )


def export_flow(
    spec: ExportSpec, run_key: str, context: ExportContext, held: HeldRead | None = None
) -> Flow[ExportResult]:
    """The export as a flow; see `run_export`.

    Args:
        spec: What to export.
        run_key: Names the logical run.
        context: What to work with.
        held: The read that several exports share; None for a read of its own.
    """
    began = context.clock.monotonic()
    runs = RunStore(context.store, spec.base)
    tag = session_tag(run_key)
    with context.step(ExportStep.PLAN, "read the run record and the columns"):
        stored = yield from call(runs.find, spec.folder_name, run_key)
        if stored is not None:
            finished = yield from _finished(stored, spec, run_key, context)
            if finished is not None:
                return ExportResult(
                    finished,
                    attempt=finished.attempt,
                    repeated=True,
                    adopted=False,
                    seconds=context.clock.monotonic() - began,
                )
        session = yield from call(context.open_session, tag)
    losses = 0
    try:
        while True:
            try:
                columns = yield from _columns(spec, session, context, quiet=losses > 0)
                if stored is None:
                    stored = _new_run(spec, run_key, context, held)
                adopted = yield from adopt(stored, session, spec, runs, context)
                if adopted:
                    # What the object looks like by now says nothing about files that were written before.
                    columns = _described(stored.record.attempts[-1])
                else:
                    _refuse_a_late_start(held, spec)
                    if held is None:
                        yield from take_turn(spec, run_key, session, context)
                    yield from new_attempt(stored, session, spec, columns, runs, context, held)
                break
            except ConnectionLostError as error:
                losses += 1
                if losses > LOSSES or (held is not None and held.in_transaction):
                    raise
                context.note(ExportStep.COPY, f"{error.message} Connecting again to see what became of it.")
                yield from call(session.close)
                session = yield from _reconnect(tag, context)
        if adopted:
            try:
                # A sign of life: whoever sweeps, or works on the same run, learns of it.
                yield from call(runs.save, stored, context.clock.now())
            except RunConflictError:
                context.note(ExportStep.PLAN, "the process that seemed to be gone has gone on meanwhile")
                return (yield from export_flow(spec, run_key, context, held))
        manifest = yield from _publish(stored, spec, columns, runs, context)
    finally:
        # Open until now: others see by it that this run is in progress.
        yield from call(session.close)
    return ExportResult(
        manifest,
        attempt=manifest.attempt,
        repeated=False,
        adopted=adopted,
        seconds=context.clock.monotonic() - began,
    )


def _publish(
    stored: StoredRun, spec: ExportSpec, columns: list[Column], runs: RunStore, context: ExportContext
) -> Flow[Manifest]:
    try:
        manifest = yield from publish(stored, spec, columns, context)
    except VerificationError as error:
        # These files will not get better: the next call starts anew in a path of its own.
        yield from give_up(stored, AttemptState.FAILED, error, runs, context)
        raise
    with context.step(ExportStep.FINISH, "finish the run record"):
        attempt = stored.record.attempts[-1]
        attempt.state, attempt.finished_at = AttemptState.SUCCEEDED, context.clock.now()
        stored.record.manifest = manifest.to_data()
        yield from call(runs.save, stored, context.clock.now())
    return manifest


def refuse_another_spec(record: RunRecord, spec: ExportSpec) -> None:
    """A run key stands for one export.

    Raises:
        RunConflictError: The record is that of another; what differs is named.
    """
    if record.spec_fingerprint != spec.fingerprint():
        raise RunConflictError(
            f"The run key {record.run_key!r} was used for a different export of {spec.object} "
            f"({_differences(record.spec, spec)}).",
            hint="Use another run key, or the arguments of the first run.",
        )


def _finished(stored: StoredRun, spec: ExportSpec, run_key: str, context: ExportContext) -> Flow[Manifest | None]:
    refuse_another_spec(stored.record, spec)
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
    changed = [key for key in now if earlier.get(key) != now[key]]
    # A query may hold what belongs in no message.
    return "; ".join(
        "another query" if key == "query" else f"{key}: {earlier.get(key)!r} then, {now[key]!r} now" for key in changed
    )


def _columns(spec: ExportSpec, session: Session, context: ExportContext, *, quiet: bool) -> Flow[list[Column]]:
    described = yield from call(session.describe, describe_statement(spec))
    yield from call(session.check_aws_connection, spec.connection)
    columns = with_casts(described, spec.format, safe=spec.safe_types, casts=spec.casts)
    if not quiet:
        for sentence in (*notes(columns, spec.format), *warnings(columns, spec.format)):
            context.note(ExportStep.PLAN, sentence)
    return columns


def _described(attempt: Attempt) -> list[Column]:
    """The columns as they were when an attempt began.

    Raises:
        VerificationError: The record was changed.
    """
    try:
        return read_described(attempt.columns)[0]
    except ValidationError as error:
        raise VerificationError(
            f"The run record's columns of attempt {attempt.number} cannot be read: {describe_validation(error)}",
            hint="Use another run key.",
        ) from error


def _new_run(spec: ExportSpec, run_key: str, context: ExportContext, held: HeldRead | None) -> StoredRun:
    now = context.clock.now()
    record = RunRecord(
        run_key=run_key,
        export=spec.folder_name,
        object=spec.object,
        spec_fingerprint=spec.fingerprint(),
        spec=spec.model_dump(mode="json"),
        created_at=now,
        updated_at=now,
        policy=context.policy.model_dump(mode="json", exclude_defaults=True),
        group=None if held is None else held.group,
    )
    return StoredRun(record, record_location(spec.base, spec.folder_name, run_key), None)


def _refuse_a_late_start(held: HeldRead | None, spec: ExportSpec) -> None:
    if held is not None and held.holder is None:
        raise TimestampGoneError(
            f"{spec.object} was not exported at the timestamp {held.reading.timestamp}, which nobody holds any more.",
            hint="Run the same command again: all exports start anew at a later timestamp.",
        )


def _reconnect(tag: str, context: ExportContext) -> Flow[Session]:
    """A new session, however long the server takes to come back, within a limit."""
    deadline = context.clock.monotonic() + RECONNECT
    while True:
        try:
            return (yield from call(context.open_session, tag))
        except UnavailableError:
            if context.clock.monotonic() >= deadline:
                raise
        yield from sleep(_RETRY_EVERY)
