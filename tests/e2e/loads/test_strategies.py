"""What each way of loading makes of a table that exists, of one that does not, and of a manifest it has had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mz_orchestration.errors import ConfigurationError, ReconciliationError
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import parse_folder
from mz_orchestration.runs.store import RunStore
from mz_orchestration.snowflake.load import LoadResult, run_load
from mz_orchestration.snowflake.spec import Strategy, load_spec

from .conftest import BASE, STAGE, Content, Exported, Query, export
from .test_kills import STRATEGIES, new_content

pytestmark = pytest.mark.account

Contents = Callable[[str], Content | None]


def load(exported: Exported, table: str, **fields: Any) -> LoadResult:
    return run_load(load_spec(manifest=exported.url, stage=STAGE, table=table, **fields))


@pytest.mark.parametrize("way", list(STRATEGIES))
def test_one_after_the_other(way: str, yesterday: Exported, today: Exported, content: Contents) -> None:
    table, fields = f"WAY_{way}".upper(), STRATEGIES[way]
    first, second = load(yesterday, table, **fields), load(today, table, **fields)
    assert (first.repeated, second.repeated) == (False, False)
    both = new_content(way, yesterday.content, today.content)
    assert content(table) == both
    assert len(first.query_ids) == len(second.query_ids) == 1
    again = load(today, table, **fields)
    assert again.repeated
    assert not again.superseded
    assert again.query_ids == second.query_ids
    older = load(yesterday, table, **fields)
    assert older.repeated
    assert older.superseded
    assert content(table) == both


@pytest.mark.parametrize("way", list(STRATEGIES))
def test_told_to_load_again(way: str, yesterday: Exported, content: Contents) -> None:
    table, fields = f"AGAIN_{way}".upper(), STRATEGIES[way]
    load(yesterday, table, **fields)
    assert not load(yesterday, table, again=True, **fields).repeated
    rows, total = yesterday.content
    assert content(table) == ((2 * rows, 2 * total) if way == "append" else (rows, total))


@pytest.mark.parametrize("way", ["swap", "overwrite", "delete", "truncate"])
def test_a_table_that_somebody_changed_is_replaced_again(
    way: str, yesterday: Exported, content: Contents, snowflake: Query
) -> None:
    table, fields = f"CHANGED_{way}".upper(), STRATEGIES[way]
    load(yesterday, table, **fields)
    snowflake(f"DELETE FROM {table} WHERE ID < 10")
    assert not load(yesterday, table, **fields).repeated
    assert content(table) == yesterday.content


def test_rows_that_were_deleted_are_not_appended_again(
    yesterday: Exported, content: Contents, snowflake: Query
) -> None:
    table = "APPENDED"
    load(yesterday, table, strategy="append")
    snowflake(f"DELETE FROM {table} WHERE ID < 10")
    assert load(yesterday, table, strategy="append").repeated
    found = content(table)
    assert found is not None
    assert found[0] == 51


@pytest.mark.parametrize("way", ["swap", "append"])
def test_a_table_that_was_made_anew_has_had_nothing(
    way: str, yesterday: Exported, content: Contents, snowflake: Query
) -> None:
    table, fields = f"ANEW_{way}".upper(), STRATEGIES[way]
    load(yesterday, table, **fields)
    snowflake(f"CREATE OR REPLACE TABLE {table} (ID NUMBER(38,0), NAME VARCHAR)")
    assert not load(yesterday, table, **fields).repeated
    assert content(table) == yesterday.content
    snowflake(f"DROP TABLE {table}")
    assert not load(yesterday, table, **fields).repeated
    assert content(table) == yesterday.content


def test_strategies_may_take_turns(yesterday: Exported, today: Exported, content: Contents) -> None:
    table = "TURNS"
    load(yesterday, table)
    load(today, table, strategy="overwrite")
    assert load(yesterday, table).superseded, "the mark of the first load is still in the comment"
    assert content(table) == today.content


def test_lineage(yesterday: Exported, snowflake: Query) -> None:
    table = "LINEAGE"
    load(yesterday, table, strategy="append")
    [row] = snowflake(
        f"SELECT MIN(_MZ_FILE) AS FILE, COUNT(DISTINCT _MZ_FILE, _MZ_FILE_ROW) AS PLACES, MIN(_MZ_RUN_KEY) AS KEY, "
        f"MAX(_MZ_MANIFEST) AS MANIFEST, COUNT(_MZ_LOADED_AT) AS TIMES FROM {table}"
    )
    assert row["file"].endswith(yesterday.manifest.files[0].name)
    assert (row["key"], row["manifest"]) == ("yesterday", yesterday.manifest.sha256)
    assert int(row["places"]) == int(row["times"]) == 60


@pytest.mark.parametrize("way", list(STRATEGIES))
def test_an_empty_export_publishes_without_a_copy(
    way: str, yesterday: Exported, content: Contents, environment: dict[str, str]
) -> None:
    table, fields = f"EMPTY_{way}".upper(), STRATEGIES[way]
    empty = Exported(export("SELECT 1::bigint AS id, 'x' AS name WHERE false", f"empty-{way}"), (0, 0))
    load(yesterday, table, **fields)
    done = load(empty, table, **fields)
    assert done.query_ids == ()
    assert content(table) == (yesterday.content if way in ("append", "merge") else (0, 0))
    assert load(empty, table, **fields).repeated


def test_the_variant_landing(yesterday: Exported, today: Exported, snowflake: Query) -> None:
    table = "LANDED"
    load(yesterday, table, layout="variant")
    load(today, table, layout="variant", strategy="append", lineage=False)
    [row] = snowflake(f"SELECT COUNT(*) AS N, SUM(COL:id::NUMBER) AS TOTAL FROM {table}")
    assert int(row["n"]) == 120
    assert int(row["total"]) == yesterday.content[1] + today.content[1]


def test_the_guides_csv_table(environment: dict[str, str], snowflake: Query) -> None:
    snowflake("CREATE TABLE GUIDE_CSV (COL_1 INT, COL_2 TEXT, COL_3 TIMESTAMP)")
    query = "SELECT 1 AS col_1, 'a, \"b\"' AS col_2, '2026-11-22 03:04:05'::timestamp AS col_3"
    exported = Exported(export(query, "guide", name="guide", format="csv"), (1, 1))
    load(exported, "GUIDE_CSV", strategy="overwrite")
    [row] = snowflake("SELECT COL_1, COL_2, TO_VARCHAR(COL_3) AS COL_3 FROM GUIDE_CSV")
    assert (int(row["col_1"]), row["col_2"]) == (1, 'a, "b"')
    assert row["col_3"].startswith("2026-11-22 03:04:05")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT NULL::bigint AS id, 'x' AS name UNION ALL SELECT 1, 'y'", "1 rows have no value in a key (id)"),
        ("SELECT 1::bigint AS id, 'x' AS name UNION ALL SELECT 1, 'y'", "1 rows share their key (id) with another"),
    ],
)
def test_keys_are_checked_first(
    query: str, said: str, yesterday: Exported, content: Contents, snowflake: Query, store: ObjectStore
) -> None:
    table = "KEYS"
    load(yesterday, table)
    bad = export(query, said, name="keys")
    with pytest.raises(ReconciliationError) as raised:
        load(Exported(bad, (2, 2)), table, strategy="merge", keys="id")
    assert said in raised.value.message
    assert content(table) == yesterday.content
    stored = RunStore(store, parse_folder(BASE, field="base")).find("keys", said)
    assert stored is not None
    [entry] = stored.record.loads.values()
    assert entry.staging in raised.value.hint
    assert snowflake(f'SELECT COUNT(*) AS N FROM "{entry.staging}"')[0]["n"] == 2, "left for a look"


def test_a_target_with_doubled_keys_is_not_merged_into(
    yesterday: Exported, today: Exported, content: Contents, snowflake: Query
) -> None:
    table = "DOUBLED"
    load(yesterday, table)
    snowflake(f"INSERT INTO {table} SELECT * FROM {table} WHERE ID = 50")
    with pytest.raises(ReconciliationError, match="several rows of the target share a key"):
        load(today, table, strategy="merge", keys="id")
    rows, total = yesterday.content
    assert content(table) == (rows + 1, total + 50)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"strategy": "upsert"}, "strategy"),
        ({"strategy": "merge"}, "needs keys"),
        ({"keys": "id"}, "mean nothing to strategy 'swap'"),
        ({"strategy": "merge", "keys": "id,id"}, "twice"),
        ({"strategy": "append", "delete_missing": True}, "keeps every row"),
        ({"strategy": "swap", "delete_missing": True}, "no other rows anyway"),
        ({"clear": "truncate"}, "belongs to strategy 'transaction'"),
        ({"strategy": "merge", "keys": "id", "layout": "variant"}, "no columns to merge by"),
        ({"layout": "variant", "checks": "columns"}, "no columns to check"),
        ({"strategy": "merge", "keys": "nope"}, "the export has no column 'nope'"),
        ({"table": "MZ_ORCHESTRATION_LOADS"}, "has the name of the ledger"),
    ],
)
def test_nonsense_is_refused(fields: dict[str, Any], said: str, yesterday: Exported) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(yesterday, **{"table": "NONSENSE", **fields})
    assert said in str(raised.value)


def test_every_strategy_has_its_ways() -> None:
    assert {fields["strategy"] for fields in STRATEGIES.values()} == set(Strategy)
