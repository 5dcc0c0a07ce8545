"""What Materialize, the files and Snowflake say of the same columns agrees, and a single changed value is noticed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from mz_orchestration.errors import DeadlineError, VerificationError
from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.policy import ExportPolicy
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.exports.statistics import Source, Statistics
from mz_orchestration.exports.statistics.files import file_statistics
from mz_orchestration.flow import run
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.snowflake.checks import column_checks
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.load import run_load
from mz_orchestration.snowflake.quoting import Sql, identifier, parse_name
from mz_orchestration.snowflake.session import SnowflakeSession
from mz_orchestration.snowflake.spec import load_spec

BASE = "s3://mz-exports/column-checks/"
STAGE = "DEMO.PUBLIC.MZ_STAGE"
# A row for each thing that could be told differently; columns in the order of EXPECTED.
ROWS = """
SELECT id, big, small, amount::numeric(38,2), r, d, flag, day, clock, local, instant, name, key, doc, raw, list
FROM (VALUES
  (1, 1::bigint, 32767::smallint, 12.30::numeric(38,2), 0.1::real, 0.1::double precision, true, DATE '0001-01-01',
   TIME '00:00:00', TIMESTAMP '1999-12-31 23:59:59.5', TIMESTAMPTZ '2020-01-01 01:00:00+02', 'ä',
   '00000000-0000-0000-0000-000000000001'::uuid, '{"a": null}'::jsonb, '\\x00ff'::bytea, ARRAY[1, NULL]),
  (2, 9223372036854775807, -1, -0.05, 'NaN', '-Infinity', false, DATE '9999-12-31',
   TIME '23:59:59.999999', TIMESTAMP '0001-01-01 00:00:00', TIMESTAMPTZ '9999-12-31 23:59:59.999999+00', '',
   'ffffffff-ffff-ffff-ffff-ffffffffffff', 'null', '\\x', ARRAY[]::int[]),
  (3, 9223372036854775807, NULL, 99999999999999999999.99, 3.4028235e38, 1e300, false, DATE '2026-11-22',
   TIME '12:00:00.5', TIMESTAMP '9999-12-31 23:59:59.999999', TIMESTAMPTZ '0001-01-01 00:00:00+00', 'Z,"x"
   y', NULL, NULL, NULL, NULL),
  (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
) AS v (id, big, small, amount, r, d, flag, day, clock, local, instant, name, key, doc, raw, list)
"""
EXPECTED = {
    "id": (0, "1", "4", "10"),
    "big": (1, "1", "9223372036854775807", "18446744073709551615"),
    "small": (2, "-1", "32767", "32766"),
    "amount": (1, "-0.05", "99999999999999999999.99", "100000000000000000012.24"),
    "r": (1, "0.10000000149011612", "NaN", None),
    "d": (1, "-Infinity", "1e+300", None),
    "flag": (1, "false", "true", "1"),
    "day": (1, "0001-01-01", "9999-12-31", None),
    "clock": (1, "00:00:00.000000", "23:59:59.999999", None),
    "local": (1, "0001-01-01T00:00:00.000000", "9999-12-31T23:59:59.999999", None),
    "instant": (1, "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z", None),
    "name": (1, "", "ä", None),
    "key": (2, "00000000-0000-0000-0000-000000000001", "ffffffff-ffff-ffff-ffff-ffffffffffff", None),
    "doc": (2, None, None, None),
    "raw": (2, None, None, None),
    "list": (2, None, None, None),
}


@pytest.fixture(autouse=True)
def in_the_stack(environment: dict[str, str]) -> None:
    """Everything in this file talks to the stack."""


@pytest.fixture
def snowflake(environment: dict[str, str]) -> Iterator[SnowflakeSession]:
    with SnowflakeSession(SnowflakeConfig.from_environment()) as session:
        yield session


def exported(name: str, query: str, *, statistics: bool = True, **fields: Any) -> Manifest:
    spec = export_spec(object=name, query=query, to=BASE, connection="local_s3", **fields)
    return run_export(spec, run_key=name, policy=ExportPolicy(statistics=statistics)).manifest


def loaded(manifest: Manifest, table: str) -> tuple[str, ...]:
    run_load(load_spec(manifest=str(manifest.location), stage=STAGE, table=table))
    return parse_name(table, field="table")


def as_tuples(statistics: Statistics | None) -> dict[str, tuple[int, str | None, str | None, str | None]]:
    assert statistics is not None
    return {c.name: (c.nulls, c.minimum, c.maximum, c.total) for c in statistics.columns}


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_all_three_agree(format: str, store: ObjectStore, snowflake: SnowflakeSession) -> None:
    manifest = exported(f"agree_{format}", ROWS, format=format)
    assert manifest.counted == 4
    assert as_tuples(manifest.statistics) == EXPECTED
    files = file_statistics(store, manifest, timeout=60)
    assert (files.source, as_tuples(files)) == (Source.FILES, EXPECTED)
    table = loaded(manifest, f"DEMO.PUBLIC.AGREE_{format.upper()}")
    for told in (manifest, manifest.model_copy(update={"statistics": None})):
        assert run(column_checks(told, table, snowflake, store)) == []


def test_every_changed_value_is_found(store: ObjectStore, snowflake: SnowflakeSession) -> None:
    manifest = exported("changed", ROWS)
    table = loaded(manifest, "DEMO.PUBLIC.CHANGED")
    changes = {
        "SMALL": ("NULL", 2),
        "AMOUNT": ("AMOUNT + 0.01", 1),
        "R": ("0.2", 1),
        "D": ("2e300", 3),
        "FLAG": ("TRUE", 2),
        "DAY": ("'9999-12-30'", 2),
        "CLOCK": ("'23:59:59.999998'", 2),
        "LOCAL": ("'9999-12-31 23:59:59.999998'", 3),
        "INSTANT": ("'9999-12-31 23:59:59.999998+00:00'", 2),
        "NAME": ("'å'", 1),
        "DOC": ("NULL", 2),
    }
    for column, (value, row) in changes.items():
        snowflake.query(Sql(f"UPDATE {identifier(*table)} SET {column} = {value} WHERE ID = {row}"))
    assert run(column_checks(manifest, table, snowflake, store)) == [
        "SMALL: 2 NULLs in Materialize, 3 in Snowflake",
        "SMALL: the smallest value is -1 in Materialize, 32767 in Snowflake",
        "SMALL: the sum is 32766 in Materialize, 32767 in Snowflake",
        "AMOUNT: the sum is 100000000000000000012.24 in Materialize, 100000000000000000012.25 in Snowflake",
        "R: the smallest value is 0.10000000149011612 in Materialize, 0.20000000298023224 in Snowflake",
        "D: the largest value is 1e+300 in Materialize, 2e+300 in Snowflake",
        "FLAG: the number of true values is 1 in Materialize, 2 in Snowflake",
        "DAY: the largest value is 9999-12-31 in Materialize, 9999-12-30 in Snowflake",
        "CLOCK: the largest value is 23:59:59.999999 in Materialize, 23:59:59.999998 in Snowflake",
        "LOCAL: the largest value is 9999-12-31T23:59:59.999999 in Materialize, "
        "9999-12-31T23:59:59.999998 in Snowflake",
        "INSTANT: the largest value is 9999-12-31T23:59:59.999999Z in Materialize, "
        "9999-12-31T23:59:59.999998Z in Snowflake",
        # Texts are not shown: what is found ends up in logs.
        "NAME: the largest value is another in Materialize than in Snowflake",
        "DOC: 2 NULLs in Materialize, 3 in Snowflake",
    ]


def test_sums_of_floats_agree_in_any_order_of_adding(store: ObjectStore, snowflake: SnowflakeSession) -> None:
    query = "SELECT i AS id, 1 / i::double precision AS d, (1 / i::double precision)::real AS r FROM series(1, 5000)"
    query = query.replace("series(1, 5000)", "generate_series(1, 5000) AS s(i)")
    manifest = exported("floats", query, statistics=False)
    assert manifest.statistics is None
    table = loaded(manifest, "DEMO.PUBLIC.FLOATS")
    assert run(column_checks(manifest, table, snowflake, store)) == []
    snowflake.query(Sql(f"UPDATE {identifier(*table)} SET D = 0.5 WHERE ID = 3"))
    [found] = run(column_checks(manifest, table, snowflake, store))
    assert re.fullmatch(r"D: the sum is 9\.0945088529\d+ in the files, 9\.2611755196\d+ in Snowflake", found)


def test_values_that_would_overflow_a_sum_are_not_summed(store: ObjectStore, snowflake: SnowflakeSession) -> None:
    query = f"SELECT i AS id, {'9' * 38}::numeric(38,0) AS n FROM generate_series(1, 3) AS s(i)"
    manifest = exported("overflow", query)
    statistics = file_statistics(store, manifest, timeout=60)
    assert statistics.columns[1].total == str(3 * int("9" * 38))
    table = loaded(manifest, "DEMO.PUBLIC.OVERFLOW")
    for told in (manifest, manifest.model_copy(update={"statistics": statistics})):
        assert run(column_checks(told, table, snowflake, store)) == []


def test_a_column_that_holds_another_type_is_compared_by_its_nulls(
    store: ObjectStore, snowflake: SnowflakeSession
) -> None:
    manifest = exported("other_type", "SELECT 1 AS id, 'b'::text AS name UNION ALL SELECT 2, NULL")
    snowflake.query(Sql('CREATE TABLE DEMO.PUBLIC.OTHER_TYPE ("id" NUMBER, NAME VARIANT)'))
    snowflake.query(Sql("INSERT INTO DEMO.PUBLIC.OTHER_TYPE SELECT 1, PARSE_JSON('[1]') UNION ALL SELECT 2, NULL"))
    table = ("DEMO", "PUBLIC", "OTHER_TYPE")
    assert run(column_checks(manifest, table, snowflake, store)) == []
    snowflake.query(Sql("UPDATE DEMO.PUBLIC.OTHER_TYPE SET NAME = NULL"))
    assert run(column_checks(manifest, table, snowflake, store)) == ["NAME: 1 NULLs in Materialize, 2 in Snowflake"]
    snowflake.query(Sql("ALTER TABLE DEMO.PUBLIC.OTHER_TYPE DROP COLUMN NAME"))
    assert run(column_checks(manifest, table, snowflake, store)) == ["NAME is not in the table"]


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_files_are_read_by_the_row(format: str, store: ObjectStore) -> None:
    manifest = exported(f"files_{format}", "SELECT * FROM shop.order_lines", format=format)
    assert len(manifest.files) > 1
    told, read = as_tuples(manifest.statistics), as_tuples(file_statistics(store, manifest, timeout=60))
    assert {name: read[name][:3] for name in read} == {name: told[name][:3] for name in told}
    assert any(told[name][3] for name in told)
    first, *others = manifest.files
    wrong = manifest.model_copy(update={"files": (first.model_copy(update={"rows": 1}), *others)})
    with pytest.raises(VerificationError, match="where the manifest says 1"):
        file_statistics(store, wrong, timeout=60)
    with pytest.raises(DeadlineError, match="within 0 seconds"):
        file_statistics(store, manifest, timeout=0)


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_files_that_are_not_what_was_exported(format: str, store: ObjectStore) -> None:
    manifest = exported(f"damaged_{format}", "SELECT i AS id FROM generate_series(1, 9) AS s(i)", format=format)
    at = manifest.folder.child(manifest.files[-1].name)
    store.put(at, store.get(at)[0][:-7] + b"zzzzzzz")
    with pytest.raises(VerificationError, match=r"cannot be read as CSV|its last bytes are no footer"):
        file_statistics(store, manifest, timeout=60)
    store.delete(at)
    with pytest.raises(VerificationError, match=r"is gone\."):
        file_statistics(store, manifest, timeout=60)


def test_a_file_written_again_meanwhile_is_read_by_the_next_call(store: ObjectStore) -> None:
    manifest = exported("rewritten", "SELECT i AS id FROM generate_series(1, 9) AS s(i)")

    class Rewriting(ObjectStore):
        def list_objects(self, folder: Any) -> Any:
            found = super().list_objects(folder)
            return [replace(item, etag='"0"') for item in found]

    with pytest.raises(VerificationError, match="was written again") as raised:
        file_statistics(Rewriting(), manifest, timeout=60)
    assert raised.value.retryable
