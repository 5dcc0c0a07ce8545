"""The SQL of every way to load, as text that a change of it shows in the diff.

``UPDATE_GOLDEN=1`` writes the files anew.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mz_orchestration import __version__
from mz_orchestration.exports.manifest import DataFile, Manifest
from mz_orchestration.exports.spec import CsvOptions
from mz_orchestration.materialize.types import Column
from mz_orchestration.snowflake import ledger, statements
from mz_orchestration.snowflake.copy import MAX_FILES, copy_into
from mz_orchestration.snowflake.dry_run import planned_statements
from mz_orchestration.snowflake.marker import Mark
from mz_orchestration.snowflake.schema import Layout, wanted_columns
from mz_orchestration.snowflake.spec import load_spec

GOLDEN = Path(__file__).with_name("golden")
TARGET = {"stage": "MZ.RAW.STAGE", "table": 'MZ.RAW."it\'s ""odd"""'}
COLUMNS = (
    Column(name="id", type="bigint"),
    Column(name="public id", type="uuid", cast="text"),
    Column(name="total", type="numeric", scale=2),
    Column(name='a "b"', type="jsonb"),
    Column(name="tags", type="text", array=True, cast="jsonb"),
    Column(name="at", type="timestamptz"),
    Column(name="raw", type="bytea"),
)


def manifest(*, format: str = "parquet", rows: int = 3, files: int = 2, columns: Any = COLUMNS) -> Manifest:
    path = "s3://bucket/exports/orders/20261121T020000Z-0a1b2c3d-01/"
    return Manifest.model_construct(
        run_key="nightly/it's",
        object="shop.orders",
        base="s3://bucket/exports/",
        path=path,
        format=format,
        csv=CsvOptions(header=True) if format == "csv" else None,
        columns=columns,
        rows=rows,
        timestamp=1_763_780_645_678,
        files=tuple(
            DataFile(name=f"mz-t7-batch-0000-{number:04}.{format}", bytes=10, etag="e", rows=1)
            for number in range(files)
        ),
        sha256="ab" * 32,
    )


def check(name: str, lines: list[str]) -> None:
    text = "\n".join(lines).replace(__version__, "<version>") + "\n"
    file = GOLDEN / f"{name}.sql"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()


WAYS: dict[str, dict[str, Any]] = {
    "swap": {},
    "overwrite": {"strategy": "overwrite"},
    "transaction_delete": {"strategy": "transaction"},
    "transaction_truncate": {"strategy": "transaction", "clear": "truncate"},
    "append": {"strategy": "append"},
    "append_without_lineage": {"strategy": "append", "lineage": False},
    "merge": {"strategy": "merge", "keys": ("id", "public id")},
    "merge_and_delete": {"strategy": "merge", "keys": ("id",), "delete_missing": True},
    "variant": {"layout": "variant"},
    "variant_with_lineage": {"layout": "variant", "strategy": "append"},
}


@pytest.mark.parametrize("name", list(WAYS))
def test_ways(name: str) -> None:
    exported = manifest()
    spec = load_spec(manifest=str(exported.location), **TARGET, **WAYS[name])
    check(name, list(planned_statements(spec, exported)))


@pytest.mark.parametrize("format", ["parquet", "csv"])
@pytest.mark.parametrize("lineage", [False, True])
def test_copies(format: str, lineage: bool) -> None:
    exported = manifest(format=format)
    columns = wanted_columns(exported, layout=Layout.COLUMNS, lineage=lineage)
    name = f"copy_{format}{'_lineage' if lineage else ''}"
    check(name, list(copy_into(("A", "B", "C"), ("A", "B", "S"), "x/y/", exported, columns)))


def test_a_copy_that_matches_by_name() -> None:
    exported = manifest(columns=COLUMNS[:1])
    columns = wanted_columns(exported, layout=Layout.COLUMNS, lineage=False)
    check("copy_by_name", list(copy_into(("A", "B", "C"), ("A", "B", "S"), "x/", exported, columns, force=True)))


def test_the_ledger() -> None:
    at, exported = ("A", "B", ledger.LEDGER), manifest()
    mark, created = Mark("cd" * 32, "0123456789AB", True), "2026-11-22 03:04:05.678000+00:00"
    check(
        "ledger",
        [
            ledger.create(at),
            ledger.read(at, "t's", exported, created=created, mark=mark, load="BA9876543210"),
            ledger.make_lock(at, "t's"),
            ledger.lock(at, "t's"),
            ledger.insert(
                at, "t's", exported, load="BA9876543210", strategy="swap", query_ids=["01-a", "01-b"], created=created
            ),
            ledger.insert_marked(at, "t's", mark, created=created),
        ],
    )


def test_the_rest() -> None:
    exported = manifest()
    columns = wanted_columns(exported, layout=Layout.COLUMNS, lineage=False)
    check(
        "statements",
        [
            statements.clone(("A", "B", "S"), ("A", "B", "T"), transient=True),
            statements.add_columns(("A", "B", "T"), columns[:2]),
            statements.resume_clustering(("A", "B", "S")),
            statements.set_comment(("A", "B", "S"), 'it\'s \\ "said"'),
            statements.show_warehouse("it's"),
            statements.show_transactions(),
            statements.abort_transaction(1732250000000000000),
        ],
    )


@pytest.mark.parametrize(("files", "statements_"), [(1, 1), (1000, 1), (1001, 2), (2500, 3)])
def test_every_file_is_named_once(files: int, statements_: int) -> None:
    exported = manifest(files=files)
    columns = wanted_columns(exported, layout=Layout.COLUMNS, lineage=False)
    copies = list(copy_into(("A",), ("S",), "", exported, columns))
    assert len(copies) == statements_
    assert sum(copy.count("mz-t7-batch") for copy in copies) == files
    assert max(copy.count("mz-t7-batch") for copy in copies) <= MAX_FILES


def test_no_rows_are_no_copy() -> None:
    exported = manifest(rows=0)
    columns = wanted_columns(exported, layout=Layout.COLUMNS, lineage=False)
    assert list(copy_into(("A",), ("S",), "", exported, columns)) == []
