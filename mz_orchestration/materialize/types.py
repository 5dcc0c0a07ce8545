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

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator

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
FLOAT_TYPES = frozenset(["real", "double precision"])
# A NUMBER of Snowflake has at most 37 decimals, one fewer than a decimal of Parquet.
MAX_SCALE = 37
# What Parquet gives a numeric that declares no scale.
DEFAULT_SCALE = 10
_NO_PARQUET = CATALOG_TYPES | {"interval"}
_LISTED = 20
# Types that a length is part of: the cast to one cuts.
_LIMITED = re.compile(r"(?:var)?char\(")


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
    # Nobody who reads a manifest needs it: what they load has the name that the file has.
    _renamed: bool = PrivateAttr(default=False)

    @field_validator("cast")
    @classmethod
    def _a_type(cls, value: str | None) -> str | None:
        return None if value is None else parse_type(value).text

    @property
    def renamed(self) -> bool:
        """Whether ``name`` is the one the file gives it, since another column of the source has the same."""
        return self._renamed

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
        cast = f"{cast_flag(refused[0], 'text')} exports a column's text"
        raise ConfigurationError(
            f"These columns cannot be exported as {format}: {listed(refused, types=True)}.",
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
        f"{column.name} is numeric without a scale: Parquet keeps {DEFAULT_SCALE} decimals, and a value with more, "
        f"or NaN, fails the whole export; {cast_flag(column, rounded_type(column))} or {cast_flag(column, 'text')} is "
        "safe."
        for column in columns
        if column.exported.type == "numeric" and column.exported.scale is None
    ]


def _parsed(casts: Mapping[str, str], columns: list[Column]) -> dict[str, str]:
    unknown = [name for name in casts if all(column.name != name for column in columns)]
    if unknown:
        raise ConfigurationError(
            f"casts: there is no column {', '.join(map(repr, unknown))}.",
            hint=f"The columns are {listed(columns)}; case counts.",
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
        if count > 1:
            column = column.model_copy(update={"name": f"{column.name}{count}"})
            column._renamed = True
        named.append(column)
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
        return f"{done}, as asked for{_caution(column)}."
    why, otherwise = _reason(column, format)
    return f"{done}: {why}" + (f" (otherwise: {cast_flag(column, otherwise)})." if otherwise else ".")


def _caution(column: Column) -> str:
    """What a cast of one's own may do to values without a word."""
    cast = column.exported
    if column.cast is not None and _LIMITED.match(column.cast):
        fits = column.length is not None and cast.length is not None and column.length <= cast.length
        return "" if fits and not column.array else "; longer values are cut silently"
    if cast.type == "jsonb" and not column.array and column.type in FLOAT_TYPES:
        return "; its values are strings of JSON, since numbers would lose Infinity and digits"
    if cast.type == "jsonb" and column.type in ("list", "record"):
        return "; 64-bit integers in it become strings, and Infinity in it fails the export"
    return ""


def _reason(column: Column, format: Format) -> tuple[str, str | None]:
    """Why a column has its safe cast, and which type would be another choice."""
    if column.array:
        plain = column.type in CASTABLE_TYPES - _NO_PARQUET - RANGE_TYPES - {"char"}
        why, otherwise = (
            ("CSV would hold it in PostgreSQL's notation", "text")
            if format == "csv"
            else ("Parquet would hold its elements without its shape", f"{column.type} list" if plain else None)
        )
        if column.type in FLOAT_TYPES:
            why += "; its elements are strings, since numbers of JSON would lose Infinity and digits"
        return why, otherwise
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
        "list": ("CSV holds it in Materialize's notation; in JSON its 64-bit integers would be strings", "jsonb"),
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
        # To JSON a map is a string, and so is a 64-bit element of a list, whose type nobody tells.
        return "text" if column.type in ("list", "map") else None
    if column.type in _NO_PARQUET | RANGE_TYPES | {"uuid", "record"}:
        return "text"
    return "numeric(20,0)" if column.type == "uint8" else None


def rounded_type(column: Column) -> str:
    """A numeric with two decimals, or an array of them."""
    return "numeric(38,2)[]" if column.exported.array else "numeric(38,2)"


def cast_flag(column: Column, type: str) -> str:
    """The option that casts the column, as one types it in a shell."""
    return f"--cast {shlex.quote(f'{column.name}={type}')}"


def listed(columns: list[Column], *, types: bool = False) -> str:
    """The names of the columns for people, with their types if wanted; of many, the first ones."""
    named = [f"{column.name} ({column.sql_type})" if types else column.name for column in columns[:_LISTED]]
    more = len(columns) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
