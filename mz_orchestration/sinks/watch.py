"""Watching: look when something has changed, and at intervals; judge; say what is different.

A watch is a flow, so that it runs in a thread and on an event loop alike. What it remembers is JSON, for the next
process to go on with.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from mz_orchestration import flow
from mz_orchestration.errors import ConfigurationError, MzOrchestrationError
from mz_orchestration.flow import Clock, Flow
from mz_orchestration.materialize.connection import MaterializeConfig
from mz_orchestration.sinks.facts import Kind, Look
from mz_orchestration.sinks.judge import judge_all
from mz_orchestration.sinks.look import Looker
from mz_orchestration.sinks.memory import Memory
from mz_orchestration.sinks.policy import HealthPolicy
from mz_orchestration.sinks.selection import Selection
from mz_orchestration.sinks.subscription import Subscription
from mz_orchestration.sinks.verdict import Health, Verdict

log = logging.getLogger(__name__)

_VERSION = 1
# Seconds between two looks at least, however often something changes.
_BREATH = 1.0
# Seconds before the next attempt to subscribe or to look.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
# Seconds that closing waits for a call; a wait for changes takes two at most.
_CLOSES_WITHIN = 5.0

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """What one look of a watch has found.

    Attributes:
        healths: Of all that are watched, by id; what is gone is in it once.
        changes: Those whose verdict differs from that of the look before; at the first look, all.
        error: Why there was no look; then the others are empty.
    """

    healths: Mapping[str, Health]
    changes: tuple[Health, ...]
    error: MzOrchestrationError | None = None


class Judge:
    """Judges looks, and remembers what the next one needs.

    Args:
        policy: How long what may last.
        selection: What is judged.
        memory: From `memory` of an earlier process.

    Raises:
        ConfigurationError: The memory is none of ours.
    """

    def __init__(
        self, policy: HealthPolicy | None = None, selection: Selection | None = None, memory: Any = None
    ) -> None:
        self._policy = policy or HealthPolicy()
        self._selection = selection or Selection()
        self._memories = {} if memory is None else _read(memory)

    @property
    def memory(self) -> dict[str, Any]:
        """What the next process has to know, as JSON."""
        connectors = {identifier: each.to_json() for identifier, each in self._memories.items()}
        return {"version": _VERSION, "connectors": connectors}

    def judge(self, look: Look) -> Step:
        """Judge a look.

        Raises:
            NotFoundError: At the first look, something that was asked for by name is not there.
        """
        # What is remembered may be of another selection: nothing is said of that, and nothing lost.
        memories = self._selection.among(self._memories)
        others = {identifier: each for identifier, each in self._memories.items() if identifier not in memories}
        before = {identifier: each.verdict for identifier, each in memories.items()}
        chosen = self._selection.of(look, known=bool(before))
        healths, memories = judge_all(chosen, memories, self._policy)
        self._memories = {**others, **memories}
        changes = (each for each in healths.values() if before.get(each.id) != each.verdict)
        return Step(healths, tuple(sorted(changes, key=lambda each: each.name)))


def _read(memory: Any) -> dict[str, Memory]:
    try:
        if memory["version"] != _VERSION:
            raise ValueError(f"version {memory['version']!r}")
        return {str(name): Memory.from_json(each) for name, each in memory["connectors"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"What was remembered of sinks cannot be read ({type(error).__name__}: {error}).",
            hint="Delete it to begin anew; another version of this package wrote it.",
        ) from error


class Watch:
    """Watches sinks or sources; close it or use it as a context manager.

    Args:
        config: How to reach Materialize.
        kind: ``sink`` or ``source``.
        judge: Judges what it sees.
        every: Seconds between looks where nothing has changed: frontiers and replicas are seen by looks only.
        subscribe: Also look as soon as a status or a counter changes, by one SUBSCRIBE.
        clock: The time it lives in.
    """

    def __init__(
        self,
        config: MaterializeConfig | None = None,
        *,
        kind: Kind = "sink",
        judge: Judge | None = None,
        policy: HealthPolicy | None = None,
        every: float = 10.0,
        subscribe: bool = True,
        clock: Clock | None = None,
    ) -> None:
        if every <= 0:
            raise ConfigurationError(f"every: {every:g} is not a number of seconds.", hint="Give more than 0.")
        policy = policy or HealthPolicy()
        self.judge = judge or Judge(policy)
        self._config = config
        self._kind = kind
        self._looker = Looker(config, kind=kind, window=policy.flap_window)
        self._subscription: Subscription | None = None
        self._subscribe = subscribe
        self._every = every
        self._clock = clock or Clock()
        self._looked: float | None = None
        self._failures = 0
        self._subscribe_at = 0.0
        # A call that was left alone on an event loop goes on in its thread for a while.
        self._busy = threading.Lock()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End the sessions, after whatever a thread still does with them; never raises."""
        free = self._busy.acquire(timeout=_CLOSES_WITHIN)
        try:
            self._unsubscribe()
            self._looker.close()
        finally:
            if free:
                self._busy.release()

    def steps(self) -> Iterator[Step]:
        """Look again and again, in this thread; without end."""
        while True:
            yield flow.run(self.step_flow(), self._clock)

    async def asteps(self) -> AsyncIterator[Step]:
        """Look again and again, on an event loop; without end."""
        while True:
            yield await flow.arun(self.step_flow())

    def step_flow(self) -> Flow[Step]:
        """Wait until it is time for a look, and look.

        Errors that may pass are told of in the step, and the next one tries again.

        Raises:
            MzOrchestrationError: An error that no retry can help.
        """
        look = yield from self.look_flow()
        return Step({}, (), look) if isinstance(look, MzOrchestrationError) else self.judge.judge(look)

    def look_flow(self) -> Flow[Look | MzOrchestrationError]:
        """Wait until it is time for a look, and look; for those who judge elsewhere.

        Errors that may pass are returned, and the next one tries again.

        Raises:
            MzOrchestrationError: An error that no retry can help.
        """
        yield from self._until_due()
        self._looked = self._clock.monotonic()
        try:
            look = yield from flow.call(self._alone, self._looker.look)
        except MzOrchestrationError as error:
            if not error.retryable:
                raise
            self._failures += 1
            return error
        self._failures = 0
        return look

    def _until_due(self) -> Flow[None]:
        if self._looked is None:
            return
        if self._failures:
            yield from flow.sleep(min(_FIRST_PAUSE * 2.0 ** (self._failures - 1), _LONGEST_PAUSE))
            return
        due = self._looked + self._every
        while (left := due - self._clock.monotonic()) > 0:
            changed = yield from self._changed(left)
            if changed:
                rest = self._looked + _BREATH - self._clock.monotonic()
                yield from flow.sleep(max(rest, 0.0))
                return

    def _changed(self, left: float) -> Flow[bool]:
        """Wait for a change, so many seconds at most, and perhaps less."""
        if not self._subscribe or self._clock.monotonic() < self._subscribe_at:
            yield from flow.sleep(min(left, _FIRST_PAUSE) if self._subscribe else left)
            return False
        try:
            if self._subscription is None:
                self._subscription = yield from flow.call(Subscription, self._config, kind=self._kind)
                yield from flow.call(self._alone, self._subscription.wait, min(left, _BREATH))
                # What has changed since the last look is in its snapshot, and cannot be told from the rest.
                return True
            changed: bool = yield from flow.call(self._alone, self._subscription.wait, left)
            return changed
        except MzOrchestrationError as error:
            # Looks go on without it, and say what is wrong if they cannot.
            log.warning("The subscription has ended, and is begun anew: %s", error)
            self._unsubscribe()
            self._subscribe_at = self._clock.monotonic() + _LONGEST_PAUSE / 3
            return False

    def _alone(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._busy:
            return function(*args, **kwargs)

    def _unsubscribe(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()


def worst(healths: Mapping[str, Health]) -> Health | None:
    """The one in the worst health; None of none.

    Args:
        healths: By id.
    """
    order = sorted(healths.values(), key=lambda each: (-_RANK[each.verdict], each.since, each.name))
    return order[0] if order else None


# What is not known is worse than a warning, and better than what is known to be critical.
_RANK = {verdict: (0, 1, 3, 2)[verdict.severity] for verdict in Verdict}
