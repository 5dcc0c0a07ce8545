"""One run of an export at a time, for callers that want that: a schedule faster than its exports.

Whoever is about to begin takes the export's *turn*, an object written by conditional put: of two that begin together
one gets it, whatever their clocks say. A turn belongs to a session with Materialize and lasts as long as that session;
it needs no clearing up after a kill, and a COPY that runs on without its client still has it. Runs that did not ask
for a turn are found by their records.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from mz_orchestration.errors import AlreadyRunningError, DeadlineError, NotFoundError, WrongEnvironmentError
from mz_orchestration.exports.context import ExportContext, ExportStep
from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.flow import Flow, call, sleep
from mz_orchestration.materialize.session import Session, SessionIdentity
from mz_orchestration.objectstore.client import PreconditionFailed
from mz_orchestration.runs.store import RunStore

TURNS_FOLDER = ".turns"
POLL = 5.0
# A record that nobody has written for longer than any export may take is no sign of life.
_LOOK_BACK = timedelta(days=1)


class Turn(BaseModel):
    """Whose turn it is.

    Attributes:
        run_key: The run's.
        session: Id of its session with Materialize.
        environment: Id of that Materialize.
        taken_at: When it was taken, by the taker's clock.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_key: str
    session: str
    environment: str
    taken_at: AwareDatetime

    @property
    def identity(self) -> SessionIdentity:
        """By what its session can be found."""
        return SessionIdentity(self.session, self.environment)


@dataclass(frozen=True, slots=True)
class _Other:
    run_key: str
    since: datetime


def take_turn(spec: ExportSpec, run_key: str, session: Session, context: ExportContext) -> Flow[None]:
    """Return once it is this run's turn, by the policy; at once if the policy is not to look.

    Costs one GET and one PUT, a listing of the export's run records, and one GET for each that was written lately.

    Args:
        spec: The export.
        run_key: The run that wants to begin.
        session: The session whose life the turn lasts.
        context: What to work with.

    Raises:
        AlreadyRunningError: Another run is in progress, and the policy is not to wait.
        DeadlineError: It did not end within the export's time-out.
    """
    if context.policy.if_running is None:
        return
    holder = yield from call(session.identity)
    deadline = context.clock.monotonic() + spec.timeout
    noted = ""
    while True:
        other = yield from _other(spec, run_key, session, holder, context)
        if other is None:
            return
        cancel = cancel_command(other.run_key, spec)
        if context.policy.if_running in ("skip", "fail"):
            raise AlreadyRunningError(
                f"The run {other.run_key!r} of {spec.object} has been in progress since "
                f"{other.since:%Y-%m-%d %H:%M:%S} UTC.",
                hint=f"Let it finish, or stop it: {cancel}",
            )
        if context.clock.monotonic() >= deadline:
            raise DeadlineError(
                f"The run {other.run_key!r} of {spec.object} did not end within {spec.timeout:g} seconds.",
                hint=f"Let it finish, or stop it: {cancel}",
            )
        if noted != other.run_key:
            noted = other.run_key
            context.note(ExportStep.PLAN, f"waiting for the run {other.run_key!r}, in progress since {other.since}")
        yield from sleep(POLL)


def cancel_command(run_key: str, spec: ExportSpec) -> str:
    """The command line that stops a run."""
    return shlex.join(["mz-orchestration", "runs", "cancel", run_key, "--at", spec.to])


def _other(
    spec: ExportSpec, run_key: str, session: Session, holder: SessionIdentity, context: ExportContext
) -> Flow[_Other | None]:
    at = spec.base.child(f"{TURNS_FOLDER}/{spec.folder_name}.json")
    now = context.clock.now()
    mine = Turn(run_key=run_key, session=holder.session, environment=holder.environment, taken_at=now)
    while True:
        turn, etag = None, None
        try:
            body, etag = yield from call(context.store.get, at)
            turn = Turn.model_validate_json(body)
        except NotFoundError as error:
            if error.details.get("code") == "NoSuchBucket":
                raise
        except ValidationError:
            context.note(ExportStep.PLAN, f"{at} is nothing of ours and is replaced")
        if turn is not None and turn.identity == holder:
            break
        if turn is not None and (yield from _is_active(turn.identity, session)):
            return _Other(turn.run_key, turn.taken_at)
        try:
            yield from call(
                context.store.put, at, mine.model_dump_json(indent=1).encode(), if_match=etag, create=etag is None
            )
            break
        except PreconditionFailed:
            continue
    since = now - max(_LOOK_BACK, now - spec.earliest(now))
    runs = RunStore(context.store, spec.base)
    for record in (yield from call(runs.written_since, spec.folder_name, since)):
        if record.run_key == run_key or not record.attempts:
            continue
        attempt = record.attempts[-1]
        identity = SessionIdentity(attempt.session, attempt.environment)
        if attempt.open and identity != holder and (yield from _is_active(identity, session)):
            return _Other(record.run_key, attempt.started_at)
    return None


def _is_active(identity: SessionIdentity, session: Session) -> Flow[bool]:
    try:
        return (yield from call(session.is_active, identity))
    except WrongEnvironmentError:
        # The same folder, exported to by another Materialize: no run of this export.
        return False
