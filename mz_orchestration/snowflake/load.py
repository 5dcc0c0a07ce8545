"""The load: check the manifest, copy into a staging table, reconcile, publish in one atomic step, record.

Nothing touches the target before all counts agree. A process may be killed between any two statements: staging tables
have names of their own, what was published is in the ledger or in the table's mark, and the run record says where to
look, so the next call either finds the work done, takes it over, or starts it anew without loading twice.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from mz_orchestration.errors import ConfigurationError, LoadError, MzOrchestrationError
from mz_orchestration.exports.latest import open_manifest
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.stored_manifest import check_against_store
from mz_orchestration.exports.verify import VerifyLevel
from mz_orchestration.flow import Clock, Flow, arun, call, run
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import parse_folder, parse_location
from mz_orchestration.progress import OnEvent, ignore
from mz_orchestration.runs.record import LoadEntry, LoadState
from mz_orchestration.runs.store import RunStore, StoredRun
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.job import Job, LoadContext, LoadStep, session_opener
from mz_orchestration.snowflake.names import new_load_id
from mz_orchestration.snowflake.orphans import undo_transaction
from mz_orchestration.snowflake.plan import LoadPlan, Look, Standing, look_at_target, plan_load
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


@dataclass(frozen=True, slots=True)
class LoadResult:
    """A finished load.

    Attributes:
        target: Qualified, quoted name of the table.
        strategy: How the target got the rows.
        rows: Rows loaded; equal to the rows in the files and, where known, to Materialize's own count.
        query_ids: Snowflake's ids of the COPY INTO statements; empty if nothing was copied.
        repeated: The target has had this manifest before; nothing was done now.
        superseded: Another manifest has been loaded since; with ``repeated``, and ``rows`` are those of then.
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
        plan, look, earlier = yield from _check(spec, manifest, stored, session, context)
        load = look.standing in (Standing.ABSENT, Standing.CHANGED)
        entry = earlier if earlier and not load else _entry(spec, plan, earlier, context)
        job = Job(spec, manifest, plan, look, session, entry, runs, context)
        context.on_job(job)
        published = load
        if load:
            published = yield from _recorded(job, earlier)
        if entry.state is not LoadState.SUCCEEDED:
            yield from _finish(job)
    finally:
        yield from call(session.close)
    return LoadResult(
        target=plan.label,
        strategy=spec.strategy,
        manifest=manifest,
        rows=manifest.rows,
        query_ids=tuple(entry.query_ids),
        repeated=not published,
        superseded=look.standing is Standing.SUPERSEDED and not load,
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
    spec: LoadSpec, manifest: Manifest, stored: StoredRun | None, session: SnowflakeSession, context: LoadContext
) -> Flow[tuple[LoadPlan, Look, LoadEntry | None]]:
    with context.step(LoadStep.CHECK, "check the stage and the table"):
        plan = yield from plan_load(spec, manifest, session, context.store, snowflake_host=context.snowflake_host)
        for note in plan.notes:
            context.note(LoadStep.CHECK, note)
        earlier = stored.record.loads.get(plan.label) if stored else None
        unfinished = earlier if earlier is not None and earlier.state is LoadState.STARTED else None
        if unfinished is not None and (yield from undo_transaction(unfinished.load, session)):
            context.note(LoadStep.CHECK, "the open transaction of an earlier process is undone")
        look = yield from look_at_target(spec, plan, manifest, earlier, session)
        if look.standing is Standing.CHANGED:
            note = f"{plan.label} was changed after this manifest was published; it is loaded again"
            context.note(LoadStep.CHECK, note)
        elif look.standing is not Standing.ABSENT:
            context.note(LoadStep.CHECK, f"{plan.label} has had this manifest before: nothing is loaded")
    return plan, look, earlier


def _entry(spec: LoadSpec, plan: LoadPlan, earlier: LoadEntry | None, context: LoadContext) -> LoadEntry:
    load = new_load_id()
    in_place = spec.strategy is Strategy.TRANSACTION and plan.found is not None
    left = [] if earlier is None else earlier.leftovers
    once = {"manifest", "stage", "table", "again"}
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
    entry, context = job.entry, job.context
    try:
        return (yield from _load(job, earlier))
    except BaseException as error:
        entry.state, entry.finished_at = LoadState.FAILED, context.clock.now()
        interrupted = LoadError(f"Interrupted by {type(error).__name__}.", retryable=True)
        entry.error = (error if isinstance(error, MzOrchestrationError) else interrupted).to_dict()
        try:
            yield from job.save()
        except MzOrchestrationError as unsaved:
            context.note(LoadStep.FINISH, f"the run record could not be updated: {unsaved.message}")
        raise


def _load(job: Job, earlier: LoadEntry | None) -> Flow[bool]:
    strategy, context = job.spec.strategy, job.context
    if strategy is Strategy.TRANSACTION and job.plan.found is not None:
        yield from job.save()
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
