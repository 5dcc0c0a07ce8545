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
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.sinks.alerts import Alert, AlertPolicy, AlertState, alerts
from mz_orchestration.sinks.notify import notify
from mz_orchestration.sinks.state import read_state, write_state
from mz_orchestration.sinks.verdict import Health
from mz_orchestration.sinks.watch import Step, Watch

if TYPE_CHECKING:
    from pydantic import SecretStr

_MOST_UNDELIVERED = 50


def follow(watch: Watch, policy: AlertPolicy, webhooks: list[SecretStr], *, state: Path | None, as_json: bool) -> None:
    """Show every step of a watch, and tell webhooks what lasts; ends with an interrupt only.

    Args:
        watch: What to follow.
        policy: When webhooks are told.
        webhooks: Their addresses.
        state: File to remember in, after every step, whom was told of what, too.
        as_json: A line of JSON for each change.
    """
    remembered = delivered = {} if state is None else _told_before(state)
    undelivered: list[Alert] = []
    looked = False
    with _shown(as_json) as show:
        for step in watch.steps():
            show(step)
            if step.error is not None:
                say(f"warning: {step.error}", bold="yellow")
                continue
            if not looked and not step.healths:
                say("warning: there is nothing to watch yet", bold="yellow")
            looked = True
            told, remembered = alerts(step.healths, remembered, policy)
            undelivered = _tell(webhooks, [*undelivered, *told])
            # What nobody was told of is told of again, by the next process, too: twice, but not never.
            delivered = delivered if undelivered else remembered
            if state is not None:
                alert_states = {identifier: each.to_json() for identifier, each in delivered.items()}
                write_state(state, {**watch.judge.memory, "alerts": alert_states})


def _told_before(state: Path) -> dict[str, AlertState]:
    held = (read_state(state) or {}).get("alerts", {})
    try:
        return {str(identifier): AlertState.from_json(each) for identifier, each in held.items()}
    except (ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"--state: {state} does not hold what was told of sinks.", hint="Delete it to begin anew."
        ) from error


def _tell(webhooks: list[SecretStr], told: list[Alert]) -> list[Alert]:
    """Tell all webhooks; what none of them has been told of."""
    problems = notify(webhooks, told)
    for problem in problems:
        say(f"warning: {problem}", bold="yellow")
    return told[-_MOST_UNDELIVERED:] if webhooks and len(problems) >= len(webhooks) else []


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
