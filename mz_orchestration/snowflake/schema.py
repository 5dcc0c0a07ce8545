"""The columns a load needs in its target: what they are, what a COPY reads them from, and whether a table fits them.

A manifest says what was exported; `wanted_columns` turns that into columns of a table, `definition` into the text of
CREATE TABLE, and `copy_expressions` into the SELECT of a COPY INTO. A table that exists is held against them by
`compare`, which also says under which name each column is found there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.materialize.types import Column
from mz_orchestration.snowflake.quoting import Sql, compose, identifier, join, literal
from mz_orchestration.snowflake.target import TargetColumn, fitting_cast, misfit
from mz_orchestration.snowflake.types import (
    column_name,
    csv_expression,
    ddl_type,
    exact_number,
    fold,
    needs_transform,
    parquet_expression,
    refuse_rounding,
    refuse_unloadable,
)


class Layout(StrEnum):
    """How a row lands in the target."""

    COLUMNS = "columns"  # a column for each that was exported
    VARIANT = "variant"  # the whole row in one column


class SchemaChanges(StrEnum):
    """What happens where the target's columns are not the export's."""

    FAIL = "fail"
    ADD_COLUMNS = "add_columns"  # the target gets what it lacks; columns of its own are left to NULL or their default


@dataclass(frozen=True, slots=True)
class WantedColumn:
    """A column the target needs.

    Attributes:
        name: As it is, or will be, in the table.
        ddl: The type we give it.
        expression: Reads it from a file; None where the manifest tells the value.
        source: The exported column; None for the one of the layout ``variant`` and for lineage.
        plain: Whether a COPY without a SELECT fills it just as well.
    """

    name: str
    ddl: Sql
    expression: Sql | None
    source: Column | None = None
    plain: bool = False


# The name that Materialize's own guide gives it.
VARIANT_COLUMN = WantedColumn("COL", Sql("VARIANT"), Sql("$1"), plain=True)
_RUN_KEY, _MANIFEST = "_MZ_RUN_KEY", "_MZ_MANIFEST"
# Where each row comes from: file and row in it, run, manifest, and when the file was read.
LINEAGE = (
    WantedColumn("_MZ_FILE", Sql("VARCHAR"), Sql("METADATA$FILENAME")),
    WantedColumn("_MZ_FILE_ROW", Sql("NUMBER(38,0)"), Sql("METADATA$FILE_ROW_NUMBER")),
    WantedColumn(_RUN_KEY, Sql("VARCHAR"), None),
    WantedColumn(_MANIFEST, Sql("VARCHAR(64)"), None),
    WantedColumn("_MZ_LOADED_AT", Sql("TIMESTAMP_LTZ(6)"), Sql("METADATA$START_SCAN_TIME")),
)
_LINEAGE_NAMES = frozenset(column.name for column in LINEAGE)


def wanted_columns(manifest: Manifest, *, layout: Layout, lineage: bool) -> tuple[WantedColumn, ...]:
    """The columns that a target of this export has, in order.

    Raises:
        ConfigurationError: Snowflake could not load the files this way without loss.
    """
    columns: tuple[WantedColumn, ...]
    if layout is Layout.VARIANT:
        columns = (_variant_column(manifest),)
    else:
        refuse_unloadable(manifest.columns, manifest.format)
        columns = tuple(
            _wanted(column, manifest.format == "csv", position) for position, column in enumerate(manifest.columns, 1)
        )
    if not lineage:
        return columns
    reserved = {column.name for column in LINEAGE}
    taken = [column.source.name for column in columns if column.source and column.name in reserved]
    if taken:
        raise ConfigurationError(
            f"The export has columns that are called like lineage columns: {', '.join(taken)}.",
            hint="Give them other names in a query, or load without lineage.",
        )
    return columns + LINEAGE


def _variant_column(manifest: Manifest) -> WantedColumn:
    if manifest.format != "parquet":
        raise ConfigurationError(
            f"layout 'variant' loads Parquet only; {manifest.path} holds {manifest.format}.",
            hint="Export as Parquet, or load with layout 'columns'.",
        )
    refuse_rounding(manifest.columns, manifest.format)
    return VARIANT_COLUMN


def _wanted(column: Column, csv: bool, position: int) -> WantedColumn:
    expression = csv_expression(column, position) if csv else parquet_expression(column)
    plain = not csv and not needs_transform(column)
    return WantedColumn(column_name(column), ddl_type(column), expression, column, plain)


def definition(wanted: Sequence[WantedColumn]) -> Sql:
    """The columns as CREATE TABLE has them between its parentheses."""
    return join(compose("{} {}", identifier(column.name), column.ddl) for column in wanted)


def copy_expressions(manifest: Manifest, wanted: Sequence[WantedColumn]) -> tuple[Sql, ...] | None:
    """What a COPY INTO selects from the files, in the order of ``wanted``; None if it needs no SELECT.

    Without one, columns are matched by name, and the one of the layout ``variant`` takes the whole row.
    """
    if all(column.plain for column in wanted):
        return None
    told = {_RUN_KEY: literal(manifest.run_key), _MANIFEST: literal(manifest.sha256)}
    return tuple(told[fold(column.name)] if column.expression is None else column.expression for column in wanted)


class Sign(StrEnum):
    """What kind of difference it is, as diffs mark it."""

    MISSING = "+"  # the table lacks it
    UNLIKE = "~"
    EXTRA = "-"  # the export lacks it


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between a table and what a load needs.

    Attributes:
        type: The table's type; for a missing column the one it needs.
        problem: Whether it stands in the way of the load.
        cast: The option of an export that would fit the table's column, and in brackets what it costs.
    """

    sign: Sign
    name: str
    type: str
    text: str
    problem: bool = True
    cast: str | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.type} {self.text}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found.

    Attributes:
        columns: The wanted columns as this table has them: under the names it spells, a number that travels as text
            as the table's NUMBER.
        add: Those of them that must be added to the table first.
        unfilled: Columns of the table that the export does not fill.
        differences: Everything that is not alike, whether it is a problem or not.
        changes: What the comparison was told to do about columns that one side lacks.
    """

    columns: tuple[WantedColumn, ...]
    add: tuple[WantedColumn, ...]
    unfilled: tuple[str, ...]
    differences: tuple[Difference, ...]
    changes: SchemaChanges

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps the export from being loaded into the table, one line each."""
        return tuple(str(difference) for difference in self.differences if difference.problem)


def compare(wanted: Sequence[WantedColumn], existing: Sequence[TargetColumn], changes: SchemaChanges) -> Comparison:
    """Hold an existing table against what a load needs.

    Names are found whatever their case: a table that somebody has made with quoted names is as good as any.
    """
    by_name: dict[str, list[TargetColumn]] = defaultdict(list)
    for there in existing:
        by_name[fold(there.name)].append(there)
    adding = changes is SchemaChanges.ADD_COLUMNS
    columns: list[WantedColumn] = []
    add: list[WantedColumn] = []
    found: list[Difference] = []
    claimed: set[str] = set()
    for column in wanted:
        candidates = by_name[fold(column.name)]
        if column is VARIANT_COLUMN and not candidates:
            candidates = _only_variant(existing)
        claimed.update(there.name for there in candidates)
        if not candidates:
            text = "missing in the table" + ("; it will be added" if adding else "")
            found.append(Difference(Sign.MISSING, column.name, column.ddl, text, problem=not adding))
            columns.append(column)
            add += [column] if adding else []
        elif len(candidates) > 1:
            spelled = " and ".join(identifier(there.name) for there in candidates)
            text = f"needed by the export, is in the table more than once: {spelled}"
            found.append(Difference(Sign.UNLIKE, column.name, column.ddl, text))
        else:
            fitted, difference = _fitted(column, candidates[0])
            columns.append(fitted)
            found += [difference] if difference else []
    extra = [there for there in existing if there.name not in claimed]
    found += [_extra(there, adding) for there in extra]
    if extra:
        # Documented: a COPY that matches by name fills other columns with NULL, not with their defaults; one that
        # takes the whole row wants a table of one column.
        columns = [replace(column, plain=False) for column in columns]
    unfilled = tuple(there.name for there in extra if adding and _fills_itself(there))
    return Comparison(tuple(columns), tuple(add), unfilled, tuple(found), changes)


def _fitted(column: WantedColumn, there: TargetColumn) -> tuple[WantedColumn, Difference | None]:
    """The column as the table has it, and what is wrong with that."""
    here = replace(column, name=there.name)
    source = column.source
    if source is not None and column.expression is not None and _number_as_text(source) and there.number is not None:
        digits, scale = there.number
        exact = exact_number(column.expression, digits, scale)
        return replace(here, ddl=compose("NUMBER({},{})", digits, scale), expression=exact), None
    reason = misfit(column.ddl, source, there)
    if reason is None:
        return here, None
    cast = None if source is None else fitting_cast(source, there)
    return here, Difference(Sign.UNLIKE, there.name, there.type, reason, cast=cast)


def _number_as_text(source: Column) -> bool:
    return source.type == "numeric" and not source.array and source.exported.type == "text"


def _only_variant(existing: Sequence[TargetColumn]) -> list[TargetColumn]:
    """The one VARIANT of a landing table, whatever its name."""
    found = [there for there in existing if there.data_type == "VARIANT"]
    return found if len(found) == 1 else []


def _fills_itself(there: TargetColumn) -> bool:
    return there.nullable or there.default is not None


def _extra(there: TargetColumn, adding: bool) -> Difference:
    text = "in the table, not in the export"
    if not _fills_itself(there):
        text += ", and takes no NULL"
    elif adding:
        text += f"; it is left {'NULL' if there.default is None else 'to its default'}"
    return Difference(Sign.EXTRA, there.name, there.type, text, problem=not (adding and _fills_itself(there)))


def render(comparison: Comparison) -> str:
    """The differences as a diff for people, one a line and aligned, and the ways out."""
    found = comparison.differences
    name = max((len(difference.name) for difference in found), default=0)
    type = max((len(difference.type) for difference in found), default=0)
    lines = [f"{one.sign} {one.name:<{name}}  {one.type:<{type}}  {one.text}" for one in found]
    return "\n".join([*lines, *_ways_out(comparison)])


def _ways_out(comparison: Comparison) -> list[str]:
    problems = [difference for difference in comparison.differences if difference.problem]
    signs = {problem.sign for problem in problems}
    ways = []
    if any(problem.sign is Sign.MISSING and problem.name in _LINEAGE_NAMES for problem in problems):
        ways.append("Without lineage (--no-lineage) the columns that begin with _MZ_ are not needed.")
    if signs & {Sign.MISSING, Sign.EXTRA} and comparison.changes is SchemaChanges.FAIL:
        ways.append(
            "With --schema-changes add_columns what is missing is added, and what the export has not is left to NULL."
        )
    casts = [problem.cast for problem in problems if problem.cast]
    if casts:
        ways.append(f"An export with {' '.join(casts)} fits the table's types.")
    return [*ways, "Otherwise change the table or the export, or load into a new table."] if problems else []
