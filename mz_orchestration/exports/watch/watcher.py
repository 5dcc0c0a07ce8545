"""Thousands of waits in one process: a `Watcher` looks for all of them together.

Waits that poll share listings (`watch_scan`), so a thousand exports that run below one parent cost one to three
requests a poll instead of a thousand. What changes, and only that, gets a listing of its own, which decides as it does
for a single `wait`. No timer and no task wakes up for a wait at each poll, and requests and the reading of pages happen
in a few threads, so the event loop stays free.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, ParamSpec, Self, TypeVar

from mz_orchestration.errors import CredentialsError, MzOrchestrationError, UnavailableError
from mz_orchestration.exports.watch.heads import Heads
from mz_orchestration.exports.watch.looks import LONGEST_ALONE, OpenWait, grouped, headed, scanned
from mz_orchestration.exports.watch.pages import KeyPages
from mz_orchestration.exports.watch.state import CompletedExport, Look, Next, WaitPolicy, Watch
from mz_orchestration.exports.watch.wait import list_attempt
from mz_orchestration.flow import Clock
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 8
# Waits that begin within this time of each other share their first listing, too.
_GATHER = 0.02


class Watcher:
    """Waits for many exports at once: an ``async with`` block, on one event loop.

    Args:
        store: The object store; boto3's environment by default.
        policy: How long to wait, and how often to look; `wait` may override the deadlines.
    """

    def __init__(self, store: ObjectStore | None = None, policy: WaitPolicy | None = None) -> None:
        self._store = store or ObjectStore()
        self._policy = policy or WaitPolicy()
        self._clock = Clock()
        self._pages = KeyPages(self._store)
        self._heads = Heads(self._store)
        self._waits: dict[tuple[str, str], list[OpenWait]] = {}
        self._new: list[OpenWait] = []
        self._refused: set[tuple[str, str]] = set()  # bucket and prefix that we may not list
        self._failing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._rounds: dict[bool, asyncio.Task[None]] = {}
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="mz-watch")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (tasks := [*self._tasks]):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for wait in self._all():
            wait.answer.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __len__(self) -> int:
        """How many waits are under way."""
        return sum(map(len, self._waits.values()))

    def status(self) -> list[tuple[Location, str]]:
        """The waits under way: the awaited path, and what was seen there last."""
        return [(wait.watch.folder, wait.watch.last_seen) for wait in self._all()]

    async def wait(
        self,
        folder: Location,
        *,
        deadline: float | None = None,
        start_deadline: float | None = None,
        vouched: bool = False,
    ) -> CompletedExport:
        """Wait until the export to a path is complete; see `mz_orchestration.exports.watch.wait` for what it raises.

        Args:
            folder: The path of one attempt.
            deadline: The longest wait in seconds; the watcher's by default.
            start_deadline: The longest wait for the first object; the watcher's by default.
            vouched: Materialize has answered ``COPY n``.
        """
        policy = self._policy
        if deadline is not None:
            policy = replace(policy, deadline=deadline)
        if start_deadline is not None:
            policy = replace(policy, start_deadline=start_deadline)
        loop = asyncio.get_running_loop()
        wait = OpenWait(Watch(folder, policy, self._clock.monotonic(), vouched), loop.create_future())
        self._waits.setdefault((folder.bucket, folder.key), []).append(wait)
        self._later(policy.deadline, self._overdue, wait)
        if policy.start_deadline is not None:
            self._later(policy.start_deadline, self._not_started, wait)
        self._new.append(wait)
        if len(self._new) == 1:
            self._task(self._first_looks())
        try:
            return await wait.answer
        finally:
            self._forget(wait)

    async def wake(self, bucket: str, key: str) -> int:
        """An event says that a sentinel was deleted: look at its path at once, and return when that was done.

        Returns:
            How many waits it concerned.

        Raises:
            MzOrchestrationError: The store did not let us look; the waits go on.
        """
        waits = self._of(bucket, key[: key.rfind("/") + 1])
        for wait in waits:
            wait.watch.removed()
            await self._look(wait)
        return len(waits)

    # Looks at one path, each a listing of its own.

    async def _look(self, wait: OpenWait) -> None:
        """Look at a path, not before a look under way has ended: that one may have begun too early."""
        while wait.looking is not None and not wait.looking.done():
            await asyncio.wait({wait.looking})
        if not wait.answer.done():
            wait.looking = self._task(self._list(wait))
            await asyncio.shield(wait.looking)

    async def _list(self, wait: OpenWait) -> None:
        objects = await self._in_thread(list_attempt, self._store, wait.watch.folder)
        try:
            outcome = wait.watch.listed(objects, self._clock.now(), self._clock.monotonic())
        except MzOrchestrationError as error:
            self._fail(wait, error)
            return
        if isinstance(outcome, CompletedExport):
            if not wait.answer.done():
                wait.answer.set_result(outcome)
        else:
            self._go_on(wait, outcome)

    def _look_soon(self, wait: OpenWait) -> None:
        self._task(self._guarded([wait], self._look(wait)))

    def _go_on(self, wait: OpenWait, step: Next) -> None:
        wait.settling = step.settling
        if step.settling:
            self._later(step.after, self._look_soon, wait)
        elif step.look is Look.HEAD:
            self._look_when_silent(wait)

    def _look_when_silent(self, wait: OpenWait) -> None:
        """Look again when the export may be abandoned, which the sentinel alone does not tell."""
        left = wait.watch.policy.abandoned_after - wait.watch.silent_for(self._clock.now())
        self._later(max(0.0, left) + self._policy.poll, self._look_soon, wait)

    # Rounds: one look at all paths that poll.

    async def _first_looks(self) -> None:
        await asyncio.sleep(_GATHER)
        waits, self._new = self._new, []
        await self._round(waits)
        for young in (True, False):
            if young not in self._rounds:
                self._rounds[young] = self._task(self._run_rounds(young))

    async def _run_rounds(self, young: bool) -> None:
        """Look at the waits that began lately, or at the others, over and over while there are any."""
        policy = self._policy
        pause = min(policy.first_poll, policy.poll) if young else policy.poll
        try:
            while True:
                await asyncio.sleep(pause * random.uniform(0.8, 1.0))
                grown = self._clock.monotonic() - 2 * policy.poll
                waits = [wait for wait in self._all() if (wait.watch.began > grown) is young]
                if not (waits if young else self._waits):
                    return
                await self._round([wait for wait in waits if wait.polls])
        finally:
            del self._rounds[young]

    async def _round(self, waits: Sequence[OpenWait]) -> None:
        by_bucket: dict[str, list[OpenWait]] = {}
        for wait in waits:
            by_bucket.setdefault(wait.watch.folder.bucket, []).append(wait)
        for bucket, members in by_bucket.items():
            sharing = [wait for wait in members if not wait.alone]
            single = [wait for wait in members if wait.alone]
            for wait in single:
                wait.alone -= 1
            refused = {prefix for refused_in, prefix in self._refused if refused_in == bucket}
            groups, others = await self._in_thread(grouped, sharing, refused)
            single.extend(others)
            await asyncio.gather(
                self._ask_all(single),
                *(self._guarded(group, self._share(Location(bucket, prefix), group)) for prefix, group in groups),
            )

    async def _share(self, prefix: Location, group: Sequence[OpenWait]) -> None:
        """One look at a group below a common parent."""
        try:
            result = await self._in_thread(scanned, self._pages, prefix, group)
        except CredentialsError:
            # Who may list each path need not be allowed to list their parent: smaller groups from now on.
            self._refused.add((prefix.bucket, prefix.key))
            await self._round(group)
            return
        self._answered(group)
        for folder in result.sparse:
            for wait in self._of(prefix.bucket, folder):
                wait.alone = wait.alone_for = min(LONGEST_ALONE, 2 * wait.alone_for)
        for folder, (sentinel, written) in result.found.items():
            for wait in self._of(prefix.bucket, folder):
                wait.watch.glimpsed(sentinel, written)
                self._look_when_silent(wait)
        for folder in result.changed:
            for wait in self._of(prefix.bucket, folder):
                self._look_soon(wait)
        left = [wait for folder in result.unanswered for wait in self._of(prefix.bucket, folder)]
        await self._ask_all(left)

    async def _ask_all(self, waits: Sequence[OpenWait]) -> None:
        size = -(-len(waits) // THREADS) or 1
        chunks = [waits[start : start + size] for start in range(0, len(waits), size)]
        await asyncio.gather(*(self._guarded(chunk, self._ask(chunk)) for chunk in chunks))

    async def _ask(self, waits: Sequence[OpenWait]) -> None:
        """One look at each of some paths that share none."""
        known = [wait for wait in waits if wait.watch.sentinel is not None]
        for wait in waits:
            if wait.watch.sentinel is None:
                self._look_soon(wait)
        if not known:
            return
        changed = await self._in_thread(headed, self._heads, known)
        failed = {wait: error for wait, error in changed if error is not None}
        self._answered([wait for wait in known if wait not in failed])
        for wait, error in changed:
            if error is None:
                self._look_soon(wait)
            else:
                self._failed([wait], error)

    # What becomes of a wait.

    async def _guarded(self, waits: Sequence[OpenWait], looking: Coroutine[Any, Any, None]) -> None:
        try:
            await looking
        except Exception as error:
            self._failed(waits, error)

    def _failed(self, waits: Sequence[OpenWait], error: Exception) -> None:
        """A look failed: a busy store is waited for, anything else ends the waits."""
        for wait in waits:
            if not isinstance(error, UnavailableError):
                self._fail(wait, error)
                continue
            self._failing = True
            try:
                wait.watch.unavailable(error, Look.LIST, self._clock.monotonic())
            except MzOrchestrationError as final:
                self._fail(wait, final)
            if wait.settling:
                self._later(self._policy.poll, self._look_soon, wait)

    def _answered(self, waits: Sequence[OpenWait]) -> None:
        if self._failing:
            for wait in waits:
                wait.watch.answered()

    def _fail(self, wait: OpenWait, error: Exception) -> None:
        if not wait.answer.done():
            wait.answer.set_exception(error)

    def _overdue(self, wait: OpenWait) -> None:
        self._fail(wait, wait.watch.overdue())

    def _not_started(self, wait: OpenWait) -> None:
        if not wait.watch.begun:
            self._fail(wait, wait.watch.overdue(started=False))

    def _forget(self, wait: OpenWait) -> None:
        for timer in wait.timers:
            timer.cancel()
        at = (wait.watch.folder.bucket, wait.watch.folder.key)
        self._waits[at].remove(wait)
        if not self._waits[at]:
            del self._waits[at]

    def _all(self) -> Iterator[OpenWait]:
        return chain.from_iterable(self._waits.values())

    def _of(self, bucket: str, folder: str) -> list[OpenWait]:
        return [wait for wait in self._waits.get((bucket, folder), ()) if not wait.answer.done()]

    def _later(self, seconds: float, function: Callable[[OpenWait], None], wait: OpenWait) -> None:
        if not wait.answer.done():
            wait.timers.append(asyncio.get_running_loop().call_later(seconds, function, wait))

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(function, *args, **kwargs))
