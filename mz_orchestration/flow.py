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
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


# Seconds between looks at signals: one that another thread was hit by does not wake a thread that waits for good.
_LISTEN_EVERY = 0.2

# Calls of flows on an event loop. Many, and not the loop's own few: with as many COPYs waited for as there are
# threads, no cancel could be sent. Threads are made only when all others are busy.
_THREADS = ThreadPoolExecutor(max_workers=1024, thread_name_prefix="flow")


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
        function = partial(command.function, *command.args, **command.kwargs)
        context = contextvars.copy_context()
        return asyncio.get_running_loop().run_in_executor(_THREADS, context.run, function)

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


async def _undisturbed(awaitable: Awaitable[T]) -> T:
    task = asyncio.ensure_future(awaitable)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return task.result()


def run_coroutine(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on an event loop of its own, in a thread, and return its result.

    Whatever interrupts the caller cancels the coroutine first and waits for it to clean up. Raised inside an event
    loop, an interrupt other than Ctrl-C (SIGTERM's, an orchestrator's) would be taken for the failure of one task.
    """
    outcome: Future[T] = Future()
    running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = Future()

    async def body() -> T:
        running.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        return await main

    def work() -> None:
        try:
            outcome.set_result(asyncio.run(body()))
        except BaseException as error:
            outcome.set_exception(error)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name="coroutine", daemon=True).start()
    try:
        while not wait([outcome], timeout=_LISTEN_EVERY).done:
            pass
        return outcome.result()
    except BaseException:
        if not outcome.done():
            loop, task = running.result()
            if task is not None:
                loop.call_soon_threadsafe(task.cancel)
            wait([outcome])
        raise
