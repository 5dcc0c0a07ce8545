"""One `Watcher` for all waits of a triggerer that poll the same store in the same way: they share their requests.

The same store means the whole of its settings, credentials included, so that nobody looks with somebody else's rights.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from mz_orchestration.exports.watch.state import WaitPolicy
from mz_orchestration.exports.watch.watcher import Watcher
from mz_orchestration.flow import in_daemon_thread

if TYPE_CHECKING:
    from mz_orchestration.objectstore.client import ObjectStore, ObjectStoreConfig

    Key = tuple[ObjectStoreConfig | None, WaitPolicy]

_DEFAULTS = WaitPolicy()


@dataclass(slots=True, eq=False)
class _Shared:
    watcher: asyncio.Task[Watcher]
    users: int = 0


# A watcher belongs to the event loop it was made on, and goes with it.
_SHARED: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Key, _Shared]] = WeakKeyDictionary()


@asynccontextmanager
async def shared_watcher(config: ObjectStoreConfig | None, policy: WaitPolicy) -> AsyncIterator[Watcher]:
    """
    Lend the watcher of a store; the last to give it back closes it.

    :param config: how the store is reached; None leaves it to boto3.
    :param policy: how often to look. Its deadlines are not shared: each wait brings its own.
    """
    key = config, replace(policy, deadline=_DEFAULTS.deadline, start_deadline=_DEFAULTS.start_deadline)
    by_key = _SHARED.setdefault(asyncio.get_running_loop(), {})
    shared = by_key.get(key)
    if shared is None:
        shared = by_key[key] = _Shared(asyncio.create_task(_make(*key)))
    shared.users += 1
    try:
        # Who stops waiting for the watcher must not take it away from the others.
        yield await asyncio.shield(shared.watcher)
    finally:
        shared.users -= 1
        if not shared.users:
            del by_key[key]
            await _close(shared.watcher)


async def _make(config: ObjectStoreConfig | None, policy: WaitPolicy) -> Watcher:
    def open_store() -> ObjectStore:
        from mz_orchestration.objectstore.client import ObjectStore

        return ObjectStore(config)

    return Watcher(await in_daemon_thread(open_store), policy)


async def _close(making: asyncio.Task[Watcher]) -> None:
    if not making.done():
        making.cancel()
    elif not making.cancelled() and making.exception() is None:
        await making.result().__aexit__()
