"""Targets that are not quite like the export: refused with the difference, changed when told to, filled exactly."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import requests

from mz_orchestration.errors import ConfigurationError, LoadError
from mz_orchestration.snowflake.load import LoadResult, run_load
from mz_orchestration.snowflake.spec import load_spec

from .conftest import STAGE, Content, Exported, Query, export
from .test_kills import STRATEGIES

Columns = Callable[[str], list[str]]


def load(exported: Exported, table: str, **fields: Any) -> LoadResult:
    return run_load(load_spec(manifest=exported.url, stage=STAGE, table=f"DEMO.PUBLIC.{table}", **fields))


@pytest.fixture
def columns(snowflake: Query) -> Columns:
    """The names of a table's columns, in order."""

    def read(table: str) -> list[str]:
        rows = snowflake(
            f"SELECT COLUMN_NAME AS C FROM DEMO.INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = '{table}' "
            "ORDER BY ORDINAL_POSITION"
        )
        return [row["c"] for row in rows]

    return read


@pytest.fixture
def prices(environment: dict[str, str]) -> Exported:
    """Numbers that travel as text."""
    query = (
        "SELECT id, price::numeric AS price FROM (VALUES (1, 1.5), (2, -0.050), (3, 9999999999.99)) AS v (id, price)"
    )
    return Exported(export(query, "prices", name="prices"), (3, 6))


@pytest.fixture
def fine_prices(environment: dict[str, str]) -> Exported:
    """Numbers of which one has more digits behind the point than the target."""
    query = "SELECT id, price::numeric AS price FROM (VALUES (1, 1.5), (2, 1.005)) AS v (id, price)"
    return Exported(export(query, "fine", name="prices"), (2, 3))


def test_a_difference_is_shown_and_nothing_made(today: Exported, snowflake: Query, columns: Columns) -> None:
    snowflake("CREATE TABLE DEMO.PUBLIC.DIFFERS (ID DATE, OLD NUMBER)")
    with pytest.raises(ConfigurationError) as raised:
        load(today, "DIFFERS")
    said = str(raised.value).splitlines()
    for start in ('The table "DEMO"."PUBLIC"."DIFFERS" does not fit the export:', "~ ID", "+ NAME", "- OLD"):
        assert any(line.startswith(start) for line in said), (start, said)
    assert columns("DIFFERS") == ["ID", "OLD"]
    staging = "SELECT COUNT(*) AS N FROM DEMO.INFORMATION_SCHEMA.TABLES WHERE STARTSWITH(TABLE_NAME, 'DIFFERS__MZ_')"
    assert snowflake(staging)[0]["n"] == 0


@pytest.mark.parametrize("way", list(STRATEGIES))
def test_columns_are_added(
    way: str, today: Exported, snowflake: Query, columns: Columns, content: Callable[[str], Content | None]
) -> None:
    table = f"ADDED_{way}".upper()
    snowflake(f"CREATE TABLE DEMO.PUBLIC.{table} (NOTE VARCHAR DEFAULT 'n', ID NUMBER(38,0))")
    snowflake(f"INSERT INTO DEMO.PUBLIC.{table} SELECT 'old', 41")
    with pytest.raises(ConfigurationError):
        load(today, table, **STRATEGIES[way])
    assert columns(table) == ["NOTE", "ID"]
    load(today, table, schema_changes="add_columns", **STRATEGIES[way])
    assert columns(table) == ["NOTE", "ID", "NAME"]
    rows, total = today.content
    assert content(f"DEMO.PUBLIC.{table}") == ((rows + 1, total + 41) if way == "append" else today.content)
    named = snowflake(f"SELECT COUNT(NAME) AS N FROM DEMO.PUBLIC.{table}")
    assert named[0]["n"] == 60
    # What is updated keeps what the export knows nothing of.
    kept = snowflake(f"SELECT COUNT(*) AS N FROM DEMO.PUBLIC.{table} WHERE NOTE = 'old'")
    assert kept[0]["n"] == (1 if way in ("append", "merge", "mirror") else 0)


def test_a_swap_adds_columns_to_nothing_but_what_is_published(
    today: Exported, snowflake: Query, columns: Columns, environment: dict[str, str]
) -> None:
    snowflake("CREATE TABLE DEMO.PUBLIC.ADDED_LATE (ID NUMBER(38,0))")
    url = f"http://{environment['SNOWFLAKE_HOST']}:{environment['SNOWFLAKE_PORT']}/local/faults"
    requests.post(url, json={"fail": {"containing": '"ADDED_LATE" SWAP WITH', "errno": 604}}, timeout=5)
    with pytest.raises(LoadError):
        load(today, "ADDED_LATE", schema_changes="add_columns")
    assert columns("ADDED_LATE") == ["ID"]
    load(today, "ADDED_LATE", schema_changes="add_columns")
    assert columns("ADDED_LATE") == ["ID", "NAME"]


@pytest.mark.parametrize("way", list(STRATEGIES))
def test_columns_of_the_targets_own(way: str, today: Exported, snowflake: Query) -> None:
    """One that takes no NULL and has no default cannot be left out; others can, when told so."""
    table = f"OWN_{way}".upper()
    snowflake(
        f'CREATE TABLE DEMO.PUBLIC.{table} (KIND VARCHAR NOT NULL, "id" NUMBER(38,0), NAME VARCHAR, '
        "SOURCE VARCHAR NOT NULL DEFAULT 'files', NOTE DATE)"
    )
    with pytest.raises(ConfigurationError, match="KIND"):
        load(today, table, schema_changes="add_columns", **STRATEGIES[way])
    snowflake(f"ALTER TABLE DEMO.PUBLIC.{table} DROP COLUMN KIND")
    with pytest.raises(ConfigurationError, match="SOURCE"):
        load(today, table, **STRATEGIES[way])
    load(today, table, schema_changes="add_columns", **STRATEGIES[way])
    [row] = snowflake(
        f'SELECT SUM("id") AS TOTAL, COUNT(NAME) AS NAMES, MIN(SOURCE) AS A, MAX(SOURCE) AS B, COUNT(NOTE) AS NOTES '
        f"FROM DEMO.PUBLIC.{table}"
    )
    assert int(row["total"]) == today.content[1]
    assert (row["names"], row["a"], row["b"], row["notes"]) == (60, "files", "files", 0)


@pytest.mark.parametrize("way", list(STRATEGIES))
def test_numbers_that_travel_as_text(
    way: str, prices: Exported, fine_prices: Exported, snowflake: Query, content: Callable[[str], Content | None]
) -> None:
    table = f"PRICES_{way}".upper()
    snowflake(f"CREATE TABLE DEMO.PUBLIC.{table} (ID NUMBER(38,0), PRICE NUMBER(12,2))")
    load(prices, table, **STRATEGIES[way])
    exactly = [Decimal("1.50"), Decimal("-0.05"), Decimal("9999999999.99")]
    found = snowflake(f"SELECT PRICE FROM DEMO.PUBLIC.{table} ORDER BY ID")
    assert [row["price"] for row in found] == exactly
    with pytest.raises(LoadError, match=r"Numeric value|out of range") as raised:
        load(fine_prices, table, **STRATEGIES[way])
    assert not raised.value.retryable
    assert "1.005" not in str(raised.value)
    assert snowflake(f"SELECT PRICE FROM DEMO.PUBLIC.{table} ORDER BY ID") == found
    assert snowflake("SHOW TRANSACTIONS") == []
