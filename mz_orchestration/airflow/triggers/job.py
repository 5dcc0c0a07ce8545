"""The trigger that carries out a job in the triggerer.

The job runs in a thread with an event loop of its own, and the trigger only waits for it. So leaving is one thing and
cancelling another: when a triggerer shuts down or hands the trigger on, the wait ends and whatever runs remotely runs
on, to be found again by the next triggerer; only a user who ends the task has it cancelled.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from mz_orchestration.airflow.connections import aresolve
from mz_orchestration.airflow.jobs.base import Job, Listener, Outcome, failure_of, job_from_dict
from mz_orchestration.airflow.version_compat import conf
from mz_orchestration.errors import MzOrchestrationError, UnavailableError
from mz_orchestration.flow import Background, in_daemon_thread

if TYPE_CHECKING:
    from mz_orchestration.airflow.connections import Systems
    from mz_orchestration.progress import Event


# The jobs of this triggerer by what they are, so that a trigger that is handed back finds its own.
_RUNNING: dict[str, _Work] = {}


class MaterializeJobTrigger(BaseTrigger):
    """
    Carry out a job: an export, a load, both, a Census sync, or a part of a pipeline.

    Another triggerer may start it again at any time: it goes on with what it finds under the run key.

    :param job: the job, as ``Job.to_dict`` has it; names of connections, no credentials.
    :param deadline: when the job is cancelled, in ISO format.
    :param began: when the task was deferred, in ISO format; what began since is this try's own.
    """

    def __init__(self, *, job: dict[str, Any], deadline: str, began: str | None = None, **_: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.job = job
        self.deadline = deadline
        self.began = began
        self._work: _Work | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes the trigger again elsewhere."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "job": self.job,
            "deadline": self.deadline,
            "began": self.began,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Carry the job out and tell how it ended.

        ``{"status": "success", "result": ..., ...}``, ``{"status": "failed", "error": ...}`` or
        ``{"status": "timeout"}``.
        """
        try:
            event = await self._carried_out(*(await self._prepared()))
        except MzOrchestrationError as error:
            event = failure_of(error)
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """
        Cancel what the job runs, if a user has ended the task.

        Airflow calls this, too, when the trigger was given to another triggerer because this one seemed to be gone.
        """
        if await self._is_still_deferred():
            self.log.info("The task is still deferred: another triggerer goes on with it. Nothing is cancelled.")
            return
        if self._work is not None:
            await self._work.cancel("a user of Airflow, who ended the task")
            return
        # Not begun here, but perhaps by a triggerer before this one.
        job, systems = await self._prepared()
        await in_daemon_thread(lambda: job.cancel(systems, Listener(self._log_event)))

    async def _prepared(self) -> tuple[Job, Systems]:
        # Whatever it imports to know what it needs, it does not import on the loop.
        job, needs = await in_daemon_thread(lambda: (job := job_from_dict(self.job), job.connections()))
        return job, await aresolve(needs)

    async def _carried_out(self, job: Job, systems: Systems) -> dict[str, Any]:
        # Of this task alone: another that does the same is ended by its own user.
        key = json.dumps([self._task(), self.job], sort_keys=True)
        while (dying := _RUNNING.get(key)) is not None and dying.cancelled:
            await dying.background.ended()
        work = _RUNNING.get(key)
        if work is None:
            if self.began is not None:
                since = datetime.fromisoformat(self.began)
                job = await in_daemon_thread(lambda: job.resumed(systems, since))
            work = _RUNNING.get(key) or _Work(key, job, systems, Listener(self._log_event))
        self._work = work
        left = (datetime.fromisoformat(self.deadline) - datetime.now(UTC)).total_seconds()
        late = False
        try:
            await asyncio.wait_for(work.background.ended(), max(left, 0.0))
        except TimeoutError:
            late = True
            await work.cancel("its deadline")
        if not work.background.done:
            return {"status": "timeout"}
        try:
            return work.background.result().to_event()
        except MzOrchestrationError as error:
            return {"status": "timeout"} if late else failure_of(error)
        except asyncio.CancelledError:
            if late:
                return {"status": "timeout"}
            return failure_of(UnavailableError("The job was cancelled by another trigger of this task."))

    def _task(self) -> list[Any]:
        ti = self.task_instance
        return [getattr(ti, name, None) for name in ("dag_id", "run_id", "task_id", "map_index")]

    async def _is_still_deferred(self) -> bool:
        if self.task_instance is None:
            return False
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        dag_id, run_id, task_id, map_index = self._task()

        def ask() -> dict[str, Any]:
            found: dict[str, Any] = RuntimeTaskInstance.get_task_states(
                dag_id=dag_id, task_ids=[task_id], run_ids=[run_id], map_index=map_index
            )
            return found

        try:
            states = await in_daemon_thread(ask)
        except Exception as error:
            # Most who end up here are users'.
            self.log.warning("The state of the task could not be asked for: %s", error)
            return False
        return "deferred" in {str(getattr(state, "value", state)) for state in states.get(run_id, {}).values()}

    def _log_event(self, event: Event) -> None:
        self.log.info("%s", event.line())


class _Work:
    """A job under way in this process."""

    def __init__(self, key: str, job: Job, systems: Systems, listener: Listener) -> None:
        async def main() -> Outcome:
            try:
                return await job.carry_out(systems, listener)
            finally:
                _RUNNING.pop(key, None)

        _RUNNING[key] = self
        self.cancelled = False
        self.background = Background(main()).start()

    async def cancel(self, why: str) -> None:
        """Cancel it and give it some time to end."""
        self.cancelled = True
        self.background.cancel(why)
        try:
            await asyncio.wait_for(self.background.ended(), conf.getfloat("materialize", "cancel_grace", fallback=25.0))
        except TimeoutError:
            return
