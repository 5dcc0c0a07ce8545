"""Loads that are started, looked at and cancelled by different callers, or by one caller that does not wait.

`start_load` returns once the first long statement is on its way. Its `LoadHandle` is small JSON: any process can poll
or cancel with it. `run_load` with the same spec finds the work done, takes over a COPY INTO that Snowflake has gone on
with, or starts anew.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from mz_orchestration.errors import LoadError, NotFoundError, VerificationError
from mz_orchestration.flow import Clock, Flow, arun, call, run, sleep
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import parse_folder
from mz_orchestration.progress import OnEvent, ignore
from mz_orchestration.runs.record import LoadEntry, LoadState, RunRecord
from mz_orchestration.runs.store import RunStore
from mz_orchestration.snowflake import statements
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.job import Job, LoadContext, LoadStep, session_opener
from mz_orchestration.snowflake.load import load_context, load_flow
from mz_orchestration.snowflake.names import is_load_id, staging_name
from mz_orchestration.snowflake.orphans import open_transactions, running_statements, undo_transactions
from mz_orchestration.snowflake.quoting import Name, parse_name
from mz_orchestration.snowflake.session import require_connector
from mz_orchestration.snowflake.spec import LoadSpec

# Seconds that an aborted statement, and then whoever waits for it, get to end.
_ENDS_WITHIN, _OWNERS_TURN = 30, 3


class LoadHandle(BaseModel):
    """Names one load, for whoever wants to look at it or end it. It holds no credentials.

    Attributes:
        base: Folder that holds the runs.
        export: The export's name, by which the run record is found.
        run_key: The logical run of the export.
        target: Qualified, quoted name of the table.
        load: The load's id.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str
    export: str
    run_key: str
    target: str
    load: str


class LoadHandleState(StrEnum):
    """How a load stands."""

    RUNNING = "running"  # Snowflake works on a statement of it
    ENDED = "ended"  # its last statement has ended; unless somebody goes on with it, run_load does
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REPLACED = "replaced"  # another load of the manifest into the target has taken its place


@dataclass(frozen=True, slots=True)
class LoadStatus:
    """The answer to a poll.

    Attributes:
        state: How the load stands.
        query_ids: Snowflake's ids of its long statements so far.
        rows: Rows loaded, once it has succeeded.
        error: `MzOrchestrationError.to_dict` of what ended it, if it failed.
    """

    state: LoadHandleState
    query_ids: tuple[str, ...] = ()
    rows: int | None = None
    error: dict[str, Any] | None = None

    @property
    def done(self) -> bool:
        """Whether polling again will never say anything else."""
        return self.state not in (LoadHandleState.RUNNING, LoadHandleState.ENDED)


def load_handles(record: RunRecord) -> list[LoadHandle]:
    """The handles of a run's loads, one for each target."""
    base = str(record.spec["to"])
    return [_handle(base, record.export, record.run_key, entry) for entry in record.loads.values()]


def _handle(base: str, export: str, run_key: str, entry: LoadEntry) -> LoadHandle:
    return LoadHandle(base=base, export=export, run_key=run_key, target=entry.target, load=entry.load)


def start_load(
    spec: LoadSpec,
    *,
    snowflake: SnowflakeConfig | None = None,
    store: ObjectStore | None = None,
    on_event: OnEvent = ignore,
) -> LoadHandle:
    """Start a load in the background of this process and return once Snowflake works on its first long statement.

    Where there is nothing to do, the handle is that of the load that has done it.

    Raises:
        MzOrchestrationError: It ended before that.
        NotFoundError: The manifest has no run record, so nobody else could find the load.
    """
    begun = threading.Event()
    jobs: list[Job] = []
    failure: list[BaseException] = []

    def keep(job: Job) -> None:
        jobs.append(job)
        if job.entry.query_ids or job.entry.publish_ids:
            begun.set()

    context = replace(load_context(spec, snowflake, store, on_event), on_job=keep)

    def work() -> None:
        try:
            run(load_flow(spec, context))
        except BaseException as error:
            # The run record says how it ended; only what came before it is for the caller.
            failure.append(error)
        finally:
            begun.set()

    threading.Thread(target=work, name=f"load-{spec.table}", daemon=True).start()
    begun.wait()
    if not jobs or (failure and not jobs[-1].entry.query_ids):
        raise failure[0]
    manifest, entry = jobs[-1].manifest, jobs[-1].entry
    handle = _handle(manifest.base, manifest.export, manifest.run_key, entry)
    if run(_find(handle, context.store)) is None:
        raise NotFoundError(
            f"The run {manifest.run_key!r} of {manifest.object} has no record, so its load cannot be found again.",
            hint="Use run_load, which waits.",
        )
    return handle


async def astart_load(spec: LoadSpec, **arguments: Any) -> LoadHandle:
    """`start_load` on an event loop."""

    def start() -> Flow[LoadHandle]:
        return (yield from call(start_load, spec, **arguments))

    return await arun(start())


def poll_load(
    handle: LoadHandle, *, snowflake: SnowflakeConfig | None = None, store: ObjectStore | None = None
) -> LoadStatus:
    """How a load stands: one request to the store and, unless it has ended, one session."""
    return run(poll_flow(handle, _context(snowflake, store)))


async def apoll_load(
    handle: LoadHandle, *, snowflake: SnowflakeConfig | None = None, store: ObjectStore | None = None
) -> LoadStatus:
    """`poll_load` on an event loop."""
    return await arun(poll_flow(handle, _context(snowflake, store)))


def cancel_load(
    handle: LoadHandle,
    *,
    snowflake: SnowflakeConfig | None = None,
    store: ObjectStore | None = None,
    on_event: OnEvent = ignore,
) -> bool:
    """Abort a load's statement and undo its transaction, from any process. The target stays as it was.

    Returns:
        Whether it was stopped; False if it had ended before.
    """
    return run(cancel_flow(handle, _context(snowflake, store, on_event)))


async def acancel_load(
    handle: LoadHandle, *, snowflake: SnowflakeConfig | None = None, store: ObjectStore | None = None
) -> bool:
    """`cancel_load` on an event loop."""
    return await arun(cancel_flow(handle, _context(snowflake, store)))


def _context(snowflake: SnowflakeConfig | None, store: ObjectStore | None, on_event: OnEvent = ignore) -> LoadContext:
    require_connector()
    config = snowflake or SnowflakeConfig.from_environment()
    return LoadContext(Clock(), on_event, session_opener(config), store or ObjectStore(), config.host)


def poll_flow(handle: LoadHandle, context: LoadContext) -> Flow[LoadStatus]:
    """`poll_load` as a flow."""
    entry = yield from _find(handle, context.store)
    if entry is None or entry.load != handle.load:
        return LoadStatus(LoadHandleState.REPLACED)
    ids = (*entry.query_ids, *entry.publish_ids)
    if entry.state is LoadState.SUCCEEDED:
        return LoadStatus(LoadHandleState.SUCCEEDED, ids, entry.rows)
    if entry.state is LoadState.FAILED:
        return LoadStatus(LoadHandleState.FAILED, ids, error=entry.error)
    session = yield from call(context.open_session, _tag(handle))
    try:
        running = yield from running_statements(entry, session)
    finally:
        yield from call(session.close)
    return LoadStatus(LoadHandleState.RUNNING if running else LoadHandleState.ENDED, ids)


def cancel_flow(handle: LoadHandle, context: LoadContext) -> Flow[bool]:
    """`cancel_load` as a flow."""
    entry = yield from _find(handle, context.store)
    if entry is None or entry.load != handle.load or entry.state is not LoadState.STARTED:
        return False
    # First the record: whoever works on the load looks at it before it publishes.
    entry.state, entry.finished_at = LoadState.FAILED, context.clock.now()
    entry.error = LoadError(
        "The load was cancelled from another process.", hint="Run the same command again to start over."
    ).to_dict()
    runs = RunStore(context.store, parse_folder(handle.base, field="base"))
    yield from call(runs.put_load, handle.export, handle.run_key, entry, context.clock.now())
    session = yield from call(context.open_session, _tag(handle))
    try:
        for query_id in (yield from running_statements(entry, session)):
            yield from call(session.abort, query_id)
        yield from undo_transactions((yield from open_transactions([handle.load], session)), session)
        if entry.staging:
            # Without its staging table a load that is past its last look at the record cannot publish.
            yield from call(session.query, statements.drop(_staging(handle, entry)))
        for _ in range(_ENDS_WITHIN):
            if not (yield from running_statements(entry, session)):
                break
            yield from sleep(1.0)
    finally:
        yield from call(session.close)
    for _ in range(_OWNERS_TURN):
        yield from sleep(1.0)
        now = yield from _find(handle, context.store)
        if now is None or now.load != handle.load or now.finished_at != entry.finished_at:
            # Its owner has written down how it ended.
            return now is None or now.load != handle.load or now.state is not LoadState.SUCCEEDED
    context.note(LoadStep.FINISH, f"the load into {handle.target} was cancelled")
    return True


def _staging(handle: LoadHandle, entry: LoadEntry) -> Name:
    """The staging table of a load that we are about to drop; never another, whatever the record says.

    Raises:
        VerificationError: The record names no load of ours.
    """
    table = parse_name(entry.target, field="target")
    if not is_load_id(handle.load) or len(table) != 3:
        raise VerificationError(
            f"The run record names {handle.load!r} as a load of {entry.target}, which it cannot be.",
            hint="Somebody has changed the record: look at it, then move it away.",
        )
    return (*table[:2], staging_name(table[2], handle.load))


def _tag(handle: LoadHandle) -> dict[str, str]:
    return {"run_key": handle.run_key, "object": handle.export, "target": handle.target}


def _find(handle: LoadHandle, store: ObjectStore) -> Flow[LoadEntry | None]:
    runs = RunStore(store, parse_folder(handle.base, field="base"))
    stored = yield from call(runs.find, handle.export, handle.run_key)
    return stored.record.loads.get(handle.target) if stored else None
