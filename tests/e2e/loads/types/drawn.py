"""Tables of any columns and values, and what each value must be in Snowflake: worked out here, by nobody else."""

from __future__ import annotations

import datetime as dt
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, LiteralString

from hypothesis import strategies as st

from mz_orchestration.snowflake.types import fold

Format = Literal["parquet", "csv"]


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Kind:
    """A type.

    Attributes:
        sql: Its name in Materialize.
        ddl: Its name in Snowflake as INFORMATION_SCHEMA has it.
        values: What it may hold.
        write: The value as text that a cast to the type reads.
        parquet: The value in Snowflake after a load from Parquet.
        csv: The same after a load from CSV, where it differs.
    """

    sql: LiteralString
    ddl: str
    values: st.SearchStrategy[Any]
    write: Callable[[Any], str] = str
    parquet: Callable[[Any], Any] = _same
    csv: Callable[[Any], Any] | None = None

    def expected(self, value: Any, format: Format) -> Any:
        """The value in Snowflake."""
        if value is None:
            return None
        return (self.csv or self.parquet)(value) if format == "csv" else self.parquet(value)


def _integers(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _decimals(places: int, digits: int) -> st.SearchStrategy[Decimal]:
    limit = 10**digits - 1
    return st.integers(-limit, limit).map(lambda n: Decimal(f"{n}E-{places}"))


def _shortest(value: float) -> float:
    """The double nearest to the shortest decimal that names this 32-bit float."""
    for digits in range(1, 10):
        text = f"{value:.{digits}g}"
        try:
            if struct.unpack("f", struct.pack("f", float(text)))[0] == value:
                return float(text)
        except OverflowError:
            continue
    return value


def _interval(value: dt.timedelta) -> str:
    """PostgreSQL's own spelling."""
    days = "" if value.days == 0 else "1 day" if value.days == 1 else f"{value.days} days"
    rest = value - dt.timedelta(days=value.days)
    if not rest and days:
        return days
    minutes, seconds = divmod(rest.seconds, 60)
    fraction = f".{rest.microseconds:06}".rstrip("0") if rest.microseconds else ""
    clock = f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}{fraction}"
    return f"{days} {clock}".strip()


def _array(items: list[Any]) -> str:
    return "{" + ",".join(map(_item, items)) + "}"


def _item(item: Any) -> str:
    if item is None:
        return "NULL"
    if isinstance(item, list):
        return _array(item)
    return '"' + str(item).replace("\\", "\\\\").replace('"', '\\"') + '"'


_LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_TEXT = st.one_of(
    st.text(_LETTERS, max_size=30),
    st.sampled_from(
        ["", '""', "\\", "\\N", "NULL", "null", " padded ", "a,b", "\r\n", "'", "\\.", "\ufeff", "{}", "t"]
    ),
)
_FIRST, _LAST = dt.datetime(2, 1, 1), dt.datetime(9998, 12, 31)
_ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(-1e9, 1e9) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_FLAT = st.lists(st.none() | _integers(32), max_size=4)
_SQUARE = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(_integers(32), min_size=width, max_size=width), min_size=1, max_size=3)
)

KINDS = [
    Kind("boolean", "BOOLEAN", st.booleans()),
    Kind("smallint", "NUMBER", _integers(16)),
    Kind("integer", "NUMBER", _integers(32)),
    Kind("bigint", "NUMBER", _integers(64)),
    Kind("oid", "NUMBER", st.integers(0, 2**32 - 1)),
    Kind("real", "FLOAT", st.floats(width=32), repr, csv=_shortest),
    Kind("double precision", "FLOAT", st.floats(), repr),
    Kind("numeric(10,2)", "NUMBER", _decimals(2, 10)),
    Kind("numeric(38,37)", "NUMBER", _decimals(37, 38), "{:f}".format),
    Kind(
        "numeric",
        "TEXT",
        st.just(Decimal("NaN")) | st.integers(0, 20).flatmap(lambda places: _decimals(places, 30)),
        "{:f}".format,
        "{:f}".format,
    ),
    Kind("date", "DATE", st.dates()),
    Kind("time", "TIME", st.times()),
    Kind("timestamp", "TIMESTAMP_NTZ", st.datetimes(_FIRST, _LAST)),
    Kind(
        "timestamptz",
        "TIMESTAMP_LTZ",
        st.builds(dt.datetime.replace, st.datetimes(_FIRST, _LAST), tzinfo=_ZONES),
        parquet=lambda value: value.astimezone(dt.UTC),
    ),
    Kind(
        "interval",
        "TEXT",
        st.timedeltas(min_value=dt.timedelta(0), max_value=dt.timedelta(days=9999)),
        _interval,
        _interval,
    ),
    Kind("bytea", "BINARY", st.binary(max_size=40), lambda value: "\\x" + value.hex()),
    Kind("text", "TEXT", _TEXT),
    Kind("varchar(20)", "TEXT", st.text(_LETTERS, max_size=20)),
    Kind("char(5)", "TEXT", st.text(_LETTERS, max_size=5), parquet=lambda value: value.ljust(5)),
    Kind("uuid", "TEXT", st.uuids(), parquet=str),
    Kind("jsonb", "VARIANT", _JSON, json.dumps),
    Kind("integer[]", "ARRAY", _FLAT | _SQUARE, _array),
    Kind("text[]", "ARRAY", st.lists(st.none() | _TEXT, max_size=4), _array),
    Kind(
        "int4range",
        "TEXT",
        st.tuples(_integers(16), st.integers(1, 9)),
        lambda value: f"[{value[0]},{value[0] + value[1]})",
        lambda value: f"[{value[0]},{value[0] + value[1]})",
    ),
]

# A name of PostgreSQL, which the stand-in is, has 63 bytes.
_NAMES = st.one_of(
    st.text(_LETTERS, min_size=1, max_size=15),
    st.sampled_from(
        [
            "select",
            "ORDER",
            "Mixed Case",
            'say "x"',
            "it's",
            "a.b",
            "$1",
            "x" * 63,
            "é" * 31,
            "ß",
            "ı",
            "İ",
            "100 %",
            "$1:a",
        ]
    ),
)


@dataclass(frozen=True)
class Table:
    """Columns by name, and rows of values."""

    columns: dict[str, Kind]
    rows: list[tuple[Any, ...]]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """A table of about a dozen columns and as many rows."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=6, max_size=14))
    # The number of the row is called n.
    others = _NAMES.filter(lambda name: fold(name) != fold("n"))
    names = draw(st.lists(others, min_size=len(kinds), max_size=len(kinds), unique_by=fold))
    rows = draw(st.lists(st.tuples(*(st.none() | kind.values for kind in kinds)), max_size=12))
    return Table(dict(zip(names, kinds, strict=True)), rows)
