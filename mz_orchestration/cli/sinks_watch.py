"""Following a watch on a terminal, in a log or as JSON, and telling webhooks."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mz_orchestration.cli.output import say
from mz_orchestration.cli.sinks_view import line, table
from mz_orchestration.sinks.alerts import Alert, AlertPolicy, AlertState, alerts
from mz_orchestration.sinks.notify import notify
from mz_orchestration.sinks.state import write_state
from mz_orchestration.sinks.verdict import Health
from mz_orchestration.sinks.watch import Step, Watch

if TYPE_CHECKING:
    from pydantic import SecretStr


def follow(watch: Watch, policy: AlertPolicy, webhooks: list[SecretStr], *, state: Path | None, as_json: bool) -> None:
    """Show every step of a watch, and tell webhooks what lasts; ends with an interrupt only.

    Args:
        watch: What to follow.
        policy: When webhooks are told.
        webhooks: Their addresses.
        state: File to remember in, after every step.
        as_json: A line of JSON for each change.
    """
    remembered: dict[str, AlertState] = {}
    with _shown(as_json) as show:
        for step in watch.steps():
            show(step)
            if step.error is not None:
                say(f"warning: {step.error}", bold="yellow")
                continue
            if state is not None:
                write_state(state, watch.judge.memory)
            told, remembered = alerts(step.healths, remembered, policy)
            _tell(webhooks, told)


def _tell(webhooks: list[SecretStr], told: list[Alert]) -> None:
    if webhooks:
        for problem in notify(webhooks, told):
            say(f"warning: {problem}", bold="yellow")


@contextmanager
def _shown(as_json: bool) -> Iterator[Callable[[Step], None]]:
    if as_json:
        yield _print_json
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.live import Live

        healths: dict[str, Health] = {}
        with Live(console=Console(), auto_refresh=False) as live:

            def show(step: Step) -> None:
                if step.error is None:
                    healths.clear()
                    healths.update(step.healths)
                live.update(table(healths.values()), refresh=True)

            yield show
    else:
        yield _print_lines


def _print_json(step: Step) -> None:
    for health in step.changes:
        sys.stdout.write(json.dumps(health.to_json(), ensure_ascii=True) + "\n")
    sys.stdout.flush()


def _print_lines(step: Step) -> None:
    for health in step.changes:
        sys.stdout.write(line(health) + "\n")
    sys.stdout.flush()
