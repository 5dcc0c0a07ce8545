"""The trigger of the sensor: waits in the triggerer until a sink is well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from mz_orchestration.airflow.connections import aresolve
from mz_orchestration.errors import MzOrchestrationError


class SinkHealthTrigger(BaseTrigger):
    """
    Wait until a sink is well.

    Another triggerer may start it again at any time: what was seen meanwhile is not carried over.

    :param wait: what is waited for, as :class:`~mz_orchestration.sinks.wait.SinkWait` takes it.
    :param deadline: when the wait ends, in ISO format.
    :param materialize_conn_id: connection to Materialize.
    :param memory: what the sensor has seen.
    :param poll_interval: seconds between two looks.
    :param policy: how long what may last, by field of ``HealthPolicy``.
    """

    def __init__(
        self,
        *,
        wait: dict[str, Any],
        deadline: str,
        materialize_conn_id: str = "materialize_default",
        memory: dict[str, Any] | None = None,
        poll_interval: float = 10.0,
        policy: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.wait = wait
        self.deadline = deadline
        self.materialize_conn_id = materialize_conn_id
        self.memory = memory
        self.poll_interval = poll_interval
        self.policy = policy

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes the trigger again elsewhere."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "wait": self.wait,
            "deadline": self.deadline,
            "materialize_conn_id": self.materialize_conn_id,
            "memory": self.memory,
            "poll_interval": self.poll_interval,
            "policy": self.policy,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Wait, and tell how it ended.

        ``{"status": "success", "result": ...}``, ``{"status": "failed", "error": ...}`` or
        ``{"status": "timeout", "message": ...}``.
        """
        yield TriggerEvent(await self._event())  # type: ignore[no-untyped-call]

    async def _event(self) -> dict[str, Any]:
        from mz_orchestration.flow import in_daemon_thread
        from mz_orchestration.sinks.look import Looker
        from mz_orchestration.sinks.policy import health_policy
        from mz_orchestration.sinks.wait import SinkWait, SinkWaiting
        from mz_orchestration.validation import validated

        last = "It has not been looked at."
        try:
            policy = health_policy(self.policy)
            waiting = SinkWaiting(validated(SinkWait, **self.wait), policy, self.memory)
            systems = await aresolve({"materialize": self.materialize_conn_id})
            looker = Looker(systems.materialize, window=policy.flap_window)
            try:
                while True:
                    try:
                        health, done = waiting.look(await in_daemon_thread(looker.look))
                    except MzOrchestrationError as error:
                        if not error.retryable or self._left() <= 0:
                            raise
                        last = error.message
                        self.log.warning("%s Trying again in %g s.", error, self.poll_interval)
                    else:
                        if done:
                            return {"status": "success", "result": health.to_metadata()}
                        last = f"{health.name} is {health.verdict}. {health.because}"
                        self.log.info("%s", last)
                    if self._left() <= 0:
                        return {"status": "timeout", "message": last}
                    await asyncio.sleep(min(self.poll_interval, max(self._left(), 0.1)))
            finally:
                await in_daemon_thread(looker.close)
        except MzOrchestrationError as error:
            return {"status": "failed", "error": error.to_dict()}

    def _left(self) -> float:
        return (datetime.fromisoformat(self.deadline) - datetime.now(UTC)).total_seconds()
