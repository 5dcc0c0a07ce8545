"""How an exported column arrives in Snowflake: its type there, and the expression that reads it from a file.

What counts is the type in the files, after the export's casts. Snowflake's reader keeps most types as they are once
``USE_LOGICAL_TYPE`` is on. The exceptions: jsonb is a plain string until PARSE_JSON, so is an array, which travels
as JSON; bytea in CSV is hexadecimal text.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Literal

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.materialize.sql_types import CATALOG_TYPES, RANGE_TYPES
from mz_orchestration.materialize.types import DEFAULT_SCALE, MAX_SCALE, Column
from mz_orchestration.snowflake.quoting import Sql, compose, identifier

_DDL = {
    "boolean": "BOOLEAN",
    "smallint": "NUMBER(38,0)",
    "integer": "NUMBER(38,0)",
    "bigint": "NUMBER(38,0)",
    "uint2": "NUMBER(38,0)",
    "uint4": "NUMBER(38,0)",
    "uint8": "NUMBER(38,0)",
    "oid": "NUMBER(38,0)",
    "mz_timestamp": "NUMBER(38,0)",
    "real": "FLOAT",
    "double precision": "FLOAT",
    "date": "DATE",
    "time": "TIME(6)",
    "timestamp": "TIMESTAMP_NTZ(6)",
    "timestamptz": "TIMESTAMP_LTZ(6)",
    "bytea": "BINARY",
    "text": "VARCHAR",
    "varchar": "VARCHAR",
    "char": "VARCHAR",
    "interval": "VARCHAR",
    "record": "VARCHAR",
    "uuid": "VARCHAR(36)",
    "jsonb": "VARIANT",
    "list": "ARRAY",
    "map": "OBJECT",
} | dict.fromkeys(RANGE_TYPES | CATALOG_TYPES, "VARCHAR")
# What an export without safe types writes in a way that no column of Snowflake means.
_RAW_IN_PARQUET = RANGE_TYPES | {"uuid", "record"}
_RAW_IN_CSV = frozenset(["list", "map"])
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
_MICROSECONDS = 6


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """A column of an existing table.

    Attributes:
        data_type: As INFORMATION_SCHEMA spells it.
        scale: Decimals of a NUMBER.
        precision: Decimals of the seconds of a TIME or TIMESTAMP.
    """

    name: str
    data_type: str
    scale: int | None = None
    precision: int | None = None


def column_name(column: Column) -> str:
    """Its name in Snowflake: upper case, so that it can be written without quotes there."""
    return column.name.upper()


def refuse_unloadable(columns: tuple[Column, ...], format: Literal["parquet", "csv"]) -> None:
    """Refuse columns that Snowflake could not tell apart, would round, or would take for something else.

    Raises:
        ConfigurationError: There is such a column.
    """
    seen: dict[str, str] = {}
    for column in columns:
        other = seen.setdefault(column_name(column), column.name)
        if other != column.name:
            raise ConfigurationError(
                f"The columns {other!r} and {column.name!r} are both called {column_name(column)} in Snowflake.",
                hint="Give one of them another name in a query; names in Snowflake do not tell upper from lower case.",
            )
    raw = [column.name for column in columns if _raw(column, format)]
    if raw:
        raise ConfigurationError(
            f"Snowflake would misread these columns, which were exported without a safe type: {', '.join(raw)}.",
            hint="Export them with safe types, or cast them to a type of your choice.",
        )
    rounded = [column.name for column in columns if _rounded(column, format)]
    if rounded:
        raise ConfigurationError(
            f"Snowflake would round these numeric columns: {', '.join(rounded)}.",
            hint=f"Export them with safe types, as text, or cast to a numeric of {MAX_SCALE} decimals at most.",
        )


def _raw(column: Column, format: str) -> bool:
    written = column.exported
    return written.array or written.type in (_RAW_IN_CSV if format == "csv" else _RAW_IN_PARQUET)


def _rounded(column: Column, format: str) -> bool:
    written = column.exported
    if written.type != "numeric":
        return False
    return format == "csv" if written.scale is None else written.scale > MAX_SCALE


def ddl_type(column: Column) -> Sql:
    """The type we give the column, such as ``NUMBER(38,2)``."""
    written = column.exported
    if _is_array(column):
        return Sql("ARRAY")
    if written.type == "numeric":
        return compose("NUMBER(38,{})", DEFAULT_SCALE if written.scale is None else written.scale)
    if written.type == "varchar" and written.length is not None:
        # PostgreSQL counts characters, as Snowflake does.
        return compose("VARCHAR({})", written.length)
    if column.type == "uuid" and written.type == "text" and not column.array:
        return Sql(_DDL["uuid"])
    return Sql(_DDL[written.type])


def _is_array(column: Column) -> bool:
    return column.exported.type == "jsonb" and (column.array or column.type == "list")


def needs_transform(column: Column) -> bool:
    """Whether a Parquet column must be read by an expression rather than matched by name."""
    # What CASE_INSENSITIVE means beyond ASCII is not documented; an unmatched column would load as NULL.
    return column.exported.type == "jsonb" or not column.name.isascii()


def parquet_expression(column: Column) -> Sql:
    """Reads the column from a Parquet row ``$1``."""
    name = identifier(column.name)
    if _is_array(column):
        return compose("PARSE_JSON($1:{}::VARCHAR)::ARRAY", name)
    if column.exported.type == "jsonb":
        return compose("PARSE_JSON($1:{}::VARCHAR)", name)
    return compose("$1:{}::{}", name, ddl_type(column))


def csv_expression(column: Column, position: int) -> Sql:
    """Reads the column from field ``position`` (from 1) of a CSV record."""
    field = compose("${}", position)
    if _is_array(column):
        return compose("PARSE_JSON({})::ARRAY", field)
    if column.exported.type == "jsonb":
        return compose("PARSE_JSON({})", field)
    if column.exported.type == "bytea":
        # PostgreSQL's text form begins with \x.
        return compose("TO_BINARY(SUBSTR({}, 3), 'HEX')", field)
    return field


def differences(columns: tuple[Column, ...], target: list[TargetColumn]) -> list[str]:
    """What keeps the exported columns from being loaded into an existing table, one line each."""
    wanted = {column_name(column): column for column in columns}
    existing = {column.name: column for column in target}
    found = [f"{name} is missing in the table" for name in wanted if name not in existing]
    found += [f"{name} is in the table but not in the export" for name in existing if name not in wanted]
    for name, column in wanted.items():
        there = existing.get(name)
        if there is None:
            continue
        ddl = ddl_type(column)
        scale = int(ddl.partition(",")[2].rstrip(")")) if ddl.startswith("NUMBER") else None
        if there.data_type not in _ACCEPTED[ddl.partition("(")[0]]:
            found.append(f"{name} is {there.data_type} in the table, the export needs {ddl}{_instead(column, there)}")
        elif there.data_type == "NUMBER" and scale is not None and (there.scale or 0) < scale:
            found.append(f"{name} keeps {there.scale or 0} decimals in the table, the export has {scale}")
        elif there.precision is not None and there.precision < _MICROSECONDS and "(6)" in ddl:
            found.append(f"{name} keeps {there.precision} decimals of a second in the table, the export has 6")
    return found


def _instead(column: Column, there: TargetColumn) -> str:
    """How to export a number as what the table has, where text was the safe choice."""
    if column.type != "numeric" or column.exported.type == "numeric" or there.data_type != "NUMBER":
        return ""
    return f" (or --cast {shlex.quote(f'{column.name}=numeric(38,{there.scale or 0})')}, which rounds)"
