"""COPY INTO of very many small files."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import snowflake.connector

PARQUET = "FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE"
COUNT = 300
CHUNK = 260


def parquet(value: int) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"id": [value], "name": [f"n{value}"]}), out)
    return out.getvalue()


def test_chunks_in_one_transaction(cursor: Any, other: Any, bucket: Any) -> None:
    names = [f"mz-u1-batch-{i:04}-0000.parquet" for i in range(COUNT)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: bucket.put(names[i], parquet(i)), range(COUNT)))
    cursor.execute("CREATE TABLE T (ID NUMBER, NAME VARCHAR, SRC VARCHAR)")
    cursor.execute("BEGIN")
    loaded: list[Any] = []
    for first in range(0, COUNT, CHUNK):
        files = ", ".join(f"'{name}'" for name in names[first : first + CHUNK])
        cursor.execute(
            f"COPY INTO T FROM {bucket.stage} FILES = ({files}) {PARQUET} INCLUDE_METADATA = (SRC = METADATA$FILENAME)"
        )
        loaded += cursor.fetchall()
    assert other.execute("SELECT COUNT(*) FROM T").fetchone() == (0,)
    cursor.execute("COMMIT")
    assert [(row[0].rpartition("/")[2], *row[1:4]) for row in loaded] == [(name, "LOADED", 1, 1) for name in names]
    wrong = "SRC <> '" + bucket.prefix + "mz-u1-batch-' || LPAD(ID::VARCHAR, 4, '0') || '-0000.parquet'"
    assert cursor.execute(f"SELECT COUNT(DISTINCT ID), COUNT_IF({wrong}) FROM T").fetchone() == (COUNT, 0)


def test_files_of_several_schemas_one_after_the_other(cursor: Any, bucket: Any) -> None:
    for i in range(12):
        kind = [pa.int64(), pa.int64(), pa.string()][i % 3]
        bucket.parquet(
            f"{i:02}.parquet", pa.table({"id": pa.array([str(i)]).cast(kind)} | ({"x": ["y"]} if i > 8 else {}))
        )
    cursor.execute("CREATE TABLE T (ID NUMBER, X VARCHAR)")
    answer = cursor.execute(f"COPY INTO T FROM {bucket.stage} {PARQUET}").fetchall()
    assert [row[1:4] for row in answer] == [("LOADED", 1, 1)] * 12
    assert cursor.execute("SELECT SUM(ID), COUNT(X) FROM T").fetchone() == (66, 3)


def test_the_faulty_file_of_many_is_named(cursor: Any, bucket: Any) -> None:
    for i in range(30):
        bucket.parquet(f"{i:02}.parquet", pa.table({"id": ["1", "x" if i == 17 else "2"]}))
    cursor.execute("CREATE TABLE T (ID NUMBER)")
    with pytest.raises(snowflake.connector.errors.ProgrammingError, match=r"17[.]parquet', line 2") as caught:
        cursor.execute(f"COPY INTO T FROM {bucket.stage} {PARQUET}")
    assert "Row 2" in str(caught.value)
    assert cursor.execute("SELECT COUNT(*) FROM T").fetchone() == (0,)
