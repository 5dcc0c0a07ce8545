from __future__ import annotations

from typing import Any

import pytest

from mz_orchestration.materialize.encode_hint import encode_hint
from mz_orchestration.materialize.types import Column


def column(type: str, **more: Any) -> Column:
    return Column(name="c", type=type, **more)


@pytest.mark.parametrize(
    ("refused", "meant", "flag"),
    [
        ('"interval: Interval (unsupported arrow datatype)"', "interval", "interval=text"),
        (r'"r: Record { fields: [(ColumnName(\"n\"), Interval)] }", "k: Oid"', "r, k", "r=text"),
        ('"two words: Interval"', "two words", "'two words=text'"),
        (r'"say \"x\": RegClass", "back\\slash: Oid"', r'say "x", back\slash', "'say \"x\"=text'"),
    ],
)
def test_types_that_parquet_has_not_are_named(refused: str, meant: str, flag: str) -> None:
    names = ["n", "interval", "r", "two words", "k", "words", 'say "x"', r"back\slash", "x", "slash"]
    columns = [Column(name=name, type="record") for name in names]
    hint = encode_hint(f"Materialize ended the COPY: Cannot encode the following columns/types: [{refused}]", columns)
    assert hint is not None
    assert f"the type of these columns: {meant}. --cast {flag} exports it as text" in hint


def test_columns_that_nobody_knows_get_no_hint() -> None:
    assert encode_hint('Cannot encode the following columns/types: ["x: Oid"]', [column("oid")]) is None


@pytest.mark.parametrize(
    ("message", "meant"),
    [
        ("Cannot represent special numeric value NaN in parquet", "loose, two, span"),
        (
            "Materialize ended the COPY: Cannot represent special numeric value -Infinity in parquet.",
            "loose, two, span",
        ),
        ("Decimal value 1E+38 out of range for column with precision 38", "loose, two, span"),
        ("Decimal value 99999999999999999999999999999999999999.1 out of range for parquet", "loose, two, span"),
        ("cannot represent decimal value 0.123 in column with scale 2", "two, span"),
        ("cannot represent decimal value 0.12345678901 in column with scale 10", "loose, span"),
    ],
)
def test_the_hint_when_parquet_cannot_hold_a_number(message: str, meant: str) -> None:
    columns = [
        Column(name="id", type="bigint"),
        Column(name="loose", type="numeric"),
        Column(name="two", type="numeric", scale=2),
        Column(name="text", type="numeric", cast="text"),
        Column(name="span", type="numrange"),
    ]
    hint = encode_hint(message, columns)
    assert hint is not None
    assert f"one of these columns: {meant}." in hint
    assert f"--cast {meant.split(',')[0]}=text" in hint


def test_the_hint_offers_to_round_numbers_only() -> None:
    message = "Cannot represent special numeric value NaN in parquet"
    assert "rounds" not in (encode_hint(message, [column("numrange")]) or "rounds")
    assert "--cast 'c=numeric(38,2)[]' rounds it" in (encode_hint(message, [column("numeric", array=True)]) or "")


def test_no_hint_for_other_failures() -> None:
    assert encode_hint("dispatch failure", [column("numeric")]) is None
    assert encode_hint("Cannot represent special numeric value NaN in parquet", [column("text")]) is None
