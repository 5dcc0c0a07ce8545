"""Exports of many objects that all see one logical timestamp.

Two ways. *Held*: one session opens a transaction that names all objects and stays open, while sessions of their own
run ``COPY (SELECT ... AS OF t)`` side by side. *Transaction*: one session runs the COPYs one after another inside one
transaction. Materialize keeps history for a second only, so once the transaction has gone its timestamp cannot be
read again: a group that was interrupted is finished if all its COPYs have begun, and starts anew as a whole, as its
next *generation*, if not.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mz_orchestration.errors import (
    AlreadyRunningError,
    DeadlineError,
    MzOrchestrationError,
    TimestampGoneError,
    VerificationError,
)
from mz_orchestration.exports.attempts import session_tag
from mz_orchestration.exports.context import ExportContext, ExportStep, HeldRead
from mz_orchestration.exports.export import export_context, export_flow
from mz_orchestration.exports.group_check import Mode, check_group
from mz_orchestration.exports.group_record import Group
from mz_orchestration.exports.left_behind import cancel_attempt
from mz_orchestration.exports.overlap import POLL, cancel_command, take_turn
from mz_orchestration.exports.policy import ExportPolicy
from mz_orchestration.exports.result import ExportResult
from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.exports.statements import read_statement
from mz_orchestration.flow import Flow, acall, arun, call, run_coroutine, sleep
from mz_orchestration.materialize.connection import MaterializeConfig
from mz_orchestration.materialize.session import Reading, Session, SessionIdentity
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.progress import Event, OnEvent, ignore
from mz_orchestration.runs.record import AttemptState, GroupEntry

# Well below the two minutes after which Materialize ends a transaction that nobody uses.
_KEEP_ALIVE = 30.0


@dataclass(frozen=True, slots=True)
class GroupResult:
    """Finished, verified exports of one timestamp.

    Attributes:
        timestamp: The logical timestamp all of them read at, in milliseconds since 1970.
        exports: In the order asked for.
        record_url: The object that lists all manifests.
    """

    timestamp: int
    exports: tuple[ExportResult, ...]
    record_url: str

    def to_metadata(self) -> dict[str, int | float | str]:
        """Small values for XCom and asset events."""
        return {
            "group": self.record_url,
            "timestamp": self.timestamp,
            "exports": len(self.exports),
            "rows": sum(export.manifest.rows for export in self.exports),
            "bytes": sum(export.manifest.size for export in self.exports),
            "repeated": int(all(export.repeated for export in self.exports)),
        }


def run_exports(
    specs: Sequence[ExportSpec],
    *,
    run_key: str,
    mode: Mode = "held",
    max_parallel: int = 4,
    materialize: MaterializeConfig | None = None,
    store: ObjectStore | None = None,
    policy: ExportPolicy | None = None,
    on_event: OnEvent = ignore,
) -> GroupResult:
    """Export several objects at one logical timestamp; safe to call again with the same run key.

    Args:
        specs: What to export; all into the same folder ``to``, each object once.
        run_key: Names the logical run of all of them together.
        mode: ``held`` for exports side by side, ``transaction`` for one after another on one cluster.
        max_parallel: How many run at a time on each cluster.
        materialize: How to reach Materialize; libpq's environment by default.
        store: The object store; boto3's environment by default.
        policy: How each export behaves where there is a choice.
        on_event: Told of every step of every export.

    Raises:
        MzOrchestrationError: The first export to fail; the others are cancelled.
    """
    return run_coroutine(
        arun_exports(
            specs,
            run_key=run_key,
            mode=mode,
            max_parallel=max_parallel,
            materialize=materialize,
            store=store,
            policy=policy,
            on_event=on_event,
        )
    )


async def arun_exports(
    specs: Sequence[ExportSpec],
    *,
    run_key: str,
    mode: Mode = "held",
    max_parallel: int = 4,
    materialize: MaterializeConfig | None = None,
    store: ObjectStore | None = None,
    policy: ExportPolicy | None = None,
    on_event: OnEvent = ignore,
) -> GroupResult:
    """`run_exports` on an event loop; cancelling the task cancels every COPY."""
    check_group(specs, mode, max_parallel)
    store = store or ObjectStore()
    contexts = [export_context(spec, materialize, store, policy, on_event) for spec in specs]
    group = Group(store, specs, run_key, contexts[0])
    return await _run(group, contexts, mode, max_parallel)


async def _run(group: Group, contexts: list[ExportContext], mode: Mode, max_parallel: int) -> GroupResult:
    await acall(group.read)
    entry = GroupEntry(
        run_key=group.record.run_key,
        objects=tuple(spec.object for spec in group.specs),
        casts={spec.object: spec.casts for spec in group.specs if spec.casts},
        mode=mode,
        max_parallel=max_parallel,
    )
    results: list[ExportResult] | None = None
    session: Session = await acall(contexts[0].open_session, session_tag(group.record.run_key))
    try:
        await arun(_let_owner_finish(group, session, contexts[0]))
        if await acall(group.can_be_finished):
            reading = Reading(group.record.timestamp or 0, group.record.server)
            contexts[0].note(ExportStep.PLAN, f"going on with the exports at timestamp {reading.timestamp}")
            try:
                results = await _export_all(group, contexts, HeldRead(reading, entry), max_parallel)
            except TimestampGoneError as error:
                contexts[0].note(ExportStep.PLAN, f"they cannot be finished: {error.message}")
        if results is None:
            results = await _new_generation(group, contexts, session, entry)
    finally:
        await acall(session.close)
    record = group.record
    apart = [result.manifest.object for result in results if result.manifest.timestamp != record.timestamp]
    if apart:
        raise VerificationError(
            f"Not read at the group's timestamp {record.timestamp}: {', '.join(apart)}.", hint="Use another run key."
        )
    manifests = {result.manifest.export: result.manifest_url for result in results}
    if record.manifests != manifests:
        record.manifests = manifests
        await acall(group.save)
    return GroupResult(record.timestamp or 0, tuple(results), str(group.location))


def _let_owner_finish(group: Group, session: Session, context: ExportContext) -> Flow[None]:
    """Return once nobody works on the group's present generation, by the policy.

    Raises:
        AlreadyRunningError: Somebody does, and the policy is not to wait.
        DeadlineError: They did not end within the time that the exports have.
    """
    deadline = context.clock.monotonic() + max(spec.timeout for spec in group.specs)
    noted = False
    while not group.record.manifests and group.holder is not None:
        if not (yield from call(session.is_active, group.holder)):
            return
        since = f"{group.record.updated_at:%Y-%m-%d %H:%M:%S} UTC"
        run_key = group.record.run_key
        cancel = cancel_command(run_key, group.specs[0])
        if context.policy.if_running in ("skip", "fail"):
            raise AlreadyRunningError(
                f"Another process has been working on the group {run_key!r} since {since}.",
                hint=f"Let it finish, or stop it: {cancel}",
            )
        if context.clock.monotonic() >= deadline:
            raise DeadlineError(
                f"Another process has been working on the group {run_key!r} since {since} and did not end in time.",
                hint=f"Let it finish, or stop it: {cancel}",
            )
        if not noted:
            noted = True
            context.note(ExportStep.PLAN, f"another process has been working on this group since {since}: waiting")
        yield from sleep(POLL)
        yield from call(group.read)


async def _new_generation(
    group: Group, contexts: list[ExportContext], holder: Session, entry: GroupEntry
) -> list[ExportResult]:
    context, record = contexts[0], group.record
    await arun(_cancel_generation(group, holder, context))
    # Inside the transaction, only what its first statement names can be asked for.
    identity: SessionIdentity = await acall(holder.identity)
    for spec, each in sorted(zip(group.specs, contexts, strict=True), key=lambda pair: pair[0].folder_name):
        # In one order for all, so that two groups never wait for each other.
        await arun(take_turn(spec, record.run_key, holder, each))
    record.generation, record.salt = record.generation + 1, secrets.token_hex(3)
    record.session, record.environment = identity.session, identity.environment
    record.timestamp, record.manifests = None, {}
    await acall(group.save)
    reading: Reading = await acall(holder.begin_read, read_statement(group.specs))
    record.timestamp, record.server = reading.timestamp, reading.version
    await acall(group.save)
    context.note(ExportStep.PLAN, f"all exports read at timestamp {reading.timestamp}")
    keeper = asyncio.create_task(_keep_alive(holder))
    try:
        if entry.mode == "transaction":
            held = HeldRead(reading, entry, holder, in_transaction=True, identity=identity)
            return await _export_all(group, contexts, held, 1)
        return await _export_all(group, contexts, HeldRead(reading, entry, holder), entry.max_parallel)
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        await acall(holder.end_read)


def _cancel_generation(group: Group, session: Session, context: ExportContext) -> Flow[None]:
    """End the COPYs that an interrupted generation left behind: their timestamp is no use any more."""
    for spec in group.specs:
        stored = yield from call(group.runs.find, spec.folder_name, group.record.member_key())
        if stored is None or not stored.record.attempts:
            continue
        attempt = stored.record.attempts[-1]
        if attempt.state is AttemptState.STARTED:
            yield from cancel_attempt(attempt, session, context, ExportStep.PLAN)


async def _keep_alive(holder: Session) -> None:
    while True:
        await asyncio.sleep(_KEEP_ALIVE)
        await acall(holder.keep_alive)


async def _export_all(
    group: Group, contexts: list[ExportContext], held: HeldRead, max_parallel: int
) -> list[ExportResult]:
    """Every export of the present generation, so many at a time on each cluster; the first failure ends all."""
    turns = {spec.cluster: asyncio.Semaphore(max_parallel) for spec in group.specs}
    key = group.record.member_key()

    async def export(spec: ExportSpec, context: ExportContext) -> ExportResult:
        async with turns[spec.cluster]:
            try:
                return await arun(export_flow(spec, key, naming(spec.object, context), held))
            except MzOrchestrationError as error:
                error.message = f"{spec.object}: {error.message}"
                error.details["object"] = spec.object
                raise

    tasks = [asyncio.create_task(export(spec, context)) for spec, context in zip(group.specs, contexts, strict=True)]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def naming(name: str, context: ExportContext) -> ExportContext:
    """The context of one export among several: what it tells begins with the object's name."""

    def tell(event: Event) -> None:
        context.on_event(replace(event, message=f"{name}: {event.message}"))

    return replace(context, on_event=tell)
