from __future__ import annotations

from typing import Any

import pytest

from mz_orchestration.materialize.types import Column
from mz_orchestration.snowflake.types import (
    TargetColumn,
    csv_expression,
    ddl_type,
    differences,
    parquet_expression,
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
        (column("text", array=True), "ARRAY", 'PARSE_JSON($1:"c"::VARCHAR)::ARRAY', "PARSE_JSON($2)::ARRAY"),
        (column("bytea"), "BINARY", '$1:"c"::BINARY', "TO_BINARY(SUBSTR($2, 3), 'HEX')"),
    ],
)
def test_each_type_keeps_its_meaning(given: Column, ddl: str, parquet: str, csv: str) -> None:
    assert (ddl_type(given), parquet_expression(given), csv_expression(given, 2)) == (ddl, parquet, csv)


def test_a_table_that_fits() -> None:
    columns = (Column(name="id", type="bigint"), Column(name="total", type="numeric", scale=2))
    table = [TargetColumn("TOTAL", "NUMBER", 4), TargetColumn("ID", "NUMBER", 0)]
    assert differences(columns, table) == []


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
