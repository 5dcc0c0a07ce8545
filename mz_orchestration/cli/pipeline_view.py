"""What a run of a pipeline shows while it works: a live table, plain lines, logfmt or JSON."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

from mz_orchestration.cli.output import printable, say
from mz_orchestration.progress import Event

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from mz_orchestration.pipelines.record import NodeEntry, PipelineRecord

_COLORS = {"running": "yellow", "succeeded": "green", "failed": "bold red", "blocked": "red", "interrupted": "yellow"}
# A value that logfmt can take without quotes.
_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/#@+,*%")


class LogFormat(StrEnum):
    """How progress is written to standard error."""

    TABLE = "table"  # live, on a terminal; otherwise text
    TEXT = "text"
    LOGFMT = "logfmt"
    JSON = "json"


class View:
    """Told of every node and every step; thread-safe. The base says nothing."""

    def node(self, entry: NodeEntry) -> None:
        """A node has changed its state."""

    def step(self, node: str, event: Event) -> None:
        """A node has made a step."""

    def warn(self, text: str) -> None:
        """Something is worth knowing beside the nodes."""

    def ended(self, record: PipelineRecord, again: str) -> None:
        """The run has ended, and not all of it is done."""
        for node in record.failed:
            error = node.error or {}
            say(f"failed: {node.name}: {error.get('message', '')}", bold="red")
            if error.get("hint"):
                say(f"  what to do: {error['hint']}")
        blocked = [node.name for node in record.nodes if node.state == "blocked"]
        if blocked:
            say(f"not done, since what they need has failed: {', '.join(blocked)}")
        say(f"  again: {again}")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While the run works."""
        yield


def view(format: LogFormat, *, pipeline: str, run_key: str, names: list[str], quiet: bool) -> View:
    """The view that was asked for.

    Args:
        format: How progress is written.
        pipeline: Name of the pipeline.
        run_key: The run.
        names: Of every node, in order.
        quiet: Show nothing but warnings, unless a log was asked for.
    """
    if format in (LogFormat.LOGFMT, LogFormat.JSON):
        return StructuredView(format, pipeline, run_key, sys.stderr)
    if quiet:
        return QuietView()
    if format is LogFormat.TABLE and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return TableView(names)
    return TextView()


class QuietView(View):
    """Warnings only."""

    def warn(self, text: str) -> None:
        """A line for people."""
        say(f"warning: {text}", bold="yellow")


class TextView(QuietView):
    """A line for each node that begins or ends, and for each step that has ended."""

    def node(self, entry: NodeEntry) -> None:
        """A line for people."""
        if entry.state == "failed" and entry.error is not None:
            say(f"{entry.name}: failed: {entry.error['message']}", bold="red")
        elif entry.state == "succeeded":
            say(f"{entry.name}: {'done before' if entry.repeated else 'done'}")
        elif entry.state != "pending":
            say(f"{entry.name}: {entry.state}")

    def step(self, node: str, event: Event) -> None:
        """A line for people."""
        if event.state == "note":
            say(f"    {node}: {event.message}")
        elif event.state == "finished":
            facts = "".join(f"  {name}={value}" for name, value in event.details.items())
            say(f"  {node}  {event.step:<9} {event.seconds or 0:7.2f} s  {event.message}{facts}")


class StructuredView(View):
    """One line for each change and step, for machines.

    Args:
        format: logfmt or JSON.
        pipeline: Stands in every line.
        run_key: Likewise.
        stream: Where to.
    """

    def __init__(self, format: LogFormat, pipeline: str, run_key: str, stream: TextIO) -> None:
        self._always = {"pipeline": pipeline, "run_key": run_key}
        self._line = _json_line if format is LogFormat.JSON else _logfmt_line
        self._stream = stream
        self._lock = threading.Lock()

    def node(self, entry: NodeEntry) -> None:
        """One line."""
        error = entry.error or {}
        message = error.get("message") or entry.line
        level = "error" if entry.state in ("failed", "blocked") else "info"
        more = {"repeated": True} if entry.repeated else {}
        more |= {"what_to_do": error["hint"]} if error.get("hint") else {}
        self._write(level, message, node=entry.name, state=str(entry.state), **more)

    def step(self, node: str, event: Event) -> None:
        """One line."""
        seconds = {} if event.seconds is None else {"seconds": round(event.seconds, 3)}
        fields = {"node": node, "step": str(event.step), "state": event.state, **seconds}
        # What a step says of itself must not take the place of what every line has.
        taken = {"ts", "level", "message", *self._always, *fields}
        details = {f"{name}_" if name in taken else name: value for name, value in event.details.items()}
        self._write("info", event.message, **fields, **details)

    def warn(self, text: str) -> None:
        """One line."""
        self._write("warning", text)

    def ended(self, record: PipelineRecord, again: str) -> None:
        """One line: why each node failed has been said when it did."""
        names = {
            state: ", ".join(node.name for node in record.nodes if node.state == state)
            for state in ("failed", "blocked")
        }
        found = {state: text for state, text in names.items() if text}
        self._write("error", "not all is done", state=str(record.state), **found, again=again)

    def _write(self, level: str, message: str, /, **more: Any) -> None:
        ts = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = self._line({"ts": ts, "level": level, **self._always, **more, "message": message})
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()


def _json_line(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=True, default=str)


def _logfmt_line(fields: dict[str, Any]) -> str:
    return " ".join(f"{name}={_logfmt_value(value)}" for name, value in fields.items())


def _logfmt_value(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
    return text if text and _BARE.issuperset(text) else json.dumps(text, ensure_ascii=True)


class TableView(QuietView):
    """A table that follows the run.

    Args:
        names: Of every node, in order.
    """

    def __init__(self, names: list[str]) -> None:
        from rich.console import Console

        self._rows = {name: _Row(name) for name in names}
        self._lock = threading.Lock()
        self._console: Console = Console(stderr=True)

    def node(self, entry: NodeEntry) -> None:
        """Show how it stands."""
        with self._lock:
            row = self._rows.setdefault(entry.name, _Row(entry.name))
            if entry.state == "running":
                row.began = time.monotonic()
            elif row.began is not None and row.took is None:
                row.took = time.monotonic() - row.began
            row.state = str(entry.state)
            row.last = entry.error["message"] if entry.error else entry.line or row.last

    def step(self, node: str, event: Event) -> None:
        """Show what it does."""
        with self._lock:
            if node in self._rows:
                self._rows[node].last = f"{event.step}: {event.message}"

    def warn(self, text: str) -> None:
        """A line above the table."""
        self._console.print(f"warning: {printable(text)}", style="yellow", markup=False, highlight=False)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The table is on the screen."""
        from rich.live import Live

        with Live(console=self._console, get_renderable=self._render, refresh_per_second=4, transient=False):
            yield

    def _render(self) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, header_style="bold", pad_edge=False, expand=True)
        table.add_column("PART", no_wrap=True)
        table.add_column("STATE", no_wrap=True)
        table.add_column("SECONDS", justify="right", no_wrap=True)
        table.add_column("", ratio=1, no_wrap=True, overflow="ellipsis")
        with self._lock:
            for row in self._rows.values():
                state = Text(row.state, style=_COLORS.get(row.state, "dim"))
                last = Text(printable(row.last).replace("\n", " "))
                table.add_row(Text(printable(row.name)), state, row.seconds, last)
        return table


class _Row:
    def __init__(self, name: str) -> None:
        self.name, self.state, self.last = name, "pending", ""
        self.began: float | None = None
        self.took: float | None = None

    @property
    def seconds(self) -> str:
        if self.began is None:
            return ""
        return f"{time.monotonic() - self.began if self.took is None else self.took:.1f}"
