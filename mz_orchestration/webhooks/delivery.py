"""Requests that tell others something: webhooks by POST, heartbeats by GET.

Whoever knows such an address can post there, so addresses never appear in logs, errors or warnings.
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

_TRIES = 3
_TIMEOUT = 10.0
# Seconds: the first pause, the longest a server may ask for, and all of a notification.
_FIRST_PAUSE, _LONGEST_PAUSE, _DEADLINE = 1.0, 30.0, 120.0
# They log addresses and headers.
_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request to make.

    Attributes:
        place: Where its address stands in a file or a command, which names it in warnings.
        method: ``POST`` or ``GET``.
        url: The address.
        body: JSON to send.
    """

    place: str
    method: str
    url: SecretStr
    body: dict[str, Any] | None = None


def deliver(deliveries: Sequence[Delivery], clock: Clock | None = None) -> list[str]:
    """Make requests all at a time, each in a thread of its own: one that hangs holds up none of the others.

    Blocks for two minutes at most; the process does not wait for what is left then.

    Args:
        deliveries: The requests.
        clock: The time that pauses between attempts take.

    Returns:
        What could not be delivered, in a sentence each, without the address.
    """
    clock = clock or Clock()
    pending: list[tuple[Delivery, Future[str]]] = []
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


def _work(delivery: Delivery, clock: Clock, future: Future[str]) -> None:
    try:
        with _unlogged():
            future.set_result(_send(delivery, clock))
    except Exception as error:
        future.set_result(f"unexpected {type(error).__name__}")


def _send(delivery: Delivery, clock: Clock) -> str:
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
