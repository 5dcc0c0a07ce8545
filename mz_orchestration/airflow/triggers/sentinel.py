"""The trigger of the sensor: waits in the triggerer until the export to one path is complete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from mz_orchestration.airflow.connections import aresolve
from mz_orchestration.airflow.triggers.shared_watcher import shared_watcher
from mz_orchestration.errors import DeadlineError, MzOrchestrationError, UnavailableError
from mz_orchestration.exports.watch.state import WaitPolicy, Watch
from mz_orchestration.objectstore.location import parse_folder

if TYPE_CHECKING:
    from mz_orchestration.airflow.connections import Systems
    from mz_orchestration.exports.watch.state import CompletedExport
    from mz_orchestration.objectstore.location import Location

# However late a triggerer takes the wait up, it looks before it gives up.
_ONE_LOOK = 3.0
_DEFAULTS = WaitPolicy()


class SentinelRemovedTrigger(BaseTrigger):
    """
    Wait until the export to a path is complete.

    All such waits of a triggerer that look at one store with the same settings share their requests. Another triggerer
    may start it again at any time: what was seen meanwhile is not carried over.

    :param path: ``s3://bucket/folder/``, the path of one attempt.
    :param deadline: when the wait ends, in ISO format.
    :param began: when it began, in ISO format; ``start_deadline`` counts from then.
    :param aws_conn_id: connection to the object store; None leaves it to boto3.
    :param seen: somebody has seen the sentinel: once it is gone, listings need not settle, and an empty path is a
        failure.
    :param start_deadline: seconds until something must be there.
    :param poll_interval: seconds between two looks.
    :param settle: seconds between two equal listings where the sentinel was never seen.
    :param abandoned_after: seconds without a new file after which an export counts as dead.
    :param silent_fail: log an error that may pass, and go on.
    """

    def __init__(
        self,
        *,
        path: str,
        deadline: str,
        began: str,
        aws_conn_id: str | None = "aws_default",
        seen: bool = False,
        start_deadline: float | None = None,
        poll_interval: float = _DEFAULTS.poll,
        settle: float = _DEFAULTS.settle,
        abandoned_after: float = _DEFAULTS.abandoned_after,
        silent_fail: bool = False,
        **_: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.path = path
        self.deadline = deadline
        self.began = began
        self.aws_conn_id = aws_conn_id
        self.seen = seen
        self.start_deadline = start_deadline
        self.poll_interval = poll_interval
        self.settle = settle
        self.abandoned_after = abandoned_after
        self.silent_fail = silent_fail

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes the trigger again elsewhere."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "path": self.path,
            "deadline": self.deadline,
            "began": self.began,
            "aws_conn_id": self.aws_conn_id,
            "seen": self.seen,
            "start_deadline": self.start_deadline,
            "poll_interval": self.poll_interval,
            "settle": self.settle,
            "abandoned_after": self.abandoned_after,
            "silent_fail": self.silent_fail,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Wait, and tell how it ended.

        ``{"status": "success", "result": ...}``, ``{"status": "failed", "error": ...}`` or
        ``{"status": "timeout", "message": ...}``.
        """
        yield TriggerEvent(await self._event())  # type: ignore[no-untyped-call]

    async def _event(self) -> dict[str, Any]:
        while True:
            try:
                return {"status": "success", "result": self._result(await self._completed())}
            except MzOrchestrationError as error:
                if isinstance(error, DeadlineError) and self._left() <= 0:
                    return {"status": "timeout", "message": error.message}
                if not (self.silent_fail and error.retryable):
                    return {"status": "failed", "error": error.to_dict()}
                self.log.error("%s Trying again in %g s.", error, self.poll_interval)
                await asyncio.sleep(self.poll_interval)

    async def _completed(self) -> CompletedExport:
        folder = parse_folder(self.path, field="path")
        policy = WaitPolicy(
            start_deadline=self.start_deadline,
            poll=self.poll_interval,
            settle=self.settle,
            abandoned_after=self.abandoned_after,
        )
        systems = await aresolve({"aws": self.aws_conn_id})
        try:
            return await self._waited(folder, systems, policy)
        except DeadlineError:
            if self._left() <= 0 or policy.start_deadline is None:
                raise
            # In the words of a wait that was never handed on.
            raise Watch(folder, policy, 0.0).overdue(started=False) from None

    async def _waited(self, folder: Location, systems: Systems, policy: WaitPolicy) -> CompletedExport:
        start_left = None
        if policy.start_deadline is not None:
            start_left = max(_ONE_LOOK, policy.start_deadline - _since(self.began))
        async with shared_watcher(systems.object_store, policy) as watcher:
            waiting = asyncio.create_task(
                watcher.wait(folder, deadline=max(_ONE_LOOK, self._left()), start_deadline=start_left)
            )
            try:
                if self.seen:
                    await asyncio.sleep(0)  # it begins
                    with suppress(UnavailableError):  # which the wait has its own patience with
                        await watcher.wake(folder.bucket, folder.key)
                return await waiting
            finally:
                waiting.cancel()

    def _result(self, done: CompletedExport) -> dict[str, Any]:
        return {**done.to_metadata(), "seconds": round(_since(self.began), 3)}

    def _left(self) -> float:
        return -_since(self.deadline)


def _since(moment: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
