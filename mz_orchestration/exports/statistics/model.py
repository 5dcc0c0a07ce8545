"""Statistics of columns, and the one text that stands for a value wherever it was found."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mz_orchestration.materialize.types import Column

# Longer texts are not compared: what matters is in the first of their bytes, and a manifest is no place for them.
MAX_TEXT_BYTES = 256
# Wide enough for the sum of any number of 38-digit values.
EXACT = Context(prec=200)


class Source(StrEnum):
    """Who was asked."""

    MATERIALIZE = "materialize"  # inside the read that the export makes
    FILES = "files"  # every value of every file


class Kind(StrEnum):
    """What can be said of the values of a column besides which of them are NULL."""

    NUMBER = "number"  # smallest, largest, exact sum
    FLOAT = "float"  # smallest, largest; a sum by the files only
    BOOLEAN = "boolean"  # smallest, largest; the sum counts what is true
    TEXT = "text"  # smallest and largest by bytes, unless they are long
    DATE = "date"  # smallest, largest
    TIME = "time"
    TIMESTAMP = "timestamp"
    OTHER = "other"  # nothing


_BESIDE = "statistics"
_KINDS = {
    "boolean": Kind.BOOLEAN,
    "real": Kind.FLOAT,
    "double precision": Kind.FLOAT,
    "date": Kind.DATE,
    "time": Kind.TIME,
    "timestamp": Kind.TIMESTAMP,
    "timestamptz": Kind.TIMESTAMP,
    # Not char: its values are padded in some places and not in others.
    **dict.fromkeys(("text", "varchar", "uuid"), Kind.TEXT),
    **dict.fromkeys(("smallint", "integer", "bigint", "uint2", "uint4", "uint8", "oid", "mz_timestamp"), Kind.NUMBER),
}


class ColumnStatistics(BaseModel):
    """One column of an export, as it is in the files: after its cast.

    Attributes:
        name: The column's.
        nulls: How many values are NULL.
        minimum: The smallest value as text; None where all are NULL, where the type has no order that all systems
            share, and where the text would be long.
        maximum: The largest value likewise; NaN is larger than any other number.
        total: The sum of numbers, the number of true values of a boolean; None for other types, without values, and
            where nobody can tell it exactly.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    nulls: int = Field(ge=0)
    minimum: str | None = None
    maximum: str | None = None
    total: str | None = None


class Statistics(BaseModel):
    """All columns of an export, in order.

    Attributes:
        source: Who was asked for them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Source
    columns: tuple[ColumnStatistics, ...]


def described(columns: Sequence[Column], statistics: Statistics | None = None) -> list[dict[str, Any]]:
    """The columns as a run record keeps them, with what Materialize said of each beside it."""
    data = [column.model_dump(mode="json") for column in columns]
    if statistics is not None:
        for column, found in zip(data, statistics.columns, strict=True):
            column[_BESIDE] = found.model_dump(mode="json", exclude={"name"})
    return data


def read_described(data: Sequence[Mapping[str, Any]]) -> tuple[list[Column], Statistics | None]:
    """The columns of a run record, and Materialize's statistics if it has them.

    Raises:
        ValidationError: They are not what `described` makes.
    """
    columns = [Column.model_validate({name: item[name] for name in item if name != _BESIDE}) for item in data]
    if not data or any(_BESIDE not in item for item in data):
        return columns, None
    found = [
        ColumnStatistics.model_validate({"name": column.name, **item[_BESIDE]})
        for column, item in zip(columns, data, strict=True)
    ]
    return columns, Statistics(source=Source.MATERIALIZE, columns=tuple(found))


def kind_of(column: Column) -> Kind:
    """What can be said of the column's values as they are written."""
    written = column.exported
    if written.array:
        return Kind.OTHER
    if written.type == "numeric":
        # Without a scale Parquet and CSV hold different digits.
        return Kind.OTHER if written.scale is None else Kind.NUMBER
    return _KINDS.get(written.type, Kind.OTHER)


def boolean_statistics(column: Column, rows: int, filled: int, true: int) -> ColumnStatistics:
    """The statistics of a boolean column, by how many of its values are there and how many are true."""
    if not filled:
        return ColumnStatistics(name=column.name, nulls=rows)
    return ColumnStatistics(
        name=column.name,
        nulls=rows - filled,
        minimum="true" if true == filled else "false",
        maximum="true" if true else "false",
        total=str(true),
    )


def number_text(value: Decimal) -> str | None:
    """``12.3`` of 12.30; None of what is no number."""
    if not value.is_finite():
        return None
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def float_text(value: float, column: Column) -> str:
    """The shortest text that reads as the same double; ``NaN``, ``Infinity`` as SQL has them.

    A real is the double that it has been made of four bytes: Parquet holds that one, text a shorter neighbour of it.
    """
    if column.exported.type == "real":
        with suppress(OverflowError):
            [value] = struct.unpack("<f", struct.pack("<f", value))
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return "NaN" if value != value else repr(value + 0.0)  # no negative zero


def short_text(value: str) -> str | None:
    """The text itself, or None if it is long."""
    return value if len(value.encode(errors="surrogatepass")) <= MAX_TEXT_BYTES else None


def moment_text(value: date | time | datetime) -> str:
    """ISO 8601 with six decimals of a second; an instant in UTC, with a Z."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.isoformat(timespec="microseconds")
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    return value.isoformat(timespec="microseconds") if isinstance(value, time) else value.isoformat()


def canonical(text: str | None, column: Column) -> str | None:
    """The canonical text of a value that PostgreSQL's text stands for, as Materialize and its CSV files have it.

    None where there is none, such as of a year that other systems do not know.
    """
    if text is None:
        return None
    kind = kind_of(column)
    try:
        if kind is Kind.NUMBER:
            return number_text(Decimal(text))
        if kind is Kind.FLOAT:
            return float_text(float(text), column)
        if kind is Kind.TEXT:
            return short_text(text)
        return _moment(text, kind)
    except (ValueError, InvalidOperation, OverflowError):
        return None


def _moment(text: str, kind: Kind) -> str | None:
    read: dict[Kind, Callable[[str], date | time | datetime]] = {
        Kind.DATE: date.fromisoformat,
        Kind.TIME: time.fromisoformat,
        Kind.TIMESTAMP: datetime.fromisoformat,
    }
    # Years of five digits could be read as something else.
    if kind is not Kind.TIME and not re.match(r"\d{4}-", text):
        return None
    return moment_text(read[kind](text)) if kind in read else None
