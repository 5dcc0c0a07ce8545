"""INSERT OVERWRITE, MERGE, DELETE, and the functions that checks of loaded rows use."""

from __future__ import annotations

import datetime
import decimal
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


def test_insert_overwrite_belongs_to_its_transaction(cursor: Any, other: Any) -> None:
    cursor.execute("CREATE TABLE T (A NUMBER)")
    cursor.execute("CREATE TABLE S (A VARCHAR)")
    cursor.execute("INSERT INTO T VALUES (1), (2)")
    cursor.execute("INSERT INTO S VALUES ('3'), ('4'), ('5')")
    cursor.execute("BEGIN")
    cursor.execute("INSERT OVERWRITE INTO T (A) SELECT A FROM S")
    assert cursor.fetchall() == [(3,)]
    assert values(cursor, "SELECT SUM(A) FROM T") == [(12,)]
    assert values(other, "SELECT SUM(A) FROM T") == [(3,)]
    cursor.execute("ROLLBACK")
    assert values(cursor, "SELECT SUM(A) FROM T") == [(3,)]
    cursor.execute("BEGIN")
    cursor.execute("INSERT INTO T VALUES (10)")
    fails(cursor, "INSERT OVERWRITE INTO T SELECT 'x'", 100038, "'x' is not recognized")
    assert values(cursor, "SELECT SUM(A) FROM T") == [(13,)]
    cursor.execute("INSERT OVERWRITE INTO T SELECT A * 2 FROM T")
    cursor.execute("COMMIT")
    assert values(other, "SELECT A FROM T ORDER BY A") == [(2,), (4,), (20,)]


def test_insert_converts_and_checks_what_it_inserts(cursor: Any) -> None:
    cursor.execute("CREATE TABLE T (A NUMBER(5,2), B VARCHAR(3), C BOOLEAN NOT NULL DEFAULT TRUE)")
    cursor.execute("INSERT INTO T (B, A) SELECT 'abc', '1.239'")
    assert values(cursor, "SELECT * FROM T") == [(decimal.Decimal("1.24"), "abc", True)]
    fails(cursor, "INSERT INTO T (B) SELECT 'abcd'", 100078, "'abcd' is too long")
    fails(cursor, "INSERT INTO T (C) SELECT NULL", 100072)
    fails(cursor, "INSERT INTO T (NOPE) SELECT 1", 904, "NOPE")


MERGE = """
MERGE INTO T USING S ON T.ID = S.ID
WHEN MATCHED AND S.OP = 'd' THEN DELETE
WHEN MATCHED AND S.OP = 'u' THEN UPDATE SET T.V = S.V
WHEN NOT MATCHED AND S.OP <> 'd' THEN INSERT (ID, V) VALUES (S.ID, S.V)
"""


def test_merge_counts_what_it_did(cursor: Any) -> None:
    cursor.execute("CREATE TABLE T (ID NUMBER, V VARCHAR)")
    cursor.execute("CREATE TABLE S (ID NUMBER, V VARCHAR, OP VARCHAR)")
    cursor.execute("INSERT INTO T VALUES (1, 'a'), (2, 'b'), (3, 'c'), (NULL, 'n')")
    cursor.execute(
        "INSERT INTO S VALUES (1, 'A', 'u'), (2, NULL, 'd'), (3, 'C', '-'), (4, 'D', 'u'), (5, 'E', 'd'), "
        "(NULL, 'N', 'u')"
    )
    cursor.execute(MERGE)
    assert [d[0] for d in cursor.description] == [
        "number of rows inserted",
        "number of rows updated",
        "number of rows deleted",
    ]
    assert cursor.fetchall() == [(2, 1, 1)]
    assert values(cursor, "SELECT * FROM T ORDER BY ID NULLS LAST, V") == [
        (1, "A"), (3, "c"), (4, "D"), (None, "N"), (None, "n"),
    ]  # fmt: skip
    cursor.execute("MERGE INTO T USING S ON T.ID = S.ID WHEN NOT MATCHED THEN INSERT VALUES (S.ID, S.V)")
    assert ([d[0] for d in cursor.description], cursor.fetchall()) == (["number of rows inserted"], [(3,)])


def test_merge_refuses_what_has_no_right_answer(cursor: Any) -> None:
    cursor.execute("CREATE TABLE T (ID NUMBER, V VARCHAR)")
    cursor.execute("CREATE TABLE S (ID NUMBER, V VARCHAR, OP VARCHAR)")

    def merged(*rows: str) -> list[Any]:
        cursor.execute("TRUNCATE TABLE S")
        cursor.execute("INSERT OVERWRITE INTO T SELECT 1, 'a' UNION ALL SELECT 2, 'b'")
        cursor.execute(f"INSERT INTO S VALUES {', '.join(rows)}")
        return values(cursor, MERGE)

    for rows in (["(1, 'x', 'u')", "(1, 'y', 'u')"], ["(1, 'x', 'u')", "(1, 'x', 'd')"]):
        with pytest.raises(snowflake.connector.errors.DatabaseError) as caught:
            merged(*rows)
        assert (caught.value.errno, "Duplicate row detected" in str(caught.value)) == (100090, True)
        assert values(cursor, "SELECT V FROM T ORDER BY ID") == [("a",), ("b",)]
    assert merged("(1, 'x', 'u')", "(1, 'y', '-')") == [(0, 1, 0)]
    assert merged("(1, 'x', 'd')", "(1, 'y', 'd')") == [(0, 0, 1)]
    assert values(cursor, "SELECT V FROM T") == [("b",)]
    # New rows are not compared with one another: a key that is twice in the source is inserted twice.
    assert merged("(7, 'x', 'u')", "(7, 'y', 'u')") == [(2, 0, 0)]


def test_merge_and_delete_join_other_tables(cursor: Any, other: Any) -> None:
    cursor.execute('CREATE TABLE T ("id" NUMBER, V VARIANT)')
    cursor.execute('CREATE TABLE S ("id" NUMBER, V VARIANT)')
    cursor.execute("INSERT INTO T SELECT COLUMN1, NULL FROM VALUES (1), (2), (3)")
    cursor.execute("INSERT INTO S SELECT COLUMN1, PARSE_JSON('{\"a\": [1]}') FROM VALUES (1), (4)")
    cursor.execute("BEGIN")
    cursor.execute(
        'MERGE INTO T AS "target" USING (SELECT "id", V FROM S) AS "staged" ON "target"."id" = "staged"."id" '
        'WHEN MATCHED THEN UPDATE SET "V" = "staged"."V" '
        'WHEN NOT MATCHED THEN INSERT ("id", "V") VALUES ("staged"."id", "staged"."V")'
    )
    assert cursor.fetchall() == [(1, 1)]
    cursor.execute('DELETE FROM T WHERE NOT EXISTS (SELECT 1 FROM S WHERE S."id" = T."id")')
    assert cursor.fetchall() == [(2,)]
    assert values(other, "SELECT COUNT(*) FROM T") == [(3,)]
    cursor.execute("COMMIT")
    assert values(other, 'SELECT "id", V:a[0]::int FROM T ORDER BY 1') == [(1, 1), (4, 1)]
    cursor.execute('DELETE FROM T USING S WHERE T."id" = S."id" AND S."id" > 1')
    assert cursor.fetchall() == [(1,)]
    cursor.execute("DELETE FROM T")
    assert cursor.fetchall() == [(1,)]


def test_checks_of_loaded_rows(cursor: Any) -> None:
    cursor.execute(
        "CREATE TABLE T (N NUMBER(10,2), S VARCHAR, D DATE, TS TIMESTAMP_NTZ, TZ TIMESTAMP_LTZ, B BOOLEAN, "
        "F FLOAT, BIN BINARY, BIG NUMBER(38,0))"
    )
    cursor.execute(
        "INSERT INTO T SELECT 1.25, 'a', '2026-01-01', '2026-01-01 00:00:00.123456', '2026-01-01 00:00:00+00', TRUE, "
        "0.5, TO_BINARY('00FF'), 12345678901234567890123456789012345678 UNION ALL "
        "SELECT 2.50, 'é', '1970-01-01', '1969-12-31', '2030-01-01 00:00:00+02', FALSE, 1.5, TO_BINARY('0100'), 1 "
        "UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL"
    )
    row = values(
        cursor,
        "SELECT COUNT(*), COUNT(N), COUNT_IF(N IS NULL), SUM(N), MIN(N), MAX(N), MIN(S), MAX(S), MIN(D), MAX(TS), "
        "COUNT(DISTINCT N, S), COUNT(DISTINCT N), SUM(F), MAX(BIG), COUNT_IF(B), SUM(IFF(B, 1, 0)), MIN(LENGTH(S)), "
        "APPROX_COUNT_DISTINCT(N), BOOLAND_AGG(B) FROM T",
    )[0]
    assert row == (
        3, 2, 1, decimal.Decimal("3.75"), decimal.Decimal("1.25"), decimal.Decimal("2.50"), "a", "é",
        datetime.date(1970, 1, 1), datetime.datetime(2026, 1, 1, 0, 0, 0, 123456), 2, 2, 2.0,
        12345678901234567890123456789012345678, 1, 1, 1, 2, False,
    )  # fmt: skip
    low, high = values(cursor, "SELECT MIN(TZ), MAX(TZ) FROM T")[0]
    assert (low.timestamp(), high.timestamp()) == (1767225600, 1893448800)
    assert [bytes(v) for v in values(cursor, "SELECT MIN(BIN), MAX(BIN) FROM T")[0]] == [b"\x00\xff", b"\x01\x00"]
    assert values(cursor, "SELECT S FROM T GROUP BY S HAVING COUNT(*) > 1") == []
    assert values(cursor, "SELECT SUM(N) FROM T WHERE FALSE") == [(None,)]


def test_hash_agg_sees_rows_and_not_their_order(cursor: Any) -> None:
    cursor.execute("CREATE TABLE T (A NUMBER, B VARCHAR)")
    cursor.execute("CREATE TABLE U (A NUMBER, B VARCHAR)")
    cursor.execute("INSERT INTO T VALUES (1, 'x'), (2, NULL), (2, NULL)")
    cursor.execute("INSERT INTO U VALUES (2, NULL), (1, 'x'), (2, NULL)")
    same = "SELECT (SELECT HASH_AGG(*) FROM T) = (SELECT HASH_AGG(*) FROM U)"
    assert values(cursor, same) == [(True,)]
    assert values(cursor, "SELECT (SELECT HASH_AGG(A, B) FROM T) = (SELECT HASH_AGG(*) FROM U)") == [(True,)]
    cursor.execute("UPDATE U SET B = 'y' WHERE A = 1")
    assert values(cursor, same) == [(False,)]


def test_conversions(cursor: Any) -> None:
    row = values(
        cursor,
        "SELECT TRY_TO_NUMBER('x'), TRY_TO_NUMBER('12'), TO_NUMBER('12.345', 10, 2), TRY_TO_NUMBER('1.5', 10, 1), "
        "TRY_CAST('x' AS DATE), TRY_TO_DATE('2026-01-02'), TRY_TO_BOOLEAN('maybe'), TRY_TO_DOUBLE('1e3'), "
        "TRY_PARSE_JSON('{') IS NULL, PARSE_JSON('{\"a\": 1}'):a::int, TO_DECIMAL('7', 5, 1), "
        "TRY_TO_TIMESTAMP_NTZ('2026-01-02 03:04:05'), TRY_TO_TIMESTAMP('nope')",
    )[0]
    assert row == (
        None, 12, decimal.Decimal("12.35"), decimal.Decimal("1.5"), None, datetime.date(2026, 1, 2), None, 1000.0,
        True, 1, decimal.Decimal("7.0"), datetime.datetime(2026, 1, 2, 3, 4, 5), None,
    )  # fmt: skip
    fails(cursor, "SELECT TO_NUMBER('x')", 100038, "Numeric value 'x' is not recognized")
    fails(cursor, "SELECT PARSE_JSON('{')", 100069, "Error parsing JSON")


def test_functions_within_functions(cursor: Any) -> None:
    cursor.execute("CREATE TABLE T (V VARIANT)")
    cursor.execute('INSERT INTO T SELECT PARSE_JSON(\'{"a": "x", "n": [6, 3]}\')')
    row = values(
        cursor,
        "SELECT COUNT_IF(V:a::string = 'x'), SUM(V:n[0]::int / V:n[1]::int / 2), MAX(TO_CHAR(V:n[0]::string)) FROM T",
    )[0]
    assert row == (1, 1, "6")
