"""INFER_SCHEMA, and tables made from what it finds."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import pyarrow as pa
import pytest
import snowflake.connector

COLUMNS = ["COLUMN_NAME", "TYPE", "NULLABLE", "EXPRESSION", "FILENAMES", "ORDER_ID"]


@pytest.fixture
def fmt(cursor: Any) -> str:
    cursor.execute("CREATE FILE FORMAT FMT TYPE = PARQUET USE_LOGICAL_TYPE = TRUE BINARY_AS_TEXT = FALSE")
    return "FMT"


def infer(cursor: Any, bucket: Any, more: str = "") -> list[Any]:
    return list(
        cursor.execute(
            f"SELECT * FROM TABLE(INFER_SCHEMA(LOCATION => '{bucket.stage}', FILE_FORMAT => 'FMT'{more}))"
        ).fetchall()
    )


def test_the_columns_of_parquet_files(cursor: Any, bucket: Any, fmt: str) -> None:
    moment = dt.datetime(2026, 11, 22)
    fields = {
        "id": (pa.int64(), 1, "NUMBER(38, 0)"),
        "Mixed Case": (pa.string(), "x", "TEXT"),
        "amount": (pa.decimal128(38, 2), decimal.Decimal("1.00"), "NUMBER(38, 2)"),
        "real": (pa.float32(), 1.5, "REAL"),
        "flag": (pa.bool_(), True, "BOOLEAN"),
        "day": (pa.date32(), moment.date(), "DATE"),
        "clock": (pa.time64("us"), moment.time(), "TIME"),
        "ntz": (pa.timestamp("us"), moment, "TIMESTAMP_NTZ"),
        "ltz": (pa.timestamp("us", "+00:00"), moment, "TIMESTAMP_LTZ"),
        "raw": (pa.binary(), b"x", "BINARY"),
        "tags": (pa.list_(pa.string()), ["x"], "VARIANT"),
    }
    schema = pa.schema([pa.field(n, t, nullable=n != "id") for n, (t, _, _) in fields.items()])
    table = pa.Table.from_pydict({n: [v] for n, (_, v, _) in fields.items()}, schema=schema)
    bucket.parquet("a.parquet", table)
    found = infer(cursor, bucket)
    assert [d[0] for d in cursor.description] == COLUMNS
    assert [(row[0], row[1], row[2], row[5]) for row in found] == [
        (name, shown, name != "id", i) for i, (name, (_, _, shown)) in enumerate(fields.items())
    ]
    key = bucket.prefix + "a.parquet"
    assert found[0][3:5] == ("$1:id::NUMBER(38, 0)", key)
    assert found[1][3] == '$1:"Mixed Case"::TEXT'
    upper = infer(cursor, bucket, ", IGNORE_CASE => TRUE")
    assert upper[1][:4] == ("MIXED CASE", "TEXT", True, "GET_IGNORE_CASE ($1, 'MIXED CASE')::TEXT")


def test_files_are_merged_or_picked(cursor: Any, bucket: Any, fmt: str) -> None:
    bucket.parquet("a.parquet", pa.table({"id": [1], "x": ["y"]}))
    bucket.parquet("b.parquet", pa.table({"id": ["1"], "z": [1]}))
    a, b = bucket.prefix + "a.parquet", bucket.prefix + "b.parquet"
    assert [(row[0], row[1], row[4]) for row in infer(cursor, bucket)] == [
        ("id", "TEXT", f"{a}, {b}"),
        ("x", "TEXT", a),
        ("z", "NUMBER(38, 0)", b),
    ]
    for files in ("('a.parquet')", "'a.parquet'"):
        assert [row[0] for row in infer(cursor, bucket, f", FILES => {files}")] == ["id", "x"]
    assert len(infer(cursor, bucket, ", FILES => ('a.parquet', 'b.parquet')")) == 3


def test_a_csv_header_and_its_values(cursor: Any, bucket: Any) -> None:
    cursor.execute("CREATE FILE FORMAT FMT TYPE = CSV PARSE_HEADER = TRUE FIELD_OPTIONALLY_ENCLOSED_BY = '\"'")
    bucket.put("a.csv", b'id,"Name",day,empty\n1,x,2026-11-22,\n2,"2",2026-11-23,\n')
    assert [row[:4] for row in infer(cursor, bucket)] == [
        ("id", "NUMBER(38, 0)", True, "$1::NUMBER(38, 0)"),
        ("Name", "TEXT", True, "$2::TEXT"),
        ("day", "DATE", True, "$3::DATE"),
        ("empty", "TEXT", True, "$4::TEXT"),
    ]


def test_a_table_from_a_template(cursor: Any, bucket: Any, fmt: str) -> None:
    bucket.parquet("a.parquet", pa.table({"id": [1], "Mixed Case": ["x"], "amount": [decimal.Decimal("1.25")]}))
    cursor.execute(
        "CREATE TABLE T USING TEMPLATE (SELECT ARRAY_AGG(OBJECT_CONSTRUCT(*)) WITHIN GROUP (ORDER BY ORDER_ID) FROM "
        f"TABLE(INFER_SCHEMA(LOCATION => '{bucket.stage}', FILE_FORMAT => 'FMT')))"
    )
    assert [row[:2] for row in cursor.execute("DESC TABLE T").fetchall()] == [
        ("id", "NUMBER(38,0)"),
        ("Mixed Case", "VARCHAR(16777216)"),
        ("amount", "NUMBER(3,2)"),
    ]
    copy = f"COPY INTO T FROM {bucket.stage} FILE_FORMAT = (FORMAT_NAME = 'FMT')"
    cursor.execute(f"{copy} MATCH_BY_COLUMN_NAME = CASE_SENSITIVE")
    assert cursor.execute('SELECT "id", "Mixed Case", "amount" FROM T').fetchall() == [
        (1, "x", decimal.Decimal("1.25"))
    ]


def test_what_cannot_be_inferred(cursor: Any, bucket: Any, fmt: str) -> None:
    with pytest.raises(snowflake.connector.errors.ProgrammingError) as missing:
        infer(cursor, bucket)
    assert missing.value.errno == 91016
    bucket.put("torn.parquet", b"PAR1")
    with pytest.raises(snowflake.connector.errors.ProgrammingError, match=r"torn[.]parquet") as torn:
        infer(cursor, bucket)
    assert torn.value.errno == 100069
    with pytest.raises(snowflake.connector.errors.ProgrammingError, match="NOPE") as unknown:
        cursor.execute(f"SELECT * FROM TABLE(INFER_SCHEMA(LOCATION => '{bucket.stage}', FILE_FORMAT => 'NOPE'))")
    assert unknown.value.errno == 2003
    with pytest.raises(snowflake.connector.errors.ProgrammingError, match="OBJECT_CONSTRUCT"):
        cursor.execute("CREATE TABLE T USING TEMPLATE (SELECT 1)")
