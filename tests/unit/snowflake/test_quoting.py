from __future__ import annotations

import pytest

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.snowflake.quoting import Sql, compose, identifier, literal, parse_name, stage_path


def test_quotes_are_doubled() -> None:
    assert identifier('a"b', "C") == '"a""b"."C"'
    assert literal("it's \\ back") == "'it''s \\\\ back'"


def test_plain_strings_cannot_become_sql() -> None:
    with pytest.raises(TypeError, match="quoted parts"):
        compose("DROP TABLE {}", "users")  # type: ignore[arg-type]
    assert compose("LIMIT {} {}", 5, Sql("x")) == "LIMIT 5 x"


@pytest.mark.parametrize(
    ("text", "parts"),
    [("orders", ("ORDERS",)), ('demo."Public".t', ("DEMO", "Public", "T")), ('"a"".b"', ('a".b',))],
)
def test_names(text: str, parts: tuple[str, ...]) -> None:
    assert parse_name(text, field="--table") == parts


@pytest.mark.parametrize("text", ["", "a.b.c.d", "a b", 'a"', "1a", "a;b", "a."])
def test_bad_names(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--table"):
        parse_name(text, field="--table")


def test_a_stage_path_is_restricted() -> None:
    assert stage_path(("D", "P", "S"), "a/b-1/") == '@"D"."P"."S"/a/b-1/'
    with pytest.raises(ConfigurationError, match="stage"):
        stage_path(("S",), "a'/")
