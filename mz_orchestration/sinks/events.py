"""Changes of health as events: for schedulers that start something by them, and go on where another process ended."""

from __future__ import annotations

import logging
from typing import Any

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.sinks.alerts import Alert, AlertPolicy, AlertState, alerts
from mz_orchestration.sinks.facts import Look
from mz_orchestration.sinks.judge import gone
from mz_orchestration.sinks.memory import Memory
from mz_orchestration.sinks.notify import sentence
from mz_orchestration.sinks.policy import HealthPolicy
from mz_orchestration.sinks.selection import Names, Selection
from mz_orchestration.sinks.verdict import Verdict
from mz_orchestration.sinks.watch import Judge

log = logging.getLogger(__name__)

_VERSION = 1
# Characters of JSON that names may take: Airflow warns of values of 64 KB, and what was told goes first.
_ROOM = 48_000


class HealthEvents:
    """Looks become events: a problem that lasts, its getting worse, that it is over.

    What is kept for the next process is what was told, and what is there; movement is judged anew by each.

    Args:
        policy: How long what may last.
        alert_policy: When something is told.
        selection: What is watched. What is asked for by name need not be there.
        kept: By an earlier process.

    Raises:
        ConfigurationError: What was kept is none of ours.
    """

    def __init__(
        self,
        policy: HealthPolicy | None = None,
        alert_policy: AlertPolicy | None = None,
        selection: Selection | None = None,
        kept: Any = None,
    ) -> None:
        self._selection = selection or Selection()
        self._judge = Judge(policy, self._selection)
        self._alert_policy = alert_policy or AlertPolicy()
        self._states, self._known = ({}, {}) if kept is None else _read(kept)
        self._first = True

    @property
    def kept(self) -> dict[str, Any]:
        """What the next process has to know: JSON of less than 64 KB, but for hundreds that are unwell at once."""
        known = sorted(self._known.items(), key=lambda each: not self._told(each[0]))
        names, room = {}, _ROOM
        for identifier, each in known:
            room -= len(identifier) + sum(len(part) + 4 for part in each) + 6
            if room < 0:
                break
            names[identifier] = each
        return {
            "version": _VERSION,
            "told": {each: state.to_json() for each, state in sorted(self._states.items()) if self._told(each)},
            "known": dict(sorted(names.items())),
        }

    def events(self, found: Look) -> list[dict[str, Any]]:
        """What is to be told after a look, the worst first.

        Args:
            found: The look.
        """
        healths = dict(self._judge.judge(found).healths)
        if self._first:
            self._warn_of_missing(found)
            for identifier, (name, kind, type_) in self._known.items():
                if identifier not in healths:
                    at = found.at.timestamp()
                    memory = Memory(name=name, kind=kind, type=type_, first_seen=at, looked=at)
                    healths[identifier] = gone(identifier, memory, found.at)
            self._first = False
        told, self._states = alerts(healths, self._states, self._alert_policy)
        self._known = {
            identifier: [each.name, each.kind, each.type]
            for identifier, each in healths.items()
            if each.verdict is not Verdict.DROPPED
        }
        return [event(alert) for alert in told]

    def _told(self, identifier: str) -> bool:
        state = self._states.get(identifier)
        return state is not None and bool(state.told)

    def _warn_of_missing(self, look: Look) -> None:
        for name in Names(self._selection.names).missing(each.name for each in look.connectors.values()):
            log.warning("Materialize has no sink or source %r; it is watched from when there is one.", name)


def event(alert: Alert) -> dict[str, Any]:
    """An alert as the payload of an event.

    Args:
        alert: What to tell.

    Returns:
        ``id`` is the same if it is told of twice; ``event`` is ``problem``, ``reminder`` or ``recovery``; ``text`` is
        for people; ``since`` says since when the connector has been unwell, or well again; the rest is its health.
    """
    health = alert.health
    return {
        **health.to_metadata(),
        "id": alert.id,
        "connector_id": health.id,
        "event": alert.kind,
        "since": alert.since.isoformat(),
        "text": sentence(alert),
    }


def _read(kept: Any) -> tuple[dict[str, AlertState], dict[str, list[str]]]:
    try:
        if kept["version"] != _VERSION:
            raise ValueError(f"version {kept['version']!r}")
        states = {str(each): AlertState.from_json(state) for each, state in kept["told"].items()}
        known = {}
        for each, (name, kind, type_) in kept["known"].items():
            known[str(each)] = [str(name), str(kind), str(type_)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"What was kept of sinks cannot be read ({type(error).__name__}: {error}).",
            hint="Another version of this package wrote it; what is unwell now is told of again.",
        ) from error
    return states, known
