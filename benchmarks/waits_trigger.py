"""N `SentinelRemovedTrigger` of ours, as tasks of one event loop, the way a triggerer runs them.

Usage: waits_trigger.py N FOLDER POLL; waits for FOLDER/<number of five digits>/
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta

from waits_worker import noticed, serve

from mz_orchestration.airflow.triggers.sentinel import SentinelRemovedTrigger


async def wait(name: str, folder: str, poll: float) -> None:
    now = datetime.now(UTC)
    trigger = SentinelRemovedTrigger(
        path=f"{folder}{name}/",
        began=now.isoformat(),
        deadline=(now + timedelta(hours=6)).isoformat(),
        poll_interval=poll,
    )
    async for event in trigger.run():
        if event.payload["status"] != "success":
            sys.exit(f"{name}: {event.payload}")
        noticed(name)
        return


async def main(n: int, folder: str, poll: float) -> None:
    async def start() -> list[asyncio.Task[None]]:
        return [asyncio.create_task(wait(name, folder, poll)) for name in (f"{i:05}" for i in range(n))]

    await serve(start)
    os._exit(0)  # as the peer does: nothing of the ending is measured


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
