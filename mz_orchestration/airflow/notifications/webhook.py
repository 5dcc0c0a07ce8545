"""The notifier: tells a webhook how sinks are, or what a task has failed with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier
from pydantic import SecretStr

from mz_orchestration.airflow.connections import get_connection
from mz_orchestration.airflow.exceptions import RetryableError
from mz_orchestration.airflow.version_compat import AirflowFailException, AirflowSensorTimeout
from mz_orchestration.errors import ConfigurationError, MzOrchestrationError

if TYPE_CHECKING:
    from airflow.sdk import Context

_MOST = 50


class MaterializeWebhookNotifier(BaseNotifier):
    """
    Post a message to a webhook: a callback of tasks and DAGs.

    In a run that an asset watcher's ``SinkHealthEventTrigger`` has started, it tells of those sinks; else of the task,
    and of the error if it has failed with one. What it sends is a JSON document with a ``text``, which Slack,
    Mattermost and others show, and ``dag_id``, ``run_id``, ``task_id``, ``log_url`` and ``sinks``, which holds the
    payloads of the events. Mentions and markup from error messages are made harmless.

    What cannot be delivered within three attempts and two minutes is a warning in the log, and changes nothing else.

    :param webhook_conn_id: connection, of any type, whose password is the address as a whole: who knows it can post
        there. (templated)
    :param text: what to say instead. (templated)
    """

    template_fields: Sequence[str] = ("webhook_conn_id", "text")

    def __init__(self, *, webhook_conn_id: str = "materialize_webhook", text: str | None = None) -> None:
        super().__init__()
        self.webhook_conn_id = webhook_conn_id
        self.text = text

    def notify(self, context: Context) -> None:
        """
        Tell the webhook.

        :param context: what Airflow says of the task.
        """
        from mz_orchestration.webhooks.delivery import Delivery, deliver

        try:
            address = _address(self.webhook_conn_id)
            place = f"the webhook of the connection {self.webhook_conn_id!r}"
            problems = deliver([Delivery(place, "POST", address, document(context, self.text))])
        except MzOrchestrationError as error:
            problems = [f"nobody was told: {error}"]
        for problem in problems:
            self.log.warning("%s", problem)


def document(context: Context, text: str | None = None) -> dict[str, Any]:
    """
    Return what is posted.

    :param context: what Airflow says of a task, or of a DAG run without one.
    :param text: what to say; None for what is known.
    """
    from mz_orchestration.webhooks.texts import clean, defused

    # A DAG's callback has no task.
    held: dict[str, Any] = {**context}
    ti, run, dag = held.get("ti"), held.get("dag_run"), held.get("dag")
    sinks = _told_of(held)
    names = {
        "dag_id": getattr(dag, "dag_id", None) or getattr(run, "dag_id", None),
        "run_id": getattr(run, "run_id", None) or held.get("run_id"),
        "task_id": getattr(ti, "task_id", None),
        "log_url": getattr(ti, "log_url", None),
    }
    if text is None:
        lines = [str(each["text"]) for each in sinks[:5]]
        if len(sinks) > 5:
            lines.append(f"{len(sinks) - 5} more.")
        text = " ".join(lines) or _of_task(names, held)
    return {
        "text": defused(text),
        **{name: clean(str(value)) for name, value in names.items() if value is not None},
        "sinks": [{name: clean(str(value)) for name, value in each.items()} for each in sinks[:_MOST]],
    }


def _told_of(context: dict[str, Any]) -> list[dict[str, Any]]:
    """The payloads of the sinks' events that have started the run, the worst first."""
    told = []
    events = context.get("triggering_asset_events") or {}
    for asset in events:
        for event in events[asset]:
            payload = (getattr(event, "extra", None) or {}).get("payload")
            if isinstance(payload, dict) and {"text", "verdict", "event"} <= payload.keys():
                told.append(payload)
    return sorted(told, key=lambda each: (each["event"] == "recovery", each.get("severity") != "critical"))


def _of_task(names: dict[str, Any], context: dict[str, Any]) -> str:
    from mz_orchestration.webhooks.texts import clean

    where = ".".join(str(names[name]) for name in ("dag_id", "task_id") if names[name] is not None) or "A task"
    state = getattr(context.get("ti"), "state", None) or getattr(context.get("dag_run"), "state", None)
    error = context.get("exception")
    if error is None:
        reason = context.get("reason")
        return f"{where}: {clean(str(state or reason or 'it has ended'))}."
    # Errors of others may say anything; ours hold no secrets.
    ours = isinstance(error, RetryableError | AirflowFailException | AirflowSensorTimeout)
    return f"{where} has failed: " + (clean(str(error)) if ours else f"{type(error).__name__}; its log says more.")


def _address(conn_id: str) -> SecretStr:
    from mz_orchestration.webhooks.address import webhook_address

    connection = get_connection(conn_id)
    if not connection.password:
        raise ConfigurationError(
            f"The connection {conn_id!r} has no password.", hint="Write the webhook's whole address there."
        )
    try:
        return webhook_address(SecretStr(connection.password))
    except ValueError as error:
        raise ConfigurationError(f"The password of the connection {conn_id!r}: {error}.") from None
