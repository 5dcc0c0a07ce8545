"""Per-column checks: what Materialize or the files say of each column, compared with what Snowflake has.

One statement asks Snowflake for the NULLs, the smallest and largest values and the sums of all columns. Everything is
compared in the canonical text of `exports.statistics`; floats, whose sums depend on the order of adding, within the
largest error that adding can make.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.statistics import ColumnStatistics, Kind, Source, Statistics, kind_of
from mz_orchestration.exports.statistics.files import file_statistics
from mz_orchestration.exports.statistics.model import (
    EXACT,
    MAX_TEXT_BYTES,
    float_text,
    moment_text,
    number_text,
)
from mz_orchestration.flow import Flow, call
from mz_orchestration.materialize.types import Column
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.snowflake import statements
from mz_orchestration.snowflake.quoting import Name, Sql, compose, identifier, join
from mz_orchestration.snowflake.session import Answer, SnowflakeSession
from mz_orchestration.snowflake.types import column_name

# Types by which INFORMATION_SCHEMA knows columns that hold what the export holds.
_HOLDS = {
    Kind.NUMBER: {"NUMBER"},
    Kind.FLOAT: {"FLOAT"},
    Kind.BOOLEAN: {"BOOLEAN"},
    Kind.TEXT: {"TEXT"},
    Kind.DATE: {"DATE"},
    Kind.TIME: {"TIME"},
    Kind.TIMESTAMP: {"TIMESTAMP_NTZ", "TIMESTAMP_LTZ", "TIMESTAMP_TZ"},
}
# By documentation a SUM of NUMBERs has 38 digits and fails when it needs more.
_SUM_DIGITS = 38
# Which digits of a float a result without Arrow keeps is not documented; 15 they all do.
_FLOAT_DIGITS = 1e-14
# Sums beyond may leave the range of a float on the way.
_HUGE = Decimal(10) ** 300
_SAYS = {Source.FILES: "in the files", Source.MATERIALIZE: "in Materialize"}

Execute = Callable[[Sql], Flow[Answer]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is compared of one column.

    Attributes:
        column: As exported.
        name: The column's in the table.
        expected: What it should hold.
        kind: How its values are compared; `Kind.OTHER` compares NULLs only.
        summed: Whether its sum is compared.
    """

    column: Column
    name: str
    expected: ColumnStatistics
    kind: Kind
    summed: bool


def column_checks(
    manifest: Manifest,
    table: Name,
    session: SnowflakeSession,
    store: ObjectStore,
    *,
    timeout: float = 3600.0,
    execute: Execute | None = None,
) -> Flow[list[str]]:
    """Every disagreement between the columns of an export and the table it was loaded into, one line each.

    Args:
        manifest: The export. If it has no statistics of Materialize's, all of its files are read.
        table: Holds the rows of this export and no others.
        session: To ask Snowflake with; its time zone is UTC.
        store: Where the files lie.
        timeout: Seconds that reading the files may take.
        execute: Carries out the statement, which reads the whole table; by default the session waits for it.
    """
    if not manifest.rows:
        return []
    expected = manifest.statistics
    if expected is None:
        stop = threading.Event()
        try:
            expected = yield from call(file_statistics, store, manifest, timeout=timeout, stop=stop)
        finally:
            stop.set()
    described = yield from call(session.query, statements.describe_columns(table))
    wanted, missing = wanted_of(manifest.columns, manifest.rows, expected, described.rows)
    if not wanted:
        return missing
    statement = statistics_statement(table, wanted)
    answer = yield from (execute(statement) if execute else call(session.query, statement))
    return missing + findings(expected.source, manifest.rows, wanted, answer.rows[0])


def wanted_of(
    columns: Sequence[Column], rows: int, expected: Statistics, described: Sequence[Mapping[str, Any]]
) -> tuple[tuple[Wanted, ...], list[str]]:
    """What can be compared, by the columns the table has, and a line for each column it lacks.

    Args:
        columns: As exported.
        rows: How many rows there are.
        expected: The statistics of the columns.
        described: The table's columns: ``column_name``, ``data_type`` and ``numeric_scale``.
    """
    there = {row["column_name"]: row for row in described}
    wanted, missing = [], []
    for column, found in zip(columns, expected.columns, strict=True):
        name = _name_in_table(column_name(column), there)
        if name is None:
            missing.append(f"{column_name(column)} is not in the table")
            continue
        kind = kind_of(column)
        if there[name]["data_type"] not in _HOLDS.get(kind, ()):
            kind = Kind.OTHER
        scale = max(column.exported.scale or 0, there[name]["numeric_scale"] or 0)
        wanted.append(Wanted(column, name, found, kind, _is_summed(kind, found, rows, scale)))
    return tuple(wanted), missing


def statistics_statement(table: Name, wanted: Sequence[Wanted]) -> Sql:
    """One row with what is to be compared, each value called by a letter and the column's number."""
    values = [
        compose("{} AS {}", value, identifier(f"{letter}{number}"))
        for number, each in enumerate(wanted)
        for letter, value in _aggregates(each)
    ]
    return compose("SELECT {} FROM {}", join(values), identifier(*table))


def findings(source: Source, rows: int, wanted: Sequence[Wanted], row: Mapping[str, Any]) -> list[str]:
    """Every disagreement, one line each.

    Args:
        source: Who said what is expected.
        rows: How many rows there are.
        wanted: What was asked for.
        row: The answer to `statistics_statement`, by lower-case name.
    """
    says = _SAYS[source]
    found = []
    for number, each in enumerate(wanted):
        there = {letter: row.get(f"{letter}{number}") for letter in "nlht"}
        expected = each.expected
        if there["n"] != expected.nulls:
            found.append(f"{each.name}: {expected.nulls} NULLs {says}, {there['n']} in Snowflake")
        if each.kind is Kind.OTHER:
            continue
        for what, letter, text in (("smallest", "l", expected.minimum), ("largest", "h", expected.maximum)):
            if text is not None and each.kind is not Kind.BOOLEAN and not _same(each, text, there[letter]):
                found.append(f"{each.name}: the {what} value is {_shown(each, text, there[letter], says)}")
        if each.summed and not _same_sum(each, rows, there["t"]):
            what = "number of true values" if each.kind is Kind.BOOLEAN else "sum"
            found.append(f"{each.name}: the {what} is {expected.total} {says}, {_text(each, there['t'])} in Snowflake")
    return found


def _name_in_table(name: str, there: Mapping[str, object]) -> str | None:
    if name in there:
        return name
    alike = [other for other in there if other.upper() == name]
    return alike[0] if len(alike) == 1 else None


def _is_summed(kind: Kind, expected: ColumnStatistics, rows: int, scale: int) -> bool:
    """Whether there is a sum to compare, which no order of adding can make too large."""
    if expected.total is None or kind is Kind.OTHER:
        return False
    if kind is Kind.BOOLEAN:
        return True
    bound = EXACT.multiply(rows, _largest(expected))
    return bound < (Decimal(10) ** (_SUM_DIGITS - scale) if kind is Kind.NUMBER else _HUGE)


def _largest(expected: ColumnStatistics) -> Decimal:
    """How far from zero the values go."""
    ends = (Decimal(text) for text in (expected.minimum, expected.maximum) if text is not None)
    return max((end.copy_abs() for end in ends), default=Decimal(0))


def _aggregates(each: Wanted) -> Iterator[tuple[str, Sql]]:
    name = identifier(each.name)
    # COUNT(x) would take a JSON null for a NULL.
    yield "n", compose("COUNT(CASE WHEN {} IS NULL THEN 1 END)", name)
    expected = each.expected
    if each.kind is Kind.BOOLEAN:
        yield "t", compose("COUNT(CASE WHEN {} THEN 1 END)", name)
    elif each.kind is Kind.TEXT:
        # In hexadecimal: no collation of the column changes that order. One character more than fits.
        bytes_of = compose("HEX_ENCODE(SUBSTR({}, 1, {}))", name, MAX_TEXT_BYTES + 1)
        if expected.minimum is not None:
            yield "l", compose("MIN({})", bytes_of)
        if expected.maximum is not None:
            yield "h", compose("MAX({})", bytes_of)
    elif each.kind is not Kind.OTHER:
        # A number as text, since clients differ in what they make of 38 digits; other values by their own types.
        yield "l", _asked(each, compose("MIN({})", name))
        yield "h", _asked(each, compose("MAX({})", name))
        if each.summed:
            yield "t", _asked(each, compose("SUM({})", name))


def _asked(each: Wanted, value: Sql) -> Sql:
    return compose("TO_VARCHAR({})", value) if each.kind is Kind.NUMBER else value


def _same(each: Wanted, text: str, value: Any) -> bool:
    if value is None:
        return False
    if each.kind is Kind.TEXT:
        return bytes.fromhex(value) == text.encode(errors="surrogatepass")
    if each.kind is Kind.FLOAT:
        one, other = float(text), float(float_text(float(value), each.column))
        return (one != one and other != other) or math.isclose(one, other, rel_tol=_FLOAT_DIGITS)
    return _text(each, value) == text


def _same_sum(each: Wanted, rows: int, value: Any) -> bool:
    expected = each.expected.total
    if value is None or expected is None:
        return False
    if each.kind is not Kind.FLOAT:
        return _text(each, value) == expected
    # The most that adding so many values in another order can change, twice.
    tolerance = rows * 2.0**-51 * rows * float(_largest(each.expected))
    return abs(float(value) - float(expected)) <= tolerance


def _text(each: Wanted, value: Any) -> str:
    """The canonical text of a value that Snowflake has answered."""
    if value is None:
        return "none"
    if each.kind is Kind.NUMBER:
        return number_text(Decimal(value)) or str(value)
    if each.kind is Kind.FLOAT:
        return float_text(float(value), each.column)
    if each.kind is Kind.BOOLEAN:
        return str(value)
    return moment_text(value)


def _shown(each: Wanted, text: str, value: Any, says: str) -> str:
    # A text may be a name or worse, and what is found ends up in logs.
    if each.kind is Kind.TEXT:
        return f"another {says} than in Snowflake"
    return f"{text} {says}, {_text(each, value)} in Snowflake"
