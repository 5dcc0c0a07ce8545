"""What a subscription tells: a snapshot, then what has changed since, and how far time has come.

PostgreSQL has no changes to subscribe to, so the query is asked again and again and its rows are compared.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mz_orchestration.local.materialize.errors import StatementError
from mz_orchestration.local.materialize.subscribe_grammar import Declare, Fetch
from mz_orchestration.local.materialize.timeline import Timeline
from mz_orchestration.local.materialize.tokens import identifier, literal

# Seconds between two looks at the query, and between two messages of progress.
_LOOK_EVERY, _PROGRESS_EVERY = 0.2, 1.0

Rows = Callable[[str], Awaitable[list[str]]]
"""Asks a query and returns its rows as JSON."""


@dataclass
class Subscription:
    """An open subscription.

    Attributes:
        declared: What was asked for.
        columns: Names and types of the query's columns.
        ask: Asks the query.
    """

    declared: Declare
    columns: Sequence[tuple[str, str]]
    ask: Rows
    _known: Counter[str] = field(default_factory=Counter)
    _pending: list[list[Any]] = field(default_factory=list)
    _begun: bool = False
    _last: int = 0
    _told: float = 0.0

    def __post_init__(self) -> None:
        names = [name for name, _ in self.columns]
        for key in self.declared.keys:
            if key not in names:
                raise StatementError(f'column "{key}" does not exist', "42703")

    async def fetch(self, fetch: Fetch, left: Callable[[], str | None]) -> tuple[str, int]:
        """The rows of a ``FETCH`` as a query that returns them, and how many they are.

        Args:
            fetch: The statement.
            left: Why nobody waits any more; None while somebody does.

        Raises:
            StatementError: It was cancelled.
        """
        await self._wait(None if fetch.timeout is None else time.monotonic() + fetch.timeout, left)
        count = len(self._pending) if fetch.limit is None else fetch.limit
        rows, self._pending = self._pending[:count], self._pending[count:]
        return self._statement(rows), len(rows)

    async def lines(self, left: Callable[[], str | None]) -> AsyncGenerator[str]:
        """The rows as ``COPY`` writes them, as they come; ends where the subscription does.

        Args:
            left: Why nobody waits any more; None while somebody does.

        Raises:
            StatementError: It was cancelled.
        """
        while not self._over():
            await self._wait(None, left)
            rows, self._pending = self._pending, []
            for row in rows:
                yield "\t".join(map(_copied, row)) + "\n"

    @property
    def width(self) -> int:
        """How many columns a row has."""
        return len(self.columns) + 2 + self.declared.progress

    async def _wait(self, deadline: float | None, left: Callable[[], str | None]) -> None:
        while True:
            await self._look()
            if self._pending or (deadline is not None and time.monotonic() >= deadline) or self._over():
                return
            if reason := left():
                raise StatementError(reason, "57014")
            pause = _LOOK_EVERY if deadline is None else min(_LOOK_EVERY, max(deadline - time.monotonic(), 0.0))
            await asyncio.sleep(pause)

    def _over(self) -> bool:
        return self.declared.up_to is not None and self._last >= self.declared.up_to

    async def _look(self) -> None:
        if self._over():
            return
        rows = Counter(await self.ask(self.declared.query))
        # Timestamps never go back, and a change is later than the progress that was told.
        self._last = max(self._last + 1, Timeline.now())
        if self._over():
            return
        if not self._begun:
            self._begun = True
            if self.declared.progress:
                self._progress()
            if not self.declared.snapshot:
                self._known = rows
            self._last += 1
        gone, new = self._known - rows, rows - self._known
        if gone or new:
            self._known = rows
            self._changes(gone, new)
        if self.declared.progress and time.monotonic() - self._told >= _PROGRESS_EVERY:
            self._last += 1
            self._progress()

    def _progress(self) -> None:
        self._told = time.monotonic()
        self._pending.append([self._last, True, None, *[None] * len(self.columns)])

    def _changes(self, gone: Counter[str], new: Counter[str]) -> None:
        marks = [False] if self.declared.progress else []
        if not self.declared.keys:
            for counted, sign in ((gone, -1), (new, 1)):
                for text, count in counted.items():
                    self._pending.append([self._last, *marks, sign * count, *json.loads(text)])
            return
        places = [self._place(name) for name in self.declared.keys]
        after: dict[str, list[Any]] = {}
        for text in new:
            row = json.loads(text)
            after[json.dumps([row[place] for place in places])] = row
        for text in gone:
            row = json.loads(text)
            if json.dumps([row[place] for place in places]) not in after:
                kept = [value if place in places else None for place, value in enumerate(row)]
                self._pending.append([self._last, *marks, "delete", *self._ordered(kept)])
        for row in after.values():
            self._pending.append([self._last, *marks, "upsert", *self._ordered(row)])

    def _place(self, name: str) -> int:
        return next(place for place, (column, _) in enumerate(self.columns) if column == name)

    def _ordered(self, row: list[Any]) -> list[Any]:
        return [row[place] for place in self._order]

    @property
    def _order(self) -> list[int]:
        """Keys come first."""
        keys = [self._place(name) for name in self.declared.keys]
        return keys + [place for place in range(len(self.columns)) if place not in keys]

    def _statement(self, rows: list[list[Any]]) -> str:
        marks = [("mz_progressed", "boolean")] if self.declared.progress else []
        change = ("mz_state", "text") if self.declared.keys else ("mz_diff", "bigint")
        columns = [("mz_timestamp", "numeric"), *marks, change, *(self.columns[place] for place in self._order)]
        # By number: two columns may have one name.
        record = ", ".join(f"c{number} {kind}" for number, (_, kind) in enumerate(columns))
        names = ", ".join(f"c{number} AS {identifier(name)}" for number, (name, _) in enumerate(columns))
        data = json.dumps([{f"c{number}": value for number, value in enumerate(row)} for row in rows])
        return f"SELECT {names} FROM jsonb_to_recordset({literal(data)}::jsonb) AS r ({record})"  # noqa: S608


def _copied(value: Any) -> str:
    """A value in the text format of ``COPY``."""
    if value is None:
        return r"\N"
    if isinstance(value, bool):
        return "t" if value else "f"
    text = value if isinstance(value, str) else json.dumps(value)
    for char, escape in (("\\", r"\\"), ("\t", r"\t"), ("\n", r"\n"), ("\r", r"\r")):
        text = text.replace(char, escape)
    return text
