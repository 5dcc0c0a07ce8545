"""The way out when Materialize cannot write a column or a value of it to Parquet.

The messages are those of ``src/arrow-util/src/builder.rs``: a type is refused by the column's name before anything is
written, a number is refused while the COPY runs, without a word on the column.
"""

from __future__ import annotations

import re

from mz_orchestration.materialize.types import DEFAULT_SCALE, Column, cast_flag, listed, rounded_type

_TYPE_REFUSAL = "Cannot encode the following columns/types: ["
_NUMBER_REFUSAL = re.compile(
    r"Cannot represent special numeric value .* in parquet"
    r"|Decimal value .* out of range for (?:parquet|column with precision)"
    r"|cannot represent decimal value .* in column with scale (?P<scale>\d+)"
)
# Rust's debug format of a string: what is between the quotes of "<column>: <type>".
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\0": r"\0"})


def encode_hint(message: str, columns: list[Column]) -> str | None:
    """Which columns Parquet cannot hold, and how to cast them.

    Args:
        message: With which Materialize ended the COPY.
        columns: What was exported, with casts.

    Returns:
        None when the message is about something else.
    """
    _, refusal, refused = message.partition(_TYPE_REFUSAL)
    return _of_types(refused, columns) if refusal else _of_numbers(message, columns)


def _of_types(refused: str, columns: list[Column]) -> str | None:
    meant = [column for column in columns if _opens(column, refused)]
    if not meant:
        return None
    return (
        f"Parquet cannot hold the type of these columns: {listed(meant)}. "
        f"{cast_flag(meant[0], 'text')} exports it as text; CSV holds every type."
    )


def _opens(column: Column, refused: str) -> bool:
    """Whether one of the listed strings is about this column; quotes inside of one are escaped."""
    opening = f'"{column.name.translate(_ESCAPES)}: '
    return refused.startswith(opening) or f'", {opening}' in refused


def _of_numbers(message: str, columns: list[Column]) -> str | None:
    match = _NUMBER_REFUSAL.search(message)
    if match is None:
        return None
    scale = match["scale"]
    meant = [
        column
        for column in columns
        if column.exported.type in ("numeric", "numrange", "list", "map", "record")
        and (scale is None or column.exported.type != "numeric" or _parquet_scale(column) == int(scale))
    ]
    if not meant:
        return None
    numbers = [column for column in meant if column.exported.type == "numeric"]
    return (
        f"The value is in one of these columns: {listed(meant)}. "
        f"{cast_flag(meant[0], 'text')} exports it as text, which holds every number"
        + (f"; {cast_flag(numbers[0], rounded_type(numbers[0]))} rounds it." if numbers else ".")
    )


def _parquet_scale(column: Column) -> int:
    return DEFAULT_SCALE if column.exported.scale is None else column.exported.scale
