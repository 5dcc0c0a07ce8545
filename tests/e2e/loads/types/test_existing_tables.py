"""Exports into tables that somebody else has made: what fits is loaded exactly, whatever the table calls it."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mz_orchestration.errors import LoadError
from mz_orchestration.exports.manifest import DataFile, Manifest
from mz_orchestration.materialize.types import Column
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.snowflake.quoting import Sql, compose, identifier, literal
from mz_orchestration.snowflake.schema import (
    LINEAGE,
    Comparison,
    Layout,
    SchemaChanges,
    compare,
    definition,
    wanted_columns,
)
from mz_orchestration.snowflake.session import SnowflakeSession
from mz_orchestration.snowflake.target import TargetColumn, target_column

from .conftest import BASE, Copy, Export

Made = Callable[[str], list[TargetColumn]]
Rows = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def table(request: pytest.FixtureRequest) -> str:
    return "EXISTING_" + "".join(c if c.isalnum() else "_" for c in request.node.name.upper())


@pytest.fixture
def made(snowflake: SnowflakeSession, table: str) -> Made:
    """Makes the test's table and describes it."""

    def run(columns: str) -> list[TargetColumn]:
        snowflake.query(Sql(f"CREATE OR REPLACE TABLE DEMO.PUBLIC.{table} ({columns})"))
        described = compose(
            "SELECT * FROM DEMO.INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = {} ORDER BY ORDINAL_POSITION",
            literal(table),
        )
        return [target_column(row) for row in snowflake.query(described).rows]

    return run


@pytest.fixture
def rows(snowflake: SnowflakeSession, table: str) -> Rows:
    return lambda what: snowflake.query(Sql(f"SELECT {what} FROM DEMO.PUBLIC.{table} ORDER BY 1")).rows


def _compared(
    manifest: Manifest,
    existing: list[TargetColumn],
    layout: Layout = Layout.COLUMNS,
    lineage: bool = False,
    changes: SchemaChanges = SchemaChanges.FAIL,
) -> Comparison:
    found = compare(wanted_columns(manifest, layout=layout, lineage=lineage), existing, changes)
    assert found.problems == ()
    return found


def test_a_description(made: Made) -> None:
    columns = 'id NUMBER(10,2) NOT NULL DEFAULT 1, "name" VARCHAR(20), at TIMESTAMP_NTZ(3), doc VARIANT, n INTEGER'
    assert made(columns) == [
        TargetColumn("ID", "NUMBER", 2, digits=10, nullable=False, default="1"),
        TargetColumn("name", "TEXT", length=20),
        TargetColumn("AT", "TIMESTAMP_NTZ", precision=3),
        TargetColumn("DOC", "VARIANT"),
        TargetColumn("N", "NUMBER", 0, digits=38),
    ]


@pytest.mark.parametrize("format", ["parquet", "csv"])
@pytest.mark.parametrize("text", [True, False], ids=["expressions", "names"])
def test_names_in_another_case(
    export: Export, copy: Copy, made: Made, rows: Rows, table: str, format: str, text: bool
) -> None:
    there = made('"orderid" NUMBER, "At" DATE' + (', "Note" VARCHAR' if text else ""))
    query = "SELECT 1 AS \"orderId\", date '2024-05-06' AS at" + (", ''::text AS note" if text else "")
    manifest = export(query, format)
    found = _compared(manifest, there)
    assert [column.name for column in found.columns] == [column.name for column in there]
    copy(manifest, table, found.columns)
    assert [list(row.values()) for row in rows("*")] == [[1, dt.date(2024, 5, 6)] + ([""] if text else [])]


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_numbers_that_travel_as_text_arrive_exactly(
    export: Export, copy: Copy, made: Made, rows: Rows, table: str, format: str
) -> None:
    there = made("n NUMBER, price NUMBER(12,2)")
    values = "(1, 1.5), (2, -0.050), (3, 9999999999.99), (4, 100), (5, NULL), (6, 0.0000), (7, 1200.00)"
    manifest = export(f"SELECT n, price::numeric AS price FROM (VALUES {values}) AS v (n, price)", format)
    assert [column.cast for column in manifest.columns] == [None, "text"]
    copy(manifest, table, _compared(manifest, there).columns)
    expected = ["1.50", "-0.05", "9999999999.99", "100.00", None, "0.00", "1200.00"]
    assert [row["price"] for row in rows("n, price")] == [None if text is None else Decimal(text) for text in expected]


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_numbers_that_do_not_fit_fail_the_load(
    export: Export, copy: Copy, made: Made, rows: Rows, table: str, format: str
) -> None:
    values = {"finer": "1.005", "finest": "-0.001", "large": "12345678901.00", "special": "'NaN'"}
    there = made(", ".join(f"{name} NUMBER(12,2)" for name in values))
    selected = ", ".join(f"{value}::numeric AS {name}" for name, value in values.items())
    manifest = export(f"SELECT {selected}", format)
    for column in _compared(manifest, there).columns:
        with pytest.raises(LoadError, match=r"Numeric value|out of range"):
            copy(manifest, table, [column])
    assert rows("*") == []


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_columns_are_added_and_others_left_alone(
    export: Export, copy: Copy, made: Made, rows: Rows, snowflake: SnowflakeSession, table: str, format: str
) -> None:
    there = made("source VARCHAR DEFAULT 'files' NOT NULL, id NUMBER, comment VARCHAR")
    manifest = export("SELECT 1 AS id, 2.50::numeric(10,2) AS total", format)
    found = _compared(manifest, there, changes=SchemaChanges.ADD_COLUMNS)
    assert (found.unfilled, definition(found.add)) == (("SOURCE", "COMMENT"), '"TOTAL" NUMBER(38,2)')
    snowflake.query(compose("ALTER TABLE {} ADD COLUMN {}", Sql(f"DEMO.PUBLIC.{table}"), definition(found.add)))
    copy(manifest, table, found.columns)
    assert rows("*") == [{"source": "files", "id": 1, "comment": None, "total": Decimal("2.50")}]


def test_whole_rows_land_in_a_column_of_any_name(
    export: Export, copy: Copy, made: Made, rows: Rows, table: str
) -> None:
    there = made("src VARIANT")
    manifest = export('SELECT 1 AS "Id", \'{"a": [1]}\'::jsonb AS doc, NULL::text AS note')
    copy(manifest, table, _compared(manifest, there, layout=Layout.VARIANT).columns)
    [row] = rows("*")
    # The guide's way: jsonb is a string in there, which PARSE_JSON reads.
    assert json.loads(row["src"]) == {"Id": 1, "doc": '{"a":[1]}', "note": None}


@pytest.mark.parametrize("layout", list(Layout))
def test_rows_tell_where_they_come_from(
    export: Export, copy: Copy, made: Made, rows: Rows, snowflake: SnowflakeSession, table: str, layout: Layout
) -> None:
    manifest = export("SELECT n FROM generate_series(1, 40) AS n")
    columns = wanted_columns(manifest, layout=layout, lineage=True)
    before = snowflake.query(Sql("SELECT CURRENT_TIMESTAMP() AS now")).rows[0]["now"]
    found = _compared(manifest, made(str(definition(columns))), layout=layout, lineage=True)
    copy(manifest, table, found.columns)
    answer = rows(", ".join(column.name for column in LINEAGE))
    files = {f"{manifest.folder.key}{file.name}": file.rows for file in manifest.files if file.rows}
    assert {(row["_mz_file"], row["_mz_file_row"]) for row in answer} == {
        (name, row) for name, count in files.items() for row in range(1, count + 1)
    }
    assert len(answer) == 40
    assert {(row["_mz_run_key"], row["_mz_manifest"]) for row in answer} == {(manifest.run_key, manifest.sha256)}
    assert all(before <= row["_mz_loaded_at"] <= before + dt.timedelta(minutes=5) for row in answer)


# PostgreSQL, which stands in for Materialize, cuts names of more than 63 bytes, so this file is written here.
@pytest.mark.parametrize("name", ["x" * 255, "ß" * 127, "ǰ" * 127, 'a"' * 127])
def test_names_of_the_longest_kind(
    store: ObjectStore, copy: Copy, made: Made, rows: Rows, table: str, name: str
) -> None:
    body = io.BytesIO()
    pq.write_table(pa.table({name: [7]}), body)
    path = f"{BASE}{table[-20:]}/"
    # Only these fields say where the files are and what is in them.
    manifest = Manifest.model_construct(
        columns=(Column(name=name, type="bigint"),),
        format="parquet",
        path=path,
        files=(DataFile(name="mz-t1-batch-0000-0000.parquet", bytes=len(body.getvalue()), etag="", rows=1),),
        run_key="names",
        sha256="",
    )
    store.put(manifest.folder.child(manifest.files[0].name), body.getvalue())
    columns = wanted_columns(manifest, layout=Layout.COLUMNS, lineage=False)
    assert len(columns[0].name) == len(name)
    found = _compared(manifest, made(str(definition(columns))))
    copy(manifest, table, found.columns)
    assert rows(f"{identifier(columns[0].name)} AS value") == [{"value": 7}]
