"""Running a pipeline: every node once all that it needs has succeeded, so many at a time, and what became of each.

One node that fails does not stop those that do not need it. A process may be killed at any moment: the next call with
the same run key does what is left, and every node finds out by its own record what an earlier process left behind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from mz_orchestration.errors import ConfigurationError, MzOrchestrationError, RunConflictError, UnexpectedError
from mz_orchestration.flow import acall, arun, run_coroutine
from mz_orchestration.pipelines.lease import BEAT, HeldLease, IfRunning, take_lease
from mz_orchestration.pipelines.nodes import base_of, fingerprint, kind_of, own_run_key, run_node, with_settings
from mz_orchestration.pipelines.notifications import notify
from mz_orchestration.pipelines.planning import CheckNode, GroupNode, Node, Plan, RetentionNode, select
from mz_orchestration.pipelines.record import NodeEntry, NodeState, PipelineRecord, PipelineState
from mz_orchestration.pipelines.store import PipelineStore, StoredPipeline
from mz_orchestration.pipelines.tools import OnNode, Tools
from mz_orchestration.progress import Event

OnNodeEvent = Callable[[str, Event], None]
OnWarning = Callable[[str], None]

_log = logging.getLogger(__name__)


def _nothing(*_: object) -> None:
    pass


def run_pipeline(
    plan: Plan,
    *,
    run_key: str,
    only: Sequence[str] = (),
    if_running: IfRunning = "fail",
    tools: Tools | None = None,
    on_event: OnNodeEvent = _nothing,
    on_node: OnNode = _nothing,
    on_warning: OnWarning = _nothing,
    file: str = "",
) -> PipelineRecord:
    """Run a pipeline, or what an earlier call with the same run key left of it.

    Args:
        plan: From `plan_pipeline`, or `read_pipeline`.
        run_key: Names the logical run.
        only: Names of the parts to run, with all that they need; all where there are none.
        if_running: While another run of the pipeline is in progress: wait for it to end, or fail; so does skip, for the
            caller to take as no failure.
        tools: What to work with; the environment's by default.
        on_event: Told of every step, with the name of its node.
        on_node: Told of every node that changes its state.
        on_warning: Told what is worth knowing beside the nodes: another run is waited for, a notification was not sent.
        file: Path of the pipeline file, for the commands that are suggested later.

    Returns:
        How it ended; a node that failed is no exception. Its ``state`` says whether all is done.

    Raises:
        ConfigurationError: Settings are missing or wrong, or ``only`` names what is not there; nothing was started.
        AlreadyRunningError: Another run is in progress.
        RunConflictError: The run key was used when the pipeline did something else, or another process took over.
        UnavailableError: The records could not be written.
    """
    return run_coroutine(
        arun_pipeline(
            plan,
            run_key=run_key,
            only=only,
            if_running=if_running,
            tools=tools,
            on_event=on_event,
            on_node=on_node,
            on_warning=on_warning,
            file=file,
        )
    )


async def arun_pipeline(
    plan: Plan,
    *,
    run_key: str,
    only: Sequence[str] = (),
    if_running: IfRunning = "fail",
    tools: Tools | None = None,
    on_event: OnNodeEvent = _nothing,
    on_node: OnNode = _nothing,
    on_warning: OnWarning = _nothing,
    file: str = "",
) -> PipelineRecord:
    """`run_pipeline` on an event loop; cancelling the task cancels what runs remotely."""
    if not run_key.strip():
        raise ConfigurationError("The run key is empty.", hint="Is the variable behind it set?")
    nodes = select(plan, only)
    tools = with_settings(tools or Tools(), nodes)
    base = base_of(plan)
    records = PipelineStore(tools.store, base)
    held = await arun(take_lease(tools.store, base, plan.spec.name, run_key, if_running, tools.clock, on_warning))
    try:
        stored = await acall(records.find, plan.spec.name, run_key)
        earlier = await _state_before(stored, records, plan)
        run = _Run(plan, nodes, stored or records.new(_new_record(plan, run_key, tools)), records, tools)
        run.on_event, run.on_node, run.on_warning = _harmless(on_event), _harmless(on_node), _harmless(on_warning)
        run.begin(tuple(only), file, held.lease.who)
        await run.save()
        await _keeping(held, run.work())
    finally:
        with suppress(MzOrchestrationError):
            await acall(held.release)
    record = run.record
    # Whoever runs parts of it by hand is there to see; and a heartbeat would hide that the whole did not run.
    if record.state is not PipelineState.INTERRUPTED and not only:
        for warning in await acall(notify, plan.spec.notifications, record, earlier):
            on_warning(warning)
    return record


def _harmless(listener: Callable[..., None]) -> Callable[..., None]:
    """A listener that cannot end the run: the reader of a log may go, or its disk be full."""

    def tell(*arguments: object) -> None:
        with suppress(OSError):
            listener(*arguments)

    return tell


def _new_record(plan: Plan, run_key: str, tools: Tools) -> PipelineRecord:
    now = tools.clock.now()
    return PipelineRecord(
        pipeline=plan.spec.name, run_key=run_key, at=str(base_of(plan)), created_at=now, updated_at=now
    )


async def _state_before(stored: StoredPipeline | None, records: PipelineStore, plan: Plan) -> PipelineState | None:
    """How the run before this one ended, or this one when it was tried last; None where nobody knows."""
    ended = (PipelineState.FAILED, PipelineState.SUCCEEDED)
    if stored is not None and stored.record.state in ended and not stored.record.only:
        return stored.record.state
    recent = await acall(records.recent, plan.spec.name, 5)
    return next((record.state for record in recent if record.state in ended and not record.only), None)


class _Run:
    """One run at work."""

    def __init__(
        self, plan: Plan, nodes: tuple[Node, ...], stored: StoredPipeline, records: PipelineStore, tools: Tools
    ) -> None:
        self.plan, self.nodes, self.record = plan, nodes, stored.record
        self.on_event: OnNodeEvent = _nothing
        self.on_node: OnNode = _nothing
        self.on_warning: OnWarning = _nothing
        self._stored, self._records, self._tools = stored, records, tools
        self._places = _Places(plan.spec.defaults.concurrency)
        self._saving = asyncio.Lock()
        self._dirty = False

    def begin(self, only: tuple[str, ...], file: str, owner: str) -> None:
        """Lay the entries out: what has been done stays, the rest is to do.

        Raises:
            RunConflictError: What has been done is not what the pipeline says by now.
        """
        record, before = self.record, {entry.name: entry for entry in self.record.nodes}
        entries = []
        known = {node.name for node in self.plan.nodes}
        for done in before.values():
            if done.state is NodeState.SUCCEEDED and done.name not in known and done.kind not in ("check", "retention"):
                raise RunConflictError(
                    f"In the run {record.run_key!r} of {record.pipeline}, '{done.name}' was done, and there is no such "
                    "part any more.",
                    hint="Use another run key, or the pipeline file as it was.",
                )
        for node in self.plan.nodes:
            entry = before.get(node.name)
            if entry is None or entry.state is not NodeState.SUCCEEDED:
                entry = self._entry(node)
            elif entry.fingerprint != fingerprint(node):
                # A judgement can be made again; what was exported or loaded cannot be made undone.
                if not isinstance(node, CheckNode | RetentionNode):
                    raise RunConflictError(
                        f"In the run {record.run_key!r} of {record.pipeline}, '{node.name}' was done when it said "
                        "something else.",
                        hint="Use another run key, or the pipeline file as it was.",
                    )
                entry = self._entry(node)
            entries.append(entry)
        record.nodes, record.only, record.file, record.owner = entries, only, file or record.file, owner
        record.state, record.finished_at = PipelineState.RUNNING, None

    def _entry(self, node: Node) -> NodeEntry:
        return NodeEntry(
            name=node.name,
            kind=kind_of(node),
            needs=node.needs,
            run_key=own_run_key(node, self.plan, self.record.run_key),
            fingerprint=fingerprint(node),
        )

    async def work(self) -> None:
        """Carry out what is left, and write down how it ended."""
        tasks: dict[str, asyncio.Task[NodeState]] = {}
        for node in self.nodes:
            # Behind all that it needs in the plan's order, so these tasks exist.
            tasks[node.name] = asyncio.create_task(self._one(node, [tasks[need] for need in node.needs]))
        try:
            await asyncio.gather(*tasks.values())
        except BaseException:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
            for entry in self.record.nodes:
                if entry.state is NodeState.RUNNING:
                    entry.state, entry.finished_at = NodeState.INTERRUPTED, self._tools.clock.now()
            # Whoever took over writes the record by now; and an interrupt must not turn into another error.
            with suppress(MzOrchestrationError):
                await self._end(PipelineState.INTERRUPTED)
            raise
        well = all(task.result() is NodeState.SUCCEEDED for task in tasks.values())
        await self._end(PipelineState.SUCCEEDED if well else PipelineState.FAILED)

    async def _end(self, state: PipelineState) -> None:
        self.record.state, self.record.finished_at = state, self._tools.clock.now()
        await self.save()

    async def _one(self, node: Node, needs: list[asyncio.Task[NodeState]]) -> NodeState:
        entry = self.record.entry(node.name)
        assert entry is not None
        if entry.state is NodeState.SUCCEEDED:
            entry.repeated = True
            self.on_node(entry)
            return entry.state
        # A cancelled neighbour must not look like a failure of this one.
        states = [await asyncio.shield(need) for need in needs]
        if any(state is not NodeState.SUCCEEDED for state in states):
            entry.state = NodeState.BLOCKED
            await self._changed(entry)
            return entry.state
        async with self._places.take(_weight(node)):
            entry.state, entry.started_at = NodeState.RUNNING, self._tools.clock.now()
            await self._changed(entry)
            try:
                await self._carry_out(node, entry)
            except asyncio.CancelledError:
                entry.state, entry.finished_at = NodeState.INTERRUPTED, self._tools.clock.now()
                self.on_node(entry)
                raise
        entry.finished_at = self._tools.clock.now()
        await self._changed(entry)
        return entry.state

    async def _carry_out(self, node: Node, entry: NodeEntry) -> None:
        tools = replace(self._tools, on_event=lambda event: self.on_event(node.name, event))
        try:
            result = await run_node(node, self.plan, self.record.run_key, tools)
        except MzOrchestrationError as error:
            entry.state, entry.error = NodeState.FAILED, error.to_dict()
        except Exception as error:
            # A bug of ours in one node is no reason to give up the others.
            _log.exception("%s of the pipeline %s", node.name, self.record.pipeline)
            bug = UnexpectedError(f"Unexpected {type(error).__name__}.", hint="Please report it, with its traceback.")
            entry.state, entry.error = NodeState.FAILED, bug.to_dict()
        else:
            entry.state, entry.repeated = NodeState.SUCCEEDED, result.repeated
            entry.line, entry.result = result.line, dict(result.metadata)

    async def _changed(self, entry: NodeEntry) -> None:
        self.on_node(entry)
        try:
            await self.save()
        except RunConflictError:
            raise
        except MzOrchestrationError as error:
            # The work itself goes on: the parts have records of their own, and the next change is written along.
            self.on_warning(f"the pipeline's record could not be written: {error.message}")

    async def save(self) -> None:
        """Write the record; changes that come while it is being written are written together."""
        self._dirty = True
        async with self._saving:
            if self._dirty:
                self._dirty = False
                try:
                    await acall(self._records.save, self._stored, self._tools.clock.now())
                except MzOrchestrationError:
                    self._dirty = True
                    raise


class _Places:
    """So many places; whoever needs several takes them at once, in the order of asking."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._free = asyncio.Semaphore(number)
        self._turn = asyncio.Lock()

    def take(self, wanted: int) -> _Taken:
        return _Taken(self._free, self._turn, min(wanted, self._number))


class _Taken:
    def __init__(self, free: asyncio.Semaphore, turn: asyncio.Lock, wanted: int) -> None:
        self._free, self._turn, self._wanted, self._got = free, turn, wanted, 0

    async def __aenter__(self) -> None:
        async with self._turn:
            try:
                while self._got < self._wanted:
                    await self._free.acquire()
                    self._got += 1
            except BaseException:
                self._give_back()
                raise

    async def __aexit__(self, *_: object) -> None:
        self._give_back()

    def _give_back(self) -> None:
        for _ in range(self._got):
            self._free.release()
        self._got = 0


def _weight(node: Node) -> int:
    """Places that a node takes: a group exports several objects at a time."""
    return len(node.members) if isinstance(node, GroupNode) else 1


async def _keeping(held: HeldLease, work: Coroutine[Any, Any, None]) -> None:
    """Do the work while the lease is kept alive.

    Raises:
        RunConflictError: Somebody else has the lease; the work was cancelled.
    """
    task = asyncio.create_task(work)
    beats = asyncio.create_task(_beat(held))
    try:
        await asyncio.wait({task, beats}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in (task, beats):
            each.cancel()
        await asyncio.gather(task, beats, return_exceptions=True)
    if not task.cancelled():
        return task.result()
    # Lost: what others do under this lease is theirs to write down.
    beats.result()


async def _beat(held: HeldLease) -> None:
    while True:
        await asyncio.sleep(BEAT)
        try:
            await acall(held.beat)
        except RunConflictError:
            raise
        except MzOrchestrationError:
            # A store that is away for a while is away for everybody who might take over.
            continue
