"""The load: check the manifest, copy into a staging table, reconcile, publish in one atomic step, record.

Nothing touches the target before all counts agree. A process may be killed between any two steps: staging tables
have names of their own, a published table carries the manifest's mark, and the run record says where to look, so
the next call either finds the work done or starts it anew without loading twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from mz_orchestration.errors import (
    ConfigurationError,
    DeadlineError,
    LoadError,
    MzOrchestrationError,
    ReconciliationError,
    RunConflictError,
)
from mz_orchestration.exports.latest import open_manifest
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.stored_manifest import check_against_store
from mz_orchestration.exports.verify import VerifyLevel
from mz_orchestration.flow import Clock, Flow, call, run, sleep
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import parse_folder, parse_location
from mz_orchestration.progress import OnEvent, Progress, ignore
from mz_orchestration.runs.record import LoadEntry, LoadState
from mz_orchestration.runs.store import RunStore
from mz_orchestration.snowflake import statements
from mz_orchestration.snowflake.marker import mark, marked_manifest
from mz_orchestration.snowflake.plan import LoadPlan, Standing, check_columns, plan_load, standing_of
from mz_orchestration.snowflake.quoting import Sql, identifier
from mz_orchestration.snowflake.reconcile import findings
from mz_orchestration.snowflake.session import Answer, SnowflakeConfig, SnowflakeSession, require_connector
from mz_orchestration.snowflake.spec import LoadSpec
from mz_orchestration.snowflake.statements import Name

_FIRST_POLL, _LONGEST_POLL = 0.05, 5.0


class LoadStep(StrEnum):
    """The steps of a load, in order; a process may die before or after each."""

    READ = "read"
    CHECK = "check"
    STAGE = "stage"
    COPY = "copy"
    RECONCILE = "reconcile"
    PUBLISH = "publish"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class LoadResult:
    """A finished load.

    Attributes:
        target: Qualified, quoted name of the table.
        rows: Rows loaded; equal to the rows in the files and, where known, to Materialize's own count.
        query_ids: Snowflake's ids of the COPY INTO statements; empty if nothing was copied.
        repeated: This manifest had been published before; nothing was done now.
        superseded: Another manifest has been published since; with ``repeated``, and ``rows`` are those of then.
        seconds: Duration of this call.
    """

    target: str
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


@dataclass(frozen=True, slots=True)
class LoadContext(Progress):
    """What a load works with.

    Attributes:
        open_session: Opens a session with Snowflake, tagged with the manifest's run.
        store: The object store that holds the files.
    """

    open_session: Callable[[Manifest], SnowflakeSession]
    store: ObjectStore


def run_load(
    spec: LoadSpec,
    *,
    snowflake: SnowflakeConfig | None = None,
    store: ObjectStore | None = None,
    on_event: OnEvent = ignore,
    clock: Clock | None = None,
) -> LoadResult:
    """Load a manifest's files and replace the table's content with them; safe to call again.

    Args:
        spec: What to load, through which stage, into which table.
        snowflake: How to sign in; ``SNOWFLAKE_*`` by default.
        store: The object store that holds the manifest; boto3's environment by default.
        on_event: Told of every step.
        clock: The time to live in.

    Raises:
        MzOrchestrationError: Its class, ``retryable`` and ``hint`` say what to do. The table is as it was.
    """
    require_connector()
    clock = clock or Clock()
    config = snowflake or SnowflakeConfig.from_environment()

    def open_session(manifest: Manifest) -> SnowflakeSession:
        tag = {"tool": "mz-orchestration", "run_key": manifest.run_key[:200], "object": manifest.object[:200]}
        return SnowflakeSession(config, query_tag=tag, statement_timeout=spec.timeout)

    context = LoadContext(clock, on_event, open_session, store or ObjectStore())
    return run(load_flow(spec, context), clock)


def load_flow(spec: LoadSpec, context: LoadContext) -> Flow[LoadResult]:
    """The load as a flow; see `run_load`."""
    began = context.clock.monotonic()
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
    session = yield from call(context.open_session, manifest)
    try:
        with context.step(LoadStep.CHECK, "check the stage and the table"):
            plan = yield from plan_load(spec, manifest, session)
            earlier = stored.record.loads.get(plan.label) if stored else None
            standing = yield from standing_of(plan, manifest, earlier, session)
            if standing is Standing.CHANGED:
                note = f"{plan.label} was changed after this manifest was published; it is loaded again"
                context.note(LoadStep.CHECK, note)
            elif standing is not Standing.ABSENT and not spec.again:
                context.note(LoadStep.CHECK, f"{plan.label} has had this manifest before: nothing is loaded")
            load = standing in (Standing.ABSENT, Standing.CHANGED) or (spec.again and standing is Standing.SUPERSEDED)
            if load:
                yield from check_columns(plan, manifest, session)
        entry = earlier if earlier and not load else _entry(plan, context.clock.now())
        if load:
            yield from _copy_and_publish(plan, manifest, session, entry, runs, spec.timeout, context)
        if entry.state is not LoadState.SUCCEEDED:
            with context.step(LoadStep.FINISH, "finish the run record"):
                if earlier is not None and earlier.state is not LoadState.SUCCEEDED:
                    # Left behind by a process that failed or was killed.
                    yield from call(session.query, statements.drop(plan.staging(earlier.staging)))
                entry.state, entry.rows, entry.error = LoadState.SUCCEEDED, manifest.rows, None
                entry.finished_at = context.clock.now()
                yield from call(runs.put_load, manifest.export, manifest.run_key, entry, context.clock.now())
    finally:
        session.close()
    return LoadResult(
        target=plan.label,
        manifest=manifest,
        rows=manifest.rows,
        query_ids=tuple(entry.query_ids),
        repeated=not load,
        superseded=standing is Standing.SUPERSEDED and not load,
        seconds=context.clock.monotonic() - began,
    )


def _entry(plan: LoadPlan, now: datetime) -> LoadEntry:
    return LoadEntry(
        target=plan.label,
        stage=identifier(*plan.stage),
        state=LoadState.STARTED,
        started_at=now,
        staging=plan.new_staging(),
    )


def _copy_and_publish(
    plan: LoadPlan,
    manifest: Manifest,
    session: SnowflakeSession,
    entry: LoadEntry,
    runs: RunStore,
    timeout: float,
    context: LoadContext,
) -> Flow[None]:
    staging = plan.staging(entry.staging)
    try:
        with context.step(LoadStep.STAGE, f"create the staging table {entry.staging}"):
            yield from call(runs.put_load, manifest.export, manifest.run_key, entry, context.clock.now())
            create = (
                statements.create_staging_like(staging, plan.table, transient=plan.transient)
                if plan.exists
                else statements.create_staging(staging, manifest.columns)
            )
            yield from call(session.query, create)
        rows: list[dict[str, Any]] = []
        with context.step(LoadStep.COPY, f"copy {len(manifest.files)} files into it") as details:
            # Whether Snowflake takes a Parquet file without row groups is not documented; nothing is lost by skipping.
            copies = statements.copy_into(staging, plan.stage, plan.path, manifest) if manifest.rows else []
            for statement in copies:
                answer = yield from _submit(session, statement, timeout, context)
                entry.query_ids.append(answer.query_id)
                rows += answer.rows
            details.update(files=len(rows))
        with context.step(LoadStep.RECONCILE, "compare the counts") as details:
            details["rows_loaded"] = yield from _reconcile(manifest, rows, staging, session)
            yield from call(session.query, statements.set_comment(staging, mark(plan.comment, manifest)))
        with context.step(LoadStep.PUBLISH, f"publish as {plan.label}"):
            if plan.exists:
                yield from call(session.query, statements.publish_by_swap(plan.table, staging))
                yield from call(session.query, statements.drop(staging))
            else:
                yield from _publish_new(plan, manifest, staging, session)
    except BaseException as error:
        entry.state, entry.finished_at = LoadState.FAILED, context.clock.now()
        interrupted = LoadError(f"Interrupted by {type(error).__name__}.", retryable=True)
        entry.error = (error if isinstance(error, MzOrchestrationError) else interrupted).to_dict()
        try:
            yield from call(runs.put_load, manifest.export, manifest.run_key, entry, context.clock.now())
        except MzOrchestrationError as unsaved:
            context.note(LoadStep.FINISH, f"the run record could not be updated: {unsaved.message}")
        raise


def _publish_new(plan: LoadPlan, manifest: Manifest, staging: Name, session: SnowflakeSession) -> Flow[None]:
    """Give the staging table the target's name, unless another process was faster."""
    try:
        yield from call(session.query, statements.publish_by_rename(plan.table, staging))
    except MzOrchestrationError as error:
        found = yield from call(session.query, statements.describe_table(plan.table))
        if not found.rows:
            raise
        yield from call(session.query, statements.drop(staging))
        if marked_manifest(found.rows[0]["comment"]) != manifest.sha256:
            raise RunConflictError(
                f"Somebody else has created {plan.label} meanwhile.",
                hint="Run the same command again: it will replace that table's content.",
                retryable=True,
            ) from error


def _submit(session: SnowflakeSession, statement: Sql, timeout: float, context: LoadContext) -> Flow[Answer]:
    """A long statement: submitted, waited for by query id, aborted if we leave early."""
    query_id = yield from call(session.submit, statement)
    deadline = context.clock.monotonic() + timeout
    pause = _FIRST_POLL
    running = True
    try:
        while running:
            running = yield from call(session.is_running, query_id)
            if running:
                if context.clock.monotonic() >= deadline:
                    raise DeadlineError(
                        f"COPY INTO {query_id} was aborted because it took longer than {timeout:g} seconds.",
                        hint="Allow more time, or use a larger warehouse.",
                        details={"query_id": query_id, "timeout_seconds": timeout},
                    )
                yield from sleep(pause)
                pause = min(pause * 1.5, _LONGEST_POLL)
    finally:
        if running:
            yield from call(session.abort, query_id)
            context.note(LoadStep.COPY, f"COPY INTO {query_id} has been asked to abort")
    return (yield from call(session.result, query_id))


def _reconcile(manifest: Manifest, answer: list[dict[str, Any]], staging: Name, session: SnowflakeSession) -> Flow[int]:
    problems = findings(manifest, answer) if manifest.rows else []
    counted = yield from call(session.query, statements.count_rows(staging))
    loaded = int(counted.rows[0]["n"])
    if loaded != manifest.rows:
        problems.append(f"{loaded} rows are in the staging table, {manifest.rows} in the files")
    if problems:
        raise ReconciliationError(
            f"What Snowflake loaded does not agree with the manifest: {'; '.join(problems[:10])}.",
            hint=f"Nothing was published. Inspect {identifier(*staging)}; the next load of this manifest drops it.",
            details={"findings": len(problems), "rows_in_files": manifest.rows, "rows_loaded": loaded},
        )
    return loaded
