"""The asset watcher of streaming sinks: an event for each problem that lasts, and for its end."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mz_orchestration import flow
from mz_orchestration.airflow.connections import aresolve
from mz_orchestration.airflow.triggers.looks import LookingEventTrigger, LookProducer, positive_seconds
from mz_orchestration.errors import ConfigurationError, MzOrchestrationError
from mz_orchestration.flow import in_daemon_thread

if TYPE_CHECKING:
    from mz_orchestration.sinks.alerts import AlertPolicy
    from mz_orchestration.sinks.events import HealthEvents
    from mz_orchestration.sinks.facts import Kind, Look
    from mz_orchestration.sinks.policy import HealthPolicy

log = logging.getLogger(__name__)


class SinkHealthEventTrigger(LookingEventTrigger):
    """
    Watch the health of streaming sinks or sources: the trigger of an ``AssetWatcher``.

    One query for all of them every ``poll_interval`` seconds, and one ``SUBSCRIBE`` that says when to look earlier. An
    event is told when a sink has been unwell for ``debounce`` seconds, when that gets worse, and when it has been well
    again for ``recover_after`` seconds; a sink with nothing to do is well. Its payload is
    ``triggering_asset_events[asset][i].extra["payload"]``; one DAG run may be given several events::

        {
            "id": "u12/problem/stalled/1763907632",
            "event": "problem",
            "text": "sink shop.orders_sink is stalled since 2026-11-23 14:20:32 UTC. kafka: …",
            "name": "shop.orders_sink",
            "kind": "sink",
            "type": "kafka",
            "verdict": "stalled",
            "severity": "critical",
            "since": "2026-11-23T14:20:32+00:00",
            "error": "kafka: …",
            "advice": "…",
            ...
        }

    ``event`` is ``problem``, ``reminder`` or ``recovery``. What was told is kept in the asset's state, on Airflow 3.3:
    a triggerer that takes over tells of what is new, and of what is gone. Before that one that is restarted tells again
    of all that is unwell, and of no recovery whose problem it has not seen. ``id`` is the same if something is told of
    twice. What rests on movement (see the table of verdicts) is judged anew after a restart.

    :param sinks: ``[[database.]schema.]name`` of each, or patterns with ``*``; None for all.
    :param kind: ``source`` to watch sources.
    :param clusters: only what runs on these.
    :param materialize_conn_id: connection to Materialize.
    :param minimum: ``critical`` to leave warnings out.
    :param debounce: seconds a sink has to be unwell.
    :param recover_after: seconds it has to be well again.
    :param remind_every: seconds after which a problem is told of again; None for never.
    :param poll_interval: seconds between two looks where nothing seems to change.
    :param subscribe: hold a ``SUBSCRIBE``, too, so that a change of status is seen within a second.
    :param policy: how long what may last before it counts, in seconds, by the fields of
        :class:`~mz_orchestration.sinks.policy.HealthPolicy`, such as ``{"starting_after": 900}``.
    """

    def __init__(
        self,
        *,
        sinks: Sequence[str] | None = None,
        kind: Kind = "sink",
        clusters: Sequence[str] | None = None,
        materialize_conn_id: str = "materialize_default",
        minimum: str = "warning",
        debounce: float = 30.0,
        recover_after: float = 60.0,
        remind_every: float | None = None,
        poll_interval: float = 10.0,
        subscribe: bool = True,
        policy: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sinks = sinks
        self.kind = kind
        self.clusters = clusters
        self.materialize_conn_id = materialize_conn_id
        self.minimum = minimum
        self.debounce = debounce
        self.recover_after = recover_after
        self.remind_every = remind_every
        self.poll_interval = poll_interval
        self.subscribe = subscribe
        self.policy = policy

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """
        Return what makes the trigger again elsewhere.

        :raises ConfigurationError: an argument cannot be used. Here, for this is called when the DAG is read, where its
            author sees it; an error of the constructor would end the triggerer.
        """
        self._check()
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "sinks": None if self.sinks is None else list(self.sinks),
            "kind": self.kind,
            "clusters": None if self.clusters is None else list(self.clusters),
            "materialize_conn_id": self.materialize_conn_id,
            "minimum": self.minimum,
            "debounce": self.debounce,
            "recover_after": self.recover_after,
            "remind_every": self.remind_every,
            "poll_interval": self.poll_interval,
            "subscribe": self.subscribe,
            "policy": None if self.policy is None else dict(self.policy),
        }

    @property
    def watched(self) -> str:
        """The sinks, and where."""
        names = " ".join(self.sinks or [f"all {self.kind}s"])
        clusters = f" of {' '.join(self.clusters)}" if self.clusters else ""
        return f"{names}{clusters} at {self.materialize_conn_id}"

    def producer(self) -> SinkProducer:
        """Return what looks at sinks."""
        return SinkProducer(
            self.watched,
            self.materialize_conn_id,
            self.kind,
            self._health_policy(),
            poll_interval=self.poll_interval,
            subscribe=self.subscribe,
        )

    def seen(self, kept: dict[str, Any] | None) -> HealthEvents:
        """
        Return what was seen of sinks.

        :param kept: by an earlier triggerer; None without.
        """
        from mz_orchestration.sinks.events import HealthEvents
        from mz_orchestration.sinks.selection import Selection

        selection = Selection(self.sinks or (), self.clusters or (), required=False)
        return HealthEvents(self._health_policy(), self._alert_policy(), selection, kept)

    def _health_policy(self) -> HealthPolicy:
        from mz_orchestration.sinks.policy import health_policy

        return health_policy(self.policy)

    def _alert_policy(self) -> AlertPolicy:
        from mz_orchestration.sinks.alerts import AlertPolicy
        from mz_orchestration.validation import validated

        return validated(
            AlertPolicy,
            minimum=self.minimum,
            debounce=self.debounce,
            recover_after=self.recover_after,
            remind_every=self.remind_every,
        )

    def _check(self) -> None:
        for argument in ("sinks", "clusters"):
            value = getattr(self, argument)
            if value is not None and (isinstance(value, str) or not value or not all(map(str, value))):
                raise ConfigurationError(
                    f"{argument}: {value!r} is not a list of names.", hint="Leave it out to watch all."
                )
        if self.kind not in ("sink", "source"):
            raise ConfigurationError(f"kind: {self.kind!r} is neither 'sink' nor 'source'.")
        positive_seconds("poll_interval", self.poll_interval)
        self._alert_policy()
        self._health_policy()


class SinkProducer(LookProducer):
    """
    Looks at sinks again and again.

    :param watched: what is watched, for logs.
    :param materialize_conn_id: connection to Materialize.
    :param kind: ``sink`` or ``source``.
    :param policy: how long what may last.
    :param poll_interval: seconds between two looks.
    :param subscribe: look as soon as something changes, too.
    """

    def __init__(
        self,
        watched: str,
        materialize_conn_id: str,
        kind: Kind,
        policy: HealthPolicy,
        *,
        poll_interval: float,
        subscribe: bool,
    ) -> None:
        super().__init__(watched)
        self._materialize_conn_id = materialize_conn_id
        self._kind = kind
        self._policy = policy
        self._poll_interval = poll_interval
        self._subscribe = subscribe

    async def looks(self) -> AsyncGenerator[Look]:
        """
        Yield looks; what keeps Materialize from answering for a while is waited out.

        :raises MzOrchestrationError: no retry can help.
        """
        from mz_orchestration.sinks.watch import Watch

        systems = await aresolve({"materialize": self._materialize_conn_id})
        watch = Watch(
            systems.materialize,
            kind=self._kind,
            policy=self._policy,
            every=self._poll_interval,
            subscribe=self._subscribe,
        )
        try:
            while True:
                look = await flow.arun(watch.look_flow())
                if isinstance(look, MzOrchestrationError):
                    log.warning("%s It is tried again.", look)
                else:
                    yield look
        finally:
            await in_daemon_thread(watch.close)
