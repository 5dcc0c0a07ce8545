"""Alerts as documents for webhooks: a text for people and for chat programs, the rest for machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import SecretStr

from mz_orchestration.flow import Clock
from mz_orchestration.sinks.alerts import Alert
from mz_orchestration.webhooks.delivery import Delivery, deliver
from mz_orchestration.webhooks.texts import clean, defused

_MOST = 50


def document(alerts: Sequence[Alert]) -> dict[str, Any]:
    """The document that tells of alerts, all of one look.

    Args:
        alerts: The worst first.
    """
    return {
        "text": defused(_text(alerts)),
        "alerts": [
            {
                "event": alert.kind,
                "since": alert.since.isoformat(),
                **{name: clean(str(value)) for name, value in alert.health.to_metadata().items() if name != "since"},
            }
            for alert in alerts[:_MOST]
        ],
    }


def notify(urls: Sequence[SecretStr], alerts: Sequence[Alert], clock: Clock | None = None) -> list[str]:
    """Post alerts to webhooks; blocks for two minutes at most, and never raises.

    Args:
        urls: Addresses, which are secrets.
        alerts: What to tell; none makes no request.
        clock: The time that pauses between attempts take.

    Returns:
        What could not be delivered, in a sentence each, without the address.
    """
    if not alerts:
        return []
    try:
        body = document(alerts)
        return deliver([Delivery(f"webhook {i}", "POST", url, body) for i, url in enumerate(urls, 1)], clock)
    except Exception as error:
        return [f"alerts could not be sent: unexpected {type(error).__name__}"]


def _text(alerts: Sequence[Alert]) -> str:
    lines = [sentence(alert) for alert in alerts[:5]]
    if len(alerts) > 5:
        lines.append(f"{len(alerts) - 5} more.")
    return " ".join(lines)


def sentence(alert: Alert) -> str:
    """An alert in a sentence or some, for people.

    Args:
        alert: What to tell.
    """
    health = alert.health
    if alert.kind == "recovery":
        return f"{health.kind} {clean(health.name)} is well again ({health.verdict})."
    word = "is still" if alert.kind == "reminder" else "is"
    said = f"{health.kind} {clean(health.name)} {word} {health.verdict} since {alert.since:%Y-%m-%d %H:%M:%S} UTC."
    return " ".join(part for part in (said, clean(health.because), clean(health.advice)) if part)
