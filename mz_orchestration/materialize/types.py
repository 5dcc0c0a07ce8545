"""Columns of an export, and what has to happen to each type so that it keeps its meaning in the files.

The Parquet side is Materialize's Arrow builder (``src/arrow-util/src/builder.rs``): uuid becomes sixteen raw bytes,
uint8 does not fit a signed reader, interval is refused, numeric without a scale gets ten decimals, arrays lose their
shape, ranges become structs of five fields. What JSON makes of a value is ``src/sql/src/plan/typeconv.rs``.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.materialize.sql_types import (
    CASTABLE_TYPES,
    CATALOG_TYPES,
    RANGE_TYPES,
    TYPES,
    SqlType,
    parse_type,
)

Format = Literal["parquet", "csv"]

# Materialize's own types, by the object ids of src/pgrepr-consts/src/oid.rs.
_MATERIALIZE_OIDS = {
    16384: "list",
    16385: "map",
    16460: "uint2",
    16462: "uint4",
    16464: "uint8",
    16552: "mz_timestamp",
}
_MATERIALIZE_ARRAY_OIDS = {16461: "uint2", 16463: "uint4", 16465: "uint8", 16553: "mz_timestamp"}
_SQL_NAMES = {
    "bool": "boolean",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "bpchar": "char",
}
EXPORTABLE_TYPES = TYPES
# A NUMBER of Snowflake has at most 37 decimals, one fewer than a decimal of Parquet.
MAX_SCALE = 37
# What Parquet gives a numeric that declares no scale.
DEFAULT_SCALE = 10
_NO_PARQUET = CATALOG_TYPES | {"interval"}
_LISTED = 20
_NUMERIC_FAILURE = re.compile(
    r"Cannot represent special numeric value .* in parquet"
    r"|Decimal value .* out of range for (?:parquet|column with precision)"
    r"|cannot represent decimal value .* in column with scale (?P<scale>\d+)"
)


class Column(BaseModel):
    """One exported column.

    Attributes:
        name: As in Materialize.
        type: The SQL type it has there; for arrays the element's, with ``array`` set.
        array: Whether it is an array.
        scale: Decimals of a numeric that declares them.
        length: Limit of a varchar or char that declares one.
        cast: The type it is cast to on the way out so that its meaning survives, or None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: str
    array: bool = False
    # Eleven bits on the wire.
    scale: int | None = Field(default=None, ge=-1024, le=2047)
    length: int | None = None
    cast: str | None = None

    @field_validator("cast")
    @classmethod
    def _a_type(cls, value: str | None) -> str | None:
        return None if value is None else parse_type(value).text

    @property
    def sql_type(self) -> str:
        """The type for people, such as ``numeric(38,2)`` or ``text[]``."""
        text = self.type
        if self.scale is not None:
            text += f"(38,{self.scale})"
        elif self.length is not None:
            text += f"({self.length})"
        return text + "[]" if self.array else text

    @property
    def exported(self) -> SqlType:
        """The type of the values that are written: that of the cast, or the column's own."""
        if self.cast is not None:
            return parse_type(self.cast)
        return SqlType(self.type, self.array, self.scale, self.length, self.sql_type)


def type_name(oid: int) -> tuple[str, bool]:
    """SQL name of a type by its object id, and whether it is an array of that type."""
    from psycopg.postgres import types

    if oid in _MATERIALIZE_OIDS:
        return _MATERIALIZE_OIDS[oid], False
    if oid in _MATERIALIZE_ARRAY_OIDS:
        return _MATERIALIZE_ARRAY_OIDS[oid], True
    info = types.get(oid)
    if info is None:
        return f"type with oid {oid}", False
    return _SQL_NAMES.get(info.name, info.name), info.array_oid == oid


def with_casts(
    columns: list[Column], format: Format, *, safe: bool = True, casts: Mapping[str, str] | None = None
) -> list[Column]:
    """The columns with their casts, under the names they have in the files.

    Args:
        columns: As described by Materialize.
        format: Of the files.
        safe: Whether to cast what files of this format would refuse, change or hide.
        casts: Types by column name, which win over the safe ones.

    Raises:
        ConfigurationError: Two columns share a name, a cast cannot be made, or a type cannot be exported; every such
            column is named.
    """
    casts = casts or {}
    asked = _parsed(casts, columns)
    columns = _distinct(columns, safe=safe, casts=bool(casts))
    found = [
        column.model_copy(
            update={"cast": asked.get(column.name) or (_safe_cast(column, format) if safe else column.cast)}
        )
        for column in columns
    ]
    refused = [column for column in found if not _exportable(column, format)]
    if refused:
        cast = f"{_flag(refused[0], 'text')} exports a column's text"
        raise ConfigurationError(
            f"These columns cannot be exported as {format}: {_named(refused, types=True)}.",
            hint=f"{cast}." if safe else f"Leave safe types on, or cast: {cast}.",
            details={"columns": len(refused)},
        )
    return found


def notes(columns: list[Column], format: Format) -> list[str]:
    """What is done to the columns that are cast, why, and how to have it otherwise; one sentence each."""
    return [_note(column, format) for column in columns if column.cast is not None]


def warnings(columns: list[Column], format: Format) -> list[str]:
    """What may still go wrong with these columns while the export runs, one sentence each."""
    if format != "parquet":
        return []
    return [
        f"{column.name} is numeric without a scale: Parquet keeps {DEFAULT_SCALE} decimals, and a value with more, or "
        f"NaN, fails the whole export; {_flag(column, _rounded(column))} or {_flag(column, 'text')} is safe."
        for column in columns
        if column.exported.type == "numeric" and column.exported.scale is None
    ]


def numeric_hint(message: str, columns: list[Column]) -> str | None:
    """The way out when Parquet cannot hold a number.

    Args:
        message: With which Materialize ended the COPY; it does not say which column it was.
        columns: What was exported, with casts.

    Returns:
        None when the message is about something else.
    """
    match = _NUMERIC_FAILURE.search(message)
    if match is None:
        return None
    scale = match["scale"]
    meant = [
        column
        for column in columns
        if column.exported.type in ("numeric", "numrange", "list", "map", "record")
        and (scale is None or column.exported.type != "numeric" or _parquet_scale(column) == int(scale))
    ]
    if not meant:
        return None
    numbers = [column for column in meant if column.exported.type == "numeric"]
    return (
        f"The value is in one of these columns: {_named(meant)}. "
        f"{_flag(meant[0], 'text')} exports it as text, which holds every number"
        + (f"; {_flag(numbers[0], _rounded(numbers[0]))} rounds it." if numbers else ".")
    )


def _parsed(casts: Mapping[str, str], columns: list[Column]) -> dict[str, str]:
    unknown = [name for name in casts if all(column.name != name for column in columns)]
    if unknown:
        raise ConfigurationError(
            f"casts: there is no column {', '.join(map(repr, unknown))}.",
            hint=f"The columns are {_named(columns)}; case counts.",
        )
    parsed = {}
    for name, text in casts.items():
        try:
            parsed[name] = parse_type(text).text
        except ValueError as error:
            raise ConfigurationError(f"casts: {name}: {error}.") from None
    return parsed


def _distinct(columns: list[Column], *, safe: bool, casts: bool) -> list[Column]:
    """The columns under the names they have in files: Materialize calls a second ``a`` ``a2``."""
    counts: Counter[str] = Counter()
    named = []
    for column in columns:
        counts[column.name] += 1
        count = counts[column.name]
        named.append(column if count == 1 else column.model_copy(update={"name": f"{column.name}{count}"}))
    twice = [name for name, count in counts.items() if count > 1]
    collide = len({column.name for column in named}) < len(named)
    if twice and (safe or casts or collide):
        raise ConfigurationError(
            f"Two columns are both called {twice[0]!r}.",
            hint="Give each its own name in a query; loaders match columns by name."
            + (" Columns that share one cannot be cast." if casts and not safe else ""),
        )
    return named


def _exportable(column: Column, format: Format) -> bool:
    written = column.exported
    if written.type not in EXPORTABLE_TYPES:
        return False
    if format == "csv":
        return True
    return written.type not in _NO_PARQUET and (written.scale is None or 0 <= written.scale <= MAX_SCALE + 1)


def _note(column: Column, format: Format) -> str:
    done = f"{column.name} {column.sql_type} is exported as {column.cast}"
    if column.cast != _safe_cast(column, format):
        return f"{done}, as asked for."
    why, otherwise = _reason(column, format)
    return f"{done}: {why}" + (f" (otherwise: {_flag(column, otherwise)})." if otherwise else ".")


def _reason(column: Column, format: Format) -> tuple[str, str | None]:
    """Why a column has its safe cast, and which type would be another choice."""
    if column.array and format == "csv":
        return "CSV would hold it in PostgreSQL's notation", "text"
    if column.array:
        plain = column.type in CASTABLE_TYPES - _NO_PARQUET - RANGE_TYPES
        return "Parquet would hold its elements without its shape", f"{column.type} list" if plain else None
    if column.type == "numeric" and column.scale is None:
        return "without a scale, Parquet fails on many values and loaders round them", "numeric(38,2)"
    if column.type == "numeric":
        return f"numbers of loaders have {MAX_SCALE} decimals at most", f"numeric(38,{MAX_SCALE})"
    if column.type in RANGE_TYPES:
        return "Parquet would hold a struct of five fields, or refuse it", column.type
    return {
        "uuid": ("Parquet would hold sixteen raw bytes", "uuid"),
        "uint8": ("loaders read 64 bits of Parquet as a signed number", "uint8"),
        "record": ("Parquet would hold a struct, or refuse it", "jsonb"),
        "list": ("CSV would hold it in Materialize's notation", "text"),
        "map": ("CSV holds it in Materialize's notation", None),
    }.get(column.type, ("Parquet cannot hold it", None))


def _safe_cast(column: Column, format: Format) -> str | None:
    if column.type not in EXPORTABLE_TYPES:
        return None
    if column.array:
        # Parquet holds an array flattened, CSV as PostgreSQL text; JSON keeps its dimensions and its elements' types.
        return "jsonb"
    if column.type == "numeric":
        return None if column.scale is not None and 0 <= column.scale <= MAX_SCALE else "text"
    if format == "csv":
        # To JSON a map is a string.
        return {"list": "jsonb", "map": "text"}.get(column.type)
    if column.type in _NO_PARQUET | RANGE_TYPES | {"uuid", "record"}:
        return "text"
    return "numeric(20,0)" if column.type == "uint8" else None


def _rounded(column: Column) -> str:
    return "numeric(38,2)[]" if column.exported.array else "numeric(38,2)"


def _parquet_scale(column: Column) -> int:
    return DEFAULT_SCALE if column.exported.scale is None else column.exported.scale


def _flag(column: Column, type: str) -> str:
    return f"--cast {shlex.quote(f'{column.name}={type}')}"


def _named(columns: list[Column], *, types: bool = False) -> str:
    named = [f"{column.name} ({column.sql_type})" if types else column.name for column in columns[:_LISTED]]
    more = len(columns) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
