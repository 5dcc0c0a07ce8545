"""Quoting for Snowflake: the one place where names and values become SQL.

Snowflake offers no server-side identifier quoting, so these few functions do it; everything else composes their
output.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import LiteralString

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.names import split_name

# A qualified name, part by part.
Name = tuple[str, ...]

_STAGE_PATH = re.compile(r"[A-Za-z0-9_=.\-/]*")


class Sql(str):
    """SQL made by this module. `compose` takes nothing else, so no bare string can slip into a statement."""

    __slots__ = ()


def compose(template: LiteralString, *parts: Sql | int) -> Sql:
    """``template`` with its ``{}`` replaced by quoted parts, the way ``psycopg.sql.SQL.format`` does.

    Raises:
        TypeError: A part is a plain string.
    """
    for part in parts:
        if not isinstance(part, Sql | int):
            raise TypeError(f"only quoted parts can become SQL, not {type(part).__name__}")
    return Sql(template.format(*parts))


def join(parts: Iterable[Sql], separator: LiteralString = ", ") -> Sql:
    """The parts in a row."""
    return Sql(separator.join(parts))


def identifier(*parts: str) -> Sql:
    """A quoted name, such as ``"DEMO"."PUBLIC"."ORDERS"``."""
    return Sql(".".join('"' + part.replace('"', '""') + '"' for part in parts))


def literal(value: str) -> Sql:
    """A quoted string; Snowflake reads backslashes in it as escapes, so they are doubled too."""
    return Sql("'" + value.replace("\\", "\\\\").replace("'", "''") + "'")


def stage_path(stage: tuple[str, ...], path: str) -> Sql:
    """``@"DB"."SCHEMA"."STAGE"/path/``; a stage path cannot be quoted, so its characters are restricted.

    Raises:
        ConfigurationError: The path holds a character that Snowflake would read as something else.
    """
    if not _STAGE_PATH.fullmatch(path):
        raise ConfigurationError(
            f"The path {path!r} cannot be written behind a stage's name.",
            hint="Export to a folder of letters, digits, '_', '-', '=' and '.'.",
        )
    return Sql(f"@{identifier(*stage)}/{path}")


def parse_name(text: str, *, field: str) -> tuple[str, ...]:
    """Split ``[database.][schema.]name`` the way Snowflake reads it: unquoted parts are folded to upper case.

    Args:
        text: The name as given.
        field: The flag or argument it came from, named in errors.

    Raises:
        ConfigurationError: It is not a name of one to three parts.
    """
    try:
        return split_name(text, str.upper)
    except ValueError as error:
        raise ConfigurationError(f"{field}: {error}.") from error
