"""Data types as they are written, described and stored."""

from __future__ import annotations

import pytest

from mz_orchestration.local.snowflake.errors import SnowflakeError
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.types import from_duck, parse_type


@pytest.mark.parametrize(
    ("written", "described", "stored"),
    [
        ("number", "NUMBER(38,0)", "DECIMAL(38,0)"),
        ("Decimal(10, 2)", "NUMBER(10,2)", "DECIMAL(10,2)"),
        ("number(5)", "NUMBER(5,0)", "DECIMAL(5,0)"),
        ("bigint", "NUMBER(38,0)", "DECIMAL(38,0)"),
        ("double precision", "FLOAT", "DOUBLE"),
        ("string", "VARCHAR(16777216)", "VARCHAR"),
        ("varchar(7)", "VARCHAR(7)", "VARCHAR"),
        ("char", "VARCHAR(1)", "VARCHAR"),
        ("timestamp", "TIMESTAMP_NTZ(9)", "TIMESTAMP"),
        ("timestamp_ltz(6)", "TIMESTAMP_LTZ(6)", "TIMESTAMPTZ"),
        ("time", "TIME(9)", "TIME"),
        ("variant", "VARIANT", "JSON"),
        ("binary", "BINARY(8388608)", "BLOB"),
    ],
)
def test_written_described_stored(written: str, described: str, stored: str) -> None:
    found = parse_type(Parser(written))
    assert (found.ddl, found.duck) == (described, stored)


@pytest.mark.parametrize("written", ["number(39)", "number(5,6)", "geography", "array(number)"])
def test_what_is_refused(written: str) -> None:
    with pytest.raises(SnowflakeError):
        parse_type(Parser(written))


@pytest.mark.parametrize(
    ("duck_type", "name", "precision", "scale"),
    [
        ("DECIMAL(10,2)", "NUMBER", 10, 2),
        ("BIGINT", "NUMBER", 19, 0),
        ("HUGEINT", "NUMBER", 38, 0),
        ("VARCHAR[]", "ARRAY", None, None),
        ("STRUCT(a INTEGER)", "OBJECT", None, None),
        ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP_LTZ", 0, 9),
        ("JSON", "VARIANT", None, None),
        ("UUID", "TEXT", None, None),
    ],
)
def test_types_of_query_columns(duck_type: str, name: str, precision: int | None, scale: int | None) -> None:
    found = from_duck(duck_type)
    assert (found.name, found.precision, found.scale) == (name, precision, scale)
