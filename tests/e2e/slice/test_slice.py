"""From a view in Materialize to a reconciled table in Snowflake, by the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import parse_location

from .conftest import BASE, Command, Query


def test_export_then_load_and_once_more(
    command: Command, snowflake: Query, statements: Callable[[str], list[str]]
) -> None:
    first = command.export("shop.order_totals", "--run-key", "slice-1")
    assert first.returncode == 0, first.stderr
    assert "exported: shop.order_totals" in first.stdout
    manifest = next(line.split()[1] for line in first.stdout.splitlines() if line.startswith("manifest:"))

    again = command.export("shop.order_totals", "--run-key", "slice-1")
    assert again.returncode == 0
    assert "already exported, nothing done" in again.stdout
    assert manifest in again.stdout

    table = "DEMO.PUBLIC.SLICE_TOTALS"
    loaded = command.load(manifest, table)
    assert loaded.returncode == 0, loaded.stderr
    rows = snowflake(f"SELECT COUNT(*) AS N FROM {table}")[0]["n"]
    assert rows > 0
    assert f"reconciled: copied={rows} footer_rows={rows} loaded_rows={rows} files=" in loaded.stdout

    copies = len(statements("COPY INTO"))
    repeated = command.load(manifest, table)
    assert repeated.returncode == 0
    assert "already loaded, nothing done" in repeated.stdout
    assert len(statements("COPY INTO")) == copies
    assert snowflake(f"SELECT COUNT(*) AS N FROM {table}")[0]["n"] == rows

    listed = command("runs", "--at", BASE)
    assert "slice-1" in listed.stdout
    assert "loaded" in listed.stdout
    shown = command("runs", "show", "slice-1", "--at", BASE)
    assert manifest in shown.stdout
    assert '"DEMO"."PUBLIC"."SLICE_TOTALS"' in shown.stdout


@pytest.mark.parametrize("table", ["customers", "orders", "order_lines", "payments"])
@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_every_value_survives(
    command: Command, materialize: psycopg.Connection[Any], snowflake: Query, table: str, format: str
) -> None:
    result = command.exported(f"shop.{table}", "--format", format, "--run-key", f"values-{table}-{format}")
    target = f"DEMO.PUBLIC.{table.upper()}_{format.upper()}"
    loaded = command.load(result["manifest"], target)
    assert loaded.returncode == 0, loaded.stderr
    cursor = materialize.execute(f"SELECT * FROM shop.{table} ORDER BY id")
    names = [item.name for item in cursor.description or []]
    expected = [dict(zip(names, map(_plain, row), strict=True)) for row in cursor]
    arrived = [
        {name: _plain(value) for name, value in row.items()} for row in snowflake(f"SELECT * FROM {target} ORDER BY ID")
    ]
    for row in arrived:
        for name, value in row.items():
            # VARIANT and ARRAY arrive as JSON text.
            if name in ("tags", "profile", "shipping", "coupons", "attributes", "boxes", "details"):
                row[name] = None if value is None else json.loads(value)
    assert arrived == expected


def _plain(value: Any) -> Any:
    return str(value) if type(value).__name__ == "UUID" else value


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_an_empty_export_publishes_an_empty_table(command: Command, snowflake: Query, format: str) -> None:
    table = f"DEMO.PUBLIC.EMPTY_{format.upper()}"
    full = command.exported("shop.customers", "--run-key", f"full-{format}", "--format", format)
    assert command.load(full["manifest"], table).returncode == 0
    assert snowflake(f"SELECT COUNT(*) AS N FROM {table}")[0]["n"] > 0
    query = "SELECT * FROM shop.customers WHERE id < 0"
    empty = command.exported("nobody", "--query", query, "--run-key", f"empty-{format}", "--format", format)
    assert (empty["rows"], empty["files"]) == (0, 1)
    done = command.load(empty["manifest"], table)
    assert done.returncode == 0, done.stderr
    assert "reconciled: copied=0 footer_rows=0 loaded_rows=0 files=1" in done.stdout
    assert snowflake(f"SELECT COUNT(*) AS N FROM {table}")[0]["n"] == 0


def test_a_wrapped_limit_is_honoured(command: Command) -> None:
    query = "SELECT * FROM (SELECT id FROM shop.orders ORDER BY id LIMIT 7) AS q"
    assert command.exported("seven", "--query", query)["rows"] == 7


@pytest.mark.parametrize(
    "options",
    [
        ["--header"],
        ["--delimiter", ";", "--quote", "'"],
        ["--delimiter", "\t", "--header"],
    ],
)
def test_csv_dialects_arrive_whole(command: Command, snowflake: Query, options: list[str]) -> None:
    key = f"dialect-{'-'.join(options)}"
    result = command.exported("shop.customers", "--format", "csv", "--run-key", key, *options)
    done = command.load(result["manifest"], "DEMO.PUBLIC.DIALECT")
    assert done.returncode == 0, done.stderr
    figures = snowflake("SELECT COUNT(*) AS N, COUNT_IF(EMAIL = '') AS E, COUNT(EMAIL) AS M FROM DEMO.PUBLIC.DIALECT")[
        0
    ]
    assert figures["n"] == result["rows"]
    assert 0 < figures["e"] < figures["m"] < figures["n"]


def test_dry_runs_contact_nothing(
    command: Command,
    store: ObjectStore,
    requests: Callable[[], int],
    statements: Callable[[str], list[str]],
    tmp_path: Any,
) -> None:
    result = command.exported("shop.customers", "--run-key", "for-dry-run")
    body, _ = store.get(parse_location(result["manifest"], field="manifest"))
    (tmp_path / "manifest.json").write_bytes(body)
    before = requests(), len(statements(""))
    export = command.export("shop.customers", "--dry-run", "--cluster", "quickstart")
    remote = command.load(result["manifest"], "T", "--dry-run")
    local = command.load("manifest.json", "DEMO.PUBLIC.T", "--dry-run")
    assert (requests(), len(statements(""))) == before
    for done in (export, remote, local):
        assert done.returncode == 0, done.stderr
    assert 'COPY "shop"."customers" TO ' in export.stdout
    assert "COPY INTO" in remote.stdout
    assert "mz-t" in local.stdout
    assert "SWAP WITH" in local.stdout


def test_the_comment_and_the_kind_of_a_table_survive(command: Command, snowflake: Query) -> None:
    snowflake("CREATE TRANSIENT TABLE DEMO.PUBLIC.KEPT (ID NUMBER(38,0)) COMMENT = 'owned by finance'")
    query = "SELECT id FROM shop.orders"
    for key in ("kept-1", "kept-2"):
        result = command.exported("kept", "--query", query, "--run-key", key)
        done = command.load(result["manifest"], "DEMO.PUBLIC.KEPT")
        assert done.returncode == 0, done.stderr
    found = snowflake("SELECT COMMENT, IS_TRANSIENT FROM DEMO.INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME = 'KEPT'")[0]
    assert found["comment"].startswith("owned by finance [mz-orchestration manifest=")
    assert found["comment"].count("manifest=") == 1
    assert found["is_transient"] == "YES"
    left = snowflake("SELECT TABLE_NAME FROM DEMO.INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME LIKE 'KEPT__MZ%'")
    assert left == []


def test_what_an_export_and_its_load_cost(
    command: Command,
    environment: dict[str, str],
    requests_by: Callable[[str], list[str]],
    statements: Callable[[str], list[str]],
    snowflake: Query,
) -> None:
    """The figures of docs/architecture.md: requests to the store and statements, by file count."""
    snowflake("CREATE TABLE DEMO.PUBLIC.COSTS (ID NUMBER(38,0))")
    key = environment["AWS_ACCESS_KEY_ID"]
    before, said = len(requests_by(key)), len(statements(""))
    result = command.exported("costs", "--query", "SELECT id FROM shop.orders")
    exported = len(requests_by(key))
    assert len(statements("")) - said == 8
    assert exported - before == 8 + result["files"]
    said = len(statements(""))
    assert command.load(result["manifest"], "DEMO.PUBLIC.COSTS").returncode == 0
    assert len(requests_by(key)) - exported == 11 + result["files"]
    # As many with the ledger's CREATE TABLE as with the look at one that is there.
    assert len(statements("")) - said == 15
