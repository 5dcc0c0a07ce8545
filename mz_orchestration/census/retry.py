"""When to ask again: pauses that double, spread by chance, and never shorter than the server asks for."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Seconds: the first pause, the longest, and all pauses of one request together.
FIRST, LONGEST, BUDGET = 1.0, 90.0, 300.0
_JITTER = 0.2
_POLL_FIRST, _POLL_LONGEST, _POLL_GROWTH = 2.0, 30.0, 1.5
# Beyond it the power of two is of no use.
_ATTEMPTS = 20
# More seconds than anybody waits; what servers ask for may be too large to calculate with.
_AGES = 1e9


def delay(attempt: int, retry_after: float | None, random: float) -> float:
    """Seconds to wait before a request is sent again.

    Args:
        attempt: How many times it has failed before this one, from 0.
        retry_after: What the server asked for.
        random: 0 to 1.
    """
    pause = _spread(min(FIRST * 2 ** min(attempt, _ATTEMPTS), LONGEST), random)
    # Never earlier than asked; later by chance, so that not all who were turned away come back at once.
    return pause if retry_after is None else max(pause, retry_after * (1 + _JITTER * random))


def poll_delay(look: int, random: float) -> float:
    """Seconds to wait before a run is looked at again.

    Args:
        look: How many times it has been looked at before, from 0.
        random: 0 to 1.
    """
    return _spread(min(_POLL_FIRST * _POLL_GROWTH ** min(look, _ATTEMPTS), _POLL_LONGEST), random)


def read_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, given as seconds or as a date; None if it says nothing of use."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
            seconds = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    return min(max(seconds, 0.0), _AGES) if math.isfinite(seconds) else None


def _spread(pause: float, random: float) -> float:
    return pause * (1 + _JITTER * (2 * random - 1))
