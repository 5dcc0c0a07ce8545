"""How an exported column arrives in Snowflake: its type there, and the expression that reads it from a file.

What counts is the type in the files, after the export's casts. Snowflake's reader keeps most types as they are once
``USE_LOGICAL_TYPE`` is on. The exceptions: jsonb is a plain string until PARSE_JSON, so is an array, which travels
as JSON; bytea in CSV is hexadecimal text. Expressions use no functions but those that a COPY INTO may call:
https://docs.snowflake.com/en/user-guide/data-load-transform#supported-functions
"""

from __future__ import annotations

from typing import Literal

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.materialize.sql_types import CATALOG_TYPES, RANGE_TYPES
from mz_orchestration.materialize.types import DEFAULT_SCALE, FLOAT_TYPES, MAX_SCALE, Column
from mz_orchestration.snowflake.quoting import Sql, compose, identifier
from mz_orchestration.snowflake.target import kind_of

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
_MOMENTS = frozenset(["date", "time", "timestamp", "timestamptz"])


def column_name(column: Column) -> str:
    """Its name in Snowflake: upper case, so that it can be written without quotes there."""
    return fold(column.name)


def fold(name: str) -> str:
    """The name in upper case, letter by letter: it gets no longer, so what fits Materialize's 255 bytes fits here."""
    return "".join(upper if len(upper := letter.upper()) == 1 else letter for letter in name)


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
    refuse_rounding(columns, format)


def refuse_rounding(columns: tuple[Column, ...], format: Literal["parquet", "csv"]) -> None:
    """Refuse numbers with more decimals than any type of Snowflake keeps.

    Raises:
        ConfigurationError: There is such a column.
    """
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
    if written.type in ("varchar", "char") and written.length is not None:
        # PostgreSQL counts characters, as Snowflake does.
        return compose("VARCHAR({})", written.length)
    if column.type == "uuid" and written.type == "text" and not column.array:
        return Sql(_DDL["uuid"])
    return Sql(_DDL[written.type])


def _is_array(column: Column) -> bool:
    return column.exported.type == "jsonb" and (column.array or column.type == "list")


def needs_transform(column: Column) -> bool:
    """Whether a Parquet column must be read by an expression rather than matched by name."""
    # Undocumented: what CASE_INSENSITIVE means beyond ASCII; an unmatched column would load as NULL.
    # Documented: "an empty column value produces an error" of MATCH_BY_COLUMN_NAME, and any text may be empty.
    return column.exported.type == "jsonb" or kind_of(ddl_type(column)) == "VARCHAR" or not column.name.isascii()


def parquet_expression(column: Column) -> Sql:
    """Reads the column from a Parquet row ``$1``."""
    field = compose("$1:{}", identifier(column.name))
    if column.exported.type == "jsonb":
        return _parsed(column, compose("{}::VARCHAR", field))
    ddl = ddl_type(column)
    # Without its length, since a cast cuts what is too long where the column would refuse it.
    return compose("{}::VARCHAR", field) if kind_of(ddl) == "VARCHAR" else compose("{}::{}", field, ddl)


def csv_expression(column: Column, position: int) -> Sql:
    """Reads the column from field ``position`` (from 1) of a CSV record."""
    field = compose("${}", position)
    written = column.exported.type
    if written == "jsonb":
        return _parsed(column, field)
    if written == "bytea":
        # PostgreSQL's text form begins with \x.
        return compose("TO_BINARY(SUBSTR({}, 3), 'HEX')", field)
    if written in FLOAT_TYPES:
        # The one spelling of infinity that Snowflake documents.
        return compose("REPLACE({}, 'Infinity', 'inf')::FLOAT", field)
    if written in _MOMENTS:
        # An explicit cast is not subject to the formats that an account or user may have set for input.
        return compose("{}::{}", field, ddl_type(column))
    return field


def exact_number(text: Sql, digits: int, scale: int) -> Sql:
    """A numeric that travels as text as ``NUMBER(digits,scale)``; a value with more decimals fails, not rounds."""
    return compose(
        "IFF(LENGTH(RTRIM(SPLIT_PART({}, '.', 2), '0')) > {}, {} || ' has too many decimals', {})::NUMBER({},{})",
        text,
        scale,
        text,
        text,
        digits,
        scale,
    )


def _parsed(column: Column, text: Sql) -> Sql:
    return compose("PARSE_JSON({})::ARRAY" if _is_array(column) else "PARSE_JSON({})", text)
