from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mz_orchestration.materialize.sql_types import CASTABLE_TYPES, SqlType, parse_type
from mz_orchestration.materialize.types import Column


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text", SqlType("text", False, None, None, "text")),
        (" INT ", SqlType("integer", False, None, None, "integer")),
        ("numeric", SqlType("numeric", False, None, None, "numeric")),
        ("numeric(38,2)", SqlType("numeric", False, 2, None, "numeric(38,2)")),
        ("NUMERIC ( 12 )", SqlType("numeric", False, 0, None, "numeric(12)")),
        ("decimal(39,38)", SqlType("numeric", False, 38, None, "numeric(39,38)")),
        ("varchar(20)", SqlType("varchar", False, None, 20, "varchar(20)")),
        ("character varying", SqlType("varchar", False, None, None, "varchar")),
        ("char(3)", SqlType("char", False, None, 3, "char(3)")),
        ("double  precision", SqlType("double precision", False, None, None, "double precision")),
        ("timestamp with time zone", SqlType("timestamptz", False, None, None, "timestamptz")),
        ("timestamp(3) without time zone", SqlType("timestamp", False, None, None, "timestamp(3)")),
        ("timestamptz(0)", SqlType("timestamptz", False, None, None, "timestamptz(0)")),
        ("text[]", SqlType("text", True, None, None, "text[]")),
        ("numeric(10, 2) [ ]", SqlType("numeric", True, 2, None, "numeric(10,2)[]")),
        ("text list", SqlType("list", False, None, None, "text list")),
        ("numeric(10,2) list list", SqlType("list", False, None, None, "numeric(10,2) list list")),
        ("json", SqlType("jsonb", False, None, None, "jsonb")),
        ("tstzrange", SqlType("tstzrange", False, None, None, "tstzrange")),
    ],
)
def test_types_people_write(text: str, expected: SqlType) -> None:
    assert parse_type(text) == expected
    assert parse_type(expected.text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text; DROP TABLE x",
        "text) FROM secrets --",
        'text AS "x"',
        "text AS x",
        "int or true",
        "boolean and exists",
        "text at time zone utc",
        "text collate c",
        "numeric(38,2)::text",
        "text/**/",
        "text--",
        '"text"',
        "pg_catalog.text",
        "text\x00",
        "numeric(38,2,1)",
        "numeric(0)",
        "numeric(40,2)",
        "numeric(39,39)",
        "numeric(4,5)",
        "numeric(-1)",
        "numeric(1e1)",
        "numeric(٣)",
        "varchar(0)",
        "varchar(1,2)",
        "integer(4)",
        "text(3)",
        "timestamp(7)",
        "text[][]",
        "text list[]",
        "text[] list",
        "list",
        "record",
        "map",
        "regclass",
        "money",
        "text with time zone",
    ],
)
def test_what_is_no_type(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a type|does not fit"):
        parse_type(text)
    with pytest.raises(ValidationError):
        Column(name="c", type="text", cast=text)


@pytest.mark.parametrize("text", ["char", "character", "BPCHAR", "char[]", "bpchar list"])
def test_a_char_without_a_length_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="would keep one character of each value; write text, varchar, or a length"):
        parse_type(text)


@given(st.text(st.sampled_from("abint textnumrcvh()[],0123456789 ;'\"-\n\t.=:*/"), max_size=30) | st.text(max_size=20))
def test_nothing_but_known_words_and_numbers_comes_out(text: str) -> None:
    try:
        found = parse_type(text).text
    except ValueError:
        return
    words = found.replace("(", " ").replace(")", " ").replace(",", " ").replace("[]", " ").split(" ")
    known = {word for name in CASTABLE_TYPES for word in name.split()} | {"list", ""}
    assert all(word in known or word.isdecimal() for word in words)
