from __future__ import annotations

import shlex
from typing import Any

import pytest

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.materialize.types import (
    EXPORTABLE_TYPES,
    Column,
    notes,
    type_name,
    warnings,
    with_casts,
)


def column(type: str, **more: Any) -> Column:
    return Column(name="c", type=type, **more)


@pytest.mark.parametrize(
    ("given", "parquet", "csv"),
    [
        (column("bigint"), None, None),
        (column("jsonb"), None, None),
        (column("uint4"), None, None),
        (column("uint8"), "numeric(20,0)", None),
        (column("mz_timestamp"), None, None),
        (column("uuid"), "text", None),
        (column("interval"), "text", None),
        (column("numeric"), "text", "text"),
        (column("numeric", scale=2), None, None),
        (column("numeric", scale=37), None, None),
        (column("numeric", scale=38), "text", "text"),
        (column("numeric", scale=-2), "text", "text"),
        (column("int8range"), "text", None),
        (column("tstzrange"), "text", None),
        (column("record"), "text", None),
        (column("name"), "text", None),
        (column("regclass"), "text", None),
        (column("list"), None, "text"),
        (column("map"), None, "text"),
        (column("integer", array=True), "jsonb", "jsonb"),
        (column("real", array=True), "jsonb", "jsonb"),
        (column("uuid", array=True), "jsonb", "jsonb"),
        (column("interval", array=True), "jsonb", "jsonb"),
        (column("daterange", array=True), "jsonb", "jsonb"),
    ],
    ids=lambda value: value.sql_type if isinstance(value, Column) else None,
)
def test_casts_that_keep_the_meaning(given: Column, parquet: str | None, csv: str | None) -> None:
    assert [with_casts([given], format)[0].cast for format in ("parquet", "csv")] == [parquet, csv]


def test_columns_as_they_are() -> None:
    columns = [column("uuid"), Column(name="n", type="numeric"), Column(name="a", type="text", array=True)]
    assert with_casts(columns, "parquet", safe=False) == columns
    assert with_casts(columns, "csv", safe=False) == columns


def test_casts_asked_for_win_and_are_written_canonically() -> None:
    columns = [Column(name="id", type="uuid"), Column(name="n", type="numeric"), Column(name="t", type="time")]
    casts = {"id": "UUID", "n": "Decimal( 38 , 2 )", "t": "character  varying(8)"}
    for safe in (True, False):
        found = with_casts(columns, "parquet", safe=safe, casts=casts)
        assert [c.cast for c in found] == ["uuid", "numeric(38,2)", "varchar(8)"]


def test_a_cast_for_a_column_that_is_not_there() -> None:
    columns = [Column(name=f"c{i}", type="text") for i in range(30)]
    with pytest.raises(ConfigurationError, match="no column 'C1'") as raised:
        with_casts(columns, "parquet", casts={"C1": "text"})
    assert "c0, c1, c2" in raised.value.hint
    assert raised.value.hint.endswith("c19 and 10 more; case counts.")


@pytest.mark.parametrize("type", ["bpchar", "char[]"])
def test_a_cast_that_would_keep_one_character_is_refused(type: str) -> None:
    with pytest.raises(ConfigurationError, match=r"casts: c: .* would keep one character.*write text, varchar"):
        with_casts([column("text")], "parquet", casts={"c": type})


def test_a_cast_to_no_type_names_the_column() -> None:
    with pytest.raises(ConfigurationError, match="casts: c: 'text; DROP TABLE x' is not a type"):
        with_casts([column("uuid")], "parquet", casts={"c": "text; DROP TABLE x"})


@pytest.mark.parametrize("safe", [True, False])
def test_every_column_that_cannot_be_exported_is_named(safe: bool) -> None:
    kinds = ["integer", "money", "interval", "int4range", "type with oid 99"]
    columns = [Column(name=f"c{i}", type=kind) for i, kind in enumerate(kinds)]
    listed = r"c1 \(money\), c4 \(type with oid 99\)\." if safe else r"c1 \(money\), c2 \(interval\), c4 \("
    with pytest.raises(ConfigurationError, match=f"cannot be exported as parquet: {listed}") as raised:
        with_casts(columns, "parquet", safe=safe)
    assert "--cast c1=text exports" in raised.value.hint
    assert ("Leave safe types on" in raised.value.hint) is not safe


def test_a_cast_rescues_a_type_that_is_unknown() -> None:
    found = with_casts([column("type with oid 99")], "parquet", casts={"c": "text"})
    assert found[0].exported.type == "text"


def test_a_cast_to_what_parquet_has_not_is_refused() -> None:
    casts = {"c": "interval"}
    assert with_casts([column("text")], "csv", casts=casts)[0].cast == "interval"
    with pytest.raises(ConfigurationError, match=r"c \(text\)"):
        with_casts([column("text")], "parquet", casts=casts)


def named(*names: str) -> list[Column]:
    return [Column(name=name, type="integer") for name in names]


def test_names_that_differ_in_case_are_two() -> None:
    assert [c.name for c in with_casts(named("id", "ID"), "parquet")] == ["id", "ID"]


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_names_that_occur_twice(format: Any) -> None:
    with pytest.raises(ConfigurationError, match="both called 'a'"):
        with_casts(named("a", "b", "a"), format)
    assert [c.renamed for c in with_casts(named("a", "b", "a"), format, safe=False)] == [False, False, True]
    found = with_casts(named("a", "b", "a", "a", "?column?", "?column?"), format, safe=False)
    assert [c.name for c in found] == ["a", "b", "a2", "a3", "?column?", "?column?2"]
    # Materialize would make two columns called a2 of these.
    with pytest.raises(ConfigurationError, match="both called 'a'"):
        with_casts(named("a", "a2", "a"), format, safe=False)
    with pytest.raises(ConfigurationError, match="both called 'a'") as raised:
        with_casts(named("a", "a", "b"), format, safe=False, casts={"b": "text"})
    assert "cannot be cast" in raised.value.hint


def test_every_cast_is_noted_with_its_reason_and_the_way_out() -> None:
    columns = [
        Column(name="total", type="numeric"),
        Column(name="the id", type="uuid"),
        Column(name="tags", type="text", array=True),
        Column(name="during", type="interval"),
        Column(name="n", type="bigint"),
        Column(name="at", type="timestamptz"),
    ]
    found = notes(with_casts(columns, "parquet", casts={"at": "timestamp"}), "parquet")
    assert found == [
        "total numeric is exported as text: without a scale, Parquet fails on many values and loaders round them "
        "(otherwise: --cast 'total=numeric(38,2)').",
        "the id uuid is exported as text: Parquet would hold sixteen raw bytes (otherwise: --cast 'the id=uuid').",
        "tags text[] is exported as jsonb: Parquet would hold its elements without its shape "
        "(otherwise: --cast 'tags=text list').",
        "during interval is exported as text: Parquet cannot hold it.",
        "at timestamptz is exported as timestamp, as asked for.",
    ]
    csv = notes(with_casts(columns, "csv"), "csv")
    assert csv[1:] == [
        "tags text[] is exported as jsonb: CSV would hold it in PostgreSQL's notation (otherwise: --cast tags=text)."
    ]


@pytest.mark.parametrize(
    ("given", "cast", "said"),
    [
        (column("text"), "char(3)", "; longer values are cut silently."),
        (column("varchar", length=9), "varchar(8)", "; longer values are cut silently."),
        (column("text", array=True), "varchar(8)[]", "; longer values are cut silently."),
        (column("text", array=True), "varchar(8) list", "; longer values are cut silently."),
        (column("varchar", length=8), "varchar(8)", "."),
        (column("text"), "varchar", "."),
        (column("real"), "jsonb", "; its values are strings of JSON, since numbers would lose Infinity and digits."),
        (column("list"), "jsonb", "; 64-bit integers in it become strings, and Infinity in it fails the export."),
        (column("bigint"), "jsonb", "."),
    ],
)
def test_what_a_cast_asked_for_does_to_values_is_said(given: Column, cast: str, said: str) -> None:
    [note] = notes(with_casts([given], "parquet", casts={"c": cast}), "parquet")
    assert note.endswith(f"is exported as {cast}, as asked for{said}")


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_elements_that_become_strings_are_said_to(format: Any) -> None:
    [floats] = notes(with_casts([column("double precision", array=True)], format), format)
    assert "its elements are strings, since numbers of JSON would lose Infinity" in floats
    [integers] = notes(with_casts([column("bigint", array=True)], format), format)
    assert "strings" not in integers


EVERY = sorted(EXPORTABLE_TYPES)


@pytest.mark.parametrize("format", ["parquet", "csv"])
@pytest.mark.parametrize("array", [False, True])
def test_the_way_out_of_every_note_is_a_cast_that_can_be_made(format: Any, array: bool) -> None:
    for column in with_casts([Column(name=f"c{i}", type=t, array=array) for i, t in enumerate(EVERY)], format):
        for note in notes([column], format):
            if "(otherwise: --cast " in note:
                name, _, type = shlex.split(note.partition("--cast ")[2].removesuffix(")."))[0].partition("=")
                assert with_casts([column], format, casts={name: type})[0].cast != column.cast


def test_numeric_without_scale_is_warned_about_where_it_stays_one() -> None:
    loose, tight = Column(name="loose", type="numeric"), Column(name="tight", type="numeric", scale=2)
    raw = with_casts([loose, tight], "parquet", safe=False)
    assert [text.split()[0] for text in warnings(raw, "parquet")] == ["loose"]
    assert warnings(raw, "csv") == []
    assert warnings(with_casts([loose, tight], "parquet"), "parquet") == []
    assert len(warnings(with_casts([loose], "parquet", casts={"loose": "numeric"}), "parquet")) == 1


@pytest.mark.parametrize(
    ("oid", "expected"),
    [
        (23, ("integer", False)),
        (1007, ("integer", True)),
        (2950, ("uuid", False)),
        (1184, ("timestamptz", False)),
        (16464, ("uint8", False)),
        (16552, ("mz_timestamp", False)),
        (3904, ("int4range", False)),
        (3911, ("tstzrange", True)),
        (2249, ("record", False)),
        (1187, ("interval", True)),
        (16384, ("list", False)),
        (16385, ("map", False)),
        (18, ('"char"', False)),
        (999999, ("type with oid 999999", False)),
    ],
)
def test_type_names(oid: int, expected: tuple[str, bool]) -> None:
    assert type_name(oid) == expected
