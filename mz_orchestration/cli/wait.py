"""``mz-orchestration wait``."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from mz_orchestration.cli.commands import wait_command
from mz_orchestration.cli.output import Terminated, print_json, progress, reporting, say, size_text
from mz_orchestration.errors import ConfigurationError, MzOrchestrationError

if TYPE_CHECKING:
    from mz_orchestration.exports.watch.wait import CompletedExport, WaitPolicy
    from mz_orchestration.exports.watch.watcher import Watcher
    from mz_orchestration.objectstore.location import Location
    from mz_orchestration.objectstore.queue import RemovalQueue


def wait(
    path: Annotated[str, typer.Argument(help="The path of one export, as it was given to COPY TO.")],
    deadline: Annotated[float, typer.Option(help="The longest wait, in seconds.")] = 6 * 3600,
    start_deadline: Annotated[
        float | None, typer.Option(help="The longest wait for the first object, in seconds; by default --deadline.")
    ] = None,
    poll: Annotated[float, typer.Option(help="The longest pause between two looks, in seconds.")] = 5,
    settle: Annotated[
        float, typer.Option(help="How many seconds files must stay unchanged if their sentinel was never seen.")
    ] = 5,
    abandoned_after: Annotated[
        float, typer.Option(help="Seconds without a new object after which a sentinel counts as left behind.")
    ] = 6 * 3600,
    queue: Annotated[
        str | None,
        typer.Option(
            help="URL of an SQS queue that is told of removed sentinels; polling goes on beside it.",
            envvar="MZ_ORCHESTRATION_QUEUE",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The result, with every file, as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Wait until an export that somebody else runs is complete: its sentinel gone, its data files there.

    Ends with 0 when it is complete, 5 when the time is up, 3 when the export is dead or its files were removed. Being
    forbidden to look is an error, never "complete".
    """
    command = wait_command(
        path,
        deadline=deadline,
        start_deadline=start_deadline,
        poll=poll,
        settle=settle,
        abandoned_after=abandoned_after,
        queue=queue,
    )
    with reporting(as_json=json, again=command):
        from mz_orchestration.exports.watch.wait import WaitPolicy
        from mz_orchestration.exports.watch.wait import wait as wait_here
        from mz_orchestration.objectstore.location import parse_folder

        policy = WaitPolicy(
            deadline=deadline,
            start_deadline=start_deadline,
            poll=poll,
            settle=settle,
            abandoned_after=abandoned_after,
        )
        _refuse_an_object(path)
        folder = parse_folder(path, field="PATH")
        if not quiet:
            say(f"wait for {folder}")
        if queue:
            done = asyncio.run(_wait_with_queue(folder, policy, queue))
        else:
            done = wait_here(folder, policy=policy, on_event=progress(quiet=quiet or json))
        if json:
            files = [{"key": file.key, "bytes": file.size, "etag": file.etag} for file in done.files]
            print_json({**done.to_metadata(), "files": files, "strangers": list(done.strangers)})
        else:
            _report(done)


def _refuse_an_object(path: str) -> None:
    """What is named in the place of its folder would be waited for in vain.

    Raises:
        ConfigurationError: It is an object of ours, or a sentinel.
    """
    from mz_orchestration.exports.paths import LATEST_NAME, MANIFEST_NAME
    from mz_orchestration.exports.sentinel import SENTINEL_SUFFIX

    folder, _, name = path.rpartition("/")
    if name == LATEST_NAME:
        raise ConfigurationError(
            f"PATH: {path} leads to the newest finished export: there is nothing to wait for.",
            hint="Name the folder of one export, as it was given to COPY TO.",
        )
    if name == MANIFEST_NAME or name.endswith(SENTINEL_SUFFIX):
        raise ConfigurationError(
            f"PATH: {path} is an object in the folder of an export.", hint=f"Wait for the folder: {folder}/"
        )


async def _wait_with_queue(folder: Location, policy: WaitPolicy, url: str) -> CompletedExport:
    from mz_orchestration.exports.watch.watcher import Watcher
    from mz_orchestration.objectstore.queue import RemovalQueue

    queue = RemovalQueue(url, on_problem=_warn)
    async with Watcher(policy=policy) as watcher:
        reading = asyncio.create_task(_read_queue(queue, watcher))
        waiting = asyncio.create_task(watcher.wait(folder))
        # What a signal handler raises within a task stays there: the loop must be asked to end.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, waiting.cancel, "SIGTERM")
        try:
            return await waiting
        except asyncio.CancelledError as cancelled:
            if cancelled.args == ("SIGTERM",):
                raise Terminated from None
            raise
        finally:
            reading.cancel()


async def _read_queue(queue: RemovalQueue, watcher: Watcher) -> None:
    try:
        await queue.run(watcher.wake)
    except MzOrchestrationError as error:
        _warn(error)
        say("    the wait goes on by polling alone")


def _warn(error: MzOrchestrationError) -> None:
    say(f"    {error}", bold="yellow")


def _report(done: CompletedExport) -> None:
    if done.strangers:
        say(f"  not written by this export: {', '.join(done.strangers[:5])}", bold="yellow")
    typer.echo(f"complete: {done.folder}  files={len(done.files)} size={size_text(done.size)}")
