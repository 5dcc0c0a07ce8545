"""One look of a sensor: what a poke asks the store, and what it remembers for the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mz_orchestration.errors import ConfigurationError, UnavailableError
from mz_orchestration.exports.watch.state import CompletedExport, Look, Next, WaitPolicy, Watch
from mz_orchestration.exports.watch.wait import list_attempt
from mz_orchestration.flow import Clock
from mz_orchestration.objectstore.location import Location

if TYPE_CHECKING:
    from mz_orchestration.objectstore.client import ObjectStore

# The sensor's own timeout ends it, in Airflow's words.
_NO_DEADLINE = 100 * 365 * 86400.0


@dataclass(slots=True)
class SensorWatch:
    """
    The wait for one path, a look at a time.

    :param watch: what is known, and the decisions.
    :param store: the object store.
    :param clock: the time to live in.
    """

    watch: Watch
    store: ObjectStore
    clock: Clock
    _failing_since: float | None = None

    def look(self, *, settle: bool) -> CompletedExport | None:
        """
        Ask for the sentinel, or list the path; both where the sentinel has just gone.

        :param settle: stay for a second listing where only that can tell, for as long as the policy says; else it is
            left to the next look.
        :return: the export, if it is complete.
        :raises MzOrchestrationError: the wait is over without one.
        """
        step = Next(Look.LIST if self.watch.sentinel is None else Look.HEAD, 0.0)
        try:
            while step.after <= 0:
                answer = self._ask(step.look)
                self._failing_since = None
                if isinstance(answer, CompletedExport):
                    return answer
                step = answer
                if step.settling and settle:
                    settle = False
                    self.clock.sleep(step.after)
                    step = Next(Look.LIST, 0.0)
        except UnavailableError as error:
            at = self.clock.monotonic()
            self._failing_since = at if self._failing_since is None else self._failing_since
            self.watch.unavailable(error, step.look, at)
        return None

    def _ask(self, look: Look) -> CompletedExport | Next:
        watch, clock = self.watch, self.clock
        if look is Look.HEAD and watch.sentinel is not None:
            sentinel = Location(watch.folder.bucket, watch.sentinel, watch.folder.scheme)
            return watch.headed(self.store.head(sentinel), clock.now(), clock.monotonic())
        return watch.listed(list_attempt(self.store, watch.folder), clock.now(), clock.monotonic())

    # A sensor that is rescheduled looks next in another process.

    def to_memory(self) -> dict[str, Any]:
        """Return what a look in another process has to know, as small values."""
        offset = self.clock.now().timestamp() - self.clock.monotonic()
        return {
            "path": str(self.watch.folder),
            "seen": self.watch.seen,
            "sentinel": self.watch.sentinel or "",
            "failing_since": 0.0 if self._failing_since is None else round(self._failing_since + offset, 3),
        }

    def remember(self, memory: Mapping[str, Any]) -> None:
        """
        Take up what an earlier look has learnt.

        :param memory: of :meth:`to_memory`; that of another path is not used.
        """
        if memory.get("path") != str(self.watch.folder):
            return
        self.watch.seen = bool(memory.get("seen"))
        self.watch.sentinel = memory.get("sentinel") or None
        if since := memory.get("failing_since"):
            offset = self.clock.now().timestamp() - self.clock.monotonic()
            self._failing_since = since - offset
            self.watch.unavailable(UnavailableError("the store did not answer"), Look.LIST, self._failing_since)


def wait_policy(
    *,
    start_deadline: float | str | None,
    settle: float | str,
    abandoned_after: float | str,
    poll: float,
) -> WaitPolicy:
    """
    Return the patience of a sensor, of its arguments as they are rendered.

    :param start_deadline: seconds until something must be there; empty for no such limit.
    :param settle: seconds between two equal listings.
    :param abandoned_after: seconds without a new file after which an export counts as dead.
    :param poll: seconds between two looks.
    :raises ConfigurationError: one is no number of seconds.
    """
    return WaitPolicy(
        deadline=_NO_DEADLINE,
        start_deadline=None if start_deadline in (None, "") else _seconds("start_deadline", start_deadline),
        poll=max(poll, 1e-3),
        settle=_seconds("settle", settle),
        abandoned_after=_seconds("abandoned_after", abandoned_after),
    )


def _seconds(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigurationError(f"{name}: {value!r} is not a number of seconds.") from None
