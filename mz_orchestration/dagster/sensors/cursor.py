"""Cursors: typed JSON; one that cannot be read is an old one, and the sensor begins anew with a line in its log."""

from __future__ import annotations

import base64
import zlib
from typing import TypeVar

from dagster import SensorEvaluationContext
from pydantic import BaseModel, ConfigDict, ValidationError


class Cursor(BaseModel):
    """What a tick must know of those before it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# Dagster keeps the cursor of every tick for days, so a large one is compressed: to a tenth, mostly.
_LARGE = 8_000
_COMPRESSED = "zlib:"

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
        return kind.model_validate_json(_unpacked(context.cursor))
    except ValidationError as error:
        reason = f"{error.error_count()} fields are wrong"
    except (ValueError, zlib.error):
        reason = "it cannot be unpacked"
    context.log.warning(
        f"The cursor is none of this sensor's ({reason}): it begins anew, and does not tell of what happened meanwhile."
    )
    return None


def packed(cursor: Cursor) -> str:
    """A cursor as text; `read_cursor` reads it.

    Args:
        cursor: The cursor.
    """
    text = cursor.model_dump_json()
    if len(text) <= _LARGE:
        return text
    return _COMPRESSED + base64.b85encode(zlib.compress(text.encode())).decode()


def _unpacked(text: str) -> str:
    if not text.startswith(_COMPRESSED):
        return text
    return zlib.decompress(base64.b85decode(text.removeprefix(_COMPRESSED))).decode()
