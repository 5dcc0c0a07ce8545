"""Answers that are lost, and statements that fail, at every change a load makes: old or new, and loaded once in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from mz_orchestration.errors import (
    CredentialsError,
    DeadlineError,
    LoadError,
    MzOrchestrationError,
    NotFoundError,
    RunConflictError,
)
from mz_orchestration.snowflake import load
from mz_orchestration.snowflake.load import run_load
from mz_orchestration.snowflake.session import SnowflakeSession
from mz_orchestration.snowflake.spec import load_spec

from .conftest import STAGE, Content, Exported, Query
from .test_kills import STRATEGIES, _nothing_is_left, new_content

# Number, class, whether trying again may help.
REFUSALS: list[tuple[int, type[MzOrchestrationError], bool]] = [
    (604, LoadError, True),
    (625, RunConflictError, True),
    (630, DeadlineError, False),
    (2003, NotFoundError, False),
    (3001, CredentialsError, False),
    (90073, LoadError, False),
    (100038, LoadError, False),
]
_MOST = 40


class Striker:
    """Lets a fault of the stand-in meet the change of a given number, from 1, and no other statement."""

    def __init__(self, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._url = f"http://{environment['SNOWFLAKE_HOST']}:{environment['SNOWFLAKE_PORT']}/local/faults"
        self._number, self._sent, self._body = 0, 0, ("", {})
        self.struck: str | None = None
        for name in ("query", "submit"):
            monkeypatch.setattr(SnowflakeSession, name, self._watching(getattr(SnowflakeSession, name)))

    def _watching(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def run(session: SnowflakeSession, statement: str) -> Any:
            if self._number and not statement.startswith(("SELECT", "DESC", "LIST", "SHOW")):
                self._sent += 1
                if self._sent == self._number:
                    kind, more = self._body
                    body = {kind: {"containing": str(statement), **more}}
                    requests.post(self._url, json=body, timeout=5).raise_for_status()
                    self.struck = str(statement)
            return method(session, statement)

        return run

    @contextmanager
    def at(self, number: int, kind: str, **more: Any) -> Iterator[None]:
        self._number, self._sent, self._body, self.struck = number, 0, (kind, more), None
        try:
            yield
        finally:
            self._number = 0
            faults = requests.get(self._url, timeout=5).json()["faults"]
            requests.delete(self._url, timeout=5).raise_for_status()
        if self.struck is not None:
            assert [fault["hits"] for fault in faults] == [1], self.struck


@pytest.fixture
def striker(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Striker:
    monkeypatch.setattr(load, "_GRACE", 0.0)
    return Striker(environment, monkeypatch)

@pytest.mark.parametrize("kind", ["truncated", "answers_lost", "fail"])
@pytest.mark.parametrize("strategy", [*STRATEGIES, "new"])
def test_at_every_change(
    kind: str,
    strategy: str,
    striker: Striker,
    yesterday: Exported,
    today: Exported,
    snowflake: Query,
    content: Callable[[str], Content | None],
) -> None:
    exists = strategy != "new"
    base = f"DEMO.PUBLIC.{kind}_{strategy}_OLD".upper()
    old = yesterday.content if exists else None
    new = new_content(strategy, old, today.content)
    if exists:
        run_load(load_spec(manifest=yesterday.url, stage=STAGE, table=base))
    bad = []
    for number in range(1, _MOST):
        table = f"DEMO.PUBLIC.{kind}_{strategy}_{number}".upper()
        if exists:
            snowflake(f"CREATE TABLE {table} AS SELECT * FROM {base}")
        fields = {"manifest": today.url, "stage": STAGE, "table": table, **STRATEGIES.get(strategy, {})}
        errno, error_class, retryable = REFUSALS[number % len(REFUSALS)]
        more = {"errno": errno, "message": f"refused as {errno}"} if kind == "fail" else {}
        raised: Any = None
        with striker.at(number, kind, **more):
            try:
                run_load(load_spec(**fields))
            except MzOrchestrationError as error:
                raised = error
        if striker.struck is None:
            break
        found = content(table)
        what = f"{number} {striker.struck[:60]} {errno if kind == 'fail' else ''}"
        print(what, "->", type(raised).__name__, getattr(raised, "retryable", None), getattr(raised, "message", ""), "|", getattr(raised, "hint", ""), found == new)
        if found not in (old, new):
            bad.append((what, "neither"))
        if raised is not None:
            if kind != "fail" and not raised.retryable:
                bad.append((what, "not retryable"))
            if kind == "fail" and (type(raised), raised.retryable) != (error_class, retryable):
                bad.append((what, "class", type(raised), raised.retryable))
        elif found != new:
            bad.append((what, "succeeded but not new"))
        try:
            again = run_load(load_spec(**fields))
            if content(table) != new:
                bad.append((what, "not new"))
            if again.repeated != (found == new):
                bad.append((what, "repeated", again.repeated))
            _nothing_is_left(table, snowflake, number)
        except (MzOrchestrationError, AssertionError) as error:
            bad.append((what, "again", repr(error)[:300]))
    assert not bad, bad
    assert number > 5
