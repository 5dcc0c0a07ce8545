"""The program of docs/other-warehouses.md prints statements that hold the manifest, in the words of each system."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.spec import export_spec

PAGE = (Path(__file__).parents[3] / "docs/other-warehouses.md").read_text()
[PROGRAM] = re.findall(r"<!-- executed by tests -->\n```python\n(.*?)```", PAGE, re.DOTALL)
ODD = "it's a `tick\\"
TYPES = {
    "order_id": ("BIGINT", "INT64"),
    ODD: ("STRING", "STRING"),
    "price": ("DECIMAL(38, 2)", "BIGNUMERIC"),
    "any_scale": ("STRING", "STRING"),
    "yes": ("BOOLEAN", "BOOL"),
    "at": ("TIMESTAMP_NTZ", "DATETIME"),
    "at_zone": ("TIMESTAMP", "TIMESTAMP"),
    "tags": ("VARIANT", "JSON"),
    "raw": ("BINARY", "BYTES"),
    "day": ("DATE", "DATE"),
    "several": ("VARIANT", "JSON"),
    "id": ("STRING", "STRING"),
    "ratio": ("FLOAT", "FLOAT64"),
    "whole": ("DECIMAL(38, 0)", "BIGNUMERIC"),
}
QUERY = f"""
    SELECT id::bigint AS order_id, id::text AS "{ODD}", 1.5::numeric(12,2) AS price,
        2::numeric AS any_scale, true AS yes, '2026-01-01'::timestamp AS at, '2026-01-01'::timestamptz AS at_zone,
        '{{"a": 1}}'::jsonb AS tags, '\\x00'::bytea AS raw, '2026-01-01'::date AS day, ARRAY[1] AS several,
        '00000000-0000-0000-0000-000000000001'::uuid AS id, 1::real AS ratio, 1::numeric(20,0) AS whole
    FROM shop.orders
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "load_statements.py"
    path.write_text(PROGRAM)
    return path


def exported(run_key: str, **fields: Any) -> Manifest:
    spec = export_spec(**{"object": "other", "to": "s3://mz-exports/docs/", "connection": "local_s3", **fields})
    return run_export(spec, run_key=run_key).manifest


def ran(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_program_on_a_manifest(program: Path, environment: dict[str, str]) -> None:
    manifest = exported("other-warehouses", query=QUERY)
    names = [file.name for file in manifest.files]
    for system, dialect in ((0, "databricks"), (1, "bigquery")):
        done = ran(program, dialect, manifest.location, "main.shop.or`ders")
        assert done.returncode == 0, done.stderr
        statements = done.stdout.removesuffix(";\n").split(";\n")
        if system == 0:
            # The one statement that sqlglot does not know.
            assert statements.pop(0) == "SET TIME ZONE 'UTC'"
        trees = [sqlglot.parse_one(statement, dialect=dialect) for statement in statements]
        target = ("main", "shop", "or`ders")
        staging = next(table for tree in trees if (table := _table(tree)) != target and table)
        assert re.fullmatch(r"or`ders__mz_[0-9a-f]{12}", staging[-1])
        if system == 0:
            _check_databricks(trees, target, staging, manifest, names)
        else:
            _check_bigquery(trees, target, staging, manifest, names)
        [created] = [tree for tree in trees if isinstance(tree, exp.Create) and _table(tree) == target]
        assert {column.name: column.kind.sql(dialect) for column in created.find_all(exp.ColumnDef)} == {
            name: both[system] for name, both in TYPES.items()
        }
        assert created.args["exists"]
        [insert] = [tree for tree in trees if isinstance(tree, exp.Insert)]
        assert [column.name for column in insert.this.expressions] == list(TYPES)
        parsed = {column.name for call in insert.find_all(exp.ParseJSON) for column in call.find_all(exp.Column)}
        assert parsed == {"tags", "several"}


def _table(tree: exp.Expression) -> tuple[str, ...]:
    """The table that a statement begins with."""
    table = tree.find(exp.Table)
    return tuple(part.name for part in table.parts) if table else ()


def _check_databricks(
    trees: list[exp.Expression], target: tuple[str, ...], staging: tuple[str, ...], manifest: Manifest, names: list[str]
) -> None:
    kinds = [exp.Create, exp.Copy, exp.Select, exp.Create, exp.Insert, exp.Drop]
    assert [type(tree) for tree in trees] == kinds
    copy, check, insert = trees[1], trees[2], trees[4]
    assert [_table(tree) for tree in trees] == [staging, staging, staging, target, target, staging]
    files = next(part for part in copy.args["params"] if part.name.upper() == "FILES")
    assert [part.this for part in files.find_all(exp.Literal)] == names
    assert copy.find(exp.Select).find(exp.From).this.name == str(manifest.folder)
    assert int(check.find(exp.EQ).expression.this) == manifest.rows
    assert insert.args["overwrite"]


def _check_bigquery(
    trees: list[exp.Expression], target: tuple[str, ...], staging: tuple[str, ...], manifest: Manifest, names: list[str]
) -> None:
    load, check = trees[0], trees[1]
    assert isinstance(load, exp.LoadData)
    assert load.args["overwrite"]
    kinds = [exp.Create, exp.Transaction, exp.TruncateTable, exp.Insert, exp.Commit, exp.Drop]
    assert [type(tree) for tree in trees[2:]] == kinds
    assert [_table(trees[place]) for place in (0, 1, 2, 4, 5, 7)] == [staging, staging, target, target, target, staging]
    options = {part.name: part for part in load.find_all(exp.Property)}
    uris = [part.this for part in options["uris"].find_all(exp.Literal)]
    assert uris == [f"gs://{manifest.folder.bucket}/{manifest.folder.key}{name}" for name in names]
    assert int(check.find(exp.EQ).expression.this) == manifest.rows


def test_many_files_are_loaded_in_chunks(program: Path, environment: dict[str, str]) -> None:
    manifest = exported("other-warehouses", query=QUERY)
    many = tuple(
        manifest.files[0].model_copy(update={"name": f"mz-t1-batch-{number:04}-0000.parquet"})
        for number in range(2_500)
    )
    manifest = manifest.model_copy(update={"files": many})
    module = runpy.run_path(str(program))
    for system, command, mark in (("databricks", "COPY INTO", "FILES = ("), ("bigquery", "LOAD DATA", "uris = [")):
        loads = [text for text in module[system](manifest, "a.b") if text.startswith(command)]
        found = [re.findall(r"mz-t1-batch-\d{4}-0000\.parquet", text.partition(mark)[2]) for text in loads]
        assert [len(names) for names in found] == [1000, 1000, 500]
        assert [name for names in found for name in names] == [file.name for file in many]
        assert max(map(len, loads)) < 256 * 1024
    assert [text.split()[2] for text in loads] == ["OVERWRITE", "INTO", "INTO"]


def test_two_runs_have_two_staging_tables(program: Path) -> None:
    tables = runpy.run_path(str(program))["tables"]
    assert len({tables("a.b", 0) for _ in range(50)}) == 50


@pytest.mark.parametrize("name", ["plain", "a`b", "a\\", "\\`", "``", "it's", 'say "x"'])
def test_names_are_quoted_as_each_system_reads_them(program: Path, name: str) -> None:
    quoted = runpy.run_path(str(program))["quoted"]
    assert sqlglot.parse_one(f"SELECT {quoted(name, 0)}", dialect="databricks").find(exp.Column).name == name
    # BigQuery reads escapes between backticks as in a string.
    assert re.fullmatch(r"`(?:[^`\\]|\\.)+`", quoted(name, 1))
    assert re.sub(r"\\(.)", r"\1", quoted(name, 1)[1:-1]) == name


@pytest.mark.parametrize(
    ("system", "fields", "said"),
    [
        ("bigquery", {"format": "csv"}, "export as Parquet"),
        ("databricks", {"query": "SELECT '10:00'::time AS at"}, "--cast 'at=text'"),
        ("bigquery", {"query": "SELECT 1::oid AS which"}, "--cast 'which=text'"),
    ],
)
def test_what_is_refused(
    program: Path, environment: dict[str, str], system: str, fields: dict[str, Any], said: str
) -> None:
    manifest = exported(f"refused-{said}", **{"query": "SELECT 1 AS one", **fields})
    done = ran(program, system, manifest.location, "a.b")
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stdout == ""


def test_a_time_in_bigquery(program: Path, environment: dict[str, str]) -> None:
    manifest = exported("a time", query="SELECT '10:00'::time AS at")
    assert "CAST(`at` AS TIME)" in ran(program, "bigquery", manifest.location, "a.b").stdout
