"""The text of a SQL type such as ``numeric(38,2)``: read against a closed list, and written again from its parts.

A type that a user asks for becomes part of a statement, and types take no parameters: so nothing of the user's own
text goes in, only words of this module and numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

RANGE_TYPES = frozenset(["int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange"])
# Types of the system catalog, which have no counterpart in files.
CATALOG_TYPES = frozenset(["name", '"char"', "int2vector", "regclass", "regproc", "regtype"])
CASTABLE_TYPES = RANGE_TYPES | {
    *("boolean", "smallint", "integer", "bigint", "uint2", "uint4", "uint8", "oid", "real", "double precision"),
    *("numeric", "date", "time", "timestamp", "timestamptz", "interval", "mz_timestamp"),
    *("text", "varchar", "char", "bytea", "uuid", "jsonb"),
}
TYPES = CASTABLE_TYPES | CATALOG_TYPES | {"list", "map", "record"}

_ALIASES = {
    "bool": "boolean",
    "int2": "smallint",
    "int": "integer",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float": "double precision",
    "float8": "double precision",
    "double": "double precision",
    "dec": "numeric",
    "decimal": "numeric",
    "string": "text",
    "character varying": "varchar",
    "character": "char",
    "bpchar": "char",
    "bytes": "bytea",
    "json": "jsonb",
    "time without time zone": "time",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
}
_SYNTAX = re.compile(
    r"(?P<name>[a-z][a-z0-9_]*(?: [a-z]+)*?)"
    r"(?: ?\( ?(?P<first>[0-9]{1,9}) ?(?:, ?(?P<second>[0-9]{1,9}) ?)?\))?"
    r"(?P<zone> with(?:out)? time zone)?"
    r"(?P<list>(?: list)*)(?P<array> ?\[ ?\])?"
)
# https://materialize.com/docs/sql/types/numeric/: 39 digits; Parquet's decimals have 38.
_MAX_PRECISION, _MAX_SCALE = 39, 38
_MAX_SECONDS_PRECISION = 6


@dataclass(frozen=True, slots=True)
class SqlType:
    """A type.

    Attributes:
        type: Its name; for an array its element's; ``list`` for any list.
        array: Whether it is an array.
        scale: Decimals of a numeric that declares them.
        length: Limit of a varchar or char that declares one.
        text: The type as SQL spells it.
    """

    type: str
    array: bool
    scale: int | None
    length: int | None
    text: str


def parse_type(text: str) -> SqlType:
    """Read a type that columns may be cast to.

    Raises:
        ValueError: It is none of the types known here.
    """
    match = _SYNTAX.fullmatch(" ".join(text.lower().split()))
    name = "" if match is None else match["name"] + (match["zone"] or "")
    name = _ALIASES.get(name, name)
    if match is None or name not in CASTABLE_TYPES or (match["list"] and match["array"]):
        raise ValueError(
            f"{text!r} is not a type that a column can be cast to; write for example text, jsonb, numeric(38,2), "
            "varchar(20), timestamptz, text[] or text list"
        )
    if name == "char" and match["first"] is None:
        raise ValueError(
            f"{text!r} would keep one character of each value; write text, varchar, or a length such as char(20)"
        )
    first, second = (None if value is None else int(value) for value in (match["first"], match["second"]))
    arguments = "" if first is None else f"({first})" if second is None else f"({first},{second})"
    if not _fitting(name, first, second):
        raise ValueError(f"{text!r} does not fit: {name} does not take {arguments}")
    element = name + arguments
    if match["list"]:
        return SqlType("list", False, None, None, element + match["list"])
    array = match["array"] is not None
    scale = length = None
    if name == "numeric" and first is not None:
        scale = second or 0
    elif name in ("varchar", "char"):
        length = first
    return SqlType(name, array, scale, length, element + ("[]" if array else ""))


def _fitting(name: str, first: int | None, second: int | None) -> bool:
    if first is None:
        return True
    if name == "numeric":
        return 1 <= first <= _MAX_PRECISION and (second or 0) <= min(first, _MAX_SCALE)
    if second is not None:
        return False
    if name in ("varchar", "char"):
        return first >= 1
    return name in ("timestamp", "timestamptz") and first <= _MAX_SECONDS_PRECISION
