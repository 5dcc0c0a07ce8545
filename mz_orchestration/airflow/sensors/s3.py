"""The sensor for exports that somebody else runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperatorLink, BaseSensorOperator, PokeReturnValue

from mz_orchestration.airflow.exceptions import RetryableError, airflow_error, as_airflow_errors
from mz_orchestration.airflow.links import ExportFolderLink
from mz_orchestration.airflow.version_compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    conf,
)
from mz_orchestration.consoles import folder_url

if TYPE_CHECKING:
    from airflow.sdk import Context

    from mz_orchestration.airflow.sensors.look import SensorWatch
    from mz_orchestration.exports.watch.state import WaitPolicy

# Until Airflow gives up on a trigger that should have told of its deadline: the triggerer is away.
_TRIGGERER_AWAY = timedelta(minutes=1)
_MEMORY = "mz_orchestration.sensor"


class S3SentinelRemovedSensor(BaseSensorOperator):
    """
    Wait until the export to a path in the object store is complete, for exports that somebody else runs.

    Materialize keeps an object whose name ends with ``-INCOMPLETE`` beside the files it writes, and deletes it last.
    The task succeeds when that object is gone and data is there. Nothing there yet is waited for; an export that is
    dead, or was removed, fails the task for good, and so does a store that does not let us look.

    In a worker (``mode="poke"``), in a worker now and then (``mode="reschedule"``) or in the triggerer
    (``deferrable=True``, which goes before ``mode``), it ends the same. In the triggerer an interval of a few seconds
    costs next to nothing, for all waits of a store share their requests.

    Before Airflow 3.3 a sensor that is rescheduled remembers nothing: an export whose sentinel one look has seen, and
    that is swept away before the next, is waited for until ``timeout``.

    :param path: ``s3://bucket/folder/``, the path of one attempt as it was given to ``COPY TO``. (templated)
    :param aws_conn_id: connection to the object store; None leaves it to boto3. (templated)
    :param start_deadline: seconds until something must be there; None leaves it to ``timeout``. (templated)
    :param settle: where the sentinel was never seen, two listings so many seconds apart must be equal. (templated)
    :param abandoned_after: seconds without a new file after which an export with a sentinel counts as dead.
        (templated)
    :param poke_interval: seconds between two looks.
    :param deferrable: wait in the triggerer, holding no worker; the default of ``[operators] default_deferrable``.
    :return: path, files and bytes, as a small dictionary.
    """

    template_fields: Sequence[str] = ("path", "aws_conn_id", "start_deadline", "settle", "abandoned_after")
    operator_extra_links: Collection[BaseOperatorLink] = (ExportFolderLink(),)
    ui_color = "#e6e0ff"

    _watch: SensorWatch | None = None
    _began: datetime | None = None

    def __init__(
        self,
        *,
        path: str,
        aws_conn_id: str | None = "aws_default",
        start_deadline: float | str | None = None,
        settle: float | str = 5.0,
        abandoned_after: float | str = 6 * 3600.0,
        poke_interval: timedelta | float = 10.0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.path = path
        self.aws_conn_id = aws_conn_id
        self.start_deadline = start_deadline
        self.settle = settle
        self.abandoned_after = abandoned_after
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        """Look until the export is complete, or once and leave the rest to the triggerer."""
        self._watch, self._began = None, None
        return super().execute(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """
        Look once; where two listings must be equal, and nobody else would, stay for the second.

        :raises AirflowFailException: waiting longer cannot help.
        :raises RetryableError: nothing has begun in time, or the store has been out of reach for minutes.
        """
        with as_airflow_errors():
            if self._watch is None:
                self._watch = self._begin(context)
            try:
                done = self._watch.look(settle=not self.deferrable)
            finally:
                self._keep(context, self._watch)
        if done is not None:
            self._note(context, result := done.to_metadata())
            return PokeReturnValue(is_done=True, xcom_value=result)
        self.log.info("%s: %s.", self.path, self._watch.watch.last_seen)
        if self.deferrable:
            self._defer(seen=self._watch.watch.seen)
        return PokeReturnValue(is_done=False)

    def execute_complete(self, context: Context, event: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return what the triggerer has come to, or fail with what it failed with."""
        match event:
            case {"status": "success", "result": dict(result)}:
                self._note(context, result)
                return result
            case {"status": "failed", "error": dict(error)}:
                raise airflow_error(error)
            case {"status": "timeout", "message": str(message)}:
                raise AirflowSensorTimeout(f"Sensor has timed out. {message}")
        raise AirflowFailException(f"The trigger answered {event!r}, which says nothing about how the wait ended.")

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Go on after the triggerer, with ``soft_fail`` as it is in a worker.

        There it leaves alone what the task's ``retries`` are for; after a deferral Airflow has it skip that, too.
        """
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSkipException as skipped:
            if self.soft_fail and isinstance(skipped.__cause__, RetryableError):
                raise skipped.__cause__ from None
            raise

    def _begin(self, context: Context) -> SensorWatch:
        from mz_orchestration.airflow.connections import resolve
        from mz_orchestration.airflow.sensors.look import SensorWatch
        from mz_orchestration.exports.watch.state import Watch
        from mz_orchestration.flow import Clock
        from mz_orchestration.objectstore.location import parse_folder

        folder, policy = parse_folder(self.path, field="path"), self._policy()
        systems = resolve({"aws": self.aws_conn_id})
        ExportFolderLink.persist(context, folder_url(str(folder), systems.object_store))
        clock = Clock()
        first = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
        self._began = first or clock.now()
        waited = (clock.now() - self._began).total_seconds()
        made = SensorWatch(Watch(folder, policy, clock.monotonic() - waited), systems.store(), clock)
        # What a task that was cleared has left behind is of another wait: it has no earlier look.
        if first is not None and (state := _task_state(context)) is not None:
            made.remember(state.get(_MEMORY) or {})
        return made

    def _policy(self) -> WaitPolicy:
        from mz_orchestration.airflow.sensors.look import wait_policy

        return wait_policy(
            start_deadline=self.start_deadline,
            settle=self.settle,
            abandoned_after=self.abandoned_after,
            poll=self.poke_interval,
        )

    def _keep(self, context: Context, watch: SensorWatch) -> None:
        if self.reschedule and not self.deferrable and (state := _task_state(context)) is not None:
            state.set(_MEMORY, watch.to_memory())

    def _defer(self, *, seen: bool) -> None:
        from mz_orchestration.airflow.triggers.sentinel import SentinelRemovedTrigger

        policy, began = self._policy(), self._began or datetime.now(UTC)
        deadline = began + timedelta(seconds=self.timeout)
        self.defer(
            trigger=SentinelRemovedTrigger(
                path=self.path,
                deadline=deadline.isoformat(),
                began=began.isoformat(),
                aws_conn_id=self.aws_conn_id,
                seen=seen,
                start_deadline=policy.start_deadline,
                poll_interval=policy.poll,
                settle=policy.settle,
                abandoned_after=policy.abandoned_after,
                silent_fail=self.silent_fail,
            ),
            method_name="execute_complete",
            timeout=max(deadline - datetime.now(UTC), timedelta(0)) + _TRIGGERER_AWAY,
        )

    def _note(self, context: Context, result: Mapping[str, Any]) -> None:
        extra = {name: result[name] for name in ("path", "files", "bytes")}
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra.update(extra)


def _task_state(context: Context) -> Any:
    """Airflow's memory of a task over reschedules; None before 3.3."""
    return context.get("task_state_store")
