"""Queries whose meaning COPY TO would change are refused; everything else passes."""

from __future__ import annotations

import pytest

from mz_orchestration.materialize.query import refuse_unsafe_query


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1",
        "select * from (select * from t order by x limit 3) q",
        "WITH a AS (SELECT 1 ORDER BY 1) SELECT * FROM a",
        "SELECT row_number() OVER (ORDER BY x) FROM t",
        "SELECT 'ORDER BY' AS \"limit\" FROM t -- limit 5",
        "SELECT $$ limit 5 $$, $x$ order by $x$",
        "SELECT /* limit /* nested */ 1 */ 2",
        "SELECT E'it\\'s; limit' AS x",
        "VALUES (1), (2)",
        "TABLE shop.orders",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "SELECT x AS of_course FROM t",
        "SELECT s.offset, 1 AS limit FROM s",
    ],
)
def test_harmless(query: str) -> None:
    refuse_unsafe_query(query)


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("SELECT * FROM t ORDER BY x", "ORDER BY"),
        ("SELECT * FROM t order\n by x", "ORDER BY"),
        ("SELECT * FROM t LIMIT 5", "LIMIT"),
        ("SELECT * FROM t limit/**/5", "LIMIT"),
        ("SELECT * FROM t OFFSET 5", "OFFSET"),
        ("SELECT * FROM t FETCH FIRST 3 ROWS ONLY", "FETCH"),
        ("WITH a AS (SELECT 1) SELECT * FROM a LIMIT 1", "LIMIT"),
        ("SELECT 1; DROP TABLE t", "semicolon"),
        ("SELECT 1;", "semicolon"),
        ("SELECT * FROM t AS OF 5", "AS OF"),
        ("DELETE FROM t", "begins with SELECT"),
        ("  -- nothing", "empty"),
        ("SELECT (1", "never closes"),
        ("SELECT 1)", "never opened"),
        ("SELECT 'x", "never closed"),
        ("SELECT 1 /* x", "never closes"),
    ],
)
def test_refused_with_the_reason(query: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        refuse_unsafe_query(query)
