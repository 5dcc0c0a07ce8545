"""What the next look, perhaps in another process, has to know of a connector: a few numbers, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mz_orchestration.sinks.facts import Counters

#: Seconds between two reports of the counters, by default.
PUBLISHED_EVERY = 60.0

_KEYS = {
    "name": "n",
    "kind": "k",
    "type": "t",
    "cluster": "c",
    "first_seen": "f",
    "looked": "l",
    "verdict": "v",
    "since": "s",
    "unready_since": "u",
    "counts": "r",
    "staged_moved": "sm",
    "committed_moved": "cm",
    "position": "p",
    "position_moved": "pm",
    "input_position": "i",
    "input_moved": "im",
    "stalls": "e",
    "advanced": "a",
    "published": "b",
    "staged_rate": "sr",
    "committed_rate": "cr",
}


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of one connector; times in seconds since 1970, by Materialize's clock.

    Attributes:
        name: Its name, for when it is gone.
        kind: ``sink`` or ``source``, for the same.
        type: Such as ``kafka``, for the same.
        cluster: Where it ran, for the same.
        first_seen: When it was first looked at.
        looked: When it was last looked at.
        verdict: The last one.
        since: Since when that is so.
        unready_since: Since when it has not been running; None while it is.
        counts: Staged and committed by replica.
        staged_moved: When what is staged was last seen to grow.
        committed_moved: The same of what is committed.
        position: How far it had come.
        position_moved: When that was last seen to change.
        input_position: How far what it reads had come.
        input_moved: When that was last seen to change.
        stalls: When it had errors of late, oldest first.
        advanced: What it has committed since it was first looked at.
        published: When its counters last differed from those before.
        staged_rate: Staged a second, then.
        committed_rate: Committed a second, then.
    """

    name: str
    first_seen: float
    looked: float
    kind: str = "sink"
    type: str = ""
    cluster: str | None = None
    verdict: str = ""
    since: float = 0.0
    unready_since: float | None = None
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    staged_moved: float | None = None
    committed_moved: float | None = None
    position: int | None = None
    position_moved: float | None = None
    input_position: int | None = None
    input_moved: float | None = None
    stalls: tuple[float, ...] = ()
    advanced: int = 0
    published: float | None = None
    staged_rate: float | None = None
    committed_rate: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The same under short names: a cursor may hold a thousand of them."""
        found = {short: getattr(self, name) for name, short in _KEYS.items()}
        return {
            short: list(value) if isinstance(value, tuple) else value
            for short, value in found.items()
            if value not in (None, (), {}, "")
        }

    @classmethod
    def from_json(cls, value: Any) -> Memory:
        """Read what `to_json` wrote.

        Raises:
            ValueError: It is none of ours.
        """
        if not isinstance(value, dict):
            raise ValueError(f"{type(value).__name__} instead of an object")
        names = {short: name for name, short in _KEYS.items()}
        given = {names[short]: each for short, each in value.items() if short in names}
        try:
            given["counts"] = {
                str(replica): (int(staged), int(committed))
                for replica, (staged, committed) in dict(given.get("counts", {})).items()
            }
            given["stalls"] = tuple(float(each) for each in given.get("stalls", ()))
            for name in given.keys() - {"name", "kind", "type", "cluster", "verdict", "counts", "stalls"}:
                given[name] = _NUMBERS[name](given[name])
            return cls(**given)
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error


_NUMBERS: dict[str, type[int] | type[float]] = {
    name: int if name in ("position", "input_position", "advanced") else float for name in _KEYS
}


def moved(memory: Memory, counters: Mapping[str, Counters], at: float) -> Memory:
    """Remember counters: growth is progress, a decrease a new beginning, and so is a replica nobody knew.

    Materialize deletes the rows of replicas that are gone, and resets counters when a component restarts; neither is
    progress, but what follows gets all its time again.

    Args:
        memory: As it was.
        counters: By replica.
        at: The present moment.
    """
    counts = {replica: (each.staged, each.committed) for replica, each in counters.items()}
    staged = committed = 0
    begun = False
    # A first report after looks that had none is all progress.
    unknown = (0, 0) if not memory.counts and memory.first_seen < at else None
    for replica, (now_staged, now_committed) in counts.items():
        before = memory.counts.get(replica, unknown)
        if before is None or now_staged < before[0] or now_committed < before[1]:
            begun = True
            continue
        staged += now_staged - before[0]
        committed += now_committed - before[1]
    changed = memory.published is not None and counts != memory.counts and not begun
    # What a report adds has happened since the one before it, or since the last look where that was earlier.
    passed = min(at - (memory.published or at), max(PUBLISHED_EVERY, at - memory.looked))
    return replace(
        memory,
        counts=counts,
        staged_moved=at if staged or begun else memory.staged_moved,
        committed_moved=at if committed or begun else memory.committed_moved,
        advanced=memory.advanced + committed,
        published=at if counts and counts != memory.counts else memory.published,
        staged_rate=staged / passed if changed and passed > 0 else memory.staged_rate,
        committed_rate=committed / passed if changed and passed > 0 else memory.committed_rate,
    )
