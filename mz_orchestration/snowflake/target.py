"""A column of an existing table, and whether values of an export fit it without being lost, cut or rounded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mz_orchestration.materialize.types import FLOAT_TYPES, Column, cast_flag
from mz_orchestration.snowflake.quoting import Sql

# Types a column may have in a table that somebody else has made, by the type we would have given it.
_ACCEPTED = {
    "NUMBER": {"NUMBER"},
    "FLOAT": {"FLOAT"},
    "BOOLEAN": {"BOOLEAN"},
    "DATE": {"DATE"},
    "TIME": {"TIME"},
    "TIMESTAMP_NTZ": {"TIMESTAMP_NTZ"},
    "TIMESTAMP_LTZ": {"TIMESTAMP_LTZ", "TIMESTAMP_TZ"},
    "BINARY": {"BINARY"},
    "VARCHAR": {"TEXT"},
    "VARIANT": {"VARIANT"},
    "ARRAY": {"ARRAY", "VARIANT"},
    "OBJECT": {"OBJECT", "VARIANT"},
}
# Digits of the largest value. A numeric has none here: Materialize keeps 39 whatever precision is declared, and
# Snowflake refuses what is too large for a NUMBER, so such a table is the user's own choice.
_DIGITS = {
    "smallint": 5,
    "uint2": 5,
    "integer": 10,
    "uint4": 10,
    "oid": 10,
    "bigint": 19,
    "uint8": 20,
    "mz_timestamp": 20,
}
# A VARCHAR of this many characters is one without a limit, which accounts show one way or the other.
_UNLIMITED = 16_777_216
_MAX_DIGITS = 38
_TEXT_TYPES = frozenset(["text", "varchar", "char"])
_ARGUMENTS = re.compile(r"\((\d+)(?:,(\d+))?\)")


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """A column of an existing table.

    Attributes:
        data_type: As INFORMATION_SCHEMA spells it.
        scale: Decimals of a NUMBER.
        precision: Decimals of the seconds of a TIME or TIMESTAMP.
        digits: Digits of a NUMBER, its decimals among them.
        length: Limit of a VARCHAR.
        nullable: Whether it takes NULL.
        default: The expression that fills it where a row has no value for it.
    """

    name: str
    data_type: str
    scale: int | None = None
    precision: int | None = None
    digits: int | None = None
    length: int | None = None
    nullable: bool = True
    default: str | None = None

    @property
    def number(self) -> tuple[int, int] | None:
        """Digits and decimals of a NUMBER."""
        return (self.digits or _MAX_DIGITS, self.scale or 0) if self.data_type == "NUMBER" else None

    @property
    def type(self) -> str:
        """The type as DDL writes it, such as ``NUMBER(10,0)``."""
        if self.number is not None:
            return "NUMBER({},{})".format(*self.number)
        if self.data_type == "TEXT":
            limited = self.length is not None and self.length < _UNLIMITED
            return f"VARCHAR({self.length})" if limited else "VARCHAR"
        return self.data_type if self.precision is None else f"{self.data_type}({self.precision})"


def target_column(row: Mapping[str, Any]) -> TargetColumn:
    """The column that a row of INFORMATION_SCHEMA.COLUMNS describes; keys in lower case."""
    return TargetColumn(
        row["column_name"],
        row["data_type"],
        row["numeric_scale"],
        row["datetime_precision"],
        digits=row["numeric_precision"],
        length=row["character_maximum_length"],
        nullable=row["is_nullable"] == "YES",
        default="IDENTITY" if row.get("is_identity") == "YES" else row["column_default"],
    )


def kind_of(ddl: Sql) -> str:
    """The type without its parameters."""
    return ddl.partition("(")[0]


def misfit(ddl: Sql, source: Column | None, there: TargetColumn) -> str | None:
    """Why values of the type ``ddl`` do not fit the table's column, or None if they do.

    Args:
        ddl: The type we would give the column.
        source: The exported column, if it is one.
        there: The table's.
    """
    if there.data_type not in _ACCEPTED[kind_of(ddl)]:
        return f"in the table, the export needs {ddl}"
    arguments = _ARGUMENTS.search(ddl)
    first, second = (int(part or 0) for part in arguments.groups()) if arguments else (None, 0)
    if there.number is not None:
        digits, scale = there.number
        if scale < second:
            return f"in the table keeps {scale} decimals, the export has {second}"
        needed = _digits(source)
        if digits - scale < needed:
            holds = f"holds {digits - scale} digits before the point"
            return f"in the table {holds}, the export has up to {needed}: NUMBER({needed + scale},{scale}) fits"
    if there.precision is not None and first is not None and there.precision < first:
        return f"in the table keeps {there.precision} decimals of a second, the export has {first}"
    if there.data_type == "TEXT" and first is not None and there.length is not None and there.length < first:
        return f"in the table, the export has up to {first} characters"
    return None


def _digits(source: Column | None) -> int:
    if source is None:
        return 0
    written = source.exported.type
    return _DIGITS.get(written) or (_DIGITS.get(source.type, 0) if written == "numeric" else 0)


def fitting_cast(source: Column, there: TargetColumn) -> str | None:
    """The option that exports the column as the table has it, and in brackets what that costs; None if none does."""
    if source.array and there.data_type != "TEXT":
        return None
    type, cost = None, ""
    match there.data_type:
        case "TEXT" if source.exported.type not in _TEXT_TYPES:
            type = "text"
        case "NUMBER" if source.type in FLOAT_TYPES | {"numeric"}:
            type, cost = f"numeric(38,{there.scale or 0})", " (rounds)"
        case "FLOAT" if source.type in _DIGITS or source.type == "numeric":
            type, cost = "double precision", " (rounds)"
        case "TIMESTAMP_NTZ" if source.type == "timestamptz":
            type, cost = "timestamp", " (in UTC)"
        case "TIMESTAMP_LTZ" | "TIMESTAMP_TZ" if source.type == "timestamp":
            type, cost = "timestamptz", " (taken for UTC)"
    return None if type is None else cast_flag(source, type) + cost
