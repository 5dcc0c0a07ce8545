"""A run for each sink that is unwell for half a minute, which fails, and one for its recovery; the webhook is told."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from mz_orchestration.airflow.notifications.webhook import MaterializeWebhookNotifier
from mz_orchestration.airflow.triggers.sink_events import SinkHealthEventTrigger

sink_health = Asset(
    name="materialize_sink_health",
    watchers=[AssetWatcher(name="sink_health", trigger=SinkHealthEventTrigger(debounce=30, recover_after=60))],
)
# The connection materialize_webhook holds the address, as its password.
tell = MaterializeWebhookNotifier()

with DAG(
    dag_id="materialize_sink_watch",
    schedule=[sink_health],
    catchup=False,
    max_active_runs=1,
    tags=["materialize", "sinks"],
) as dag:

    @task(on_failure_callback=tell, on_success_callback=tell)
    def look_at_events(triggering_asset_events: Any = None) -> list[str]:
        """Airflow's own alerting sees problems as failed tasks."""
        told = [event.extra["payload"] for event in triggering_asset_events[sink_health]]
        texts = [payload["text"] for payload in told]
        if any(payload["event"] == "problem" for payload in told):
            raise RuntimeError(" ".join(texts))
        return texts

    look_at_events()
