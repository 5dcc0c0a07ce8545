"""Names of objects, read the way SQL reads them."""

from __future__ import annotations

import re

_PART = re.compile(r'"((?:[^"]|"")+)"|([A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*)')


def parse_object_name(text: str) -> tuple[str, ...]:
    """Split ``database.schema.name`` into its parts; unquoted parts are folded to lower case.

    Raises:
        ValueError: It is not a name of one to three parts.
    """
    parts: list[str] = []
    position = 0
    while match := _PART.match(text, position):
        quoted, plain = match.groups()
        parts.append(quoted.replace('""', '"') if quoted is not None else plain.lower())
        position = match.end()
        if position == len(text):
            if len(parts) <= 3:
                return tuple(parts)
            break
        if text[position] != ".":
            break
        position += 1
    raise ValueError(
        f"{text!r} is not a name; write [database.]schema.name, with double quotes around parts that are not "
        "plain lower-case words"
    )
