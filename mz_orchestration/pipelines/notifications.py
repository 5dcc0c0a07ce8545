"""Telling people and watchdogs how a run ended: webhooks by POST, a heartbeat by GET.

A notification that does not arrive is a warning and never changes how the run ended.
"""

from __future__ import annotations

from mz_orchestration.flow import Clock
from mz_orchestration.pipelines.messages import document, events_of
from mz_orchestration.pipelines.record import PipelineRecord, PipelineState
from mz_orchestration.pipelines.spec import NotificationsSpec
from mz_orchestration.webhooks.delivery import Delivery, deliver


def notify(
    spec: NotificationsSpec, record: PipelineRecord, previous: PipelineState | None, *, clock: Clock | None = None
) -> list[str]:
    """Tell whoever wants to know; blocks for two minutes at most, and never raises.

    Args:
        spec: Whom, and of what.
        record: The run that ended.
        previous: How the one before it ended; None where nobody knows.
        clock: The time that pauses between attempts take.

    Returns:
        What could not be delivered, in a sentence each, without the address.
    """
    try:
        return deliver(_deliveries(spec, record, previous), clock)
    except Exception as error:
        return [f"notifications could not be sent: unexpected {type(error).__name__}"]


def _deliveries(spec: NotificationsSpec, record: PipelineRecord, previous: PipelineState | None) -> list[Delivery]:
    events = events_of(record.state, previous)
    found = []
    for i, webhook in enumerate(spec.webhooks):
        # One message, and of what happens most rarely.
        event = next((event for event in events if event in webhook.on), None)
        if event is not None:
            found.append(Delivery(f"notifications.webhooks[{i}]", "POST", webhook.url, document(record, event)))
    if spec.heartbeat is not None and record.state is PipelineState.SUCCEEDED:
        found.append(Delivery("notifications.heartbeat", "GET", spec.heartbeat))
    return found
