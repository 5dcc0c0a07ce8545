from __future__ import annotations

from typing import Any

import pytest

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.materialize.types import EXPORTABLE_TYPES, Column, with_casts
from mz_orchestration.snowflake.types import (
    TargetColumn,
    csv_expression,
    ddl_type,
    differences,
    parquet_expression,
    refuse_unloadable,
)


def column(type: str, **more: Any) -> Column:
    return Column(name="c", type=type, **more)


@pytest.mark.parametrize(
    ("given", "ddl", "parquet", "csv"),
    [
        (column("bigint"), "NUMBER(38,0)", '$1:"c"::NUMBER(38,0)', "$2"),
        (column("numeric", scale=2), "NUMBER(38,2)", '$1:"c"::NUMBER(38,2)', "$2"),
        (column("numeric"), "NUMBER(38,10)", '$1:"c"::NUMBER(38,10)', "$2"),
        (column("timestamptz"), "TIMESTAMP_LTZ(6)", '$1:"c"::TIMESTAMP_LTZ(6)', "$2"),
        (column("varchar", length=20), "VARCHAR(20)", '$1:"c"::VARCHAR(20)', "$2"),
        (column("uuid", cast="text"), "VARCHAR(36)", '$1:"c"::VARCHAR(36)', "$2"),
        (column("jsonb"), "VARIANT", 'PARSE_JSON($1:"c"::VARCHAR)', "PARSE_JSON($2)"),
        (
            column("text", array=True, cast="jsonb"),
            "ARRAY",
            'PARSE_JSON($1:"c"::VARCHAR)::ARRAY',
            "PARSE_JSON($2)::ARRAY",
        ),
        (column("numeric", cast="text"), "VARCHAR", '$1:"c"::VARCHAR', "$2"),
        (column("numeric", cast="numeric(38,2)"), "NUMBER(38,2)", '$1:"c"::NUMBER(38,2)', "$2"),
        (column("numeric", scale=2, cast="numeric(12)"), "NUMBER(38,0)", '$1:"c"::NUMBER(38,0)', "$2"),
        (column("uint8", cast="numeric(20,0)"), "NUMBER(38,0)", '$1:"c"::NUMBER(38,0)', "$2"),
        (
            column("uuid", array=True, cast="jsonb"),
            "ARRAY",
            'PARSE_JSON($1:"c"::VARCHAR)::ARRAY',
            "PARSE_JSON($2)::ARRAY",
        ),
        (column("text", array=True, cast="text"), "VARCHAR", '$1:"c"::VARCHAR', "$2"),
        (column("text", array=True, cast="text list"), "ARRAY", '$1:"c"::ARRAY', "$2"),
        (
            column("real", array=True, cast="jsonb"),
            "ARRAY",
            'PARSE_JSON($1:"c"::VARCHAR)::ARRAY',
            "PARSE_JSON($2)::ARRAY",
        ),
        (column("list", cast="text"), "VARCHAR", '$1:"c"::VARCHAR', "$2"),
        (column("list", cast="jsonb"), "ARRAY", 'PARSE_JSON($1:"c"::VARCHAR)::ARRAY', "PARSE_JSON($2)::ARRAY"),
        (column("map"), "OBJECT", '$1:"c"::OBJECT', "$2"),
        (column("map", cast="text"), "VARCHAR", '$1:"c"::VARCHAR', "$2"),
        (column("interval", cast="text"), "VARCHAR", '$1:"c"::VARCHAR', "$2"),
        (column("interval"), "VARCHAR", '$1:"c"::VARCHAR', "$2"),
        (column("tstzrange", cast="text"), "VARCHAR", '$1:"c"::VARCHAR', "$2"),
        (column("record", cast="jsonb"), "VARIANT", 'PARSE_JSON($1:"c"::VARCHAR)', "PARSE_JSON($2)"),
        (column("text", cast="varchar(8)"), "VARCHAR(8)", '$1:"c"::VARCHAR(8)', "$2"),
        (column("timestamptz", cast="timestamp"), "TIMESTAMP_NTZ(6)", '$1:"c"::TIMESTAMP_NTZ(6)', "$2"),
        (column("type with oid 99", cast="text"), "VARCHAR", '$1:"c"::VARCHAR', "$2"),
        (column("bytea"), "BINARY", '$1:"c"::BINARY', "TO_BINARY(SUBSTR($2, 3), 'HEX')"),
    ],
)
def test_each_type_keeps_its_meaning(given: Column, ddl: str, parquet: str, csv: str) -> None:
    assert (ddl_type(given), parquet_expression(given), csv_expression(given, 2)) == (ddl, parquet, csv)


def test_a_table_that_fits() -> None:
    columns = (Column(name="id", type="bigint"), Column(name="total", type="numeric", scale=2))
    table = [TargetColumn("TOTAL", "NUMBER", 4), TargetColumn("ID", "NUMBER", 0)]
    assert differences(columns, table) == []


def test_a_table_with_a_number_for_what_is_text_now() -> None:
    columns = (Column(name="a price", type="numeric", cast="text"),)
    assert differences(columns, [TargetColumn("A PRICE", "NUMBER", 2)]) == [
        "A PRICE is NUMBER in the table, the export needs VARCHAR (or --cast 'a price=numeric(38,2)', which rounds)"
    ]
    assert differences(columns, [TargetColumn("A PRICE", "DATE")]) == [
        "A PRICE is DATE in the table, the export needs VARCHAR"
    ]


def test_a_table_that_would_cut_seconds() -> None:
    columns = (Column(name="at", type="timestamp"),)
    assert differences(columns, [TargetColumn("AT", "TIMESTAMP_NTZ", None, 6)]) == []
    found = differences(columns, [TargetColumn("AT", "TIMESTAMP_NTZ", None, 0)])
    assert found == ["AT keeps 0 decimals of a second in the table, the export has 6"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([], "TOTAL is missing in the table"),
        ([TargetColumn("TOTAL", "NUMBER", 2), TargetColumn("X", "TEXT", None)], "X is in the table but not"),
        ([TargetColumn("TOTAL", "TEXT", None)], "TOTAL is TEXT in the table, the export needs NUMBER(38,2)"),
        ([TargetColumn("TOTAL", "NUMBER", 0)], "keeps 0 decimals in the table, the export has 2"),
        ([TargetColumn("total", "NUMBER", 2)], "TOTAL is missing"),
        ([TargetColumn("TOTAL", "FLOAT")], "TOTAL is FLOAT in the table, the export needs NUMBER(38,2)"),
    ],
)
def test_what_does_not_fit_is_named(table: list[TargetColumn], said: str) -> None:
    assert said in "; ".join(differences((Column(name="total", type="numeric", scale=2),), table))


@pytest.mark.parametrize("format", ["parquet", "csv"])
@pytest.mark.parametrize("array", [False, True])
def test_what_is_exported_safely_can_be_loaded(format: Any, array: bool) -> None:
    columns = [Column(name=f"c{i}", type=t, array=array) for i, t in enumerate(sorted(EXPORTABLE_TYPES))]
    safe = tuple(with_casts(columns, format))
    refuse_unloadable(safe, format)
    for one in safe:
        assert ddl_type(one)


@pytest.mark.parametrize(
    ("given", "format", "refused"),
    [
        (column("uuid"), "parquet", "misread these columns"),
        (column("uuid"), "csv", None),
        (column("text", array=True), "parquet", "misread these columns"),
        (column("text", array=True), "csv", "misread these columns"),
        (column("int4range"), "parquet", "misread these columns"),
        (column("int4range"), "csv", None),
        (column("record"), "parquet", "misread these columns"),
        (column("list"), "parquet", None),
        (column("list"), "csv", "misread these columns"),
        (column("map"), "csv", "misread these columns"),
        (column("numeric"), "csv", "round these numeric columns"),
        (column("numeric"), "parquet", None),
        (column("numeric", scale=38), "parquet", "round these numeric columns"),
        (column("numeric", scale=37), "csv", None),
    ],
)
def test_what_is_exported_as_it_is(given: Column, format: Any, refused: str | None) -> None:
    if refused is None:
        refuse_unloadable((given,), format)
    else:
        with pytest.raises(ConfigurationError, match=f"{refused}.*: c\\."):
            refuse_unloadable((given,), format)


def test_names_that_are_one_in_snowflake() -> None:
    columns = (Column(name="Id", type="text"), Column(name="x", type="text"), Column(name="ID", type="text"))
    with pytest.raises(ConfigurationError, match="'Id' and 'ID' are both called ID in Snowflake"):
        refuse_unloadable(columns, "csv")
