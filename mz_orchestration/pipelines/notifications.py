"""Telling people and watchdogs how a run ended: webhooks by POST, a heartbeat by GET.

Whoever knows such an address can post there, so addresses never appear in logs, errors or warnings. A notification
that does not arrive is a warning and never changes how the run ended.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import SecretStr

from mz_orchestration import __version__
from mz_orchestration.census.retry import read_retry_after
from mz_orchestration.flow import Clock
from mz_orchestration.pipelines.messages import document, events_of
from mz_orchestration.pipelines.record import PipelineRecord, PipelineState
from mz_orchestration.pipelines.spec import NotificationsSpec

_TRIES = 3
_TIMEOUT = 10.0
# Seconds: the first pause, the longest a server may ask for, and all of a notification.
_FIRST_PAUSE, _LONGEST_PAUSE, _DEADLINE = 1.0, 30.0, 120.0
# They log addresses and headers.
_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy")


@dataclass(frozen=True, slots=True)
class _Delivery:
    """One request to make; ``place`` is where its address stands in the file, which names it in warnings."""

    place: str
    method: str
    url: SecretStr
    body: dict[str, Any] | None = None


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
        return _deliver(_deliveries(spec, record, previous), clock or Clock())
    except Exception as error:
        return [f"notifications could not be sent: unexpected {type(error).__name__}"]


def _deliveries(spec: NotificationsSpec, record: PipelineRecord, previous: PipelineState | None) -> list[_Delivery]:
    events = events_of(record.state, previous)
    found = []
    for i, webhook in enumerate(spec.webhooks):
        # One message, and of what happens most rarely.
        event = next((event for event in events if event in webhook.on), None)
        if event is not None:
            found.append(_Delivery(f"notifications.webhooks[{i}]", "POST", webhook.url, document(record, event)))
    if spec.heartbeat is not None and record.state is PipelineState.SUCCEEDED:
        found.append(_Delivery("notifications.heartbeat", "GET", spec.heartbeat))
    return found


def _deliver(deliveries: Sequence[_Delivery], clock: Clock) -> list[str]:
    """All at a time, each in a thread of its own: one that hangs holds up none of the others, nor the process."""
    pending: list[tuple[_Delivery, Future[str]]] = []
    for delivery in deliveries:
        future: Future[str] = Future()
        threading.Thread(target=_work, args=(delivery, clock, future), name="notification", daemon=True).start()
        pending.append((delivery, future))
    wait([future for _, future in pending], timeout=_DEADLINE)
    warnings = []
    for delivery, future in pending:
        problem = future.result() if future.done() else f"it took longer than {_DEADLINE:g} seconds"
        if problem:
            warnings.append(f"{delivery.place} was not told: {problem}")
    return warnings


def _work(delivery: _Delivery, clock: Clock, future: Future[str]) -> None:
    try:
        with _unlogged():
            future.set_result(_send(delivery, clock))
    except Exception as error:
        future.set_result(f"unexpected {type(error).__name__}")


def _send(delivery: _Delivery, clock: Clock) -> str:
    """Make the request, again if that may help; what is wrong, or nothing."""
    url = delivery.url.get_secret_value()
    secure = url.lower().startswith("https:")
    with httpx.Client(
        headers={"User-Agent": f"mz-orchestration/{__version__}"},
        timeout=_TIMEOUT,
        follow_redirects=False,
        verify=secure,
        # A proxy named in the environment would be sent an address that is a secret in the clear.
        trust_env=secure,
    ) as client:
        for attempt in range(_TRIES):
            pause: float | None = _FIRST_PAUSE * 2**attempt
            try:
                # What it answers beside the status is of no interest, and need not end.
                with client.stream(delivery.method, url, json=delivery.body) as answer:
                    if answer.is_success:
                        return ""
                    problem = _refusal(answer.status_code)
                    if answer.status_code != 429 and answer.status_code < 500:
                        return problem
                    asked = read_retry_after(answer.headers.get("retry-after"), clock.now())
                    pause = pause if asked is None else asked if asked <= _LONGEST_PAUSE else None
            except httpx.HTTPError as error:
                problem = _unreachable(error)
                if _certificate(error):
                    return problem
            if pause is None or attempt == _TRIES - 1:
                return problem
            clock.sleep(pause)
    raise AssertionError("the last try returns")


def _refusal(status: int) -> str:
    if 300 <= status < 400:
        return f"it answered {status}, a redirect, which is not followed; give the address that it leads to"
    return f"it answered {status}"


def _unreachable(error: httpx.HTTPError) -> str:
    # Only by kind: texts of errors may hold the address.
    if _certificate(error):
        return (
            "it does not prove to be who it should be; check its certificate, and those of this machine (SSL_CERT_FILE)"
        )
    if isinstance(error, httpx.TimeoutException):
        return f"it did not answer within {_TIMEOUT:g} seconds"
    return f"it cannot be reached ({type(error).__name__})"


def _certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def _unlogged() -> Iterator[None]:
    """While inside, the HTTP client logs nothing of this thread."""
    own = threading.get_ident()

    def of_others(entry: logging.LogRecord) -> bool:
        return entry.thread != own

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(of_others)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(of_others)
