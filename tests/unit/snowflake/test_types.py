from __future__ import annotations

from typing import Any

import pytest

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.materialize.types import EXPORTABLE_TYPES, Column, with_casts
from mz_orchestration.snowflake.quoting import Sql
from mz_orchestration.snowflake.types import (
    column_name,
    csv_expression,
    ddl_type,
    exact_number,
    needs_transform,
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
        (column("timestamptz"), "TIMESTAMP_LTZ(6)", '$1:"c"::TIMESTAMP_LTZ(6)', "$2::TIMESTAMP_LTZ(6)"),
        (column("date"), "DATE", '$1:"c"::DATE', "$2::DATE"),
        (column("time"), "TIME(6)", '$1:"c"::TIME(6)', "$2::TIME(6)"),
        (column("real"), "FLOAT", '$1:"c"::FLOAT', "REPLACE($2, 'Infinity', 'inf')::FLOAT"),
        (column("boolean"), "BOOLEAN", '$1:"c"::BOOLEAN', "$2"),
        (column("mz_timestamp"), "NUMBER(38,0)", '$1:"c"::NUMBER(38,0)', "$2"),
        (column("varchar", length=20), "VARCHAR(20)", '$1:"c"::VARCHAR', "$2"),
        (column("char", length=3), "VARCHAR(3)", '$1:"c"::VARCHAR', "$2"),
        (column("uuid", cast="text"), "VARCHAR(36)", '$1:"c"::VARCHAR', "$2"),
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
        (column("text", cast="varchar(8)"), "VARCHAR(8)", '$1:"c"::VARCHAR', "$2"),
        (
            column("timestamptz", cast="timestamp"),
            "TIMESTAMP_NTZ(6)",
            '$1:"c"::TIMESTAMP_NTZ(6)',
            "$2::TIMESTAMP_NTZ(6)",
        ),
        (column("type with oid 99", cast="text"), "VARCHAR", '$1:"c"::VARCHAR', "$2"),
        (column("bytea"), "BINARY", '$1:"c"::BINARY', "TO_BINARY(SUBSTR($2, 3), 'HEX')"),
    ],
)
def test_each_type_keeps_its_meaning(given: Column, ddl: str, parquet: str, csv: str) -> None:
    assert (ddl_type(given), parquet_expression(given), csv_expression(given, 2)) == (ddl, parquet, csv)


def test_what_a_number_as_text_becomes() -> None:
    assert exact_number(Sql("$2"), 12, 2) == (
        "IFF(LENGTH(RTRIM(SPLIT_PART($2, '.', 2), '0')) > 2, $2 || ' has too many decimals', $2)::NUMBER(12,2)"
    )


@pytest.mark.parametrize(
    ("given", "transformed"),
    [
        (column("bigint"), False),
        (column("timestamptz"), False),
        (column("map"), False),
        (column("text"), True),
        (column("uuid", cast="text"), True),
        (column("jsonb"), True),
        (Column(name="größe", type="bigint"), True),
    ],
)
def test_what_cannot_be_matched_by_name(given: Column, transformed: bool) -> None:
    assert needs_transform(given) is transformed


@pytest.mark.parametrize(
    ("name", "there"),
    [("id", "ID"), ("Größe", "GRÖßE"), ("ǰ" * 127, "ǰ" * 127), ("ключ", "КЛЮЧ"), ("ﬁ", "ﬁ")],
)
def test_names_in_upper_case_get_no_longer(name: str, there: str) -> None:
    assert column_name(Column(name=name, type="text")) == there


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
