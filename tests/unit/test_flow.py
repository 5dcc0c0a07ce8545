"""Flows behave alike under both drivers."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable

import pytest

from mz_orchestration.flow import Clock, Flow, arun, call, run, run_coroutine, sleep


class Instant(Clock):
    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def add(one: int, other: int) -> int:
    return one + other


def fail() -> int:
    raise LookupError("gone")


def adding() -> Flow[int]:
    total = yield from call(add, 1, other=2)
    yield from sleep(0.0)
    try:
        total += yield from call(fail)
    except LookupError:
        total += 10
    return total


@pytest.mark.parametrize("drive", [run, lambda flow: asyncio.run(arun(flow))])
def test_answers_and_errors_reach_the_flow(drive: Callable[[Flow[int]], int]) -> None:
    assert drive(adding()) == 13


def test_sleep_is_the_clocks() -> None:
    clock = Instant()

    def waiting() -> Flow[None]:
        yield from sleep(3600)

    run(waiting(), clock)
    assert clock.slept == [3600]


class Signal(BaseException):
    """As an orchestrator would raise."""


@pytest.mark.parametrize("drive", [run, lambda flow: asyncio.run(arun(flow))])
def test_an_interrupt_runs_the_clean_up_which_may_call_again(drive: Callable[[Flow[None]], None]) -> None:
    calls: list[str] = []

    def interrupted() -> None:
        raise Signal

    def cleaning() -> Flow[None]:
        try:
            yield from call(interrupted)
        finally:
            yield from call(calls.append, "cancelled")

    with pytest.raises(Signal):
        drive(cleaning())
    assert calls == ["cancelled"]


def test_cancelling_the_task_reaches_the_flow() -> None:
    calls: list[str] = []

    def waiting() -> Flow[None]:
        try:
            yield from sleep(3600)
        finally:
            yield from call(calls.append, "cancelled")

    async def main() -> None:
        task = asyncio.create_task(arun(waiting()))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert calls == ["cancelled"]


def test_a_flow_that_is_cancelled_twice_cleans_up_once_and_whole() -> None:
    done: list[str] = []

    def clean_up() -> None:
        time.sleep(0.3)
        done.append("cleaned up")

    def flow() -> Flow[None]:
        try:
            yield from sleep(60)
        finally:
            yield from call(clean_up)
            yield from sleep(0.1)
            done.append("rested")

    async def main() -> None:
        task = asyncio.create_task(arun(flow()))
        for _ in range(3):
            await asyncio.sleep(0.1)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert done == ["cleaned up", "rested"]


def test_an_interrupt_of_any_kind_cancels_a_coroutine_and_waits_for_it() -> None:
    done: list[str] = []

    class Signal(BaseException):
        pass

    async def main() -> None:
        try:
            threading.Timer(0.1, signal.raise_signal, (signal.SIGUSR1,)).start()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)
            done.append("cleaned up")

    def interrupt(number: int, frame: object) -> None:
        raise Signal

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(Signal):
            run_coroutine(main())
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert done == ["cleaned up"]


def test_a_coroutine_returns_and_raises_as_if_called() -> None:
    async def double(number: int) -> int:
        if number < 0:
            raise ValueError(number)
        return 2 * number

    assert run_coroutine(double(21)) == 42
    with pytest.raises(ValueError, match="-1"):
        run_coroutine(double(-1))
