from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from mz_orchestration.exports.statistics import ColumnStatistics, Source, Statistics
from mz_orchestration.materialize.types import Column
from mz_orchestration.snowflake.checks import Wanted, findings, statistics_statement, wanted_of

TABLE = ("DEMO", "PUBLIC", 'O"RDERS')


def wanted(
    type: str, data_type: str, *, in_table: str = "C", decimals: int | None = None, **found: Any
) -> tuple[Wanted, ...]:
    fields = {name: found.pop(name) for name in ("scale", "cast", "length") if name in found}
    column = Column(name="c", type=type, **fields)
    statistics = Statistics(source=Source.FILES, columns=(ColumnStatistics(name="c", nulls=0, **found),))
    described = [{"column_name": in_table, "data_type": data_type, "numeric_scale": decimals}]
    chosen, missing = wanted_of((column,), 10, statistics, described)
    assert missing == []
    return chosen


NUMBERS: dict[str, Any] = {"minimum": "-1", "maximum": "5", "total": "9"}


@pytest.mark.parametrize(
    ("chosen", "values"),
    [
        (
            wanted("bigint", "NUMBER", **NUMBERS),
            'TO_VARCHAR(MIN("C")) AS "l0", TO_VARCHAR(MAX("C")) AS "h0", TO_VARCHAR(SUM("C")) AS "t0"',
        ),
        # What somebody made with quotes.
        (wanted("text", "TEXT", in_table="c"), ""),
        (
            wanted("text", "TEXT", minimum="a", maximum="b"),
            'MIN(HEX_ENCODE(SUBSTR("C", 1, 257))) AS "l0", MAX(HEX_ENCODE(SUBSTR("C", 1, 257))) AS "h0"',
        ),
        # A long one is not compared.
        (wanted("text", "TEXT", minimum="a"), 'MIN(HEX_ENCODE(SUBSTR("C", 1, 257))) AS "l0"'),
        (wanted("boolean", "BOOLEAN", total="3"), 'COUNT(CASE WHEN "C" THEN 1 END) AS "t0"'),
        (wanted("date", "DATE", minimum="2026-11-22"), 'MIN("C") AS "l0", MAX("C") AS "h0"'),
        (wanted("jsonb", "VARIANT"), ""),
        # Another type than the export's is not compared.
        (wanted("numeric", "NUMBER", cast="text", minimum="1", maximum="2"), ""),
        # Adding these could overflow on the way.
        (
            wanted("numeric", "NUMBER", scale=2, minimum="0", maximum="9" * 36, total="9" * 36),
            'TO_VARCHAR(MIN("C")) AS "l0", TO_VARCHAR(MAX("C")) AS "h0"',
        ),
        (
            wanted("numeric", "NUMBER", scale=2, decimals=37, minimum="0", maximum="9", total="9"),
            'TO_VARCHAR(MIN("C")) AS "l0", TO_VARCHAR(MAX("C")) AS "h0"',
        ),
        (
            wanted("double precision", "FLOAT", minimum="0.0", maximum="1e300", total="1e300"),
            'MIN("C") AS "l0", MAX("C") AS "h0"',
        ),
    ],
)
def test_the_statement(chosen: tuple[Wanted, ...], values: str) -> None:
    name = chosen[0].name
    nulls = f'COUNT(CASE WHEN "{name}" IS NULL THEN 1 END) AS "n0"'
    listed = ", ".join(filter(None, [nulls, values]))
    assert statistics_statement(TABLE, chosen) == f'SELECT {listed} FROM "DEMO"."PUBLIC"."O""RDERS"'


FLOATS: dict[str, Any] = {"minimum": "0.1", "maximum": "100.0", "total": "1000.0"}
ZONE = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("chosen", "row", "expected"),
    [
        (wanted("bigint", "NUMBER", **NUMBERS), {"l0": "-1", "h0": "5", "t0": "9"}, []),
        (wanted("numeric", "NUMBER", scale=2, **NUMBERS), {"l0": "-1.00", "h0": "5.00", "t0": "9.00"}, []),
        (
            wanted("bigint", "NUMBER", **NUMBERS),
            {"n0": 10, "l0": None, "h0": None, "t0": None},
            [
                "C: 0 NULLs in the files, 10 in Snowflake",
                "C: the smallest value is -1 in the files, none in Snowflake",
                "C: the largest value is 5 in the files, none in Snowflake",
                "C: the sum is 9 in the files, none in Snowflake",
            ],
        ),
        # Fifteen digits of a float are enough, and a sum may be off by what the order of adding makes.
        (wanted("double precision", "FLOAT", **FLOATS), {"l0": 0.1, "h0": 100.0, "t0": 1000.0 + 1e-12}, []),
        (
            wanted("double precision", "FLOAT", **FLOATS),
            {"l0": 0.1000000000001, "h0": 100.0, "t0": 1000.0 + 1e-10},
            [
                "C: the smallest value is 0.1 in the files, 0.1000000000001 in Snowflake",
                "C: the sum is 1000.0 in the files, 1000.0000000001 in Snowflake",
            ],
        ),
        # From CSV Snowflake has the double of the text, from Parquet that of four bytes.
        (wanted("real", "FLOAT", minimum="0.10000000149011612"), {"l0": 0.1, "h0": 1.0}, []),
        (wanted("real", "FLOAT", maximum="NaN"), {"l0": 0.1, "h0": float("nan")}, []),
        (
            wanted("real", "FLOAT", maximum="NaN"),
            {"h0": float("inf")},
            ["C: the largest value is NaN in the files, Infinity in Snowflake"],
        ),
        (wanted("text", "TEXT", minimum="", maximum="ä"), {"l0": "", "h0": "C3A4"}, []),
        (
            wanted("text", "TEXT", maximum="secret"),
            {"h0": "C3A4"},
            ["C: the largest value is another in the files than in Snowflake"],
        ),
        (
            wanted("timestamptz", "TIMESTAMP_TZ", minimum="2026-11-22T10:00:00.000000Z"),
            {"l0": datetime(2026, 11, 22, 12, tzinfo=ZONE)},
            [],
        ),
        # An instant that arrived as a wall clock is another value, whatever it shows.
        (
            wanted("timestamp", "TIMESTAMP_LTZ", minimum="2026-11-22T10:00:00.000000"),
            {"l0": datetime(2026, 11, 22, 10, tzinfo=UTC)},
            [
                "C: the smallest value is 2026-11-22T10:00:00.000000 in the files, "
                "2026-11-22T10:00:00.000000Z in Snowflake"
            ],
        ),
    ],
)
def test_findings(chosen: tuple[Wanted, ...], row: dict[str, Any], expected: list[str]) -> None:
    assert findings(Source.FILES, 10, chosen, {"n0": 0, **row}) == expected


def test_columns_are_found_by_name() -> None:
    columns = tuple(Column(name=name, type="integer") for name in ("a", "b", "c"))
    statistics = Statistics(
        source=Source.MATERIALIZE, columns=tuple(ColumnStatistics(name=each.name, nulls=0) for each in columns)
    )
    described: list[dict[str, Any]] = [
        {"column_name": name, "data_type": "NUMBER", "numeric_scale": 0} for name in ("A", "a", "Bb", "c", "Extra")
    ]
    chosen, missing = wanted_of(columns, 1, statistics, described)
    assert ([each.name for each in chosen], missing) == (["A", "c"], ["B is not in the table"])
    both = [*described, {"column_name": "C", "data_type": "NUMBER", "numeric_scale": 0}]
    assert [each.name for each in wanted_of(columns, 1, statistics, both)[0]] == ["A", "C"]
