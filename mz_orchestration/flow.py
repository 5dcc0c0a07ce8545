"""Flows: long actions written once and run by synchronous and asynchronous callers alike.

A flow is a generator that yields what it wants done (a blocking call, a pause) and is sent the answer, the way
psycopg keeps its protocol logic free of I/O. `run` carries a flow out in the calling thread; `arun` does so on an
event loop, with calls in threads and pauses that hold none, so a thousand waiting flows cost no thread. Tests drive
flows with a clock of their own.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


# Seconds between looks at signals: one that another thread was hit by does not wake a thread that waits for good.
_LISTEN_EVERY = 0.2
# Seconds for a thread to begin.
_BEGINS_WITHIN = 10.0


@dataclass(frozen=True, slots=True)
class Call:
    """Ask the driver to call a blocking function and send back what it returns or throw what it raises."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sleep:
    """Ask the driver to pause for a number of seconds."""

    seconds: float


Flow = Generator[Call | Sleep, Any, T]


class Clock:
    """The time a flow lives in; replaced in tests."""

    def now(self) -> datetime:
        """The current moment, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only grow, for durations and deadlines."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for ``seconds``."""
        time.sleep(seconds)


def call(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Flow[T]:
    """Within a flow: ``answer = yield from call(function, ...)``."""
    answer: T = yield Call(function, args, kwargs)
    return answer


def sleep(seconds: float) -> Flow[None]:
    """Within a flow: pause for ``seconds``."""
    yield Sleep(seconds)


def run(flow: Flow[T], clock: Clock | None = None) -> T:
    """Carry out a flow in this thread and return its result.

    Interrupts (``KeyboardInterrupt`` and orchestrators' own ``BaseException`` signals) are thrown into the flow, so
    that it can cancel remote work before they go on.
    """
    clock = clock or Clock()

    def perform(command: Call | Sleep) -> Any:
        if isinstance(command, Sleep):
            return clock.sleep(command.seconds)
        return command.function(*command.args, **command.kwargs)

    try:
        command = next(flow)
        while True:
            try:
                answer = perform(command)
            except BaseException as error:
                command = flow.throw(error)
            else:
                command = flow.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def arun(flow: Flow[T]) -> T:
    """Carry out a flow on the running event loop: calls in threads, pauses on the loop.

    Once cancelled, the flow cleans up undisturbed: whoever cancels again waits like the first.
    """
    cancelled = False

    def perform(command: Call | Sleep) -> Awaitable[Any]:
        if isinstance(command, Sleep):
            return asyncio.sleep(command.seconds)
        return in_daemon_thread(partial(command.function, *command.args, **command.kwargs))

    try:
        command = next(flow)
        while True:
            try:
                answer = await (_undisturbed(perform(command)) if cancelled else perform(command))
            except BaseException as error:
                cancelled = cancelled or isinstance(error, asyncio.CancelledError)
                command = flow.throw(error)
            else:
                command = flow.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def acall(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """A blocking call from a coroutine, in a thread as the calls of a flow are."""
    return await arun(call(function, *args, **kwargs))


async def in_daemon_thread(function: Callable[[], T]) -> T:
    """A blocking call in a thread of its own, which neither waits for others nor keeps the process alive.

    The loop's own few threads will not do: with as many COPYs waited for as there are threads, no cancel could be
    sent; and a process that ends would wait for theirs.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def deliver(outcome: Callable[[], None]) -> None:
        if not future.done():
            outcome()

    def work() -> None:
        try:
            outcome = partial(future.set_result, function())
        except BaseException as error:
            outcome = partial(future.set_exception, error)
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(deliver, outcome)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name="mz-call", daemon=True).start()
    return await future


async def _undisturbed(awaitable: Awaitable[T]) -> T:
    task = asyncio.ensure_future(awaitable)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return task.result()


class Background(Generic[T]):
    """A coroutine on an event loop of its own, in a thread that ends with the process.

    It outlives whoever waits for it, so that leaving is one thing and cancelling another.

    Args:
        main: What to run, once it is started.
    """

    def __init__(self, main: Coroutine[Any, Any, T]) -> None:
        self._main = main
        self._outcome: Future[T] = Future()
        self._outcome.set_running_or_notify_cancel()  # whoever stops waiting for it must not cancel it
        self._running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = Future()

    def start(self) -> Self:
        """Begin."""

        async def body() -> T:
            self._running.set_result((asyncio.get_running_loop(), asyncio.current_task()))
            return await self._main

        def work() -> None:
            try:
                self._outcome.set_result(asyncio.run(body()))
            except BaseException as error:
                self._outcome.set_exception(error)

        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(work,), name="coroutine", daemon=True).start()
        return self

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._outcome.done()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it has ended, or for ``timeout`` seconds; whether it has."""
        return bool(wait([self._outcome], timeout=timeout).done)

    async def ended(self) -> None:
        """Wait on the running event loop until it has ended, however; cancelling the wait leaves it alone."""
        ended = asyncio.wrap_future(self._outcome)
        # Whoever wants its error asks for the result; asyncio would complain that nobody looked.
        ended.add_done_callback(lambda future: future.cancelled() or future.exception())
        await asyncio.wait([ended])

    def result(self) -> T:
        """What it returned, once it has ended; raises what it raised."""
        return self._outcome.result()

    def cancel(self, why: str) -> bool:
        """Ask it to clean up and end, for a reason that the record of what it does will name; does not wait for that.

        Returns:
            Whether it was there to be asked; it is not if it has ended, or its start was interrupted.
        """
        if self.done:
            return False
        try:
            loop, task = self._running.result(timeout=_BEGINS_WITHIN)
        except TimeoutError:
            self._main.close()
            return False
        if task is not None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(task.cancel, why)
        return True


def run_coroutine(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on an event loop of its own, in a thread, and return its result.

    Whatever interrupts the caller cancels the coroutine first and waits for it to clean up. Raised inside an event
    loop, an interrupt other than Ctrl-C (SIGTERM's, an orchestrator's) would be taken for the failure of one task.
    """
    work = Background(main)
    try:
        work.start()
        while not work.wait(_LISTEN_EVERY):
            pass
        return work.result()
    except BaseException as error:
        # Whoever interrupts may do so before the thread has begun.
        if work.cancel(type(error).__name__):
            work.wait()
        raise
