"""Tokens and options of Snowflake's SQL."""

from __future__ import annotations

import pytest

from mz_orchestration.local.snowflake.errors import SnowflakeError
from mz_orchestration.local.snowflake.lexer import Parser, split, tokenize


@pytest.mark.parametrize(
    ("sql", "texts"),
    [
        ("select 'it''s', 'a\\nb', '\\x41'", ["select", "it's", ",", "a\nb", ",", "A"]),
        ("$$a'b;$$ -- gone\n x // gone\n /* gone */ y", ["a'b;", "x", "y"]),
        ('"a ""b"".c".d', ['a "b".c', ".", "d"]),
        ('@"D B"."S".stg/a=1/b-c_d.x/ t)', ['@"D B"."S".stg/a=1/b-c_d.x/', "t", ")"]),
        ("1.5e3::number <> :1 => ?", ["1.5e3", "::", "number", "<>", ":", "1", "=>", "?"]),
    ],
)
def test_tokens(sql: str, texts: list[str]) -> None:
    assert [token.text for token in tokenize(sql)] == texts


@pytest.mark.parametrize("sql", ["select 'never ends", 'select "never ends'])
def test_an_open_quote_is_a_syntax_error(sql: str) -> None:
    with pytest.raises(SnowflakeError, match="unexpected"):
        tokenize(sql)


def test_split_knows_strings_and_comments() -> None:
    assert split(" ; select ';' ; -- ;\n select 2 /* ; */ ;") == ["select ';'", "select 2"]


def test_names() -> None:
    parser = Parser('db."Sch".tab x')
    assert parser.name() == ["DB", "Sch", "TAB"]
    assert Parser("identifier('a.\"b\"')").name() == ["A", "b"]
    with pytest.raises(SnowflakeError):
        Parser("a.b.c.d").name()


def test_options_with_and_without_commas() -> None:
    parser = Parser("TYPE = CSV NULL_IF = ('', 'x'), SKIP = 2 ON = TRUE OFF = NONE NESTED = (A = 'b' C = -1) rest")
    assert parser.options() == {
        "TYPE": "CSV",
        "NULL_IF": ["", "x"],
        "SKIP": 2,
        "ON": True,
        "OFF": None,
        "NESTED": {"A": "b", "C": -1},
    }
    assert parser.rest() == "rest"


def test_the_place_of_an_error() -> None:
    parser = Parser("create\n  table 5")
    parser.expect("CREATE", "TABLE")
    with pytest.raises(SnowflakeError, match="line 2 at position 8 unexpected '5'"):
        parser.name()
