"""How sinks are shown: a table, a live one, one of them at length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mz_orchestration.cli.output import printable
from mz_orchestration.sinks.verdict import Health, Severity

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mz_orchestration.sinks.facts import ConnectorFacts

_COLORS = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.CRITICAL: "bold red", Severity.UNKNOWN: "magenta"}
_RIGHT = ("STAGED/S", "COMMITTED/S", "COMMITTED", "LAG")


def table(healths: Iterable[Health]) -> Table:
    """All of them, the worst first.

    Args:
        healths: What to show.
    """
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("NAME", "TYPE", "CLUSTER", "HEALTH", "FOR", *_RIGHT, "WHAT"):
        made.add_column(heading, justify="right" if heading in _RIGHT else "left", overflow="fold")
    for health in sorted(healths, key=lambda each: (-each.severity, each.name)):
        what = health.because if health.severity else ""
        made.add_row(
            Text(printable(health.name)),
            health.type,
            Text(printable(health.cluster or "")),
            Text(health.verdict.value, style=_COLORS[health.severity]),
            span((health.at - health.since).total_seconds()),
            _rate(health.staged_rate),
            _rate(health.committed_rate),
            "" if health.committed is None else f"{health.committed:,}",
            "" if health.lag is None else span(health.lag),
            Text(printable(what).replace("\n", " ")),
        )
    return made


def line(health: Health) -> str:
    """One of them in a line, for logs.

    Args:
        health: What to show.
    """
    what = f": {health.because}" if health.severity else ""
    return printable(f"{health.at:%Y-%m-%d %H:%M:%S}Z  {health.name}  {health.verdict}{what}").replace("\n", " ")


def explanation(health: Health, facts: ConnectorFacts | None) -> Iterable[tuple[str, str]]:
    """One of them at length: what and its text, line by line.

    Args:
        health: What to show.
        facts: What it rests on.
    """
    yield "health", f"{health.verdict} for {span((health.at - health.since).total_seconds())}"
    yield "since", moment(health.since)
    for each in health.evidence:
        yield "because", each
    if health.advice:
        yield "what to do", health.advice
    yield "kind", f"{health.type} {health.kind} on the cluster {health.cluster}, id {health.id}"
    if facts is None:
        return
    since = f" since {moment(facts.since)}" if facts.since else ""
    yield "status", f"{facts.status}{since}"
    for hint in facts.hints:
        yield "hint", hint
    if facts.lag is not None:
        yield "lag", f"{span(facts.lag)} behind {facts.input or 'what it reads'}"
    for replica in facts.replicas:
        state = {True: "online", False: f"offline ({replica.reason})" if replica.reason else "offline"}
        hydrated = {True: ", has read its snapshot", False: ", reads its snapshot", None: ""}[replica.hydrated]
        counted = facts.counters.get(replica.id)
        counts = f", {counted.staged:,} staged, {counted.committed:,} committed" if counted else ", no statistics yet"
        online = "" if replica.online is None else f" {state[replica.online]}"
        yield "replica", f"{replica.name}{online}{hydrated}{counts}"
    names = {replica.id: replica.name for replica in facts.replicas}
    for event in facts.events:
        where = f" on {names.get(event.replica, event.replica)}" if event.replica else ""
        yield "history", f"{moment(event.at)}  {event.status}{where}" + (f": {event.error}" if event.error else "")


def counts(healths: Iterable[Health]) -> dict[Severity, int]:
    """How many of each severity.

    Args:
        healths: To be counted.
    """
    found = dict.fromkeys(Severity, 0)
    for health in healths:
        found[health.severity] += 1
    return found


def nagios(healths: Sequence[Health], of_all: Severity, what: str) -> str:
    """The line that Nagios and its kin show, with the counts as performance data.

    Args:
        healths: All.
        of_all: The severity that was made of theirs.
        what: ``sinks`` or ``sources``.
    """
    number = counts(healths)
    bad = sorted((each for each in healths if each.severity), key=lambda each: (-each.severity, each.name))
    said = [f"{each.name} is {each.verdict} ({each.because.rstrip('.')})" for each in bad[:3]]
    said += [f"{len(bad) - 3} more"] if len(bad) > 3 else []
    text = "; ".join(said) or f"{len(healths)} {what}, all well"
    data = " ".join(f"{severity.name.lower()}={count}" for severity, count in number.items())
    # A bar would end the text.
    clean = printable(text).replace("\n", " ").replace("|", "/")
    return f"{of_all.name} - {clean} | {data}"


def span(seconds: float) -> str:
    """A time for people, such as ``3m 20s``."""
    whole = max(int(seconds), 0)
    for size, unit, next_size, next_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            rest = whole % size // next_size
            return f"{whole // size}{unit}" + (f" {rest}{next_unit}" if rest else "")
    return f"{whole}s"


def moment(at: datetime) -> str:
    """A moment for people, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def console() -> Console:
    """Standard output; wide enough for whole names where it is no terminal."""
    from rich.console import Console

    made = Console()
    if not made.is_terminal:
        made.width = max(made.width, 200)
    return made


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:,.1f}"
