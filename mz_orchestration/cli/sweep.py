"""``mz-orchestration sweep``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from mz_orchestration.cli.output import print_json, printable, progress, reporting, say, size_text
from mz_orchestration.errors import ConfigurationError, MzOrchestrationError

if TYPE_CHECKING:
    from mz_orchestration.exports.sweep.result import SweepResult

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def sweep(
    folder: Annotated[str, typer.Argument(help="What exports go --to, or one export's folder below it.")],
    older_than: Annotated[
        str,
        typer.Option(
            help="How long nothing must have happened to an attempt: 90m, 24h, 7d; at least an hour counts where "
            "nobody wrote down how it ended."
        ),
    ] = "24h",
    delete: Annotated[bool, typer.Option("--delete", help="Do it. Without, nothing is changed anywhere.")] = False,
    sessions: Annotated[
        bool,
        typer.Option(
            "--sessions/--no-sessions",
            help="Ask Materialize which sessions are there; without, an attempt nobody closed counts as running.",
        ),
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="The result as JSON on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Show what killed and failed exports left behind, and remove it with --delete.

    Abandoned attempts, unfinished multipart uploads and orphaned sessions of ours; never a finished export, a live
    attempt, a run record or an object under another name.
    """
    with reporting(as_json=json):
        from mz_orchestration.exports.sweep import sweep as run_sweep

        age = parse_age(older_than)
        listener = progress(quiet=quiet or json)
        result = run_sweep(folder, older_than=age, delete=delete, ask_sessions=sessions, on_event=listener)
        if json:
            print_json(result.to_dict())
        else:
            _report(result)
        for error in result.problems:
            say(f"error: {error.message}", bold="red")
            if error.hint:
                say(f"  what to do: {error.hint}")
    if result.problems:
        raise typer.Exit(problem_code(result.problems))


def parse_age(text: str) -> timedelta:
    """Read a duration such as ``90m``, ``24h`` or ``7d``; ``0`` needs no unit.

    Raises:
        ConfigurationError: It is none.
    """
    match = re.fullmatch(r"(\d{1,6})([smhd]?)", text.strip(), re.ASCII)
    if match is None or (not match[2] and int(match[1])):
        raise ConfigurationError(
            f"--older-than: {text!r} is not a duration.", hint="Write a number with s, m, h or d, for example 36h."
        )
    return timedelta(**{_UNITS[match[2] or "s"]: int(match[1])})


def problem_code(problems: Sequence[MzOrchestrationError]) -> int:
    """The exit code for what went wrong on the way: 5 if all of it may go well another time, else 3."""
    return 5 if all(error.retryable for error in problems) else 3


def age_text(seconds: float) -> str:
    """An age for people, in its two largest units."""
    minutes = max(0, int(seconds // 60))
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days}d {hours}h"
    return f"{hours}h {minutes % 60}m" if hours else f"{minutes}m"


def _report(result: SweepResult) -> None:
    if result.found:
        _print_table(result)
    for kept in result.kept:
        say(f"  kept: {kept.path.removeprefix(result.where)}  {kept.why}")
    parts = f"{result.finished} finished and {len(result.kept)} unfinished attempts kept"
    if result.others or result.other_uploads:
        parts += f", {result.others} objects and {result.other_uploads} uploads that are not ours left alone"
    verb = "removed" if result.deleted else "to remove"
    counted = f"{result.done} of {result.found}" if result.deleted else str(result.found)
    size = sum(folder.bytes for folder in result.folders if folder.done or not result.deleted)
    typer.echo(f"{verb}: {counted}  size={size_text(size)}  ({parts})")
    if result.found and not result.deleted:
        typer.echo("nothing was changed; the same command with --delete does it")


def _print_table(result: SweepResult) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("WHAT", "WHERE", "WHY", "AGE", "FILES", "SIZE", "DONE"):
        right = heading in ("AGE", "FILES", "SIZE")
        table.add_column(heading, justify="right" if right else "left", overflow="fold", no_wrap=right)

    def add(what: str, where: str, why: str, age: float, files: str, size: str, done: bool) -> None:
        state = ("yes" if done else "no") if result.deleted else ""
        # Text: rich would read brackets in a string as markup.
        table.add_row(
            what,
            Text(printable(where.replace(result.where, ""))),
            Text(printable(why)),
            age_text(age),
            files,
            size,
            state,
        )

    for session in result.sessions:
        where = f"pid {session.pid}, {session.path}"
        add("session", where, session.why, session.running_seconds, "", "", session.done)
    for folder in result.folders:
        why = folder.why + (f"; unfinished uploads: {folder.uploads}" if folder.uploads else "")
        add("attempt", folder.path, why, folder.idle_seconds, str(folder.files), size_text(folder.bytes), folder.done)
    for upload in result.uploads:
        add("upload", upload.url, "never completed", upload.idle_seconds, "", "", upload.done)
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 200)  # in a log, a folded path cannot be copied
    console.print(table)
