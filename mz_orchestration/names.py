"""Dotted SQL names: split as SQL splits them, for systems that differ only in how they fold case."""

from __future__ import annotations

import re
from collections.abc import Callable

_PART = re.compile(r'"((?:[^"]|"")+)"|([A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*)')


def split_name(text: str, fold: Callable[[str], str]) -> tuple[str, ...]:
    """Split ``database.schema.name`` into one to three parts.

    Args:
        text: The name; parts in double quotes are taken as they are.
        fold: What the system does to parts without quotes: ``str.lower`` or ``str.upper``.

    Raises:
        ValueError: It is not such a name.
    """
    parts: list[str] = []
    position = 0
    while match := _PART.match(text, position):
        quoted, plain = match.groups()
        parts.append(quoted.replace('""', '"') if quoted is not None else fold(plain))
        position = match.end()
        if position == len(text) and len(parts) <= 3:
            return tuple(parts)
        if text[position : position + 1] != ".":
            break
        position += 1
    raise ValueError(
        f"{text!r} is not a name; write [database.][schema.]name, with double quotes around parts that are not words"
    )
