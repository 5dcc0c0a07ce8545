"""One column counted up piece by piece, each piece an Arrow array of its values."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any

from mz_orchestration.exports.statistics.model import (
    EXACT,
    ColumnStatistics,
    Kind,
    boolean_statistics,
    canonical,
    float_text,
    kind_of,
    moment_text,
    number_text,
)
from mz_orchestration.materialize.types import Column

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000_000


class Tally:
    """What the values of one column have shown so far.

    Args:
        column: The column, with its cast.
    """

    def __init__(self, column: Column) -> None:
        self.column = column
        self.kind = kind_of(column)
        self.rows = 0
        self._filled = 0
        self._not_numbers = 0
        self._least: Any = None
        self._most: Any = None
        self._total: Any = 0

    def add(self, values: Any) -> None:
        """Count up an Arrow array, of the type that Parquet has or of CSV's text."""
        import pyarrow
        import pyarrow.compute

        self.rows += len(values)
        self._filled += len(values) - values.null_count
        if self.kind is Kind.OTHER or values.null_count == len(values):
            return
        text = pyarrow.types.is_string(values.type) or pyarrow.types.is_large_string(values.type)
        if self.kind is Kind.BOOLEAN:
            true = pyarrow.compute.equal(values, pyarrow.scalar("t", values.type)) if text else values
            self._total += pyarrow.compute.sum(true).as_py()
        elif self.kind is Kind.NUMBER:
            self._add_numbers(values.cast(pyarrow.decimal256(76, self.column.exported.scale or 0)))
        elif self.kind is Kind.FLOAT:
            self._add_floats(values.cast(pyarrow.float64()))
        else:
            if not text:
                # Days or microseconds: a date of Python's does not reach as far.
                values = values.cast(pyarrow.int32() if self.kind is Kind.DATE else pyarrow.int64())
            self._widen(values)

    def merge(self, other: Tally) -> None:
        """Count up what another tally of the same column has seen."""
        self.rows += other.rows
        self._filled += other._filled
        self._not_numbers += other._not_numbers
        self._total = EXACT.add(self._total, other._total) if self.kind is Kind.NUMBER else self._total + other._total
        if other._least is not None:
            self._reach(other._least, other._most)

    def statistics(self) -> ColumnStatistics:
        """What has been found out."""
        nulls = self.rows - self._filled
        if self.kind is Kind.BOOLEAN:
            return boolean_statistics(self.column, self.rows, self._filled, self._total)
        minimum, maximum = self._text(self._least), self._text(self._most)
        total = None
        if self._not_numbers:
            # NaN is larger than any other number.
            minimum, maximum = minimum or "NaN", "NaN"
        elif self._filled and self.kind is Kind.FLOAT:
            total = repr(self._total) if isfinite(self._total) else None
        elif self._filled and self.kind is Kind.NUMBER:
            total = number_text(Decimal(self._total))
        return ColumnStatistics(name=self.column.name, nulls=nulls, minimum=minimum, maximum=maximum, total=total)

    def _add_numbers(self, values: Any) -> None:
        import pyarrow.compute

        self._widen(values)
        self._total = EXACT.add(self._total, pyarrow.compute.sum(values).as_py())

    def _add_floats(self, values: Any) -> None:
        import pyarrow.compute

        nan = pyarrow.compute.is_nan(values)
        count = pyarrow.compute.sum(nan).as_py()
        if count:
            self._not_numbers += count
            values = values.filter(pyarrow.compute.invert(nan)).drop_null()
        if len(values):
            self._widen(values)
            self._total += pyarrow.compute.sum(values).as_py()

    def _widen(self, values: Any) -> None:
        import pyarrow.compute

        found: Any = pyarrow.compute.min_max(values).as_py()
        self._reach(found["min"], found["max"])

    def _reach(self, least: Any, most: Any) -> None:
        self._least = least if self._least is None else min(self._least, least)
        self._most = most if self._most is None else max(self._most, most)

    def _text(self, value: Any) -> str | None:
        if value is None:
            return None
        if isinstance(value, str):
            return canonical(value, self.column)
        if self.kind is Kind.NUMBER:
            return number_text(value)
        if self.kind is Kind.FLOAT:
            return float_text(value, self.column)
        return _moment(value, self.column)


def _moment(value: int, column: Column) -> str | None:
    """Of days or microseconds since 1970, or since midnight; None of a year that Python does not know."""
    kind = kind_of(column)
    try:
        if kind is Kind.DATE:
            return moment_text(date(1970, 1, 1) + timedelta(days=value))
        moment = _EPOCH + timedelta(microseconds=value)
    except OverflowError:
        return None
    if kind is Kind.TIME:
        return moment_text(moment.time()) if value < _DAY else None
    return moment_text(moment if column.exported.type == "timestamptz" else moment.replace(tzinfo=None))
