"""N waits of ours in one process, as tasks of one event loop that share a `Watcher`.

Usage: waits_ours.py N FOLDER [--poll-max SECONDS] [--queue URL]; waits for FOLDER/<number of five digits>/
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os

from waits_worker import noticed, say, serve

from mz_orchestration.exports.watch.wait import WaitPolicy
from mz_orchestration.exports.watch.watcher import Watcher
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location, parse_folder
from mz_orchestration.objectstore.queue import RemovalQueue


async def wait(watcher: Watcher, name: str, folder: Location) -> None:
    await watcher.wait(folder)
    noticed(name)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("n", type=int)
    parser.add_argument("folder")
    parser.add_argument("--poll-max", type=float, default=5.0)
    parser.add_argument("--queue")
    arguments = parser.parse_args()
    parent = parse_folder(arguments.folder, field="folder")
    async with contextlib.AsyncExitStack() as stack:

        async def start() -> list[asyncio.Task[None]]:
            watcher = await stack.enter_async_context(Watcher(ObjectStore(), WaitPolicy(poll=arguments.poll_max)))
            names = [f"{number:05}" for number in range(arguments.n)]
            tasks = [asyncio.create_task(wait(watcher, name, parent.child(f"{name}/"))) for name in names]
            if arguments.queue:
                queue = RemovalQueue(arguments.queue, on_problem=lambda error: say(problem=str(error)))
                tasks.append(asyncio.create_task(queue.run(watcher.wake)))
            return tasks

        await serve(start)
        os._exit(0)  # as the peer does: nothing of the ending is measured


if __name__ == "__main__":
    asyncio.run(main())
