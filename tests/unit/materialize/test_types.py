from __future__ import annotations

import pytest

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.materialize.types import Column, type_name, warnings, with_casts


def column(type: str, **more: object) -> Column:
    return Column(name="c", type=type, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("format", "given", "cast"),
    [
        ("parquet", column("uuid"), "text"),
        ("parquet", column("uuid", array=True), "jsonb"),
        ("parquet", column("uint8"), "numeric(20,0)"),
        ("parquet", column("jsonb"), None),
        ("parquet", column("integer", array=True), "jsonb"),
        ("csv", column("uuid"), None),
        ("csv", column("text", array=True), "jsonb"),
        ("csv", column("interval"), None),
    ],
)
def test_casts_that_keep_the_meaning(format: str, given: Column, cast: str | None) -> None:
    assert with_casts([given], format)[0].cast == cast  # type: ignore[arg-type]


def test_every_column_that_cannot_be_exported_is_named() -> None:
    columns = [Column(name=f"c{i}", type=t) for i, t in enumerate(["integer", "interval", "int4range", "text"])]
    with pytest.raises(ConfigurationError, match=r"c1 \(interval\), c2 \(int4range\)") as raised:
        with_casts(columns, "parquet")
    assert '"c1"::text' in raised.value.hint


@pytest.mark.parametrize("names", [("a", "a"), ("id", "ID")])
def test_names_that_differ_only_in_case_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="once case is ignored"):
        with_casts([Column(name=name, type="text") for name in names], "parquet")


def test_numeric_without_scale_is_warned_about_in_parquet_only() -> None:
    loose, tight = Column(name="loose", type="numeric"), Column(name="tight", type="numeric", scale=2)
    assert [text.split()[0] for text in warnings([loose, tight], "parquet")] == ["loose"]
    assert warnings([loose], "csv") == []


@pytest.mark.parametrize(
    ("oid", "expected"),
    [
        (23, ("integer", False)),
        (1007, ("integer", True)),
        (2950, ("uuid", False)),
        (1184, ("timestamptz", False)),
        (16464, ("uint8", False)),
        (16552, ("mz_timestamp", False)),
        (999999, ("type with oid 999999", False)),
    ],
)
def test_type_names(oid: int, expected: tuple[str, bool]) -> None:
    assert type_name(oid) == expected
