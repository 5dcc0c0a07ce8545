"""How an exported column arrives in Snowflake: its type there, and the expression that reads it from a file.

Snowflake's reader keeps most types as they are once ``USE_LOGICAL_TYPE`` is on. The exceptions: jsonb is a plain
string until PARSE_JSON, so is an array, which travels as JSON; bytea in CSV is hexadecimal text.
"""

from __future__ import annotations

from dataclasses import dataclass

from mz_orchestration.materialize.types import Column
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
    "uuid": "VARCHAR(36)",
    "jsonb": "VARIANT",
    "list": "ARRAY",
    "map": "OBJECT",
}
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
# Materialize gives a numeric without a scale ten decimals in Parquet (src/arrow-util/src/builder.rs).
_DEFAULT_SCALE = 10
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


def ddl_type(column: Column) -> Sql:
    """The type we give the column, such as ``NUMBER(38,2)``."""
    if column.array:
        return Sql("ARRAY")
    if column.type == "numeric":
        return compose("NUMBER(38,{})", _DEFAULT_SCALE if column.scale is None else column.scale)
    if column.type == "varchar" and column.length is not None:
        # PostgreSQL counts characters, as Snowflake does.
        return compose("VARCHAR({})", column.length)
    return Sql(_DDL[column.type])


def needs_transform(column: Column) -> bool:
    """Whether a Parquet column must be read by an expression rather than matched by name."""
    # What CASE_INSENSITIVE means beyond ASCII is not documented; an unmatched column would load as NULL.
    return column.type == "jsonb" or column.array or not column.name.isascii()


def parquet_expression(column: Column) -> Sql:
    """Reads the column from a Parquet row ``$1``."""
    name = identifier(column.name)
    if column.array:
        return compose("PARSE_JSON($1:{}::VARCHAR)::ARRAY", name)
    if column.type == "jsonb":
        return compose("PARSE_JSON($1:{}::VARCHAR)", name)
    return compose("$1:{}::{}", name, ddl_type(column))


def csv_expression(column: Column, position: int) -> Sql:
    """Reads the column from field ``position`` (from 1) of a CSV record."""
    field = compose("${}", position)
    if column.array:
        return compose("PARSE_JSON({})::ARRAY", field)
    if column.type == "jsonb":
        return compose("PARSE_JSON({})", field)
    if column.type == "bytea":
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
            found.append(f"{name} is {there.data_type} in the table, the export needs {ddl}")
        elif there.data_type == "NUMBER" and scale is not None and (there.scale or 0) < scale:
            found.append(f"{name} keeps {there.scale or 0} decimals in the table, the export has {scale}")
        elif there.precision is not None and there.precision < _MICROSECONDS and "(6)" in ddl:
            found.append(f"{name} keeps {there.precision} decimals of a second in the table, the export has 6")
    return found
