"""Many waits in one process over a real bucket."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mz_orchestration.errors import ConfigurationError, CredentialsError, DeadlineError, ExportError, UnavailableError
from mz_orchestration.exports.watch.wait import CompletedExport, WaitPolicy
from mz_orchestration.exports.watch.watcher import Watcher
from mz_orchestration.objectstore.client import ObjectStore, ObjectStoreConfig
from mz_orchestration.objectstore.location import Location

QUICK = WaitPolicy(deadline=60, first_poll=0.1, poll=0.3, settle=0.3)


def started(watcher: Watcher, exports: list[Any]) -> list[asyncio.Task[CompletedExport]]:
    return [asyncio.create_task(watcher.wait(export.folder)) for export in exports]


async def seen(watcher: Watcher, number: int) -> None:
    """Until the sentinels of so many waits were seen."""
    async with asyncio.timeout(30):
        while sum("its sentinel is there" in last for _, last in watcher.status()) < number:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("number", [1, 7, 40])
def test_each_wait_ends_when_its_own_export_does(new_export: Any, store: ObjectStore, number: int) -> None:
    exports = [new_export(f"e{n % 3}/{n:03d}").begin() for n in range(number)]

    async def scenario() -> None:
        async with Watcher(store, QUICK) as watcher:
            waits = started(watcher, exports)
            await seen(watcher, number)
            await asyncio.to_thread(lambda: exports[-1].write().write(1).end())
            done = await waits[-1]
            assert [file.size for file in done.files] == [4, 4]
            assert done.sentinel_seen
            assert not any(wait.done() for wait in waits[:-1])
            assert len(watcher) == number - 1
            await asyncio.to_thread(lambda: [export.write().end() for export in exports[:-1]])
            assert all(answer.sentinel_seen for answer in await asyncio.gather(*waits))
            assert len(watcher) == 0

    asyncio.run(scenario())


def test_waits_below_one_parent_share_their_requests(
    new_export: Any, store: ObjectStore, requests: Callable[[Location], list[str]], base: Location
) -> None:
    exports = [new_export(f"{n:03d}").begin() for n in range(50)]
    before = len(requests(base))

    async def scenario() -> int:
        async with Watcher(store, QUICK) as watcher:
            waits = started(watcher, exports)
            await seen(watcher, 50)
            first = requests(base)[before:]
            assert first.count("LIST") <= 2
            assert first.count("HEAD") == 0
            await asyncio.sleep(1.5)
            polled = requests(base)[before:]
            assert "HEAD" not in polled
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            return len(polled)

    # Fifty HEADs a poll would be several hundred.
    assert asyncio.run(scenario()) < 40


def test_few_waits_ask_for_their_sentinels(
    new_export: Any, store: ObjectStore, requests: Callable[[Location], list[str]], base: Location
) -> None:
    exports = [new_export(f"{n:03d}").begin() for n in range(2)]
    before = len(requests(base))

    async def scenario() -> list[str]:
        async with Watcher(store, QUICK) as watcher:
            waits = started(watcher, exports)
            polled: list[str] = []
            async with asyncio.timeout(30):
                while polled.count("HEAD") < 6:
                    await asyncio.sleep(0.1)
                    polled = requests(base)[before:]
            await asyncio.to_thread(lambda: [export.write().end() for export in exports])
            await asyncio.gather(*waits)
            return polled

    assert asyncio.run(scenario()).count("LIST") == 2


def test_a_storm_of_exports_of_all_kinds(new_export: Any, store: ObjectStore) -> None:
    """Quick ones whose sentinel nobody sees, slow ones, many files, all among objects nobody waits for."""
    chance = random.Random(7)
    exports = [new_export(f"e{n % 2}/{n:03d}") for n in range(60)]
    files = {export.folder: chance.choice([1, 1, 2, 9]) for export in exports}
    steps = [(chance.random(), n, step) for n, export in enumerate(exports) for step in range(files[export.folder] + 2)]
    order = [n for _, n, _ in sorted(steps)]
    taken, ended = dict.fromkeys(files, 0), set()

    def take_steps() -> None:
        for n in order:
            export = exports[n]
            step = taken[export.folder]
            taken[export.folder] += 1
            if step == 0:
                export.begin()
            elif step <= files[export.folder]:
                export.write(step)
            else:
                ended.add(export.folder)
                export.end()

    async def scenario() -> None:
        async with Watcher(store, QUICK) as watcher:

            async def one(export: Any) -> None:
                done = await watcher.wait(export.folder)
                assert export.folder in ended
                assert len(done.files) == files[export.folder]

            waits = [asyncio.create_task(one(export)) for export in exports]
            await asyncio.to_thread(take_steps)
            await asyncio.gather(*waits)

    asyncio.run(scenario())


def test_every_kind_of_end_at_once(new_export: Any, store: ObjectStore, base: Location) -> None:
    late = new_export("late")
    running, tiny, removed = new_export("running").begin(), new_export("tiny").write(), new_export("removed").begin()

    async def scenario() -> None:
        async with Watcher(store, QUICK) as watcher:
            waits = {
                "late": watcher.wait(late.folder),
                "tiny": watcher.wait(tiny.folder),
                "running": watcher.wait(running.folder, deadline=3),
                "removed": watcher.wait(removed.folder),
                "never": watcher.wait(base.child("never/"), start_deadline=1),
                "base": watcher.wait(base),
                "bucket": watcher.wait(Location("no-such-bucket", "a/")),
                "vouched": watcher.wait(tiny.folder, vouched=True),
            }
            tasks = {name: asyncio.ensure_future(wait) for name, wait in waits.items()}
            await seen(watcher, 2)
            await asyncio.to_thread(removed.end)
            await asyncio.to_thread(lambda: late.begin().write())
            await seen(watcher, 1)
            await asyncio.to_thread(late.end)
            await asyncio.wait(tasks.values())
            assert len(tasks["late"].result().files) == 1
            assert tasks["tiny"].result().sentinel_seen is False
            assert tasks["vouched"].result().looks == 1
            for name, error, text in (
                ("running", DeadlineError, "its sentinel is there"),
                ("removed", ExportError, "was removed"),
                ("never", DeadlineError, "No export has begun"),
                ("base", ConfigurationError, "not an attempt's path"),
                ("bucket", ConfigurationError, "does not exist"),
            ):
                caught = tasks[name].exception()
                assert isinstance(caught, error), name
                assert text in str(caught)

    asyncio.run(scenario())


def test_an_abandoned_export_is_found_while_watched(new_export: Any, store: ObjectStore) -> None:
    exports = [new_export(f"{n:03d}").begin() for n in range(9)]

    async def scenario() -> None:
        async with Watcher(store, WaitPolicy(first_poll=0.1, poll=0.3, abandoned_after=2)) as watcher:
            for wait in await asyncio.gather(*started(watcher, exports), return_exceptions=True):
                assert isinstance(wait, ExportError)
                assert "abandoned" in wait.message

    asyncio.run(scenario())


def test_without_permission_every_wait_is_an_error(new_export: Any, environment: dict[str, str]) -> None:
    exports = [new_export(f"{n:03d}").begin() for n in range(10)]
    stranger = ObjectStore(
        ObjectStoreConfig.model_validate({"aws_access_key_id": "AKIAX", "aws_secret_access_key": "y"})
    )

    async def scenario() -> None:
        async with Watcher(stranger, QUICK) as watcher:
            for wait in await asyncio.gather(*started(watcher, exports), return_exceptions=True):
                assert isinstance(wait, CredentialsError)

    asyncio.run(scenario())


class ListOnly(ObjectStore):
    """A key that may list what a test allows, and nothing above it: the policy a guide would have us write."""

    def __init__(self, allowed: Callable[[str], bool]) -> None:
        super().__init__()
        self.allowed = allowed
        self.refused: list[str] = []

    def list_page(self, prefix: Location, start_after: str = "", limit: int = 1000) -> Any:
        if not self.allowed(prefix.key):
            self.refused.append(prefix.key)
            raise CredentialsError("AccessDenied")
        return super().list_page(prefix, start_after, limit)


def test_a_parent_that_may_not_be_listed_is_asked_for_once(new_export: Any, base: Location) -> None:
    exports = [new_export(f"{name}/{n:03d}").begin() for name in ("a", "b") for n in range(9)]
    store = ListOnly(lambda prefix: len(prefix) > len(base.key))

    async def scenario() -> None:
        async with Watcher(store, QUICK) as watcher:
            waits = started(watcher, exports)
            await seen(watcher, len(exports))
            await asyncio.sleep(0.7)
            await asyncio.to_thread(lambda: [export.write().end() for export in exports])
            await asyncio.gather(*waits)

    asyncio.run(scenario())
    assert store.refused == [base.key]


class Busy(ObjectStore):
    """A store that does not answer while told so."""

    busy = False

    def list_page(self, prefix: Location, start_after: str = "", limit: int = 1000) -> Any:
        if self.busy:
            raise UnavailableError("503 SlowDown")
        return super().list_page(prefix, start_after, limit)


@pytest.mark.parametrize("number", [3, 12])
def test_a_busy_store_is_waited_for(new_export: Any, environment: dict[str, str], number: int) -> None:
    exports = [new_export(f"{n:03d}").begin() for n in range(number)]
    store = Busy()

    async def scenario() -> None:
        async with Watcher(store, QUICK) as watcher:
            waits = started(watcher, exports)
            await seen(watcher, number)
            store.busy = True
            await asyncio.to_thread(lambda: [export.write().end() for export in exports])
            await asyncio.sleep(1)
            assert not any(wait.done() for wait in waits)
            store.busy = False
            assert len(await asyncio.gather(*waits)) == number

    asyncio.run(scenario())


def test_cancelled_waits_are_forgotten_and_the_end_cancels_the_others(new_export: Any, store: ObjectStore) -> None:
    exports = [new_export(f"{n:03d}").begin() for n in range(4)]

    async def scenario() -> None:
        async with Watcher(store, QUICK) as watcher:
            waits = started(watcher, exports)
            await seen(watcher, 4)
            waits[0].cancel()
            await asyncio.wait({waits[0]})
            assert len(watcher) == 3
        await asyncio.wait(waits)
        assert all(wait.cancelled() for wait in waits)

    asyncio.run(scenario())


def woken(watcher: Watcher, export: Any) -> Awaitable[int]:
    return watcher.wake(export.folder.bucket, export.sentinel)


def test_an_event_wakes_exactly_the_waits_it_concerns(new_export: Any, store: ObjectStore) -> None:
    one, two = new_export("one").begin(), new_export("two").begin()

    async def scenario() -> None:
        async with Watcher(store, WaitPolicy(first_poll=60, poll=60, deadline=90)) as watcher:
            waits = started(watcher, [one, one, two])
            await seen(watcher, 3)
            # An event that is not true (any more) wakes, and the listing decides.
            assert await woken(watcher, one) == 2
            assert not any(wait.done() for wait in waits)
            await asyncio.to_thread(lambda: one.write().end())
            assert await woken(watcher, one) == 2
            assert await woken(watcher, one) == 0
            assert [(await wait).sentinel_seen for wait in waits[:2]] == [True, True]
            assert not waits[2].done()
            assert await watcher.wake("other-bucket", two.sentinel) == 0
            assert await watcher.wake(two.folder.bucket, two.folder.parent.key + "mz-t1-INCOMPLETE") == 0

    asyncio.run(scenario())
