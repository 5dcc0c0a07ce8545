"""The faults in force: which of them a request, a connection or a chunk of bytes gets, and how often they struck.

Chosen from the proxy's thread, added and asked about from the test's: each fault guards its own counts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple

from mz_orchestration.local.faults.kinds import Answer, Cut, Delay, Direction, Fault, Match, StaleListing
from mz_orchestration.local.faults.seen import Target


class StoredAnswer(NamedTuple):
    """An HTTP answer that is given again."""

    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


class ActiveFault:
    """A fault that was added to a proxy; as a context manager it is removed at the end.

    Args:
        fault: What happens.
        match: To what.
        times: To how many matches; None for all.
        after: How many matches are spared first.
    """

    def __init__(self, fault: Fault, match: Match, times: int | None, after: int) -> None:
        self.fault = fault
        self.match = match
        #: What a ``StaleListing`` remembers.
        self.memory: dict[Target, StoredAnswer] = {}
        self._left = times
        self._spared = after
        self._hits = 0
        self._removed = False
        self._changed = threading.Condition()

    @property
    def hits(self) -> int:
        """How often it has struck: a match whose bytes ended before the cut is none."""
        with self._changed:
            return self._hits

    @property
    def removed(self) -> bool:
        """Whether it is over."""
        with self._changed:
            return self._removed

    def remove(self) -> None:
        """End it. What it holds already stays held, and a connection it has marked for a cut is still cut."""
        with self._changed:
            self._removed = True

    def wait(self, hits: int = 1, timeout: float = 10.0) -> None:
        """Wait until it has struck so often.

        Args:
            hits: How often.
            timeout: Seconds to wait.

        Raises:
            TimeoutError: It has not.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._hits >= hits, timeout):
                raise TimeoutError(f"{self.fault} struck {self._hits} times within {timeout:g} s, not {hits}")

    def take(self) -> bool:
        """Whether a match that reached it gets it."""
        with self._changed:
            if self._removed or self._left == 0:
                return False
            if self._spared > 0:
                self._spared -= 1
                return False
            if self._left is not None:
                self._left -= 1
            return True

    def struck(self) -> None:
        """Count a hit."""
        with self._changed:
            self._hits += 1
            self._changed.notify_all()

    def __enter__(self) -> ActiveFault:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


@dataclass
class Plan:
    """What happens to one request, or from one moment of a connection on.

    Attributes:
        delays: All delays that apply.
        main: The first other fault that applies.
        stale: A remembered listing to answer with.
        remember: Where to remember the listing that is coming.
    """

    delays: list[ActiveFault] = field(default_factory=list)
    main: ActiveFault | None = None
    stale: StoredAnswer | None = None
    remember: ActiveFault | None = None

    def cut(self, direction: Direction) -> tuple[ActiveFault, Cut] | None:
        """The cut that counts bytes of a direction, if there is one."""
        if self.main is not None and isinstance(self.main.fault, Cut) and self.main.fault.direction == direction:
            return self.main, self.main.fault
        return None

    @property
    def answer(self) -> Answer | None:
        """The answer to give without asking the server."""
        return self.main.fault if self.main is not None and isinstance(self.main.fault, Answer) else None

    def delay(self, direction: Direction) -> float:
        """Seconds to hold a direction; counts as hits."""
        seconds = 0.0
        for active in self.delays:
            if isinstance(active.fault, Delay) and active.fault.direction == direction:
                active.struck()
                seconds += active.fault.seconds
        return seconds


class ActiveFaults:
    """All faults of a proxy, in the order in which they were added."""

    def __init__(self) -> None:
        self._faults: tuple[ActiveFault, ...] = ()
        self._changing = threading.Lock()

    def add(self, active: ActiveFault) -> None:
        """Put a fault in force."""
        with self._changing:
            self._faults = (*(each for each in self._faults if not each.removed), active)

    def clear(self) -> None:
        """End all."""
        with self._changing:
            for active in self._faults:
                active.remove()
            self._faults = ()

    @property
    def look_into_bodies(self) -> bool:
        """Whether any fault depends on what a request's body contains."""
        return any(each.match.contains is not None and not each.removed for each in self._faults)

    def for_request(self, request: Target, body: bytes | None) -> Plan:
        """Choose for an HTTP request."""
        plan = Plan()
        for active in self._faults:
            if active.removed or not active.match.request(request, body):
                continue
            if isinstance(active.fault, StaleListing):
                if plan.main is None and request.lists_a_bucket:
                    self._listing(plan, active, request)
            else:
                _choose(plan, active)
        return plan

    def _listing(self, plan: Plan, active: ActiveFault, request: Target) -> None:
        remembered = active.memory.get(request)
        if remembered is None:
            plan.remember = active
        elif active.take():
            plan.main, plan.stale = active, remembered

    def for_connection(self) -> Plan:
        """Choose for a TCP connection that has just been opened; delays are chosen for each chunk."""
        return self._planned(
            each for each in self._faults if each.match.contains is None and not isinstance(each.fault, Delay)
        )

    def for_chunk(self, direction: Direction) -> Plan:
        """Choose the delays of a chunk, whatever it contains."""
        return self._planned(
            each
            for each in self._faults
            if each.match.contains is None and isinstance(each.fault, Delay) and each.fault.direction == direction
        )

    def for_bytes(self, sent: bytes, fresh: int) -> Plan:
        """Choose for bytes a TCP client has sent.

        Args:
            sent: What it sent, with the end of what it sent before.
            fresh: How many of these bytes are new; a text that lies wholly before them has been seen already.
        """

        def new(text: bytes) -> bool:
            return text in sent[max(0, len(sent) - fresh - len(text) + 1) :]

        return self._planned(
            each for each in self._faults if each.match.contains is not None and new(each.match.contains)
        )

    @property
    def longest_text(self) -> int:
        """Length of the longest text that is looked for in what a client sends."""
        return max((len(each.match.contains or b"") for each in self._faults), default=0)

    def _planned(self, candidates: Iterable[ActiveFault]) -> Plan:
        plan = Plan()
        for active in candidates:
            _choose(plan, active)
        return plan


def _choose(plan: Plan, active: ActiveFault) -> None:
    if isinstance(active.fault, Delay):
        if active.take():
            plan.delays.append(active)
    elif plan.main is None and active.take():
        plan.main = active
