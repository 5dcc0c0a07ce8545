"""The part of a waiting process that is the same for us and for the peers: measuring itself on demand.

The process that measures writes ``begin``, ``end`` or ``stop`` to standard input and reads a line of JSON back:
processor seconds and resident memory of this process so far, and how late the event loop woke since ``begin``. Each
wait that returns prints ``{"noticed": name, "at": seconds}``, on the clock all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

PROBE = 0.02


def resident_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def noticed(name: str) -> None:
    say(noticed=name, at=time.monotonic())


def percentile(values: list[float], share: float) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def serve(start: Callable[[], Awaitable[object]]) -> None:
    """Report the idle process, call ``start`` (which begins the waits and keeps them), then obey."""
    loop = asyncio.get_running_loop()
    commands: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(commands.put_nowait, line.strip())
        loop.call_soon_threadsafe(commands.put_nowait, "stop")

    gc.collect()
    say(idle_rss_mib=resident_mib(), cpu_s=time.process_time())
    threading.Thread(target=read, daemon=True).start()
    late: list[float] = []
    probe = asyncio.create_task(_probe(late))
    kept = await start()
    while (command := await commands.get()) != "stop":
        if command == "begin":
            late.clear()
        say(
            at=time.monotonic(),
            cpu_s=time.process_time(),
            rss_mib=resident_mib(),
            threads=threading.active_count(),
            lag_p99_ms=percentile(late, 0.99) * 1000 if late else 0.0,
            lag_max_ms=max(late, default=0.0) * 1000,
        )
    probe.cancel()
    del kept


async def _probe(late: list[float]) -> None:
    while True:
        due = time.monotonic() + PROBE
        await asyncio.sleep(PROBE)
        late.append(time.monotonic() - due)
