"""Faults that tests ask for over ``POST /local/faults``: lost, cut, slow, failing and lying answers."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mz_orchestration.local.snowflake.errors import SnowflakeError

Kind = Literal["answers_lost", "truncated", "slow_statements", "fail"]
_LONGEST_SECONDS = 600.0


class InvalidFaultError(Exception):
    """The request for a fault cannot be understood; the text says why."""


@dataclass
class Fault:
    """One fault; ``times`` is how often it still strikes, ``hits`` how often it did."""

    kind: Kind
    containing: str
    times: int
    seconds: float = 0.0
    error: SnowflakeError | None = None
    hits: int = 0

    def shown(self) -> dict[str, Any]:
        """The fault as the endpoint lists it."""
        return {"kind": self.kind, "containing": self.containing, "times": self.times, "hits": self.hits}


@dataclass
class Faults:
    """The faults in force. They strike statements by the SQL as it was sent."""

    _rows_loaded_delta: int = 0
    _wrong_counts: int = 0
    _faults: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def change(self, body: Mapping[str, Any], *, more: bool = False) -> None:
        """Add what a request asks for; ``more`` says that it asked for something else besides.

        Raises:
            InvalidFaultError: A part of it cannot be understood; nothing was added.
        """
        if not body and not more:
            raise InvalidFaultError(f"Name a fault: copy_rows_loaded_delta, {', '.join(_READERS)}.")
        with_delta = "copy_rows_loaded_delta" in body
        known = {*_READERS, *({"copy_rows_loaded_delta", "times"} if with_delta else ())}
        if unknown := sorted(set(body) - known):
            raise InvalidFaultError(
                f"{unknown[0]} is no fault; there are copy_rows_loaded_delta, {', '.join(_READERS)}."
            )
        found = [_read(kind, body[kind]) for kind in _READERS if kind in body]
        delta = _whole("copy_rows_loaded_delta", body["copy_rows_loaded_delta"]) if with_delta else 0
        times = _whole("times", body.get("times", 1), least=0)
        with self._lock:
            self._faults += found
            if with_delta:
                self._rows_loaded_delta, self._wrong_counts = delta, times

    def clear(self) -> None:
        """End all faults."""
        with self._lock:
            self._faults.clear()
            self._wrong_counts = 0

    def take(self) -> int:
        """How many rows too many the next COPY answer must report."""
        with self._lock:
            if self._wrong_counts <= 0:
                return 0
            self._wrong_counts -= 1
            return self._rows_loaded_delta

    def strike(self, kind: Kind, sql: str) -> Fault | None:
        """The fault of this kind that meets a statement, counted."""
        with self._lock:
            for fault in self._faults:
                if fault.kind == kind and fault.times > 0 and fault.containing in sql:
                    fault.times -= 1
                    fault.hits += 1
                    return fault
        return None

    def shown(self) -> dict[str, Any]:
        """What is in force, and how often each fault has struck."""
        with self._lock:
            return {
                "copy_rows_loaded_delta": self._rows_loaded_delta if self._wrong_counts else 0,
                "times": self._wrong_counts,
                "faults": [fault.shown() for fault in self._faults],
            }


def _lost(kind: Kind, given: Mapping[str, Any]) -> Fault:
    _only(kind, given, "containing", "times")
    return Fault(kind, _containing(kind, given), _times(kind, given))


def _slow(kind: Kind, given: Mapping[str, Any]) -> Fault:
    _only(kind, given, "containing", "times", "seconds")
    seconds = given.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= _LONGEST_SECONDS:
        raise InvalidFaultError(f"{kind}.seconds must be a number from 0 to {_LONGEST_SECONDS:.0f}, not {seconds!r}.")
    return Fault(kind, _containing(kind, given), _times(kind, given), seconds=float(seconds))


def _failing(kind: Kind, given: Mapping[str, Any]) -> Fault:
    _only(kind, given, "containing", "times", "errno", "sqlstate", "message")
    errno = _whole(f"{kind}.errno", given.get("errno"), least=1)
    message = given.get("message", "An error somebody asked for.")
    sqlstate = given.get("sqlstate", "XX000")
    if not isinstance(message, str) or not isinstance(sqlstate, str):
        raise InvalidFaultError(f"{kind}.message and {kind}.sqlstate must be text.")
    error = SnowflakeError(f"{errno:06d}", sqlstate, message)
    return Fault(kind, _containing(kind, given), _times(kind, given), error=error)


def take_idle_limit(body: dict[str, Any]) -> float | None:
    """Take out of a request how long a transaction may be idle before it makes way for others.

    Raises:
        InvalidFaultError: It is no such time.
    """
    if "idle_transaction_seconds" not in body:
        return None
    seconds = body.pop("idle_transaction_seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        raise InvalidFaultError(f"idle_transaction_seconds must be a number from 0, not {seconds!r}.")
    return float(seconds)


_READERS: dict[Kind, Callable[[Kind, Mapping[str, Any]], Fault]] = {
    "answers_lost": _lost,
    "truncated": _lost,
    "slow_statements": _slow,
    "fail": _failing,
}


def _read(kind: Kind, given: Any) -> Fault:
    if not isinstance(given, dict):
        raise InvalidFaultError(f"{kind} must be an object like {{'containing': 'COPY INTO', 'times': 1}}.")
    return _READERS[kind](kind, given)


def _only(kind: Kind, given: Mapping[str, Any], *known: str) -> None:
    if unknown := sorted(set(given) - set(known)):
        raise InvalidFaultError(f"{kind}.{unknown[0]} is not known; {kind} takes {', '.join(known)}.")


def _containing(kind: Kind, given: Mapping[str, Any]) -> str:
    text = given.get("containing")
    if not isinstance(text, str) or not text:
        raise InvalidFaultError(f"{kind}.containing must be a text that the statements to be struck contain.")
    return text


def _times(kind: Kind, given: Mapping[str, Any]) -> int:
    return _whole(f"{kind}.times", given.get("times", 1), least=1)


def _whole(name: str, value: Any, least: float = -math.inf) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidFaultError(f"{name} must be a whole number, not {value!r}.")
    if value < least:
        raise InvalidFaultError(f"{name} must be at least {least}, not {value}.")
    return value
