"""What a table is made of, what a copy of it takes along, and how its columns change."""

from __future__ import annotations

import json
from typing import Any

import pytest
import snowflake.connector


def values(cursor: Any, sql: str) -> list[Any]:
    return list(cursor.execute(sql).fetchall())


def by_name(cursor: Any, sql: str) -> list[dict[str, Any]]:
    cursor.execute(sql)
    names = [d[0] for d in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def fails(cursor: Any, sql: str, errno: int, text: str = "") -> None:
    with pytest.raises(snowflake.connector.errors.DatabaseError) as caught:
        cursor.execute(sql)
    assert caught.value.errno == errno, caught.value
    assert text in str(caught.value)


def described(cursor: Any, table: str) -> dict[str, Any]:
    """Everything about a table that a refresh could lose."""
    [shown] = by_name(cursor, f"SHOW TABLES LIKE '{table}'")
    columns = by_name(cursor, f"DESC TABLE {table}")
    policies = by_name(
        cursor,
        "SELECT * FROM TABLE(INFORMATION_SCHEMA.POLICY_REFERENCES("
        f"REF_ENTITY_NAME => '{table}', REF_ENTITY_DOMAIN => 'table'))",
    )
    [tag] = values(cursor, f"SELECT SYSTEM$GET_TAG('COST', '{table}', 'table')")[0]
    return {
        "comment": shown["comment"],
        "cluster_by": shown["cluster_by"],
        "automatic_clustering": shown["automatic_clustering"],
        "rows": shown["rows"],
        "keys": [c["name"] for c in columns if c["primary key"] == "Y"],
        "unique": [c["name"] for c in columns if c["unique key"] == "Y"],
        "defaults": [c["default"] for c in columns],
        "null?": [c["null?"] for c in columns],
        "policies": sorted((p["POLICY_KIND"], p["POLICY_NAME"], p["REF_COLUMN_NAME"]) for p in policies),
        "tag": tag,
    }


FULL: dict[str, Any] = {
    "comment": "it",
    "cluster_by": "LINEAR(ID, B)",
    "automatic_clustering": "ON",
    "rows": 1,
    "keys": ["ID"],
    "unique": ["B"],
    "defaults": [None, "'d'"],
    "null?": ["N", "Y"],
    "policies": [("MASKING_POLICY", "MASK", "B"), ("ROW_ACCESS_POLICY", "ROWS_OF", None)],
    "tag": "sales",
}


@pytest.fixture
def full(cursor: Any) -> str:
    cursor.execute("CREATE MASKING POLICY MASK AS (V VARCHAR) RETURNS VARCHAR -> CASE WHEN TRUE THEN V ELSE '*' END")
    cursor.execute("CREATE ROW ACCESS POLICY ROWS_OF AS (I NUMBER) RETURNS BOOLEAN -> I > 0 COMMENT = 'c'")
    cursor.execute("CREATE TAG COST ALLOWED_VALUES 'sales', 'it' COMMENT = 'c'")
    cursor.execute(
        "CREATE TABLE T (ID NUMBER PRIMARY KEY, B VARCHAR(9) DEFAULT 'd' UNIQUE WITH MASKING POLICY MASK) "
        "CLUSTER BY (ID, B) COMMENT = 'it' WITH ROW ACCESS POLICY ROWS_OF ON (ID) WITH TAG (COST = 'sales')"
    )
    cursor.execute("INSERT INTO T (ID) VALUES (1)")
    assert described(cursor, "T") == FULL
    return "T"


def test_what_a_copy_of_a_table_takes_along(cursor: Any, full: str) -> None:
    cursor.execute("CREATE TRANSIENT TABLE S CLONE T COPY GRANTS")
    assert described(cursor, "S") == {**FULL, "automatic_clustering": "OFF"}
    cursor.execute("TRUNCATE TABLE S")
    assert described(cursor, "S") == {**FULL, "automatic_clustering": "OFF", "rows": 0}
    cursor.execute("ALTER TABLE T SUSPEND RECLUSTER")
    cursor.execute("CREATE OR REPLACE TABLE S LIKE T")
    assert described(cursor, "S") == {**FULL, "rows": 0, "comment": "", "policies": []}
    cursor.execute("ALTER TABLE T RESUME RECLUSTER")
    cursor.execute("CREATE OR REPLACE TABLE S AS SELECT * FROM T")
    assert described(cursor, "S") == {
        "comment": "", "cluster_by": "", "automatic_clustering": "OFF", "rows": 1, "keys": [], "unique": [],
        "defaults": [None, None], "null?": ["Y", "Y"], "policies": [], "tag": None,
    }  # fmt: skip


def test_swap_and_rename_take_everything_along(cursor: Any, full: str, connection: Any) -> None:
    cursor.execute("CREATE TABLE PLAIN (ID NUMBER, B VARCHAR(9))")
    created = {r["name"]: r["created_on"] for r in by_name(cursor, "SHOW TABLES")}
    cursor.execute("ALTER TABLE T SWAP WITH PLAIN")
    assert described(cursor, "PLAIN") == FULL
    assert described(cursor, "T")["policies"] == []
    assert {r["name"]: r["created_on"] for r in by_name(cursor, "SHOW TABLES")} == {
        "PLAIN": created["T"],
        "T": created["PLAIN"],
    }
    cursor.execute("ALTER TABLE PLAIN RENAME TO AGAIN")
    assert described(cursor, "AGAIN") == FULL
    row = values(
        cursor,
        "SELECT CLUSTERING_KEY, AUTO_CLUSTERING_ON, IS_TRANSIENT, TABLE_TYPE, TABLE_OWNER, LAST_ALTERED >= CREATED "
        f"FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = '{connection.schema}' AND TABLE_NAME = 'AGAIN'",
    )
    assert row == [("LINEAR(ID, B)", "YES", "NO", "BASE TABLE", "ACCOUNTADMIN", True)]


def test_what_is_transient_cannot_become_permanent_by_cloning(cursor: Any) -> None:
    cursor.execute("CREATE TRANSIENT TABLE T (A NUMBER)")
    fails(cursor, "CREATE TABLE S CLONE T", 2119, "Transient object cannot be cloned to a permanent object")
    cursor.execute("CREATE TRANSIENT TABLE S CLONE T")
    cursor.execute("CREATE TABLE P LIKE T")
    assert {r["name"]: r["kind"] for r in by_name(cursor, "SHOW TABLES")} == {
        "T": "TRANSIENT",
        "S": "TRANSIENT",
        "P": "TABLE",
    }
    cursor.execute("CREATE TEMPORARY TABLE X (A NUMBER)")
    fails(cursor, "CREATE TABLE Y CLONE X", 2119, "Temporary")


def test_a_clone_has_rows_and_no_load_history(cursor: Any, bucket: Any) -> None:
    bucket.put("a.csv", b"1\n2\n")
    cursor.execute("CREATE TABLE T (A NUMBER)")
    cursor.execute(f"COPY INTO T FROM {bucket.stage}")
    cursor.execute("CREATE TABLE S CLONE T")
    cursor.execute("INSERT INTO S VALUES (3)")
    assert (values(cursor, "SELECT SUM(A) FROM T"), values(cursor, "SELECT SUM(A) FROM S")) == ([(3,)], [(6,)])
    cursor.execute(f"COPY INTO S FROM {bucket.stage}")
    cursor.execute(f"COPY INTO T FROM {bucket.stage}")
    assert (values(cursor, "SELECT COUNT(*) FROM T"), values(cursor, "SELECT COUNT(*) FROM S")) == ([(2,)], [(5,)])


def test_policies_and_tags_are_set_and_unset(cursor: Any, full: str) -> None:
    fails(cursor, "ALTER TABLE T MODIFY COLUMN B SET MASKING POLICY MASK", 3540, "already attached")
    fails(cursor, "DROP MASKING POLICY MASK", 3539, "cannot be dropped")
    cursor.execute("ALTER TABLE T MODIFY COLUMN B UNSET MASKING POLICY")
    cursor.execute("ALTER TABLE T DROP ROW ACCESS POLICY ROWS_OF")
    cursor.execute("ALTER TABLE T UNSET TAG COST")
    assert (described(cursor, "T")["policies"], described(cursor, "T")["tag"]) == ([], None)
    cursor.execute("ALTER TABLE T ADD ROW ACCESS POLICY ROWS_OF ON (ID)")
    cursor.execute("ALTER TABLE T ALTER COLUMN B SET MASKING POLICY MASK")
    cursor.execute("ALTER TABLE T SET TAG COST = 'it'")
    cursor.execute("ALTER TABLE T MODIFY COLUMN ID SET TAG COST = 'sales'")
    assert described(cursor, "T") == {**FULL, "tag": "it"}
    fails(cursor, "ALTER TABLE T SET TAG COST = 'nobody'", 2301, "not an allowed value")
    fails(cursor, "ALTER TABLE T SET TAG NOPE = 'x'", 2003, "NOPE")
    tags = "SELECT TAG_NAME, TAG_VALUE, LEVEL FROM TABLE(INFORMATION_SCHEMA.TAG_REFERENCES"
    assert values(cursor, f"{tags}('T', 'table'))") == [("COST", "it", "TABLE")]
    assert values(cursor, f"{tags}_ALL_COLUMNS('T', 'table'))") == [("COST", "sales", "COLUMN")]
    cursor.execute("ALTER TABLE T DROP COLUMN B")
    assert described(cursor, "T")["policies"] == [("ROW_ACCESS_POLICY", "ROWS_OF", None)]
    references = values(
        cursor,
        "SELECT REF_ENTITY_NAME, REF_ARG_COLUMN_NAMES FROM "
        "TABLE(INFORMATION_SCHEMA.POLICY_REFERENCES(POLICY_NAME => 'ROWS_OF')) R",
    )
    assert [(name, json.loads(columns)) for name, columns in references] == [("T", ["ID"])]


def test_columns_are_added_and_widened(cursor: Any, connection: Any) -> None:
    cursor.execute("CREATE TABLE T (A NUMBER(5,2) NOT NULL)")
    cursor.execute("ALTER TABLE T ADD COLUMN E NUMBER NOT NULL")
    cursor.execute("ALTER TABLE T DROP COLUMN E")
    cursor.execute("INSERT INTO T VALUES (1.5)")
    cursor.execute("ALTER TABLE T ADD COLUMN B VARCHAR(2) DEFAULT 'b' NOT NULL, C DATE, IF NOT EXISTS A NUMBER")
    assert values(cursor, "SELECT * FROM T") == [(pytest.approx(1.5), "b", None)]
    fails(cursor, "ALTER TABLE T ADD COLUMN D NUMBER NOT NULL", 2059, "Non-nullable column 'D' cannot be added")
    fails(cursor, "ALTER TABLE T ADD COLUMN D NUMBER, D NUMBER", 1430, "column 'D' already exists")
    cursor.execute("ALTER TABLE T ALTER COLUMN A DROP NOT NULL, COLUMN B SET DATA TYPE VARCHAR(5)")
    cursor.execute("INSERT INTO T (B) VALUES ('12345')")
    fails(cursor, "ALTER TABLE T MODIFY A SET NOT NULL", 100072, "NULL result in a non-nullable column")
    fails(cursor, "ALTER TABLE T MODIFY COLUMN B TYPE NUMBER", 2108, "VARCHAR(5)")
    fails(cursor, "ALTER TABLE T MODIFY COLUMN B TYPE VARCHAR(4)", 2108, "VARCHAR(4)")
    cursor.execute("ALTER TABLE T MODIFY COLUMN B DROP DEFAULT")
    cursor.execute("ALTER TABLE T ADD PRIMARY KEY (A)")
    fails(cursor, "ALTER TABLE T ADD UNIQUE (NOPE)", 904, "NOPE")
    cursor.execute("ALTER TABLE T DROP COLUMN IF EXISTS NOPE")
    found = values(
        cursor,
        "SELECT COLUMN_NAME, IS_NULLABLE, COLUMN_DEFAULT, CHARACTER_MAXIMUM_LENGTH, CHARACTER_OCTET_LENGTH, "
        "NUMERIC_PRECISION, NUMERIC_SCALE FROM INFORMATION_SCHEMA.COLUMNS "
        f"WHERE TABLE_SCHEMA = '{connection.schema}' AND TABLE_NAME = 'T' ORDER BY ORDINAL_POSITION",
    )
    assert found == [
        ("A", "YES", None, None, None, 5, 2),
        ("B", "NO", None, 5, 20, None, None),
        ("C", "YES", None, None, None, None, None),
    ]
    keys = values(
        cursor,
        f"SELECT CONSTRAINT_TYPE FROM INFORMATION_SCHEMA.TABLE_CONSTRAINTS WHERE TABLE_SCHEMA = '{connection.schema}'",
    )
    assert keys == [("PRIMARY KEY",)]


def test_clustering_keys(cursor: Any) -> None:
    cursor.execute('CREATE TABLE T (A NUMBER, "b" DATE)')
    cursor.execute('ALTER TABLE T CLUSTER BY LINEAR(a, to_date("b"))')
    shown = by_name(cursor, "SHOW TABLES LIKE 'T'")[0]
    assert (shown["cluster_by"], shown["automatic_clustering"]) == ('LINEAR(A, TO_DATE("b"))', "ON")
    fails(cursor, "ALTER TABLE T CLUSTER BY (NOPE)", 904, "NOPE")
    cursor.execute("ALTER TABLE T DROP CLUSTERING KEY")
    assert by_name(cursor, "SHOW TABLES LIKE 'T'")[0]["cluster_by"] == ""


def test_views_say_that_they_are(cursor: Any, other: Any, connection: Any) -> None:
    cursor.execute("CREATE TABLE T (A NUMBER, V VARIANT)")
    cursor.execute("INSERT INTO T SELECT 1, PARSE_JSON('{\"x\": 2}')")
    cursor.execute("CREATE VIEW W (K, V) COMMENT = 'c' AS SELECT A + 1, V FROM T")
    cursor.execute("INSERT INTO T SELECT 5, NULL")
    other.execute("USE DATABASE DEMO")
    assert values(other, f"SELECT K, V:x::int FROM {connection.schema}.W ORDER BY K") == [(2, 2), (6, None)]
    types = values(
        cursor,
        "SELECT TABLE_NAME, TABLE_TYPE, IS_INSERTABLE_INTO FROM INFORMATION_SCHEMA.TABLES "
        f"WHERE TABLE_SCHEMA = '{connection.schema}' ORDER BY 1",
    )
    assert types == [("T", "BASE TABLE", "YES"), ("W", "VIEW", "NO")]
    assert [r["name"] for r in by_name(cursor, "SHOW VIEWS")] == ["W"]
    assert [r["name"] for r in by_name(cursor, "SHOW TABLES")] == ["T"]
    fails(cursor, "INSERT INTO W VALUES (1, NULL)", 2037, "is a view")
    fails(cursor, "DROP TABLE W", 2203, "Object found is of type 'VIEW'")
    cursor.execute("DROP VIEW W")
    fails(cursor, "SELECT * FROM W", 2003)


def test_tables_that_cannot_be_swapped(cursor: Any, connection: Any) -> None:
    cursor.execute("CREATE ICEBERG TABLE I (A NUMBER) CATALOG = 'SNOWFLAKE' BASE_LOCATION = 'x'")
    cursor.execute("CREATE HYBRID TABLE H (A NUMBER PRIMARY KEY)")
    cursor.execute("CREATE TABLE T (A NUMBER)")
    kinds = values(
        cursor,
        "SELECT TABLE_NAME, IS_ICEBERG, IS_HYBRID FROM INFORMATION_SCHEMA.TABLES "
        f"WHERE TABLE_SCHEMA = '{connection.schema}' ORDER BY 1",
    )
    assert kinds == [("H", "NO", "YES"), ("I", "YES", "NO"), ("T", "NO", "NO")]
    fails(cursor, "ALTER TABLE I SWAP WITH T", 2, "SWAP WITH of a ICEBERG")
    fails(cursor, "CREATE TABLE C CLONE H", 2, "CLONE of a HYBRID")
