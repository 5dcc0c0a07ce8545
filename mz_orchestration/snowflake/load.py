"""The load: check the manifest, copy into a staging table, reconcile, publish in one atomic step, record.

Nothing touches the target before all counts agree. A process may be killed between any two statements: staging tables
have names of their own, what was published is in the ledger or in the table's mark, and the run record says where to
look, so the next call either finds the work done, takes it over, or starts it anew without loading twice.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from mz_orchestration.errors import (
    ConfigurationError,
    CredentialsError,
    LoadError,
    MzOrchestrationError,
    NotFoundError,
    UnavailableError,
)
from mz_orchestration.exports.latest import open_manifest
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.stored_manifest import check_against_store
from mz_orchestration.exports.verify_level import VerifyLevel
from mz_orchestration.flow import Clock, Flow, arun, call, run, sleep
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import parse_folder, parse_location
from mz_orchestration.progress import OnEvent, ignore
from mz_orchestration.runs.record import LoadEntry, LoadState
from mz_orchestration.runs.store import RunStore, StoredRun
from mz_orchestration.snowflake import ledger
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.job import Job, LoadContext, LoadStep, session_opener
from mz_orchestration.snowflake.names import new_load_id
from mz_orchestration.snowflake.orphans import open_transactions, running_statements, undo_transactions
from mz_orchestration.snowflake.plan import LoadPlan, plan_load
from mz_orchestration.snowflake.publish import (
    publish_by_insert,
    publish_by_merge,
    publish_by_rename,
    publish_by_swap,
    replace_in_place,
)
from mz_orchestration.snowflake.quoting import identifier
from mz_orchestration.snowflake.reconcile import reconcile
from mz_orchestration.snowflake.schema import definition
from mz_orchestration.snowflake.session import SnowflakeSession, require_connector
from mz_orchestration.snowflake.spec import LoadSpec, Strategy
from mz_orchestration.snowflake.staging import Rows, drop_staging, fill_staging, take_over
from mz_orchestration.snowflake.standing import Look, Standing, look_at_target

# Seconds that nothing must happen in the open transaction of another process until it is undone.
_GRACE, _LOOK_EVERY = 3.0, 0.5


@dataclass(frozen=True, slots=True)
class LoadResult:
    """A finished load.

    Attributes:
        target: Qualified, quoted name of the table.
        strategy: How the target got the rows.
        rows: Rows loaded, now or before; equal to the rows in the files and, where known, to Materialize's own count.
        query_ids: Snowflake's ids of the COPY INTO statements; empty if nothing was copied.
        repeated: The target has had this manifest before; nothing was done now.
        superseded: The target has had another manifest since (with ``repeated``), or it has never had this one and
            holds a later export of the same object (``rows`` is 0); nothing was done now.
        seconds: Duration of this call.
    """

    target: str
    strategy: Strategy
    manifest: Manifest
    rows: int
    query_ids: tuple[str, ...]
    repeated: bool
    superseded: bool
    seconds: float

    def to_metadata(self) -> dict[str, int | float | str]:
        """Small values for XCom and asset events."""
        manifest = self.manifest
        return {
            "target": self.target,
            "strategy": self.strategy.value,
            "manifest": str(manifest.location),
            "run_key": manifest.run_key,
            "rows_copied": "unknown" if manifest.copied is None else manifest.copied,
            "rows_in_files": manifest.rows,
            "rows_loaded": self.rows,
            "files": len(manifest.files),
            "query_ids": ",".join(self.query_ids),
            "repeated": int(self.repeated),
            "superseded": int(self.superseded),
            "seconds": round(self.seconds, 3),
        }


def run_load(
    spec: LoadSpec,
    *,
    snowflake: SnowflakeConfig | None = None,
    store: ObjectStore | None = None,
    on_event: OnEvent = ignore,
    clock: Clock | None = None,
) -> LoadResult:
    """Load a manifest's files into a table; safe to call again.

    Args:
        spec: What to load, through which stage, into which table, and how.
        snowflake: How to sign in; ``SNOWFLAKE_*`` by default.
        store: The object store that holds the manifest; boto3's environment by default.
        on_event: Told of every step.
        clock: The time to live in.

    Raises:
        MzOrchestrationError: Its class, ``retryable`` and ``hint`` say what to do. The table is as it was.
    """
    clock = clock or Clock()
    return run(load_flow(spec, load_context(spec, snowflake, store, on_event, clock)), clock)


async def arun_load(
    spec: LoadSpec,
    *,
    snowflake: SnowflakeConfig | None = None,
    store: ObjectStore | None = None,
    on_event: OnEvent = ignore,
) -> LoadResult:
    """`run_load` on an event loop; while a statement is waited for no thread is."""
    return await arun(load_flow(spec, load_context(spec, snowflake, store, on_event)))


def load_context(
    spec: LoadSpec,
    snowflake: SnowflakeConfig | None = None,
    store: ObjectStore | None = None,
    on_event: OnEvent = ignore,
    clock: Clock | None = None,
) -> LoadContext:
    """What the loads of a caller work with.

    Raises:
        ConfigurationError: The connector is not installed, or the settings are wrong.
    """
    require_connector()
    config = snowflake or SnowflakeConfig.from_environment()

    # Beyond our own deadline: Snowflake ends what nobody is left to abort.
    opener = session_opener(config, timeout=spec.timeout + 60)
    context = LoadContext(clock or Clock(), on_event, opener, store or ObjectStore(), config.host)
    for warning in config.warnings():
        context.note(LoadStep.READ, warning)
    return context


def load_flow(spec: LoadSpec, context: LoadContext) -> Flow[LoadResult]:
    """The load as a flow; see `run_load`."""
    began = context.clock.monotonic()
    manifest, runs, stored = yield from _read(spec, context)
    tag = {"run_key": manifest.run_key, "object": manifest.object, "target": spec.table, "manifest": manifest.sha256}
    session = yield from call(context.open_session, tag)
    try:
        plan, look, earlier = yield from _check(spec, manifest, runs, stored, session, context)
        load = look.standing in (Standing.ABSENT, Standing.CHANGED)
        entry = earlier if earlier and not load else _entry(spec, plan, earlier, context)
        job = Job(spec, manifest, plan, look, session, entry, runs, context)
        context.on_job(job)
        published = load
        if load:
            published = yield from _recorded(job, earlier)
        if load or _is_done(entry, earlier, look):
            yield from _finish(job)
    finally:
        yield from call(session.close)
    return LoadResult(
        target=plan.label,
        strategy=spec.strategy,
        manifest=manifest,
        rows=0 if look.standing is Standing.OLDER else manifest.rows,
        query_ids=tuple(entry.query_ids),
        repeated=not published and look.standing is not Standing.OLDER,
        superseded=look.standing in (Standing.SUPERSEDED, Standing.OLDER),
        seconds=context.clock.monotonic() - began,
    )


def _read(spec: LoadSpec, context: LoadContext) -> Flow[tuple[Manifest, RunStore, StoredRun | None]]:
    with context.step(LoadStep.READ, "read the manifest and compare it with the store") as details:
        location = parse_location(spec.manifest, field="manifest")
        manifest = yield from call(open_manifest, context.store, location)
        if manifest.verified is VerifyLevel.LISTING:
            raise ConfigurationError(
                f"The files of {manifest.path} were only listed: how many rows each holds is not known.",
                hint="Export with --verify footers, or full, to load it.",
            )
        runs = RunStore(context.store, parse_folder(manifest.base, field="base"))
        stored = yield from call(runs.find, manifest.export, manifest.run_key)
        if stored is None:
            context.note(LoadStep.READ, "no run record vouches for this manifest; the files themselves are counted")
        recorded = stored.record.manifest if stored else None
        for warning in (yield from call(check_against_store, context.store, manifest, recorded)):
            context.note(LoadStep.READ, warning)
        details.update(rows=manifest.rows, files=len(manifest.files))
    return manifest, runs, stored


def _check(
    spec: LoadSpec,
    manifest: Manifest,
    runs: RunStore,
    stored: StoredRun | None,
    session: SnowflakeSession,
    context: LoadContext,
) -> Flow[tuple[LoadPlan, Look, LoadEntry | None]]:
    with context.step(LoadStep.CHECK, "check the stage and the table"):
        plan = yield from plan_load(spec, manifest, session, context.store, snowflake_host=context.snowflake_host)
        for note in plan.notes:
            context.note(LoadStep.CHECK, note)
        earlier = stored.record.loads.get(plan.label) if stored else None
        if earlier is not None and earlier.state is not LoadState.SUCCEEDED:
            earlier = yield from _settle(earlier, manifest, runs, session, context)
        look = yield from look_at_target(spec, plan, manifest, earlier, session)
        if look.standing is Standing.CHANGED:
            note = f"{plan.label} was changed after this manifest was published; it is loaded again"
            context.note(LoadStep.CHECK, note)
        elif look.standing is Standing.OLDER:
            context.note(LoadStep.CHECK, f"{plan.label} holds a later export of {manifest.object}: nothing is loaded")
        elif look.standing is not Standing.ABSENT:
            context.note(LoadStep.CHECK, f"{plan.label} has had this manifest before: nothing is loaded")
    return plan, look, earlier


def _settle(
    earlier: LoadEntry, manifest: Manifest, runs: RunStore, session: SnowflakeSession, context: LoadContext
) -> Flow[LoadEntry | None]:
    """Undo the transaction that an earlier load has left open, unless somebody is still at work in it.

    Returns:
        How that load stands now.
    """
    open_ids = yield from open_transactions([earlier.load, *earlier.leftovers], session)
    quiet_for = 0.0
    while open_ids and earlier.state is LoadState.STARTED and quiet_for < _GRACE:
        quiet_for = 0.0 if (yield from running_statements(earlier, session)) else quiet_for + _LOOK_EVERY
        yield from sleep(_LOOK_EVERY)
        stored = yield from call(runs.find, manifest.export, manifest.run_key)
        now = stored.record.loads.get(earlier.target) if stored else None
        if now is None or now.load != earlier.load:
            return now
        earlier = now
        open_ids = yield from open_transactions([earlier.load, *earlier.leftovers], session)
    if open_ids:
        yield from undo_transactions(open_ids, session)
        context.note(LoadStep.CHECK, "the open transaction of an earlier process is undone")
    return earlier


def _is_done(entry: LoadEntry, earlier: LoadEntry | None, look: Look) -> bool:
    """Whether an earlier load was published and only its record was not finished.

    One that is open and not in the ledger may be somebody's who was told to load again, and is left alone.
    """
    if entry is not earlier or entry.state is LoadState.SUCCEEDED or look.standing is Standing.OLDER:
        return False
    return look.facts.load_known or (entry.state is LoadState.FAILED and not entry.spec.get("again"))


def _entry(spec: LoadSpec, plan: LoadPlan, earlier: LoadEntry | None, context: LoadContext) -> LoadEntry:
    load = new_load_id()
    in_place = spec.strategy is Strategy.TRANSACTION and plan.found is not None
    left = [] if earlier is None else earlier.leftovers
    once = {"manifest", "stage", "table"}
    kept = (spec.strategy.value, spec.layout.value, plan.found is None, str(definition(plan.columns)))
    return LoadEntry(
        target=plan.label,
        stage=identifier(*plan.stage),
        load=load,
        spec=spec.model_dump(mode="json", exclude=once, exclude_defaults=True),
        shape=hashlib.sha256(repr(kept).encode()).hexdigest()[:16],
        state=LoadState.STARTED,
        started_at=context.clock.now(),
        staging="" if in_place else plan.staging(load)[2],
        leftovers=left if in_place else [*left, load],
    )


def _recorded(job: Job, earlier: LoadEntry | None) -> Flow[bool]:
    """Load and publish; a failure is written into the run record."""
    entry = job.entry
    try:
        return (yield from _load(job, earlier))
    except UnavailableError as error:
        # What was begun goes on without us, and whoever comes next takes it over.
        entry.error = error.to_dict()
        yield from _save_failure(job, LoadState.STARTED if entry.query_ids or entry.publish_ids else LoadState.FAILED)
        raise
    except ConfigurationError as error:
        entry.error = error.to_dict()
        if not entry.query_ids and not entry.publish_ids and len(entry.leftovers) < 2:
            # A mistake in a name, say: the run is not red for good because of it.
            yield from _forget(job)
        else:
            yield from _save_failure(job, LoadState.FAILED)
        raise
    except BaseException as error:
        if isinstance(error, MzOrchestrationError) and (yield from job.cancelled()):
            raise LoadError(
                f"The load into {entry.target} was cancelled from another process.",
                hint="Run the same command again to start over.",
            ) from error
        interrupted = LoadError(f"Interrupted by {type(error).__name__}.", retryable=True)
        entry.error = (error if isinstance(error, MzOrchestrationError) else interrupted).to_dict()
        yield from _save_failure(job, LoadState.FAILED)
        raise


def _forget(job: Job) -> Flow[None]:
    now = job.context.clock.now()
    try:
        yield from call(job.runs.remove_load, job.manifest.export, job.manifest.run_key, job.entry, now)
    except MzOrchestrationError as unsaved:
        job.context.note(LoadStep.FINISH, f"the run record could not be updated: {unsaved.message}")


def _save_failure(job: Job, state: LoadState) -> Flow[None]:
    job.entry.state = state
    job.entry.finished_at = None if state is LoadState.STARTED else job.context.clock.now()
    try:
        yield from job.save()
    except MzOrchestrationError as unsaved:
        job.context.note(LoadStep.FINISH, f"the run record could not be updated: {unsaved.message}")


def _load(job: Job, earlier: LoadEntry | None) -> Flow[bool]:
    strategy, context = job.spec.strategy, job.context
    yield from _prepare_ledger(job)
    if strategy is Strategy.TRANSACTION and job.plan.found is not None:
        yield from job.save(begins=True)
        with context.step(LoadStep.COPY, f"replace the rows of {job.plan.label} in one transaction"):
            return (yield from replace_in_place(job, lambda rows: _reconcile(job, job.plan.table, rows)))
    rows = (yield from take_over(job, earlier)) if earlier is not None else None
    if rows is None:
        rows = yield from fill_staging(job)
    yield from _reconcile(job, job.staging, rows)
    with context.step(LoadStep.PUBLISH, f"publish as {job.plan.label}"):
        if job.plan.found is None:
            return (yield from publish_by_rename(job))
        if strategy is Strategy.SWAP:
            return (yield from publish_by_swap(job))
        if strategy is Strategy.MERGE:
            return (yield from publish_by_merge(job))
        return (yield from publish_by_insert(job, overwrite=strategy is Strategy.OVERWRITE))


def _prepare_ledger(job: Job) -> Flow[None]:
    """Make sure that there is a ledger that this role can read, before anything is made that belongs into it.

    Raises:
        ConfigurationError: It belongs to somebody else, or is another table of that name.
    """
    plan = job.plan
    if plan.has_ledger and plan.found is not None:
        return  # read already
    if not plan.has_ledger:
        yield from job.query(ledger.create(plan.ledger))
    try:
        yield from job.query(ledger.read(plan.ledger, plan.label, job.manifest, created=""))
    except (LoadError, NotFoundError, CredentialsError) as error:
        raise ConfigurationError(
            f"{identifier(*plan.ledger)} cannot be used as the ledger of loads: {error.message}",
            hint="Grant SELECT, INSERT and UPDATE on it to the role, or rename the table that is in its place.",
        ) from error


def _reconcile(job: Job, table: tuple[str, ...], rows: Rows) -> Flow[None]:
    with job.context.step(LoadStep.RECONCILE, "compare the counts") as details:
        details["rows_loaded"] = yield from reconcile(job, table, rows)


def _finish(job: Job) -> Flow[None]:
    entry, context = job.entry, job.context
    with context.step(LoadStep.FINISH, "finish the run record"):
        for load in entry.leftovers:
            yield from drop_staging(job, load)
        entry.leftovers = []
        entry.state, entry.rows, entry.error = LoadState.SUCCEEDED, job.manifest.rows, None
        entry.finished_at = context.clock.now()
        yield from job.save()
