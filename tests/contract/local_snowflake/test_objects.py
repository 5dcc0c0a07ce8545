"""Databases, schemas, tables, stages and integrations, and what describes them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import snowflake.connector


def values(cursor: Any, sql: str) -> list[Any]:
    return list(cursor.execute(sql).fetchall())


def fails(cursor: Any, sql: str, errno: int, text: str = "") -> None:
    with pytest.raises(snowflake.connector.errors.DatabaseError) as caught:
        cursor.execute(sql)
    assert caught.value.errno == errno, caught.value
    assert text in str(caught.value)


def by_name(cursor: Any, sql: str) -> list[dict[str, Any]]:
    cursor.execute(sql)
    names = [d[0] for d in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def test_names_follow_snowflakes_rules(cursor: Any, connection: Any) -> None:
    cursor.execute('CREATE TABLE Orders (Id NUMBER, "id" NUMBER, "a ""b" VARCHAR)')
    cursor.execute('INSERT INTO orders (ID, "id", "a ""b") VALUES (1, 2, \'x\')')
    cursor.execute(f'SELECT iD, o."id", "a ""b", id AS Mixed, id AS "kept" FROM DEMO.{connection.schema}.ORDERS o')
    assert [d[0] for d in cursor.description] == ["ID", "id", 'a "b', "MIXED", "kept"]
    assert cursor.fetchall() == [(1, 2, "x", 1, 1)]
    fails(cursor, 'SELECT * FROM "orders"', 2003, "orders")
    fails(cursor, 'SELECT "Id" FROM ORDERS', 904, "Id")
    cursor.execute('CREATE TABLE "orders" (A NUMBER)')
    assert values(cursor, 'SELECT COUNT(*) FROM "orders"') == [(0,)]


def test_create_drop_and_their_errors(cursor: Any) -> None:
    cursor.execute("CREATE TABLE T (A NUMBER)")
    fails(cursor, "CREATE TABLE T (A NUMBER)", 2002, "already exists")
    cursor.execute("CREATE TABLE IF NOT EXISTS T (B NUMBER)")
    assert values(cursor, "SELECT A FROM T") == []
    cursor.execute("CREATE OR REPLACE TRANSIENT TABLE T (B NUMBER DEFAULT 7, C VARCHAR NOT NULL) COMMENT = 'it''s'")
    cursor.execute("INSERT INTO T (C) VALUES ('x')")
    assert values(cursor, "SELECT * FROM T") == [(7, "x")]
    cursor.execute("DROP TABLE T")
    cursor.execute("DROP TABLE IF EXISTS T")
    fails(cursor, "DROP TABLE T", 2003, "does not exist or not authorized")
    fails(cursor, "CREATE TABLE NOPE.PUBLIC.T (A NUMBER)", 2003, "NOPE")
    fails(cursor, "CREATE TABLE T (A NOTATYPE)", 2040, "NOTATYPE")
    fails(cursor, "CREATE TABLE T (A NUMBER, a NUMBER)", 2025, "duplicate column name 'A'")


def test_create_table_as_keeps_types_and_rolls_nothing_half_done(cursor: Any) -> None:
    cursor.execute(
        "CREATE TABLE T AS SELECT 1::NUMBER(5,2) N, 'x' S, PARSE_JSON('[1]')::ARRAY A, CURRENT_TIMESTAMP() TS"
    )
    assert [r["type"] for r in by_name(cursor, "DESC TABLE T")] == [
        "NUMBER(5,2)",
        "VARCHAR(16777216)",
        "ARRAY",
        "TIMESTAMP_LTZ(9)",
    ]
    fails(cursor, "CREATE TABLE U AS SELECT 'x'::NUMBER N", 100038)
    fails(cursor, "SELECT * FROM U", 2003)


def test_swap_exchanges_rows_comments_and_columns(cursor: Any, other: Any, connection: Any) -> None:
    cursor.execute("CREATE TABLE LIVE (A NUMBER) COMMENT = 'old'")
    cursor.execute("INSERT INTO LIVE VALUES (1)")
    cursor.execute("CREATE TABLE NEXT_ (A NUMBER, B VARCHAR) COMMENT = 'new'")
    cursor.execute("INSERT INTO NEXT_ VALUES (2, 'b')")
    schema = connection.schema
    cursor.execute(f'ALTER TABLE "DEMO"."{schema}"."LIVE" SWAP WITH "DEMO"."{schema}"."NEXT_"')
    assert values(other, "SELECT * FROM LIVE") == [(2, "b")]
    assert values(other, "SELECT * FROM NEXT_") == [(1,)]
    comments = values(
        cursor, f"SELECT TABLE_NAME, COMMENT FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = '{schema}' ORDER BY 1"
    )
    assert comments == [("LIVE", "new"), ("NEXT_", "old")]
    fails(cursor, "ALTER TABLE LIVE SWAP WITH NOPE", 2003, "NOPE")
    assert values(cursor, "SELECT A FROM LIVE") == [(2,)]


def test_rename_and_alter_columns(cursor: Any, connection: Any) -> None:
    cursor.execute("CREATE TABLE T (A NUMBER, B VARCHAR(2))")
    cursor.execute("INSERT INTO T VALUES (1, 'b')")
    cursor.execute(f'ALTER TABLE T RENAME TO "DEMO"."{connection.schema}"."new name"')
    fails(cursor, "SELECT * FROM T", 2003)
    cursor.execute('ALTER TABLE "new name" RENAME TO T')
    cursor.execute("ALTER TABLE T ADD COLUMN C DATE")
    cursor.execute("ALTER TABLE T DROP COLUMN B")
    cursor.execute("ALTER TABLE T RENAME COLUMN A TO Z")
    cursor.execute("SELECT * FROM T")
    assert ([d[0] for d in cursor.description], cursor.fetchall()) == (["Z", "C"], [(1, None)])
    fails(cursor, "ALTER TABLE T ADD COLUMN Z DATE", 1430, "already exists")
    cursor.execute("ALTER TABLE T ADD COLUMN IF NOT EXISTS Z DATE")
    fails(cursor, "ALTER TABLE T DROP COLUMN NOPE", 904, "NOPE")
    cursor.execute("CREATE TABLE U (A NUMBER)")
    fails(cursor, "ALTER TABLE T RENAME TO U", 2002, "already exists")


def test_like_and_comment(cursor: Any) -> None:
    cursor.execute("CREATE TABLE T (A NUMBER NOT NULL, B VARCHAR(2) DEFAULT 'd')")
    cursor.execute("INSERT INTO T (A) VALUES (1)")
    cursor.execute("CREATE TRANSIENT TABLE U LIKE T")
    cursor.execute('COMMENT ON TABLE U IS \'{"run": "r1"}\'')
    row = by_name(cursor, "SHOW TABLES LIKE 'u'")[0]
    assert (row["name"], row["kind"], row["rows"], json.loads(row["comment"])) == ("U", "TRANSIENT", 0, {"run": "r1"})
    fails(cursor, "INSERT INTO U (A) VALUES (NULL)", 100072)
    cursor.execute("INSERT INTO U (A) VALUES (5)")
    assert values(cursor, "SELECT * FROM U") == [(5, "d")]


def test_information_schema_spells_types_as_snowflake(cursor: Any, connection: Any) -> None:
    cursor.execute(
        "CREATE TABLE T (A INT, B NUMBER(10,2) NOT NULL, C VARCHAR(5), D DOUBLE, E TIMESTAMP, F TIMESTAMP_LTZ, "
        "G VARIANT, H ARRAY, I OBJECT, J BINARY, K BOOLEAN, L DATE, M TIME, N STRING, O TIMESTAMP_TZ(3))"
    )
    found = values(
        cursor,
        "SELECT COLUMN_NAME, DATA_TYPE, IS_NULLABLE, NUMERIC_PRECISION, NUMERIC_SCALE, CHARACTER_MAXIMUM_LENGTH, "
        f"ORDINAL_POSITION FROM DEMO.INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = '{connection.schema}' "
        "AND TABLE_NAME = 'T' ORDER BY ORDINAL_POSITION",
    )
    assert [row[1] for row in found] == [
        "NUMBER", "NUMBER", "TEXT", "FLOAT", "TIMESTAMP_NTZ", "TIMESTAMP_LTZ", "VARIANT", "ARRAY", "OBJECT", "BINARY",
        "BOOLEAN", "DATE", "TIME", "TEXT", "TIMESTAMP_TZ",
    ]  # fmt: skip
    assert found[0] == ("A", "NUMBER", "YES", 38, 0, None, 1)
    assert found[1] == ("B", "NUMBER", "NO", 10, 2, None, 2)
    assert found[2][5] == 5
    kinds = values(
        cursor,
        "SELECT TABLE_TYPE, IS_TRANSIENT, ROW_COUNT FROM INFORMATION_SCHEMA.TABLES "
        f"WHERE TABLE_SCHEMA = '{connection.schema}'",
    )
    assert kinds == [("BASE TABLE", "NO", 0)]


def test_temporary_tables_belong_to_a_session(cursor: Any, other: Any) -> None:
    cursor.execute("CREATE TABLE T (A NUMBER)")
    cursor.execute("CREATE TEMPORARY TABLE T (B NUMBER)")
    cursor.execute("INSERT INTO T (B) VALUES (1)")
    assert values(other, "SELECT A FROM T") == []
    cursor.execute("DROP TABLE T")
    assert values(cursor, "SELECT A FROM T") == []


def test_queries_snowflake_style(cursor: Any) -> None:
    cursor.execute("CREATE TABLE T (ID NUMBER, V VARIANT)")
    cursor.execute('INSERT INTO T SELECT 1, PARSE_JSON(\'{"a": {"b": [10, "x"]}, "n": null}\')')
    paths = "V:a.b[0]::int, V:a.b[1]::string, V['a']['b'][0]::number(5,1), V:n::string, ARRAY_SIZE(V:a.b), V:missing"
    fails(cursor, "SELECT V:a.b[1]::number FROM T", 100071, "Failed to cast variant value")
    assert values(cursor, f"SELECT {paths} FROM T") == [(10, "x", 10, None, 2, None)]
    assert values(cursor, "SELECT F.VALUE::string FROM T, LATERAL FLATTEN(INPUT => T.V:a.b) F ORDER BY F.INDEX") == [
        ("10",),
        ("x",),
    ]
    assert values(cursor, "SELECT COLUMN1 + COLUMN2 FROM VALUES (1, 2), (3, 4) ORDER BY 1") == [(3,), (7,)]
    cursor.execute("SHOW TABLES")
    assert values(cursor, 'SELECT "name" FROM TABLE(RESULT_SCAN(LAST_QUERY_ID()))') == [("T",)]
    fails(cursor, "INSERT INTO T (V) VALUES (PARSE_JSON('{}'))", 2014, "VALUES clause")
    fails(cursor, "INSERT INTO T SELECT 1, '{}'", 2023, "VARIANT")
    fails(cursor, "INSERT INTO T SELECT 1", 2020, "expecting 2 but got 1")


def test_functions_whose_meaning_differs(cursor: Any) -> None:
    cursor.execute(
        "SELECT TO_BINARY('00ff'), TO_VARIANT('x'), TO_VARIANT(1), CURRENT_DATE() = CURRENT_TIMESTAMP()::DATE"
    )
    row = cursor.fetchone()
    assert (bytes(row[0]), *row[1:]) == (b"\x00\xff", '"x"', "1", True)


def test_a_refused_statement_is_quoted_without_its_secrets(cursor: Any, server: Any) -> None:
    credentials = "CREDENTIALS = (AWS_KEY_ID = 'AK' AWS_SECRET_KEY = 'sEcReT')"
    for sql, shown in (
        (
            f"CREATE STAGE S URL = 's3://b/' {credentials} COPY_OPTIONS = (ON_ERROR = CONTINUE)",
            "CREATE STAGE S URL = 's3://b/' CR",
        ),
        ("CREATE SERVICE U PASSWORD = 'sEcReT'", "CREATE SERVICE U PASSWORD = '***'"),
    ):
        with pytest.raises(snowflake.connector.errors.ProgrammingError) as caught:
            cursor.execute(sql)
        assert shown in str(caught.value)
        assert "sEcReT" not in str(caught.value)
    assert "sEcReT" not in server.statements.read_text()


def test_merge(cursor: Any) -> None:
    cursor.execute("CREATE TABLE T (ID NUMBER, NAME VARCHAR)")
    cursor.execute("INSERT INTO T VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    cursor.execute(
        "MERGE INTO T USING (SELECT COLUMN1 ID, COLUMN2 NAME, COLUMN3 GONE FROM VALUES (1, 'A', FALSE), "
        "(2, NULL, TRUE), (4, 'd', FALSE)) S ON T.ID = S.ID WHEN MATCHED AND S.GONE THEN DELETE "
        "WHEN MATCHED THEN UPDATE SET T.NAME = S.NAME WHEN NOT MATCHED THEN INSERT (ID, NAME) VALUES (S.ID, S.NAME)"
    )
    assert cursor.fetchall() == [(1, 1, 1)]
    assert values(cursor, "SELECT * FROM T ORDER BY ID") == [(1, "A"), (3, "c"), (4, "d")]
    fails(
        cursor,
        "MERGE INTO T USING (SELECT 1 ID UNION ALL SELECT 1) S ON T.ID = S.ID WHEN MATCHED THEN UPDATE SET NAME = 'x'",
        100090,
        "Duplicate row",
    )


def test_stages_and_integrations_describe_themselves(cursor: Any) -> None:
    stage = {r["property"]: r["property_value"] for r in by_name(cursor, "DESC STAGE DEMO.PUBLIC.MZ_STAGE")}
    assert json.loads(stage["URL"]) == ["s3://mz-exports/"]
    assert stage["STORAGE_INTEGRATION"] == "MZ_INTEGRATION"
    integration = {r["property"]: r["property_value"] for r in by_name(cursor, "DESC INTEGRATION mz_integration")}
    assert integration["STORAGE_ALLOWED_LOCATIONS"] == "s3://mz-exports/"
    assert integration["STORAGE_AWS_ROLE_ARN"] == "arn:aws:iam::123456789012:role/reader"
    assert integration["STORAGE_AWS_EXTERNAL_ID"]
    assert integration["STORAGE_AWS_IAM_USER_ARN"].startswith("arn:aws:iam::")
    shown = by_name(cursor, "SHOW STAGES LIKE 'MZ_STAGE' IN SCHEMA DEMO.PUBLIC")
    assert [(s["url"], s["storage_integration"]) for s in shown] == [("s3://mz-exports/", "MZ_INTEGRATION")]


def test_list_names_files_by_url(cursor: Any, bucket: Any) -> None:
    url = bucket.put("a/1.parquet", b"12345")
    bucket.put("a/mz-t1-INCOMPLETE", b"")
    listed = by_name(cursor, f"LIST {bucket.stage}a/")
    assert [(r["name"], r["size"]) for r in listed] == [
        (url, 5),
        (url.replace("1.parquet", "mz-t1-INCOMPLETE"), 0),
    ]
    assert [d[0] for d in cursor.description] == ["name", "size", "md5", "last_modified"]
    assert len(values(cursor, f"LIST {bucket.stage} PATTERN = '.*[.]parquet'")) == 1
    assert values(cursor, f"LIST {bucket.stage}nothing/") == []
    fails(cursor, "LIST @NOPE", 2003, "NOPE")


def test_an_integration_allows_only_its_locations(cursor: Any, bucket: Any, connection: Any) -> None:
    narrow = f"NARROW_{connection.schema}"
    cursor.execute(
        f"CREATE STORAGE INTEGRATION {narrow} TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'S3' ENABLED = TRUE "
        f"STORAGE_AWS_ROLE_ARN = 'arn:x' STORAGE_ALLOWED_LOCATIONS = ('s3://mz-exports/{bucket.prefix}')"
    )
    fails(cursor, f"CREATE STAGE S URL = 's3://mz-exports/' STORAGE_INTEGRATION = {narrow}", 1757, "is not allowed")
    cursor.execute(f"CREATE STAGE S URL = 's3://mz-exports/{bucket.prefix}in/' STORAGE_INTEGRATION = {narrow}")
    bucket.put("in/a", b"x")
    assert len(values(cursor, "LIST @S")) == 1
    cursor.execute(f"ALTER STORAGE INTEGRATION {narrow} SET STORAGE_ALLOWED_LOCATIONS = ('s3://elsewhere/')")
    fails(cursor, "LIST @S", 1757, "is not allowed")


def test_a_missing_bucket_and_bad_urls(cursor: Any) -> None:
    cursor.execute(
        "CREATE STAGE S URL = 's3://no-such-bucket/x/' CREDENTIALS = (AWS_KEY_ID = 'a' AWS_SECRET_KEY = 'b')"
    )
    fails(cursor, "LIST @S", 91003, "Status Code: 404")
    fails(cursor, "CREATE STAGE S2 URL = 'minio://x/'", 1011, "minio://x/")
    fails(cursor, "CREATE STAGE S2 URL = 's3://x/' STORAGE_INTEGRATION = NOPE", 2003, "Integration 'NOPE'")


def test_roles_and_warehouses_can_be_used(cursor: Any) -> None:
    cursor.execute("CREATE WAREHOUSE IF NOT EXISTS LOAD_WH WITH WAREHOUSE_SIZE = XSMALL")
    cursor.execute("CREATE ROLE IF NOT EXISTS LOADER")
    cursor.execute("GRANT ROLE LOADER TO USER LOCAL")
    cursor.execute("GRANT USAGE ON WAREHOUSE LOAD_WH TO ROLE LOADER")
    cursor.execute("USE ROLE LOADER")
    cursor.execute("USE WAREHOUSE LOAD_WH")
    assert values(cursor, "SELECT CURRENT_ROLE(), CURRENT_WAREHOUSE()") == [("LOADER", "LOAD_WH")]
    fails(cursor, "USE ROLE NOBODY", 2043)
    cursor.execute("ALTER SESSION SET TIMEZONE = 'Europe/Berlin', QUERY_TAG = 'x'")
    fails(cursor, "ALTER SESSION SET TIMEZONE = 'Nowhere/Land'", 1008, "Nowhere/Land")
    shown = {r["key"]: r["value"] for r in by_name(cursor, "SHOW PARAMETERS LIKE '%' IN SESSION")}
    assert (shown["TIMEZONE"], shown["QUERY_TAG"]) == ("Europe/Berlin", "x")
