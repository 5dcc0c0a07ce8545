"""Cursors: typed JSON; one that cannot be read is an old one, and the sensor begins anew with a line in its log."""

from __future__ import annotations

from typing import TypeVar

from dagster import SensorEvaluationContext
from pydantic import BaseModel, ConfigDict, ValidationError


class Cursor(BaseModel):
    """What a tick must know of those before it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


CursorT = TypeVar("CursorT", bound=Cursor)


def read_cursor(context: SensorEvaluationContext, kind: type[CursorT]) -> CursorT | None:
    """The cursor of the last tick; None if there is none that can be read.

    Args:
        context: The sensor's.
        kind: What it should be.
    """
    if not context.cursor:
        return None
    try:
        return kind.model_validate_json(context.cursor)
    except ValidationError as error:
        context.log.warning(
            f"The cursor is none of this sensor's ({error.error_count()} fields are wrong): it begins anew, and does "
            "not tell of what happened meanwhile."
        )
        return None
