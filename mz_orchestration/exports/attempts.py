"""One attempt at an export: written down before its COPY begins, and again when it ends."""

from __future__ import annotations

from mz_orchestration.errors import ConnectionLostError, ExportError
from mz_orchestration.exports.context import ExportContext, ExportStep, HeldRead
from mz_orchestration.exports.give_up import give_up
from mz_orchestration.exports.paths import attempt_location
from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.exports.statements import copy_statement, count_statement, read_statement
from mz_orchestration.exports.statistics import described
from mz_orchestration.exports.statistics.materialize import read_statistics, statistics_statement
from mz_orchestration.exports.verify import prepare_reader
from mz_orchestration.flow import Flow, call
from mz_orchestration.materialize.encode_hint import encode_hint
from mz_orchestration.materialize.session import Session
from mz_orchestration.materialize.types import Column
from mz_orchestration.runs.key import run_key_hash
from mz_orchestration.runs.record import Attempt, AttemptState
from mz_orchestration.runs.store import RunStore, StoredRun


def session_tag(run_key: str) -> str:
    """The name that sessions of a run give their application, for people who look at Materialize's activity."""
    return f"mz-orchestration {run_key_hash(run_key)[:8]}"


def new_attempt(
    stored: StoredRun,
    session: Session,
    spec: ExportSpec,
    columns: list[Column],
    runs: RunStore,
    context: ExportContext,
    held: HeldRead | None,
) -> Flow[None]:
    """Path, session and timestamp written down; then COPY; then its answer written down.

    Raises:
        ConnectionLostError: The record keeps saying that it runs, because it may.
    """
    copier = held.holder if held is not None and held.in_transaction and held.holder is not None else session
    try:
        yield from _begin(stored, session, copier, spec, columns, runs, context, held)
        yield from _copy(stored, copier, spec, columns, runs, context, held)
    finally:
        if held is None:
            yield from call(session.end_read)


def _begin(
    stored: StoredRun,
    session: Session,
    copier: Session,
    spec: ExportSpec,
    columns: list[Column],
    runs: RunStore,
    context: ExportContext,
    held: HeldRead | None,
) -> Flow[None]:
    now = context.clock.now()
    number = len(stored.record.attempts) + 1
    with context.step(ExportStep.RECORD, f"write down attempt {number}"):
        identity = (held.identity if held is not None else None) or (yield from call(session.identity))
        cluster = spec.cluster or (yield from call(session.cluster))
        reading = (yield from call(session.begin_read, read_statement([spec]))) if held is None else held.reading
        stored.record.attempts.append(
            Attempt(
                number=number,
                path=str(attempt_location(spec.base, spec.folder_name, stored.record.run_key, number, now)),
                state=AttemptState.STARTED,
                pid=copier.backend_pid,
                session=identity.session,
                environment=identity.environment,
                tag=session_tag(stored.record.run_key),
                started_at=now,
                deadline_at=spec.deadline(now),
                columns=described(columns),
                cluster=cluster,
                server=reading.version,
                timestamp=reading.timestamp,
            )
        )
        yield from call(runs.save, stored, context.clock.now())


def _copy(
    stored: StoredRun,
    session: Session,
    spec: ExportSpec,
    columns: list[Column],
    runs: RunStore,
    context: ExportContext,
    held: HeldRead | None,
) -> Flow[None]:
    attempt = stored.record.attempts[-1]
    as_of = attempt.timestamp if held is not None and not held.in_transaction else None
    began = context.clock.monotonic()
    left = spec.timeout
    if spec.format == "parquet":
        prepare_reader()
    with context.step(ExportStep.COPY, f"COPY {spec.object} TO {attempt.path}") as details:
        try:
            if context.policy.count or context.policy.statistics:
                # By the session that holds the timestamp: its transaction reads there, and nowhere else.
                counter = held.holder if held is not None and held.holder is not None else session
                yield from _look(attempt, counter, spec, columns, context)
                yield from call(runs.save, stored, context.clock.now())
                left -= context.clock.monotonic() - began
            attempt.copied = yield from call(
                session.copy_to,
                copy_statement(spec, columns, attempt.path, as_of),
                timeout=left,
            )
        except ConnectionLostError:
            # The export may be running on: the record must keep saying so until somebody has looked at the path.
            raise
        except BaseException as error:
            # Under an event loop the statement's thread does not learn that its caller has gone.
            if not (yield from call(session.cancel)):
                context.note(ExportStep.COPY, "the COPY does not react to cancelling and may still be running")
                raise
            context.note(ExportStep.COPY, "the COPY has ended")
            if isinstance(error, ExportError):
                error.hint = encode_hint(error.message, columns) or error.hint
            yield from give_up(stored, AttemptState.FAILED, error, runs, context)
            raise
        details["copied"] = attempt.copied
        attempt.state, attempt.copied_at = AttemptState.COPIED, context.clock.now()
        yield from call(runs.save, stored, attempt.copied_at)


def _look(
    attempt: Attempt, counter: Session, spec: ExportSpec, columns: list[Column], context: ExportContext
) -> Flow[None]:
    """What the policy wants to know of the rows before they are copied, written into the attempt; one statement."""
    if not context.policy.statistics:
        attempt.counted = yield from call(counter.count, count_statement(spec), timeout=spec.timeout)
        return
    row = yield from call(counter.aggregate, statistics_statement(spec, columns), timeout=spec.timeout)
    attempt.counted, statistics = read_statistics(row, columns)
    attempt.columns = described(columns, statistics)
