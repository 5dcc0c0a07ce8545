"""Names that differ only by case stay different inside a database that ignores case."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mz_orchestration.local.snowflake.names import decode, display, encode

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\u2060"), min_size=1, max_size=40)


@given(NAMES)
def test_encoding_is_undone(name: str) -> None:
    assert decode(encode(name)) == name


@given(NAMES, NAMES)
def test_different_names_stay_different_without_case(first: str, second: str) -> None:
    folded = [encode(name).encode().lower() for name in (first, second)]
    assert (folded[0] == folded[1]) == (first == second)


@given(NAMES)
def test_other_cases_of_a_name_stay_different(name: str) -> None:
    for other in {name.upper(), name.lower(), name.swapcase()} - {name}:
        assert encode(name).encode().lower() != encode(other).encode().lower()


def test_display_quotes_only_what_needs_it() -> None:
    assert display("DEMO", "lower", 'a"b') == 'DEMO."lower"."a""b"'
