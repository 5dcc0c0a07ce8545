"""Writing down that an attempt has ended without files of use."""

from __future__ import annotations

from asyncio import CancelledError

from mz_orchestration.errors import ExportError, MzOrchestrationError
from mz_orchestration.exports.context import ExportContext, ExportStep
from mz_orchestration.flow import Flow, call
from mz_orchestration.runs.record import AttemptState
from mz_orchestration.runs.store import RunStore, StoredRun

_INTERRUPTS = {
    "KeyboardInterrupt": "Ctrl-C",
    "Terminated": "SIGTERM",
    "CancelledError": "whoever waited for it, or because another export of its group failed",
}


def give_up(
    stored: StoredRun,
    state: AttemptState,
    error: BaseException | None,
    runs: RunStore,
    context: ExportContext,
) -> Flow[None]:
    """Write down that the last attempt has ended without files of use."""
    attempt = stored.record.attempts[-1]
    attempt.state, attempt.finished_at = state, context.clock.now()
    if isinstance(error, MzOrchestrationError):
        attempt.error = error.to_dict()
    elif error is not None:
        name = str(error) if isinstance(error, CancelledError) and str(error) else type(error).__name__
        who = _INTERRUPTS.get(name, name)
        attempt.error = ExportError(f"Interrupted by {who}; the COPY was cancelled.").to_dict()
    try:
        yield from call(runs.save, stored, context.clock.now())
    except MzOrchestrationError as unsaved:
        if error is None:
            raise
        # What ended the attempt matters more than that it could not be written down: the next call looks for itself.
        context.note(ExportStep.RECORD, f"the run record could not be updated: {unsaved.message}")
