"""Identifiers: Snowflake's rules of case, and how they survive DuckDB, which ignores case.

Snowflake upper-cases an unquoted name and keeps a quoted one, so ``"id"`` and ``ID`` are two columns. DuckDB
would take them for one. A name with lower-case letters therefore carries a mark with the positions of those
letters while it is inside DuckDB, and loses it on the way out.
"""

from __future__ import annotations

import re

_MARK = "\u2060"  # WORD JOINER: invisible and in nobody's column names
_BARE = re.compile(r"[A-Z_][A-Z0-9_$]*\Z")


def encode(name: str) -> str:
    """The name as DuckDB holds it: distinct for names that differ only by case."""
    mask = sum(1 << i for i, char in enumerate(name) if "a" <= char <= "z")
    return f"{name}{_MARK}{mask:x}" if mask else name


def decode(name: str) -> str:
    """The name as Snowflake shows it."""
    return name.partition(_MARK)[0]


def duck(name: str) -> str:
    """The encoded name, quoted for DuckDB's SQL."""
    return '"' + encode(name).replace('"', '""') + '"'


def display(*parts: str) -> str:
    """A name as Snowflake writes it in messages: quotes only where they are needed."""
    return ".".join(p if _BARE.match(p) else '"' + p.replace('"', '""') + '"' for p in parts)


def literal(value: str) -> str:
    """A string literal of DuckDB."""
    return "'" + value.replace("'", "''") + "'"
