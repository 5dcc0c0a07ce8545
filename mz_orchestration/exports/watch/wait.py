"""Waiting for an export that somebody else runs: the sentinel watch for one path.

One listing learns the sentinel's key, one HEAD a poll asks for it, and one listing confirms that it is gone and data
is there. For many paths see `mz_orchestration.exports.watch.watcher.Watcher`.
"""

from __future__ import annotations

from enum import StrEnum

from mz_orchestration.errors import UnavailableError
from mz_orchestration.exports.watch.state import CompletedExport, Look, Next, WaitPolicy, Watch
from mz_orchestration.flow import Clock, Flow, arun, call, run, sleep
from mz_orchestration.objectstore.client import ObjectInfo, ObjectStore
from mz_orchestration.objectstore.location import Location
from mz_orchestration.progress import OnEvent, Progress, ignore

__all__ = ["CompletedExport", "WaitPolicy", "WaitStep", "await_export", "list_attempt", "wait", "wait_flow"]


class WaitStep(StrEnum):
    """The steps of a wait."""

    WAIT = "wait"


def list_attempt(store: ObjectStore, folder: Location) -> list[ObjectInfo]:
    """All objects of an attempt; of a folder full of folders only the first page, which is enough to refuse it."""
    objects, more = store.list_page(folder)
    if all("/" in item.key[len(folder.key) :] for item in objects):
        return objects
    while more:
        page, more = store.list_page(folder, start_after=objects[-1].key)
        objects.extend(page)
    return objects


def wait_flow(
    folder: Location, store: ObjectStore, policy: WaitPolicy, progress: Progress, *, vouched: bool = False
) -> Flow[CompletedExport]:
    """The wait for one path as a flow; see `wait`."""
    clock = progress.clock
    watch = Watch(folder, policy, clock.monotonic(), vouched)
    step, told = Next(Look.LIST, 0.0), watch.last_seen
    while True:
        if watch.last_seen != told:
            told = watch.last_seen
            progress.note(WaitStep.WAIT, told)
        if step.after > 0:
            yield from sleep(step.after)
        try:
            if step.look is Look.HEAD and watch.sentinel is not None:
                sentinel = Location(folder.bucket, watch.sentinel, folder.scheme)
                step = watch.headed((yield from call(store.head, sentinel)), clock.now(), clock.monotonic())
            else:
                outcome = watch.listed((yield from call(list_attempt, store, folder)), clock.now(), clock.monotonic())
                if isinstance(outcome, CompletedExport):
                    return outcome
                step = outcome
        except UnavailableError as error:
            step = watch.unavailable(error, step.look, clock.monotonic())


def wait(
    folder: Location,
    *,
    store: ObjectStore | None = None,
    policy: WaitPolicy | None = None,
    vouched: bool = False,
    on_event: OnEvent = ignore,
    clock: Clock | None = None,
) -> CompletedExport:
    """Wait until the export to a path is complete.

    Args:
        folder: The path of one attempt, as it was given to COPY TO.
        store: The object store; boto3's environment by default.
        policy: How long, and how often to look.
        vouched: Materialize has answered ``COPY n``.
        on_event: Told what the looks show.
        clock: The time to live in.

    Raises:
        ConfigurationError: The path holds attempts, not files.
        CredentialsError: The store does not let us look, which never means that the sentinel is gone.
        DeadlineError: The time is up; retryable.
        ExportError: The export is dead, or its files were removed.
        VerificationError: Files of several exports are mixed there.
    """
    progress = Progress(clock or Clock(), on_event)
    flow = wait_flow(folder, store or ObjectStore(), policy or WaitPolicy(), progress, vouched=vouched)
    return run(flow, progress.clock)


async def await_export(
    folder: Location,
    *,
    store: ObjectStore | None = None,
    policy: WaitPolicy | None = None,
    vouched: bool = False,
    on_event: OnEvent = ignore,
) -> CompletedExport:
    """`wait` on the running event loop. For many paths use a `Watcher`, whose waits share their requests."""
    progress = Progress(Clock(), on_event)
    return await arun(wait_flow(folder, store or ObjectStore(), policy or WaitPolicy(), progress, vouched=vouched))
