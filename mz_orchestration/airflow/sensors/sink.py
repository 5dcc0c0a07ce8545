"""The sensor for streaming sinks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from mz_orchestration.airflow.exceptions import airflow_error, as_airflow_errors
from mz_orchestration.airflow.version_compat import AirflowFailException, AirflowSensorTimeout, conf

if TYPE_CHECKING:
    from airflow.sdk import Context

    from mz_orchestration.sinks.policy import HealthPolicy
    from mz_orchestration.sinks.wait import SinkWaiting

# Until Airflow gives up on a trigger that should have told of its deadline: the triggerer is away.
_TRIGGERER_AWAY = timedelta(minutes=1)
_MEMORY = "mz_orchestration.sink"


class MaterializeSinkHealthSensor(BaseSensorOperator):
    """
    Wait until a streaming sink is well, or has committed so many messages.

    Well is what :class:`~mz_orchestration.sinks.verdict.Verdict` calls ``healthy`` or ``idle``: it runs, and moves or
    has nothing to do. What waiting does not mend (``fail_on``) fails the task for good once it has lasted for
    ``fail_after``, with what is wrong and what to do.

    In a worker (``mode="poke"``), in a worker now and then (``mode="reschedule"``) or in the triggerer
    (``deferrable=True``, which goes before ``mode``), it ends the same. Before Airflow 3.3 a sensor that is rescheduled
    remembers nothing, and tells statuses, but not movement.

    :param sink: ``[[database.]schema.]name``. (templated)
    :param materialize_conn_id: connection to Materialize. (templated)
    :param committed: messages that the sink has to have committed, as Materialize counts them over all replicas; None
        asks only that it is well. (templated)
    :param healthy_for: seconds the sink has to have been well, without a break. (templated)
    :param fail_on: verdicts that fail the task; none for none: then they are waited out until ``timeout``.
    :param fail_after: seconds that such a verdict has to last.
    :param policy: how long what may last before it counts, in seconds, by the fields of
        :class:`~mz_orchestration.sinks.policy.HealthPolicy`, such as ``{"starting_after": 900}``.
    :param poke_interval: seconds between two looks.
    :param deferrable: wait in the triggerer, holding no worker; the default of ``[operators] default_deferrable``.
    :return: verdict, counts, rates and the rest that is known, as a small dictionary.
    """

    template_fields: Sequence[str] = ("sink", "materialize_conn_id", "committed", "healthy_for")
    ui_color = "#e6e0ff"

    _waiting: SinkWaiting | None = None
    _began: datetime | None = None

    def __init__(
        self,
        *,
        sink: str,
        materialize_conn_id: str = "materialize_default",
        committed: int | str | None = None,
        healthy_for: float | str = 0.0,
        fail_on: Sequence[str] | None = None,
        fail_after: float = 30.0,
        policy: Mapping[str, float] | None = None,
        poke_interval: timedelta | float = 10.0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.sink = sink
        self.materialize_conn_id = materialize_conn_id
        self.committed = committed
        self.healthy_for = healthy_for
        self.fail_on = fail_on
        self.fail_after = fail_after
        self.policy = policy
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        """Look until the sink is well, or once and leave the rest to the triggerer."""
        self._waiting, self._began = None, None
        return super().execute(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """
        Look once.

        :raises AirflowFailException: the sink is not well, and waiting does not mend that.
        :raises RetryableError: Materialize cannot be reached.
        """
        from mz_orchestration.airflow.connections import resolve
        from mz_orchestration.sinks.look import Looker

        with as_airflow_errors():
            if self._waiting is None:
                self._waiting = self._begin(context)
            config = resolve({"materialize": self.materialize_conn_id}).materialize
            with Looker(config, window=self._policy().flap_window) as looker:
                health, done = self._waiting.look(looker.look())
        state = context.get("task_state_store")
        if self.reschedule and not self.deferrable and state is not None:
            state.set(_MEMORY, {"sink": self.sink, **self._waiting.memory})
        if done:
            return PokeReturnValue(is_done=True, xcom_value=health.to_metadata())
        self.log.info("%s is %s. %s", health.name, health.verdict, health.because)
        if self.deferrable:
            self._defer(self._waiting.memory)
        return PokeReturnValue(is_done=False)

    def execute_complete(self, context: Context, event: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return what the triggerer has come to, or fail with what it failed with."""
        match event:
            case {"status": "success", "result": dict(result)}:
                return result
            case {"status": "failed", "error": dict(error)}:
                raise airflow_error(error)
            case {"status": "timeout", "message": str(message)}:
                raise AirflowSensorTimeout(f"Sensor has timed out. {message}")
        raise AirflowFailException(f"The trigger answered {event!r}, which says nothing about how the wait ended.")

    def _begin(self, context: Context) -> SinkWaiting:
        from mz_orchestration.sinks.wait import SinkWait, SinkWaiting
        from mz_orchestration.validation import validated

        first = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
        self._began = first or datetime.now(UTC)
        memory: Any = None
        # What a task that was cleared has left behind is of another wait.
        if first is not None and (state := context.get("task_state_store")) is not None:
            held: Any = {**(state.get(_MEMORY) or {})}  # type: ignore[dict-item]  # ours is a dictionary
            memory = held if held.pop("sink", None) == self.sink else None
        return SinkWaiting(validated(SinkWait, **self._wait()), self._policy(), memory)

    def _policy(self) -> HealthPolicy:
        from mz_orchestration.sinks.policy import health_policy

        return health_policy(self.policy)

    def _wait(self) -> dict[str, Any]:
        wait: dict[str, Any] = {"sink": self.sink, "healthy_for": self.healthy_for, "fail_after": self.fail_after}
        if self.committed not in (None, ""):
            wait["committed"] = self.committed
        if self.fail_on is not None:
            wait["fail_on"] = list(self.fail_on)
        return wait

    def _defer(self, memory: dict[str, Any]) -> None:
        from mz_orchestration.airflow.triggers.sink_health import SinkHealthTrigger

        deadline = (self._began or datetime.now(UTC)) + timedelta(seconds=self.timeout)
        self.defer(
            trigger=SinkHealthTrigger(
                wait=self._wait(),
                deadline=deadline.isoformat(),
                materialize_conn_id=self.materialize_conn_id,
                memory=memory,
                poll_interval=self.poke_interval,
                policy=None if self.policy is None else dict(self.policy),
            ),
            method_name="execute_complete",
            timeout=max(deadline - datetime.now(UTC), timedelta(0)) + _TRIGGERER_AWAY,
        )
