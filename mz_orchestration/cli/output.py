"""How commands talk: progress for people on standard error, results on standard output, exit codes for cron.

====  ==========================================================================
code  meaning
====  ==========================================================================
0     done, or already done
1     a bug of ours
2     bad input: correct the command, setting or name
3     refused or failed for good by Materialize, the store, Snowflake or Census
4     numbers disagree: verification, reconciliation or a check failed, nothing was published;
      or more records were rejected than is allowed
5     failed for now: run the same command again
130   interrupted with Ctrl-C (143: by SIGTERM), after cancelling its own statement
====  ==========================================================================
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import typer

from mz_orchestration import errors
from mz_orchestration.errors import (
    CheckError,
    ConfigurationError,
    MzOrchestrationError,
    ReconciliationError,
    RejectedRecordsError,
    RunConflictError,
    UnexpectedError,
    VerificationError,
)
from mz_orchestration.progress import Event, OnEvent, ignore


class Terminated(BaseException):
    """SIGTERM arrived; a class of its own so that work in flight is cancelled as for Ctrl-C."""


def exit_code(error: MzOrchestrationError) -> int:
    """The exit code for an error; see the module's table."""
    return _code(type(error), retryable=error.retryable)


def worst_exit_code(found: Iterable[Mapping[str, Any]]) -> int:
    """The exit code for several errors, as `MzOrchestrationError.to_dict` has them.

    Numbers that disagree come first, and running it again is the advice only if that may help all of them.
    """
    codes = set()
    for each in found:
        kind = getattr(errors, str(each.get("type")), MzOrchestrationError)
        codes.add(_code(kind, retryable=bool(each.get("retryable"))))
    return next((code for code in (4, 3, 2, 1) if code in codes), 5)


def _code(kind: type[MzOrchestrationError], *, retryable: bool) -> int:
    if issubclass(kind, ConfigurationError) or (issubclass(kind, RunConflictError) and not retryable):
        return 2
    if issubclass(kind, VerificationError | ReconciliationError | RejectedRecordsError):
        return 4
    if issubclass(kind, CheckError) and not retryable:
        return 4
    if issubclass(kind, UnexpectedError):
        return 1
    return 5 if retryable else 3


@contextmanager
def reporting(*, as_json: bool, again: str = "") -> Iterator[None]:
    """Turn errors and interrupts within the body into messages and exit codes.

    Args:
        as_json: Print errors as JSON on standard output.
        again: The command that goes on with what was interrupted.
    """

    def terminate(number: int, frame: FrameType | None) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except MzOrchestrationError as error:
        if as_json:
            print_json({"error": error.to_dict(), "again": again})
        # Also with JSON: in a pipe, standard output may never be seen.
        say(f"error: {error.message}", bold="red")
        if error.hint:
            say(f"  what to do: {error.hint}")
        if again and error.retryable:
            say(f"  again: {again}")
        raise typer.Exit(exit_code(error)) from error
    except (KeyboardInterrupt, Terminated) as interrupt:
        say("interrupted.", bold="yellow")
        if again:
            say(f"  again: {again}")
        raise typer.Exit(143 if isinstance(interrupt, Terminated) else 130) from interrupt
    finally:
        signal.signal(signal.SIGTERM, before)


def say(text: str, *, bold: str | None = None) -> None:
    """A line for people, on standard error."""
    typer.secho(printable(text), err=True, fg=bold, bold=bold is not None)


def printable(text: str) -> str:
    """The text without control characters: what is read from a bucket must not steer a terminal."""
    return "".join(sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in text)


def print_json(data: Mapping[str, Any]) -> None:
    """The one JSON document of a command, on standard output."""
    sys.stdout.write(json.dumps(data, indent=1, default=str, ensure_ascii=False) + "\n")


def refuse_json(wanted: bool) -> None:
    """A dry run has no result.

    Raises:
        ConfigurationError: One was wanted as JSON.
    """
    if wanted:
        raise ConfigurationError("--dry-run prints SQL, which --json cannot hold.", hint="Leave out one of the two.")


def progress(*, quiet: bool) -> OnEvent:
    """A listener that prints each finished step with its time."""
    if quiet:
        return ignore

    def show(event: Event) -> None:
        if event.state == "note":
            say(f"    {event.message}")
        elif event.state == "finished":
            facts = "".join(f"  {name}={value}" for name, value in event.details.items())
            say(f"  {event.step:<9} {event.seconds or 0:7.2f} s  {event.message}{facts}")

    return show


def size_text(size: int) -> str:
    """Bytes for people."""
    value, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
