"""Named file formats."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
import snowflake.connector


def refused(cursor: Any, sql: str, errno: int, text: str | None = None) -> None:
    with pytest.raises(snowflake.connector.errors.ProgrammingError, match=text) as caught:
        cursor.execute(sql)
    assert caught.value.errno == errno


@pytest.mark.parametrize(
    "reference",
    ["(FORMAT_NAME = 'FMT')", "(FORMAT_NAME = fmt)", "fmt", "'FMT'", "(FORMAT_NAME = 'DEMO.{schema}.FMT')",
     "DEMO.{schema}.fmt", "(FORMAT_NAME = DEMO.{schema}.FMT)"],
)  # fmt: skip
def test_a_copy_by_the_name_of_a_format(cursor: Any, connection: Any, bucket: Any, reference: str) -> None:
    cursor.execute("CREATE FILE FORMAT FMT TYPE = CSV FIELD_DELIMITER = '|' SKIP_HEADER = 1 NULL_IF = ('-')")
    cursor.execute("CREATE TABLE T (A VARCHAR, B VARCHAR)")
    bucket.put("a.csv", b"a|b\nx|-\n")
    cursor.execute(f"COPY INTO T FROM {bucket.stage} FILE_FORMAT = {reference.format(schema=connection.schema)}")
    assert cursor.execute("SELECT * FROM T").fetchall() == [("x", None)]


def test_a_format_of_the_stage(cursor: Any, bucket: Any) -> None:
    cursor.execute("CREATE FILE FORMAT FMT TYPE = PARQUET")
    for option in ("(TYPE = PARQUET)", "(FORMAT_NAME = 'FMT')"):
        cursor.execute(
            f"CREATE OR REPLACE STAGE S URL = 's3://mz-exports/{bucket.prefix}' "
            f"STORAGE_INTEGRATION = MZ_INTEGRATION FILE_FORMAT = {option}"
        )
        bucket.parquet("a.parquet", pa.table({"id": [1]}))
        cursor.execute("CREATE OR REPLACE TABLE T (ID NUMBER)")
        cursor.execute("COPY INTO T FROM @S MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE")
        assert cursor.execute("SELECT ID FROM T").fetchall() == [(1,)]


def test_create_show_describe_and_drop(cursor: Any, connection: Any) -> None:
    cursor.execute("CREATE FILE FORMAT F TYPE = PARQUET USE_LOGICAL_TYPE = TRUE COMMENT = 'as exported'")
    refused(cursor, "CREATE FILE FORMAT F TYPE = CSV", 2002)
    assert "already exists" in cursor.execute("CREATE FILE FORMAT IF NOT EXISTS F TYPE = CSV").fetchone()[0]
    described = {row[0]: row[1:] for row in cursor.execute("DESC FILE FORMAT F").fetchall()}
    assert described["TYPE"] == ("String", "PARQUET", "CSV")
    assert described["USE_LOGICAL_TYPE"] == ("Boolean", "true", "false")
    assert described["BINARY_AS_TEXT"] == ("Boolean", "true", "true")
    cursor.execute("SHOW FILE FORMATS")
    shown = [dict(zip([d[0] for d in cursor.description], row, strict=True)) for row in cursor.fetchall()]
    assert [(s["name"], s["schema_name"], s["type"], s["comment"]) for s in shown] == [
        ("F", connection.schema, "PARQUET", "as exported")
    ]
    assert json.loads(shown[0]["format_options"])["USE_LOGICAL_TYPE"] is True
    cursor.execute("CREATE OR REPLACE FILE FORMAT F")
    assert cursor.execute("SHOW FILE FORMATS LIKE 'f' IN SCHEMA").fetchall()[0][4] == "CSV"
    cursor.execute("DROP FILE FORMAT F")
    refused(cursor, "DROP FILE FORMAT F", 2003)
    assert "already dropped" in cursor.execute("DROP FILE FORMAT IF EXISTS F").fetchone()[0]


@pytest.mark.parametrize(
    ("options", "errno", "text"),
    [
        ("TYPE = JSON", 2, "JSON"),
        ("TYPE = CSV SKIP_HEADERS = 1", 2, "SKIP_HEADERS"),
        ("TYPE = CSV ENCODING = 'ISO-8859-1'", 2, "ENCODING"),
        ("TYPE = CSV FIELD_DELIMITER = NONE", 2, "FIELD_DELIMITER"),
        ("TYPE = CSV RECORD_DELIMITER = ''", 1008, "RECORD_DELIMITER"),
        ("TYPE = CSV DATE_FORMAT = 'DD.MM.YYYY'", 2, "DATE_FORMAT"),
        ("TYPE = CSV EMPTY_FIELD_AS_NULL = 'NO'", 1008, "EMPTY_FIELD_AS_NULL"),
        ("TYPE = PARQUET NULL_IF = ('x')", 2, "NULL_IF"),
        ("TYPE = CSV PARSE_HEADER = TRUE SKIP_HEADER = 1", 2301, "PARSE_HEADER"),
    ],
)
def test_a_format_that_cannot_be(cursor: Any, options: str, errno: int, text: str) -> None:
    refused(cursor, f"CREATE FILE FORMAT F {options}", errno, text)


def test_a_name_that_is_no_format(cursor: Any, bucket: Any) -> None:
    cursor.execute("CREATE TABLE T (A VARCHAR)")
    refused(cursor, f"COPY INTO T FROM {bucket.stage} FILE_FORMAT = (FORMAT_NAME = 'NOPE')", 2003, "NOPE")
    refused(cursor, f"COPY INTO T FROM {bucket.stage} FILE_FORMAT = NOPE", 2003, "File format")
