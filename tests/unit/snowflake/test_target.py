from __future__ import annotations

from typing import Any

import pytest

from mz_orchestration.materialize.types import Column
from mz_orchestration.snowflake.target import TargetColumn, fitting_cast, misfit, target_column
from mz_orchestration.snowflake.types import ddl_type


def column(type: str, **more: Any) -> Column:
    return Column(name="c", type=type, **more)


def number(digits: int, scale: int) -> TargetColumn:
    return TargetColumn("C", "NUMBER", scale, digits=digits)


def varchar(length: int | None) -> TargetColumn:
    return TargetColumn("C", "TEXT", length=length)


@pytest.mark.parametrize(
    ("given", "there"),
    [
        (column("bigint"), number(19, 0)),
        (column("bigint"), number(38, 19)),
        (column("smallint"), number(5, 0)),
        (column("numeric", scale=2), number(10, 4)),
        (column("numeric", scale=2), TargetColumn("C", "NUMBER", 2)),
        (column("uint8", cast="numeric(20,0)"), number(20, 0)),
        (column("uuid", cast="text"), varchar(36)),
        (column("uuid", cast="text"), varchar(None)),
        (column("text"), varchar(10)),
        (column("varchar", length=20), varchar(16_777_216)),
        (column("varchar", length=20), varchar(134_217_728)),
        (column("timestamptz"), TargetColumn("C", "TIMESTAMP_TZ", None, 9)),
        (column("timestamp"), TargetColumn("C", "TIMESTAMP_NTZ", None, 6)),
        (column("date"), TargetColumn("C", "DATE")),
        (column("text", array=True, cast="jsonb"), TargetColumn("C", "VARIANT")),
        (column("map"), TargetColumn("C", "OBJECT")),
    ],
)
def test_what_fits(given: Column, there: TargetColumn) -> None:
    assert misfit(ddl_type(given), given, there) is None


@pytest.mark.parametrize(
    ("given", "there", "reason"),
    [
        (column("bigint"), number(10, 0), "holds 10 digits before the point, the export has up to 19: NUMBER(19,0)"),
        (column("bigint"), number(20, 2), "holds 18 digits before the point, the export has up to 19: NUMBER(21,2)"),
        (column("uint8", cast="numeric(20,0)"), number(19, 0), "NUMBER(20,0) fits"),
        (column("mz_timestamp"), number(13, 0), "NUMBER(20,0) fits"),
        (column("numeric", cast="bigint"), number(10, 0), "NUMBER(19,0) fits"),
        (column("numeric", scale=2), number(38, 0), "keeps 0 decimals, the export has 2"),
        (column("numeric"), number(38, 2), "keeps 2 decimals, the export has 10"),
        (column("numeric", scale=2), TargetColumn("C", "FLOAT"), "the export needs NUMBER(38,2)"),
        (column("uuid", cast="text"), varchar(32), "the export has up to 36 characters"),
        (column("varchar", length=50), varchar(20), "the export has up to 50 characters"),
        (column("time"), TargetColumn("C", "TIME", None, 0), "keeps 0 decimals of a second, the export has 6"),
        (column("timestamptz"), TargetColumn("C", "TIMESTAMP_NTZ", None, 9), "the export needs TIMESTAMP_LTZ(6)"),
        (column("jsonb"), TargetColumn("C", "OBJECT"), "the export needs VARIANT"),
        (column("text"), TargetColumn("C", "GEOGRAPHY"), "the export needs VARCHAR"),
    ],
)
def test_what_would_be_lost_or_fail(given: Column, there: TargetColumn, reason: str) -> None:
    found = misfit(ddl_type(given), given, there)
    assert found is not None
    assert found.startswith("in the table")
    assert reason in found


@pytest.mark.parametrize(
    ("given", "there", "cast"),
    [
        (column("bigint"), varchar(None), "--cast c=text"),
        (column("text", array=True, cast="jsonb"), varchar(None), "--cast c=text"),
        (column("double precision"), number(38, 2), "--cast 'c=numeric(38,2)' (rounds)"),
        (column("numeric", scale=4), number(38, 2), "--cast 'c=numeric(38,2)' (rounds)"),
        (column("numeric", scale=4), TargetColumn("C", "FLOAT"), "--cast 'c=double precision' (rounds)"),
        (column("timestamptz"), TargetColumn("C", "TIMESTAMP_NTZ", None, 9), "--cast c=timestamp (in UTC)"),
        (column("timestamp"), TargetColumn("C", "TIMESTAMP_LTZ", None, 9), "--cast c=timestamptz (taken for UTC)"),
        (column("varchar", length=50), varchar(20), None),
        (column("bigint"), number(10, 0), None),
        (column("numeric", array=True, cast="jsonb"), number(38, 0), None),
    ],
)
def test_the_export_that_would_fit(given: Column, there: TargetColumn, cast: str | None) -> None:
    assert fitting_cast(given, there) == cast


@pytest.mark.parametrize(
    ("there", "type"),
    [
        (number(10, 2), "NUMBER(10,2)"),
        (TargetColumn("C", "NUMBER"), "NUMBER(38,0)"),
        (varchar(20), "VARCHAR(20)"),
        (varchar(16_777_216), "VARCHAR"),
        (TargetColumn("C", "TIMESTAMP_NTZ", None, 9), "TIMESTAMP_NTZ(9)"),
        (TargetColumn("C", "VARIANT"), "VARIANT"),
    ],
)
def test_types_as_one_writes_them(there: TargetColumn, type: str) -> None:
    assert there.type == type


def test_a_row_of_the_information_schema() -> None:
    row = {
        "column_name": "ID",
        "data_type": "NUMBER",
        "numeric_precision": 10,
        "numeric_scale": 0,
        "datetime_precision": None,
        "character_maximum_length": None,
        "is_nullable": "NO",
        "column_default": None,
        "is_identity": "YES",
    }
    assert target_column(row) == TargetColumn("ID", "NUMBER", 0, digits=10, nullable=False, default="IDENTITY")
    text = row | {"is_identity": "NO", "is_nullable": "YES", "column_default": "'x'"}
    assert (target_column(text).nullable, target_column(text).default) == (True, "'x'")
