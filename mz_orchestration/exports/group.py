"""Exports of many objects that all see one logical timestamp.

Two ways. *Held*: one session opens a transaction that names all objects and stays open, while sessions of their own
run ``COPY (SELECT ... AS OF t)`` side by side. *Transaction*: one session runs the COPYs one after another inside one
transaction. Materialize keeps history for a second only, so once the transaction has gone its timestamp cannot be
read again: a group that was interrupted is finished if all its COPYs have begun, and starts anew as a whole, as its
next *generation*, if not.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mz_orchestration.errors import (
    ConfigurationError,
    MzOrchestrationError,
    NotFoundError,
    RunConflictError,
    VerificationError,
)
from mz_orchestration.exports.attempts import session_tag
from mz_orchestration.exports.context import ExportContext, ExportPolicy, ExportStep, HeldRead
from mz_orchestration.exports.export import export_context, export_flow
from mz_orchestration.exports.left_behind import cancel_attempt
from mz_orchestration.exports.result import ExportResult
from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.exports.statements import read_statement
from mz_orchestration.flow import Flow, arun, call, run_coroutine
from mz_orchestration.materialize.session import MaterializeConfig, Reading, Session
from mz_orchestration.objectstore.client import ObjectStore, PreconditionFailed
from mz_orchestration.objectstore.location import Location
from mz_orchestration.progress import OnEvent, ignore
from mz_orchestration.runs.key import run_key_hash
from mz_orchestration.runs.record import AttemptState, GroupEntry
from mz_orchestration.runs.store import RunStore
from mz_orchestration.validation import describe_validation

GROUPS_FOLDER = ".groups"
Mode = Literal["held", "transaction"]
# Well below the two minutes after which Materialize ends a transaction that nobody uses.
_KEEP_ALIVE = 30.0


class GroupRecord(BaseModel):
    """What is written down about a group, outside of every export's folder.

    Attributes:
        run_key: Names the logical run of the whole group.
        fingerprint: Hash of all that decides which rows and files come out.
        generation: Counts the starts, from 1; each has a timestamp of its own.
        timestamp: Logical timestamp of this generation, in milliseconds since 1970.
        server: Materialize's version.
        manifests: URL of each export's manifest by folder name; filled once all are verified.
    """

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    run_key: str
    fingerprint: str
    generation: int
    timestamp: int | None = None
    server: str = ""
    manifests: dict[str, str] = {}
    updated_at: datetime

    def member_key(self) -> str:
        """The run key of this generation's exports."""
        return f"{self.run_key}#{self.generation}"


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
    _check(specs, mode, max_parallel)
    store = store or ObjectStore()
    contexts = [export_context(spec, materialize, store, policy, on_event) for spec in specs]
    group = _Group(store, specs, run_key, contexts[0])
    return await _run(group, contexts, mode, max_parallel)


def find_group(store: ObjectStore, base: Location, run_key: str) -> GroupRecord | None:
    """The record of a group, or None if there is none of that run key."""
    try:
        body, _ = store.get(group_location(base, run_key))
    except NotFoundError as error:
        if error.details.get("code") == "NoSuchBucket":
            raise
        return None
    return _parse(body, group_location(base, run_key))


def group_location(base: Location, run_key: str) -> Location:
    """Where the record of a group lies."""
    return base.child(f"{GROUPS_FOLDER}/{run_key_hash(run_key)}.json")


def _parse(body: bytes, at: Location) -> GroupRecord:
    try:
        return GroupRecord.model_validate_json(body)
    except ValidationError as error:
        raise VerificationError(
            f"{at} is not the record of a group: {describe_validation(error)}",
            hint="Move that object away, or use another run key.",
        ) from error


def _check(specs: Sequence[ExportSpec], mode: Mode, max_parallel: int) -> None:
    if not specs:
        raise ConfigurationError("There is nothing to export.", hint="Name at least one object.")
    if len({spec.to for spec in specs}) > 1:
        raise ConfigurationError(
            f"Exports of one timestamp go to one folder, not to {', '.join(sorted({spec.to for spec in specs}))}."
        )
    names = [spec.folder_name for spec in specs]
    twice = sorted({spec.object for spec in specs if names.count(spec.folder_name) > 1})
    if twice:
        raise ConfigurationError(f"Named twice: {', '.join(twice)}.", hint="Name each object once.")
    clusters = {spec.cluster for spec in specs}
    if mode == "transaction" and len(clusters) > 1:
        raise ConfigurationError(
            f"One transaction runs on one cluster, not on {', '.join(sorted(map(str, clusters)))}.",
            hint="Use mode='held', or name one cluster.",
        )
    if max_parallel < 1:
        raise ConfigurationError(f"max_parallel is {max_parallel}; it must be at least 1.")


class _Group:
    """The group's record, and where it lies."""

    def __init__(self, store: ObjectStore, specs: Sequence[ExportSpec], run_key: str, context: ExportContext) -> None:
        self.specs = specs
        self.runs = RunStore(store, specs[0].base)
        self.location = group_location(specs[0].base, run_key)
        self.etag: str | None = None
        self.record = GroupRecord(
            run_key=run_key, fingerprint=_fingerprint(specs), generation=0, updated_at=context.clock.now()
        )
        self._store = store
        self._clock = context.clock

    def read(self) -> None:
        """Take over what an earlier call wrote down."""
        try:
            body, self.etag = self._store.get(self.location)
        except NotFoundError as error:
            if error.details.get("code") == "NoSuchBucket":
                raise
            return
        found = _parse(body, self.location)
        if found.fingerprint != self.record.fingerprint:
            raise RunConflictError(
                f"The run key {found.run_key!r} was used for a group of other exports.",
                hint="Use another run key, or the arguments of the first run.",
            )
        self.record = found

    def save(self) -> None:
        """Write it over the version that was read."""
        self.record.updated_at = self._clock.now()
        body = self.record.model_dump_json(indent=1).encode()
        try:
            self.etag = self._store.put(self.location, body, if_match=self.etag, create=self.etag is None)
        except PreconditionFailed as error:
            raise RunConflictError(
                f"Another process is working on the run {self.record.run_key!r} of this group.",
                hint="Let it finish, then run the same command again.",
                retryable=True,
            ) from error

    def held(
        self, reading: Reading, session: Session | None = None, session_id: str | None = None, *, may_start: bool = True
    ) -> HeldRead:
        """A read for all of the group's exports."""
        entry = GroupEntry(run_key=self.record.run_key, objects=tuple(spec.object for spec in self.specs))
        return HeldRead(reading, entry, session, session_id, may_start)

    def can_be_finished(self) -> bool:
        """Whether every export of the present generation is finished or has a COPY that may yet turn out complete."""
        if self.record.generation == 0 or self.record.timestamp is None:
            return False
        for spec in self.specs:
            stored = self.runs.find(spec.folder_name, self.record.member_key())
            if stored is None or not (stored.record.manifest or stored.record.attempts[-1].open):
                return False
        return True


def _fingerprint(specs: Sequence[ExportSpec]) -> str:
    return hashlib.sha256(json.dumps(sorted(spec.fingerprint() for spec in specs)).encode()).hexdigest()


async def _run(group: _Group, contexts: list[ExportContext], mode: Mode, max_parallel: int) -> GroupResult:
    await _call(group.read)
    results: list[ExportResult] | None = None
    if await _call(group.can_be_finished):
        record = group.record
        reading = Reading(record.timestamp or 0, record.server)
        contexts[0].note(ExportStep.PLAN, f"going on with the exports at timestamp {reading.timestamp}")
        try:
            results = await _export_all(group, contexts, group.held(reading, may_start=False), max_parallel)
        except MzOrchestrationError as error:
            if not error.retryable:
                raise
            contexts[0].note(ExportStep.PLAN, f"they cannot be finished: {error.message}")
    if results is None:
        results = await _new_generation(group, contexts, mode, max_parallel)
    record = group.record
    manifests = {result.manifest.export: result.manifest_url for result in results}
    if record.manifests != manifests:
        record.manifests = manifests
        await _call(group.save)
    return GroupResult(record.timestamp or 0, tuple(results), str(group.location))


async def _new_generation(
    group: _Group, contexts: list[ExportContext], mode: Mode, max_parallel: int
) -> list[ExportResult]:
    context, record = contexts[0], group.record
    holder: Session = await _call(context.open_session, session_tag(record.run_key))
    try:
        await arun(_cancel_generation(group, holder, context))
        record.generation, record.timestamp, record.manifests = record.generation + 1, None, {}
        await _call(group.save)
        # Inside the transaction, only what its first statement names can be asked for.
        session_id: str = await _call(holder.session_id)
        reading: Reading = await _call(holder.begin_read, read_statement(group.specs))
        record.timestamp, record.server = reading.timestamp, reading.version
        await _call(group.save)
        context.note(ExportStep.PLAN, f"all exports read at timestamp {reading.timestamp}")
        if mode == "transaction":
            return await _export_all(group, contexts, group.held(reading, holder, session_id), 1)
        keeper = asyncio.create_task(_keep_alive(holder))
        try:
            return await _export_all(group, contexts, group.held(reading), max_parallel)
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
    finally:
        holder.close()


def _cancel_generation(group: _Group, session: Session, context: ExportContext) -> Flow[None]:
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
        await _call(holder.keep_alive)


async def _export_all(
    group: _Group, contexts: list[ExportContext], held: HeldRead, max_parallel: int
) -> list[ExportResult]:
    """Every export of the present generation, so many at a time on each cluster; the first failure ends all."""
    turns = {spec.cluster: asyncio.Semaphore(max_parallel) for spec in group.specs}
    key = group.record.member_key()

    async def export(spec: ExportSpec, context: ExportContext) -> ExportResult:
        async with turns[spec.cluster]:
            return await arun(export_flow(spec, key, context, held))

    tasks = [asyncio.create_task(export(spec, context)) for spec, context in zip(group.specs, contexts, strict=True)]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    def flow() -> Flow[Any]:
        return (yield from call(function, *arguments))

    return await arun(flow())
