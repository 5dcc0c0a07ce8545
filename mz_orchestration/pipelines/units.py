"""Durations and shares as people write them in a pipeline file."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
# Without a unit it is a number, which is text too where it comes from the environment.
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd]?)")
_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(%?)")
_LONGEST = 10 * 365 * 86400.0


def _seconds(value: Any) -> Any:
    if not isinstance(value, str):
        if isinstance(value, bool):
            raise ValueError(f"{value!r} is not a duration; write seconds, or 90s, 15m, 6h, 14d")
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is not a duration; write seconds, or 90s, 15m, 6h, 14d")
    return float(match[1]) * _UNITS[match[2]]


def _fraction(value: Any) -> Any:
    if not isinstance(value, str):
        if isinstance(value, bool):
            raise ValueError(f"{value!r} is not a share; write 0.2 or 20%")
        return value
    match = _SHARE.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is not a share; write 0.2 or 20%")
    return float(match[1]) / 100 if match[2] else float(match[1])


# Seconds, or a number with s, m, h or d.
Duration = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(gt=0, le=_LONGEST, allow_inf_nan=False),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*[smhd]?\s*$"},
            ],
            "description": "Seconds, or a number with s, m, h or d.",
        }
    ),
]

# A part of a whole: 0.2, or 20%. It may be more than the whole.
Share = Annotated[
    float,
    BeforeValidator(_fraction),
    Field(ge=0, allow_inf_nan=False),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*%?\s*$"},
            ],
            "description": "A fraction such as 0.2, or 20%.",
        }
    ),
]
