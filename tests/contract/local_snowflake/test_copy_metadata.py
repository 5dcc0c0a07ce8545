"""COPY INTO: which file and row a row comes from."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
import snowflake.connector

PARQUET = "FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE)"
MATCH = f"{PARQUET} MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE"
CSV = "FILE_FORMAT = (TYPE = CSV FIELD_OPTIONALLY_ENCLOSED_BY = '\"' SKIP_HEADER = 1)"
TABLE = (
    "CREATE TABLE T (ID NUMBER, SRC VARCHAR, ROW_NO NUMBER, CHANGED TIMESTAMP_NTZ, CONTENT VARCHAR, "
    "SCANNED TIMESTAMP_LTZ, RUN VARCHAR, N NUMBER(9,2))"
)
ALL = (
    "INCLUDE_METADATA = (SRC = METADATA$FILENAME, ROW_NO = METADATA$FILE_ROW_NUMBER, "
    "CHANGED = METADATA$FILE_LAST_MODIFIED, CONTENT = METADATA$FILE_CONTENT_KEY, SCANNED = METADATA$START_SCAN_TIME)"
)


def stored(bucket: Any, name: str) -> tuple[str, dt.datetime, str]:
    """Key, time without zone, and content key of an object."""
    head = bucket.client.head_object(Bucket="mz-exports", Key=bucket.prefix + name)
    return bucket.prefix + name, head["LastModified"].astimezone(dt.UTC).replace(tzinfo=None), head["ETag"].strip('"')


@pytest.fixture
def before(cursor: Any) -> dt.datetime:
    cursor.execute(TABLE)
    return dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)


def test_columns_filled_from_the_file_beside_those_matched_by_name(
    cursor: Any, bucket: Any, before: dt.datetime
) -> None:
    for name, ids in (("a.parquet", [10, 11]), ("b.parquet", [20, 21, 22])):
        bucket.parquet(name, pa.table({"id": ids, "src": ["from the file"] * len(ids)}))
    cursor.execute(f"COPY INTO T FROM {bucket.stage} {MATCH} {ALL}")
    found = cursor.execute("SELECT * FROM T ORDER BY ID").fetchall()
    assert [row[:3] for row in found] == [
        (10, bucket.prefix + "a.parquet", 1),
        (11, bucket.prefix + "a.parquet", 2),
        (20, bucket.prefix + "b.parquet", 1),
        (21, bucket.prefix + "b.parquet", 2),
        (22, bucket.prefix + "b.parquet", 3),
    ]
    for row, name in ((found[0], "a.parquet"), (found[-1], "b.parquet")):
        assert (row[1], row[3], row[4]) == stored(bucket, name)
    assert all(before <= row[5] <= dt.datetime.now(dt.UTC) for row in found)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_select_of_metadata_and_constants(cursor: Any, bucket: Any, before: dt.datetime, kind: str) -> None:
    if kind == "parquet":
        bucket.parquet("a", pa.table({"id": [10, 11]}))
        bucket.parquet("b", pa.table({"id": [20]}))
    else:
        bucket.put("a", b"id\n10\n11\n")
        bucket.put("b", b"id\n20\n")
    value, fmt = ('$1:"id"', PARQUET) if kind == "parquet" else ("$1", CSV)
    cursor.execute(
        f"COPY INTO T FROM (SELECT {value}::NUMBER(38,0), METADATA$FILENAME, METADATA$FILE_ROW_NUMBER, "
        "METADATA$FILE_LAST_MODIFIED, METADATA$FILE_CONTENT_KEY, METADATA$START_SCAN_TIME, "
        f"'run ''7'''::VARCHAR, 1.5::NUMBER(9,2) FROM {bucket.stage}) {fmt}"
    )
    found = cursor.execute("SELECT * FROM T ORDER BY ID").fetchall()
    assert [row[:3] for row in found] == [
        (10, bucket.prefix + "a", 1),
        (11, bucket.prefix + "a", 2),
        (20, bucket.prefix + "b", 1),
    ]
    assert (found[2][1], found[2][3], found[2][4]) == stored(bucket, "b")
    assert found[0][5] >= before
    assert {(row[6], float(row[7])) for row in found} == {("run '7'", 1.5)}


def test_a_quoted_column_and_a_faulty_row(cursor: Any, bucket: Any) -> None:
    bucket.put("a.csv", b"id\n1\nx\n3\n")
    cursor.execute('CREATE TABLE T ("Row No" NUMBER, ID NUMBER)')
    header = "FILE_FORMAT = (TYPE = CSV PARSE_HEADER = TRUE ERROR_ON_COLUMN_COUNT_MISMATCH = FALSE)"
    cursor.execute(
        f"COPY INTO T FROM {bucket.stage} {header} MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE ON_ERROR = CONTINUE "
        'INCLUDE_METADATA = ("Row No" = METADATA$FILE_ROW_NUMBER)'
    )
    assert cursor.execute("SELECT * FROM T ORDER BY 1").fetchall() == [(1, 1), (3, 3)]


@pytest.mark.parametrize(
    ("options", "errno"),
    [
        (f"{PARQUET} INCLUDE_METADATA = (SRC = METADATA$FILENAME)", 2301),
        (f"{MATCH} INCLUDE_METADATA = (NOPE = METADATA$FILENAME)", 904),
        (f"{MATCH} INCLUDE_METADATA = (SRC = METADATA$OWNER)", 1008),
    ],
)
def test_metadata_where_there_is_none(cursor: Any, bucket: Any, before: dt.datetime, options: str, errno: int) -> None:
    bucket.parquet("a.parquet", pa.table({"id": [1]}))
    with pytest.raises(snowflake.connector.errors.ProgrammingError) as caught:
        cursor.execute(f"COPY INTO T FROM {bucket.stage} {options}")
    assert caught.value.errno == errno
