"""Staging tables that nobody asks for again: shown, dropped when told to, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
import requests

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.snowflake.sweep import sweep_staging

from .conftest import Query

SCHEMA = "DEMO.SWEPT"
OURS = ("ORDERS__MZ_0123456789AB", "a b__MZ_FFFFFFFFFFFF")
OTHERS = ("ORDERS", "ORDERS__MZ_", "ORDERS__MZ_0123456789ABC", "ORDERS__MZ_0123456789AG", "ORDERS__mz_0123456789AB")


@pytest.fixture
def tables(snowflake: Query) -> Iterator[None]:
    snowflake(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    for name in OURS + OTHERS:
        snowflake(f'CREATE TABLE {SCHEMA}."{name}" AS SELECT 1 AS A UNION ALL SELECT 2')
    yield
    snowflake(f"DROP SCHEMA {SCHEMA}")


def there(snowflake: Query) -> set[str]:
    return {row["name"] for row in snowflake(f"SHOW TABLES IN SCHEMA {SCHEMA}")}


def test_only_old_ones_and_only_when_told(tables: None, snowflake: Query) -> None:
    assert sweep_staging(SCHEMA, older_than=timedelta(hours=1), delete=True) == []
    found = sweep_staging(SCHEMA, older_than=timedelta(0))
    assert {table.name for table in found} == {f'"DEMO"."SWEPT"."{name}"' for name in OURS}
    assert [(table.rows, table.dropped, table.problem) for table in found] == [(2, False, "")] * 2
    assert there(snowflake) == {*OURS, *OTHERS}
    found = sweep_staging(SCHEMA, older_than=timedelta(0), delete=True)
    assert [(table.dropped, table.problem) for table in found] == [(True, "")] * 2
    assert there(snowflake) == set(OTHERS)


def test_a_table_that_cannot_be_dropped(tables: None, snowflake: Query, environment: dict[str, str]) -> None:
    url = f"http://{environment['SNOWFLAKE_HOST']}:{environment['SNOWFLAKE_PORT']}/local/faults"
    fault = {
        "fail": {"containing": f'DROP TABLE IF EXISTS "DEMO"."SWEPT"."{OURS[0]}"', "errno": 3001, "message": "No."}
    }
    requests.post(url, json=fault, timeout=5).raise_for_status()
    found = sweep_staging(SCHEMA, older_than=timedelta(0), delete=True)
    assert {(table.name.split('"')[5], table.dropped, table.problem) for table in found} == {
        (OURS[0], False, "Snowflake: No."),
        (OURS[1], True, ""),
    }
    assert there(snowflake) == {OURS[0], *OTHERS}


def test_the_command(
    tables: None, snowflake: Query, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        from mz_orchestration.cli.main import app

        with pytest.raises(SystemExit) as ended:
            app(["sweep-staging", SCHEMA, *arguments])
        return int(ended.value.code or 0), capsys.readouterr().out

    code, out = run("--older-than", "0")
    assert code == 0
    assert out.splitlines()[-2:] == [
        "to drop: 2 staging tables",
        "nothing was changed; the same command with --delete does it",
    ]
    url = f"http://{environment['SNOWFLAKE_HOST']}:{environment['SNOWFLAKE_PORT']}/local/faults"
    fault = {"fail": {"containing": f'DROP TABLE IF EXISTS "DEMO"."SWEPT"."{OURS[0]}"', "errno": 3001}}
    requests.post(url, json=fault, timeout=5).raise_for_status()
    code, out = run("--older-than", "0", "--delete", "--json")
    assert code == 3
    said = json.loads(out)
    assert said["deleted"]
    assert sorted(table["dropped"] for table in said["tables"]) == [False, True]
    code, out = run("--older-than", "0", "--delete")
    assert (code, out.splitlines()[-1]) == (0, "dropped: 1 of 1 staging tables")


def test_no_schema() -> None:
    for text in ("DEMO", "DEMO.PUBLIC.T", ""):
        with pytest.raises(ConfigurationError, match="schema"):
            sweep_staging(text)
