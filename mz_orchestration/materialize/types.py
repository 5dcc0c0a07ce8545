"""Columns of an export, and what has to happen to each type so that it keeps its meaning in the files.

The Parquet side is Materialize's Arrow builder (``src/arrow-util/src/builder.rs``): uuid becomes sixteen raw bytes,
uint8 does not fit a signed reader, interval is refused, numeric without a scale gets ten decimals.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mz_orchestration.errors import ConfigurationError

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
PLAIN_TYPES = frozenset(
    [
        "boolean",
        "smallint",
        "integer",
        "bigint",
        "uint2",
        "uint4",
        "oid",
        "real",
        "numeric",
        "date",
        "time",
        "timestamp",
        "timestamptz",
        "bytea",
        "text",
        "varchar",
        "char",
        "jsonb",
        "mz_timestamp",
        "list",
        "map",
    ]
) | {"double precision"}

EXPORTABLE_TYPES = PLAIN_TYPES | {"uuid", "uint8", "interval"}


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
    scale: int | None = Field(default=None, le=38)
    length: int | None = None
    cast: str | None = None

    @property
    def sql_type(self) -> str:
        """The type for people, such as ``numeric(38,2)`` or ``text[]``."""
        text = self.type
        if self.scale is not None:
            text += f"(38,{self.scale})"
        elif self.length is not None:
            text += f"({self.length})"
        return text + "[]" if self.array else text


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


def with_casts(columns: list[Column], format: Format) -> list[Column]:
    """The columns with the casts that keep their meaning in files of ``format``.

    Raises:
        ConfigurationError: Two columns share a name, or a type cannot be exported; every such column is named.
    """
    _refuse_duplicates(columns)
    refused = [column for column in columns if not _exportable(column, format)]
    if refused:
        named = ", ".join(f"{column.name} ({column.sql_type})" for column in refused)
        raise ConfigurationError(
            f"These columns cannot be exported as {format}: {named}.",
            hint=f'Export a query that casts them, such as "{refused[0].name}"::text AS "{refused[0].name}".',
            details={"columns": len(refused)},
        )
    return [column.model_copy(update={"cast": _cast(column, format)}) for column in columns]


def warnings(columns: list[Column], format: Format) -> list[str]:
    """What may still go wrong with these columns while the export runs, one sentence each."""
    if format != "parquet":
        return []
    return [
        f"{column.name} is numeric without a scale: Parquet keeps 10 decimals, and a value with more, or NaN, "
        "fails the whole export. Cast it to numeric(38,k) to be safe."
        for column in columns
        if column.type == "numeric" and column.scale is None and not column.array
    ]


def _refuse_duplicates(columns: list[Column]) -> None:
    seen: dict[str, str] = {}
    for column in columns:
        other = seen.setdefault(column.name.upper(), column.name)
        if other is not column.name or sum(c.name == column.name for c in columns) > 1:
            raise ConfigurationError(
                f"Two columns are both called {column.name!r} once case is ignored.",
                hint="Give each its own name in a query; loaders match columns by name.",
            )


def _exportable(column: Column, format: Format) -> bool:
    if column.type == "interval":
        return format == "csv" and not column.array
    if column.type in ("list", "map") and (format == "csv" or column.array):
        return False
    return column.type in EXPORTABLE_TYPES and (column.scale or 0) >= 0


def _cast(column: Column, format: Format) -> str | None:
    if column.array:
        # Parquet holds an array flattened, CSV as PostgreSQL text; JSON keeps its dimensions and its elements' types.
        return "jsonb"
    if format == "csv":
        return None
    return {"uuid": "text", "uint8": "numeric(20,0)"}.get(column.type)
