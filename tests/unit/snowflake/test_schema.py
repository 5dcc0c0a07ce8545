"""What a target needs, what is read from the files for it, and how a table that exists differs from that."""

from __future__ import annotations

from typing import Any

import pytest

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.materialize.types import Column
from mz_orchestration.snowflake.schema import (
    LINEAGE,
    Layout,
    SchemaChanges,
    compare,
    copy_expressions,
    definition,
    render,
    wanted_columns,
)
from mz_orchestration.snowflake.target import TargetColumn

FAIL, ADD = SchemaChanges.FAIL, SchemaChanges.ADD_COLUMNS
ID, TOTAL = Column(name="id", type="bigint"), Column(name="total", type="numeric", scale=2)
PRICE = Column(name="price", type="numeric", cast="text")


def manifest(*columns: Column, **more: Any) -> Manifest:
    # Only these fields say what the target looks like.
    fields = {"columns": columns, "format": "parquet", "run_key": "it's", "sha256": "ab" * 32, "path": "s3://b/x/"}
    return Manifest.model_construct(**fields | more)


def wanted(*columns: Column, layout: Layout = Layout.COLUMNS, lineage: bool = False, **more: Any) -> Any:
    return wanted_columns(manifest(*columns, **more), layout=layout, lineage=lineage)


def number(name: str, digits: int = 38, scale: int = 0, **more: Any) -> TargetColumn:
    return TargetColumn(name, "NUMBER", scale, digits=digits, **more)


def test_a_table_of_columns() -> None:
    columns = wanted(ID, TOTAL, Column(name='say "x"', type="jsonb"))
    assert definition(columns) == '"ID" NUMBER(38,0), "TOTAL" NUMBER(38,2), "SAY ""X""" VARIANT'
    assert copy_expressions(manifest(), columns) == (
        '$1:"id"::NUMBER(38,0)',
        '$1:"total"::NUMBER(38,2)',
        'PARSE_JSON($1:"say ""x"""::VARCHAR)',
    )


def test_columns_that_are_matched_by_name() -> None:
    assert copy_expressions(manifest(), wanted(ID, TOTAL)) is None
    assert copy_expressions(manifest(), wanted(ID, Column(name="note", type="text"))) is not None


def test_fields_of_csv_are_read_by_position() -> None:
    columns = wanted(ID, Column(name="at", type="date"), format="csv")
    assert copy_expressions(manifest(), columns) == ("$1", "$2::DATE")


def test_lineage_says_where_a_row_comes_from() -> None:
    columns = wanted(ID, lineage=True)
    assert definition(columns) == (
        '"ID" NUMBER(38,0), "_MZ_FILE" VARCHAR, "_MZ_FILE_ROW" NUMBER(38,0), "_MZ_RUN_KEY" VARCHAR, '
        '"_MZ_MANIFEST" VARCHAR(64), "_MZ_LOADED_AT" TIMESTAMP_LTZ(6)'
    )
    assert copy_expressions(manifest(ID), columns) == (
        '$1:"id"::NUMBER(38,0)',
        "METADATA$FILENAME",
        "METADATA$FILE_ROW_NUMBER",
        "'it''s'",
        f"'{'ab' * 32}'",
        "METADATA$START_SCAN_TIME",
    )


def test_lineage_in_a_table_that_spells_it_otherwise() -> None:
    there = [number("ID")] + [TargetColumn(column.name.lower(), "TEXT") for column in LINEAGE[2:4]]
    found = compare(wanted(ID, lineage=True), there, ADD)
    assert found.problems == ()
    assert [column.name for column in found.columns[3:5]] == ["_mz_run_key", "_mz_manifest"]
    assert (copy_expressions(manifest(ID), found.columns) or ())[3] == "'it''s'"
    assert [column.name for column in found.add] == ["_MZ_FILE", "_MZ_FILE_ROW", "_MZ_LOADED_AT"]


def test_a_column_that_is_called_like_lineage() -> None:
    clash = Column(name="_mz_file", type="text")
    assert len(wanted(clash)) == 1
    with pytest.raises(ConfigurationError, match="called like lineage columns: _mz_file"):
        wanted(clash, lineage=True)


def test_whole_rows() -> None:
    columns = wanted(ID, Column(name="Id", type="uuid"), layout=Layout.VARIANT)
    assert definition(columns) == '"COL" VARIANT'
    assert copy_expressions(manifest(), columns) is None
    traced = wanted(ID, layout=Layout.VARIANT, lineage=True)
    assert (copy_expressions(manifest(), traced) or ())[:2] == ("$1", "METADATA$FILENAME")


def test_whole_rows_of_csv_and_rounded_ones_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="layout 'variant' loads Parquet only"):
        wanted(ID, layout=Layout.VARIANT, format="csv")
    with pytest.raises(ConfigurationError, match="would round"):
        wanted(Column(name="n", type="numeric", scale=38), layout=Layout.VARIANT)


def test_what_cannot_be_loaded_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="both called ID"):
        wanted(ID, Column(name="ID", type="text"))


@pytest.mark.parametrize("name", ["COL", "SRC", "record"])
def test_a_landing_table_of_somebody_else(name: str) -> None:
    found = compare(wanted(ID, layout=Layout.VARIANT), [TargetColumn(name, "VARIANT")], FAIL)
    assert (found.problems, [column.name for column in found.columns]) == ((), [name])
    assert copy_expressions(manifest(), found.columns) is None


def test_a_landing_table_with_a_column_more() -> None:
    """A COPY of whole rows wants a table of one column, so this one says which."""
    there = [TargetColumn("SRC", "VARIANT"), TargetColumn("AT", "DATE")]
    found = compare(wanted(ID, layout=Layout.VARIANT), there, ADD)
    assert (found.problems, found.unfilled) == ((), ("AT",))
    assert copy_expressions(manifest(), found.columns) == ("$1",)
    two = [TargetColumn("A", "VARIANT"), TargetColumn("B", "VARIANT")]
    assert len(compare(wanted(ID, layout=Layout.VARIANT), two, FAIL).problems) == 3


def test_a_table_that_fits() -> None:
    found = compare(wanted(ID, TOTAL), [number("TOTAL", 38, 4), number("ID", nullable=False)], FAIL)
    assert (found.problems, found.add, found.unfilled, found.differences) == ((), (), (), ())
    assert [column.name for column in found.columns] == ["ID", "TOTAL"]
    assert copy_expressions(manifest(), found.columns) is None


def test_names_are_found_whatever_their_case() -> None:
    column = Column(name="orderId", type="bigint")
    found = compare(wanted(column), [number("orderid")], FAIL)
    assert (found.problems, [column.name for column in found.columns]) == ((), ["orderid"])


def test_two_names_that_differ_in_case_are_refused() -> None:
    for changes in SchemaChanges:
        found = compare(wanted(ID), [number("ID"), number("id")], changes)
        assert found.problems == (
            'ID NUMBER(38,0) needed by the export, is in the table more than once: "ID" and "id"',
        )


def test_missing_columns() -> None:
    there = [number("ID")]
    assert compare(wanted(ID, TOTAL), there, FAIL).problems == ("TOTAL NUMBER(38,2) missing in the table",)
    found = compare(wanted(ID, TOTAL), there, ADD)
    assert (found.problems, definition(found.add)) == ((), '"TOTAL" NUMBER(38,2)')


@pytest.mark.parametrize(
    ("extra", "unfilled", "problem"),
    [
        ({}, True, None),
        ({"nullable": False, "default": "1"}, True, None),
        ({"nullable": False}, False, "OLD NUMBER(38,0) in the table, not in the export, and takes no NULL"),
    ],
)
def test_columns_that_the_export_has_not(extra: dict[str, Any], unfilled: bool, problem: str | None) -> None:
    there = [number("ID"), number("OLD", **extra)]
    strict, lenient = (compare(wanted(ID), there, changes) for changes in (FAIL, ADD))
    assert (strict.problems != (), strict.unfilled) == (True, ())
    assert lenient.unfilled == (("OLD",) if unfilled else ())
    assert lenient.problems == (() if problem is None else (problem,))
    # By name, Snowflake would fill it with NULL even where it has a default.
    assert copy_expressions(manifest(), lenient.columns) == ('$1:"id"::NUMBER(38,0)',)


def test_a_number_that_travels_as_text() -> None:
    there = [number("PRICE", 12, 2)]
    for format, text in (("parquet", '$1:"price"::VARCHAR'), ("csv", "$1")):
        found = compare(wanted(PRICE, format=format), there, FAIL)
        assert (found.problems, definition(found.columns)) == ((), '"PRICE" NUMBER(12,2)')
        [expression] = copy_expressions(manifest(), found.columns) or ()
        assert expression == (
            f"IFF(LENGTH(RTRIM(SPLIT_PART({text}, '.', 2), '0')) > 2, {text} || ' has too many decimals', {text})"
            "::NUMBER(12,2)"
        )


def test_an_array_of_numbers_is_no_number() -> None:
    column = Column(name="prices", type="numeric", array=True, cast="text")
    assert compare(wanted(column), [number("PRICES")], FAIL).problems


def test_the_diff_is_readable() -> None:
    columns = wanted(ID, TOTAL, Column(name="at", type="timestamptz"), Column(name="n", type="bigint"), lineage=False)
    there = [
        TargetColumn("ID", "TEXT", length=16_777_216),
        TargetColumn("AT", "TIMESTAMP_NTZ", None, 9),
        number("N", 10),
        TargetColumn("LEGACY_NAME", "TEXT", length=20),
    ]
    assert render(compare(columns, there, FAIL)) == "\n".join(
        [
            "~ ID           VARCHAR           in the table, the export needs NUMBER(38,0)",
            "+ TOTAL        NUMBER(38,2)      missing in the table",
            "~ AT           TIMESTAMP_NTZ(9)  in the table, the export needs TIMESTAMP_LTZ(6)",
            "~ N            NUMBER(10,0)      in the table holds 10 digits before the point, the export has up to 19: "
            "NUMBER(19,0) fits",
            "- LEGACY_NAME  VARCHAR(20)       in the table, not in the export",
            "With --schema-changes add_columns what is missing is added, and what the export has not is left to NULL.",
            "An export with --cast id=text --cast at=timestamp (in UTC) fits the table's types.",
            "Otherwise change the table or the export, or load into a new table.",
        ]
    )
    lenient = render(compare(columns, there, ADD)).splitlines()
    assert lenient[1] == "+ TOTAL        NUMBER(38,2)      missing in the table; it will be added"
    assert lenient[4] == "- LEGACY_NAME  VARCHAR(20)       in the table, not in the export; it is left NULL"
    assert not any("add_columns" in line for line in lenient)


def test_nothing_to_show() -> None:
    assert render(compare(wanted(ID), [number("ID")], FAIL)) == ""
