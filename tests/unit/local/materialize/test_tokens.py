"""The tokenizer: nothing in a string, a comment or a quoted name is ever taken for SQL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mz_orchestration.local.materialize.tokens import identifier, literal, split, tokenize

TOKENS = [
    ("SELECT 1", [("word", "SELECT"), ("number", "1")]),
    ("a--b\n+c", [("word", "a"), ("symbol", "+"), ("word", "c")]),
    ("a/* x /* y */ z */b", [("word", "a"), ("word", "b")]),
    ("'it''s'", [("string", "'it''s'")]),
    (r"E'a\'b'", [("string", r"E'a\'b'")]),
    (r"'a\'", [("string", r"'a\'")]),
    ("$$;'$$ $x$ $$ $x$", [("string", "$$;'$$"), ("string", "$x$ $$ $x$")]),
    ('"a;""b"', [("quoted", '"a;""b"')]),
    ("$1::int", [("parameter", "$1"), ("symbol", "::"), ("word", "int")]),
    ("a$b$c", [("word", "a$b$c")]),
    ("1.5e-3", [("number", "1.5e-3")]),
    ("'unfinished ; --", [("string", "'unfinished ; --")]),
    ("/* unfinished ; '", []),
    ("naïve", [("word", "naïve")]),
]


@pytest.mark.parametrize(("text", "expected"), TOKENS)
def test_tokens(text: str, expected: list[tuple[str, str]]) -> None:
    assert [(token.kind, token.text) for token in tokenize(text)] == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'it''s'", "it's"),
        (r"E'a\'b\n\x41\101\u00e4'", "a'b\nAAä"),
        (r"'a\n'", r"a\n"),
        ("$x$a'b$x$", "a'b"),
        ("$$$$", ""),
    ],
)
def test_values_of_strings(text: str, value: str) -> None:
    assert tokenize(text)[0].value == value


SPLITS = [
    ("SELECT 1", ["SELECT 1"]),
    (" SELECT 1 ; ; SELECT ';' ", ["SELECT 1", "SELECT ';'"]),
    ("a; -- b;\nc", ["a", "c"]),
    ("-- nothing", []),
    ("SELECT (1;2)", ["SELECT (1;2)"]),
    (
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END",
        ["CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END"],
    ),
]


@pytest.mark.parametrize(("text", "expected"), SPLITS)
def test_splitting(text: str, expected: list[str]) -> None:
    assert [piece.text for piece in split(text)] == expected


@given(st.text())
def test_a_literal_and_a_name_come_back_as_they_went(text: str) -> None:
    [string] = tokenize(literal(text))
    assert string.value == text
    [name] = tokenize(identifier(text))
    assert name.name == text


@given(st.text(alphabet="aE'\"$;/*-\\ \n(x1)"))
def test_tokens_and_pieces_lie_in_order_within_the_text(text: str) -> None:
    at = 0
    for token in tokenize(text):
        assert at <= token.start < token.end
        assert text[token.start : token.end] == token.text
        at = token.end
    for piece in split(text):
        assert text[piece.start : piece.end] == piece.text
        assert all(piece.text[t.start : t.end] == t.text for t in piece.tokens)
