"""Interrupts that arrive while the connector works.

Major 5 of the connector is native code that calls back into Python for its log, and whatever a signal raises there
(Ctrl-C, SIGTERM's, an orchestrator's) is printed and forgotten. So the main thread never calls the connector: it waits
for a thread that does, and what interrupts it is raised once that call has ended, or at once if it comes again.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial, wraps
from typing import Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")

_THREADS = ThreadPoolExecutor(max_workers=64, thread_name_prefix="snowflake")
# Seconds between looks at signals: one that another thread was hit by does not wake a thread that waits for good.
_LISTEN_EVERY = 0.2


def interruptible(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """A method that calls the connector, made so that no interrupt is lost in it."""

    @wraps(method)
    def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        # Only the main thread is interrupted by signals.
        if threading.current_thread() is not threading.main_thread():
            return method(self, *args, **kwargs)
        context = contextvars.copy_context()
        future = _THREADS.submit(context.run, partial(method, self, *args, **kwargs))
        interrupt: BaseException | None = None
        while not future.done():
            try:
                wait([future], timeout=_LISTEN_EVERY)
            except BaseException as error:
                if interrupt is not None:
                    raise
                interrupt = error
        if interrupt is not None:
            raise interrupt
        return future.result()

    return run
