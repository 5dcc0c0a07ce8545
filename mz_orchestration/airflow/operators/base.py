"""What all operators that carry out a job have in common: in a worker or in the triggerer, with the same end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import Asset, AssetAlias, BaseOperator

from mz_orchestration.airflow.exceptions import TaskKilledError, airflow_error, as_airflow_errors
from mz_orchestration.airflow.version_compat import AirflowFailException, AirflowTaskTimeout, TaskDeferralTimeout, conf

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from mz_orchestration.airflow.connections import Systems
    from mz_orchestration.airflow.jobs.base import Job, Links, Listener, Outcome
    from mz_orchestration.airflow.lineage import Lineage
    from mz_orchestration.progress import Event

# Beyond the deadlines of the job itself.
_SLACK = timedelta(minutes=10)
# Where a task remembers its last success.
_FINISHED = "mz_orchestration.finished"
# Until Airflow gives up on a trigger that should have told of its deadline: the triggerer is away.
_TRIGGERER_AWAY = timedelta(minutes=5)


class MaterializeJobOperator(BaseOperator):
    """
    Carry out a job of the core; subclasses say which.

    :param run_key: names the logical run; ``dag_id/run_id/task_id/map_index`` by default. (templated)
    :param on_clear: when a task that has succeeded is cleared: ``return`` its finished run, or do it ``again`` under a
        run key of its own, which takes Airflow 3.3.
    :param allow_backfill: run in a backfill, too, although what is exported is always what is there *now*.
    :param deferrable: run in the triggerer, holding no worker; the default of ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("run_key",)
    ui_color = "#e6e0ff"
    # Of *now*, whatever interval the DAG run is of.
    reads_the_present: ClassVar[bool] = True
    # Whether its run key tells one run from the next, so that on_clear="again" can mean something.
    runs_again: ClassVar[bool] = True

    # The thread in which on_kill may interrupt execute, while it runs.
    _working_in: int | None = None
    _killed = False
    # What the task has read and written, once it has.
    _lineage: Lineage | None = None

    def __init__(
        self,
        *,
        run_key: str | None = None,
        on_clear: Literal["return", "again"] = "return",
        allow_backfill: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.run_key = run_key
        self.on_clear = on_clear
        self.allow_backfill = allow_backfill
        self.deferrable = deferrable

    def job(self, run_key: str) -> Job:
        """Return what is to be carried out, of the arguments as they are rendered."""
        raise NotImplementedError

    def default_run_key(self, context: Context) -> str:
        """Return a name for the logical run, the same for all tries of the task."""
        ti = context["ti"]
        return f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index}"

    def execute(self, context: Context) -> dict[str, Any]:
        """Carry the job out, or hand it to the triggerer."""
        from mz_orchestration.airflow.connections import resolve

        self._working_in = threading.get_ident()
        try:
            if self._killed:
                raise TaskKilledError("The task was killed before it began.")
            with as_airflow_errors():
                self._look_at_the_interval(context)
                job = self.job(self._run_key(context))
                job.check()
                systems = resolve(job.connections())
                self._persist(context, job.links(systems))
            if self.deferrable and job.found_again:
                self._defer(job)
            outcome = self._carry_out(job, systems, context)
        finally:
            self._working_in = None
        return self._finish(context, outcome)

    def execute_complete(
        self, context: Context, event: Mapping[str, Any] | None, job: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return what the triggerer has come to, or fail with what it failed with."""
        from mz_orchestration.airflow.jobs.base import Outcome

        if event is not None and (outcome := Outcome.from_event(event)) is not None:
            return self._finish(context, outcome)
        match event:
            case {"status": "failed", "error": dict(error)}:
                raise airflow_error(error)
            case {"status": "timeout"}:
                self._cancel(job or self._own_job(context))
                raise AirflowTaskTimeout(f"{self.task_id} did not end in time and was cancelled.")
        raise AirflowFailException(f"The trigger answered {event!r}, which says nothing about how the job ended.")

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Cancel what runs if the triggerer never came back to say how it stands."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            self._cancel(self._own_job(context))
            raise

    def on_kill(self) -> None:
        """
        Cancel what is running remotely.

        Airflow calls this from the signal handler in the thread that runs ``execute`` and then kills the process,
        without interrupting ``execute``; raising here does, and the interrupted wait cancels on the way out.
        """
        self._killed = True
        if self._working_in == threading.get_ident():
            # Once: a second signal must not interrupt the cancelling.
            self._working_in = None
            raise TaskKilledError("The task was killed; what it runs is being cancelled.")

    def _carry_out(self, job: Job, systems: Systems, context: Context) -> Outcome:
        from mz_orchestration.flow import run_coroutine

        # The connector tells of every request it makes.
        logging.getLogger("snowflake.connector").setLevel(logging.WARNING)
        with as_airflow_errors():
            return run_coroutine(job.carry_out(systems, self._listener(context)))

    def _defer(self, job: Job) -> None:
        from mz_orchestration.airflow.triggers.job import MaterializeJobTrigger

        data, now = job.to_dict(), datetime.now(UTC)
        time = self.execution_timeout or timedelta(seconds=job.seconds()) + _SLACK
        self.defer(
            trigger=MaterializeJobTrigger(job=data, deadline=(now + time).isoformat(), began=now.isoformat()),
            method_name="execute_complete",
            kwargs={"job": data},
            timeout=time + _TRIGGERER_AWAY,
        )

    def _own_job(self, context: Context) -> dict[str, Any]:
        with as_airflow_errors():
            return self.job(self._run_key(context)).to_dict()

    def _cancel(self, data: dict[str, Any]) -> None:
        """Make sure that nothing of a job is left running, whoever began it."""
        from mz_orchestration.airflow.connections import resolve
        from mz_orchestration.airflow.jobs.base import Listener, job_from_dict
        from mz_orchestration.errors import MzOrchestrationError

        try:
            job = job_from_dict(data)
            for what in job.cancel(resolve(job.connections()), Listener(self._log_event)):
                self.log.warning("Cancelled %s.", what)
        except MzOrchestrationError as error:
            # Why the task ends matters more.
            self.log.error("What it runs could not be cancelled: %s", error)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Return what was read and written, for the OpenLineage provider."""
        if not self._lineage:
            return None
        from mz_orchestration.airflow.lineage import operator_lineage

        return operator_lineage(self._lineage)

    def _finish(self, context: Context, outcome: Outcome) -> dict[str, Any]:
        self._persist(context, outcome.links)
        self._lineage = outcome.lineage
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra.update(outcome.extra)
            elif isinstance(outlet, AssetAlias) and "path" in outcome.extra:
                # Each run has a path of its own, which nobody knows when the DAG is written.
                context["outlet_events"][outlet].add(Asset(outcome.extra["path"]), extra=outcome.extra)
        if (state := _task_state(context)) is not None and self.on_clear == "again":
            state.set(_FINISHED, {"generation": _generation(context), "max_tries": context["ti"].max_tries})
        return outcome.result

    def _persist(self, context: Context, links: Links) -> None:
        from mz_orchestration.airflow.links import LINKS

        for name, url in links.items():
            LINKS[name].persist(context, url)

    def _listener(self, context: Context) -> Listener:
        from mz_orchestration.airflow.jobs.base import Listener

        return Listener(self._log_event, lambda links: self._persist(context, links))

    def _log_event(self, event: Event) -> None:
        self.log.info("%s", event.line())

    def _run_key(self, context: Context) -> str:
        """
        Return the name of the logical run.

        :raises ConfigurationError: ``run_key`` or ``on_clear`` cannot be used.
        """
        from mz_orchestration.errors import ConfigurationError

        # Rendered to a native object it may be a number.
        key = self.default_run_key(context) if self.run_key in (None, "") else str(self.run_key)
        try:
            key.encode()
        except UnicodeEncodeError as error:
            raise ConfigurationError(f"run_key: {key!r} is not text.", hint="Use another name.") from error
        if self.on_clear == "return":
            return key
        if self.on_clear != "again":
            raise ConfigurationError(f"on_clear: {self.on_clear!r} is neither 'return' nor 'again'.")
        if not self.runs_again:
            raise ConfigurationError(
                f"on_clear='again' means nothing to {type(self).__name__}, whose run is not its own.",
                hint="Leave it out. A load is repeated by again=True, a pipeline by a new DAG run.",
            )
        if _task_state(context) is None:
            raise ConfigurationError(
                "on_clear='again' takes Airflow 3.3, which remembers that a cleared task has succeeded before.",
                hint="Leave it out, and clear with another run_key.",
            )
        generation = _generation(context)
        return f"{key}#{generation}" if generation else key

    def _look_at_the_interval(self, context: Context) -> None:
        """
        Refuse or remark on runs of the past: there is no exporting what was there then.

        :raises ConfigurationError: the run is part of a backfill, and nobody has allowed that.
        """
        run = context.get("dag_run")
        if run is None or self.allow_backfill or not self.reads_the_present:
            return
        kind = getattr(run, "run_type", "")
        if getattr(kind, "value", kind) == "backfill":
            from mz_orchestration.errors import ConfigurationError

            raise ConfigurationError(
                f"{self.task_id} runs in a backfill, and an export is always of now, not of the past interval.",
                hint="Set allow_backfill=True if that is what you want.",
            )
        start, end = context.get("data_interval_start"), context.get("data_interval_end")
        if start is not None and end is not None and start < end and datetime.now(UTC) > end + (end - start):
            self.log.warning("This run is of the interval from %s to %s, but an export is always of now.", start, end)


def _task_state(context: Context) -> Any:
    """Airflow's memory of a task over retries and clears; None before 3.3."""
    return context.get("task_state_store")


def _generation(context: Context) -> int:
    """
    Return how often the task has succeeded and then been cleared.

    A clear raises the number of tries that a task may have, a retry does not: one that comes because the last success
    was never reported is not taken for a wish to do it again.
    """
    state = _task_state(context)
    finished = None if state is None else state.get(_FINISHED)
    if not finished:
        return 0
    return int(finished["generation"]) + int(context["ti"].max_tries > finished["max_tries"])
