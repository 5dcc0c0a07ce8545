"""Names of objects, read the way Materialize reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mz_orchestration.names import split_name

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


def parse_object_name(text: str) -> tuple[str, ...]:
    """Split ``database.schema.name`` into its parts; unquoted parts are folded to lower case.

    Raises:
        ValueError: It is not a name of one to three parts.
    """
    return split_name(text, str.lower)


def format_object_name(parts: Iterable[str]) -> str:
    """Write a name from its parts as SQL does: what has other characters than an unquoted name is quoted."""
    # Names are read where a DAG or a code location loads, and written in fewer places.
    from psycopg import sql

    return ".".join(part if _PLAIN.fullmatch(part) else sql.Identifier(part).as_string() for part in parts)
