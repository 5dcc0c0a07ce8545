"""Server-side parameters become literals."""

from __future__ import annotations

import pytest

from mz_orchestration.local.snowflake.bindings import bind, count_placeholders, without_values
from mz_orchestration.local.snowflake.errors import SnowflakeError


def one(kind: str, value: object) -> dict[str, dict[str, object]]:
    return {"1": {"type": kind, "value": value}}


@pytest.mark.parametrize(
    ("kind", "value", "literal"),
    [
        ("FIXED", "5", "5"),
        ("REAL", "1.5", "'1.5'::FLOAT"),
        ("TEXT", "it's \\ ?", "'it''s \\\\ ?'"),
        ("TEXT", None, "NULL"),
        ("BOOLEAN", "true", "TRUE"),
        ("DATE", "86400000", "'1970-01-02'::DATE"),
        ("TIME", "1000001000", "'00:00:01.000001'::TIME"),
        ("TIMESTAMP_NTZ", "-1000", "'1969-12-31 23:59:59.999999'::TIMESTAMP_NTZ"),
        ("TIMESTAMP_TZ", "0 1440", "'1970-01-01 00:00:00+00:00'::TIMESTAMP_TZ"),
        ("BINARY", "00FF", "TO_BINARY('00FF', 'HEX')"),
    ],
)
def test_literals(kind: str, value: object, literal: str) -> None:
    assert bind("SELECT ?", one(kind, value)) == f"SELECT {literal}"
    assert bind("SELECT :1", one(kind, value)) == f"SELECT {literal}"


def test_only_placeholders_are_replaced() -> None:
    sql = "SELECT '?', v:1, a::number, \"?\" -- ?\n, ?"
    assert bind(sql, one("FIXED", "7")) == "SELECT '?', v:1, a::number, \"?\" -- ?\n, 7"
    assert count_placeholders(sql) == 1
    assert without_values(sql).endswith(", NULL")


def test_many_rows_become_one_insert() -> None:
    bindings = {"1": {"type": "FIXED", "value": ["1", "2"]}, "2": {"type": "TEXT", "value": ["a", None]}}
    assert bind("INSERT INTO T VALUES (?, ?)", bindings) == "INSERT INTO T VALUES (1, 'a'), (2, NULL)"
    with pytest.raises(SnowflakeError, match="array binding"):
        bind("DELETE FROM T WHERE A = ? AND B = ?", bindings)


def test_a_missing_value_is_named() -> None:
    with pytest.raises(SnowflakeError, match="Bind variable :2 not set"):
        bind("SELECT ?, ?", one("FIXED", "1"))
