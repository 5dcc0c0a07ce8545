"""Columns of any name and number, from the query to the table in Snowflake."""

from __future__ import annotations

import psycopg
import pytest

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.context import ExportStep
from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.progress import Event

from .conftest import BASE, Exports, Load

NAMES = [
    "plain",
    "two words",
    'say "x"',
    "it's",
    "UPPER",
    "dotted.name",
    "ключ",
    "🛒",
    "line\nbreak",
    "select",
    "100 %s {} :1",
    "a=b",
    "tab\there",
    "back\\slash",
    "$1",
]


def _listed(names: list[str]) -> str:
    return ", ".join(f'{i} AS "{name.replace(chr(34), chr(34) * 2)}"' for i, name in enumerate(names))


@pytest.mark.parametrize("format", ["parquet", "csv"])
@pytest.mark.parametrize("cast", [False, True])
def test_names_arrive(export: Exports, load: Load, format: str, cast: bool) -> None:
    """Matched by name when nothing is cast, by an expression for each column otherwise."""
    names = NAMES if cast or format == "csv" else [name for name in NAMES if name.isascii()]
    casts = dict.fromkeys(names, "bigint") if cast else {}
    manifest = export(f"SELECT {_listed(names)}", format, casts=casts)
    assert [column.name for column in manifest.columns] == names
    if format == "parquet":
        assert export.table(manifest).schema.names == names
    assert load(manifest) == [{name.lower(): i for i, name in enumerate(names)}]


def test_a_thousand_columns_arrive(export: Exports, load: Load) -> None:
    names = [f"Column {i} of 1,000" for i in range(1000)]
    manifest = export(f"SELECT {_listed(names)}", casts={names[500]: "text"})
    assert [column.name for column in manifest.columns] == names
    assert load(manifest) == [{name.lower(): "500" if i == 500 else i for i, name in enumerate(names)}]


def test_names_that_differ_in_case_are_exported_and_not_loaded(export: Exports, load: Load) -> None:
    manifest = export('SELECT 1 AS id, 2 AS "ID"')
    assert export.table(manifest).to_pylist() == [{"id": 1, "ID": 2}]
    with pytest.raises(ConfigurationError, match="'id' and 'ID' are both called ID in Snowflake"):
        load(manifest)


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_a_name_that_occurs_twice(export: Exports, format: str) -> None:
    query = "SELECT 1 AS a, 2 AS b, 3 AS a, 4 AS a"
    with pytest.raises(ConfigurationError, match="both called 'a'"):
        export(query, format)
    manifest = export(query, format, safe_types=False)
    assert [column.name for column in manifest.columns] == ["a", "b", "a2", "a3"]
    if format == "parquet":
        assert export.table(manifest).to_pylist() == [{"a": 1, "b": 2, "a2": 3, "a3": 4}]
    else:
        assert export.records(manifest) == [["1", "2", "3", "4"]]


def test_columns_of_csv_are_in_the_order_described(export: Exports) -> None:
    """Even if the table is made again, with another order, before it is copied."""
    spec = export_spec(object="trades", to=BASE, connection="local_s3", format="csv")
    with psycopg.connect(autocommit=True) as connection:
        connection.execute("CREATE TABLE trades (buyer text, seller text)")

        def swap(event: Event) -> None:
            if (event.step, event.state) == (ExportStep.RECORD, "started"):
                connection.execute("DROP TABLE trades")
                connection.execute("CREATE TABLE trades (seller text, buyer text)")
                connection.execute("INSERT INTO trades (buyer, seller) VALUES ('Ann', 'Bob')")

        manifest = run_export(spec, run_key="swapped", on_event=swap).manifest
        connection.execute("DROP TABLE trades")
    assert [column.name for column in manifest.columns] == ["buyer", "seller"]
    assert export.records(manifest) == [["Ann", "Bob"]]
