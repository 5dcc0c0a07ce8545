"""Whatever a table is called and holds, it arrives: from Materialize through Parquet and CSV."""

from __future__ import annotations

import json
import math
from typing import Any

import psycopg
from hypothesis import HealthCheck, Phase, given, settings
from psycopg import sql

from mz_orchestration.snowflake.load import run_load
from mz_orchestration.snowflake.quoting import Sql, compose, identifier, join, literal
from mz_orchestration.snowflake.session import SnowflakeSession
from mz_orchestration.snowflake.spec import load_spec
from mz_orchestration.snowflake.types import column_name

from .conftest import Export
from .drawn import Format, Kind, Table, tables

_TARGET = "DEMO.PUBLIC.ANY_TABLE"


def _make(materialize: psycopg.Connection[Any], table: Table) -> None:
    columns = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind.sql)) for name, kind in table.columns.items()]
    materialize.execute("DROP TABLE IF EXISTS any_table")
    materialize.execute(sql.SQL("CREATE TABLE any_table (n integer, {})").format(sql.SQL(", ").join(columns)))
    rows = [
        sql.SQL("({})").format(sql.SQL(", ").join([sql.Literal(n), *map(_literal, table.columns.values(), row)]))
        for n, row in enumerate(table.rows)
    ]
    if rows:
        materialize.execute(sql.SQL("INSERT INTO any_table VALUES {}").format(sql.SQL(", ").join(rows)))


def _literal(kind: Kind, value: Any) -> sql.Composable:
    text = None if value is None else kind.write(value)
    return sql.SQL("{}::{}").format(sql.Literal(text), sql.SQL(kind.sql))


def _seen(kind: Kind, value: Any) -> Any:
    if value is not None and kind.ddl in ("VARIANT", "ARRAY"):
        return json.loads(value)
    # Nothing equals NaN.
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def _check(table: Table, format: Format, export: Export, snowflake: SnowflakeSession) -> None:
    manifest = export("SELECT * FROM any_table", format)
    snowflake.query(Sql(f"DROP TABLE IF EXISTS {_TARGET}"))
    run_load(load_spec(manifest=str(manifest.location), stage="DEMO.PUBLIC.MZ_STAGE", table=_TARGET))
    names = [identifier(column_name(column)) for column in manifest.columns]
    aliases = (identifier(f"C{i}") for i in range(len(names)))
    selected = join(compose("{} AS {}", name, alias) for name, alias in zip(names, aliases, strict=True))
    answer = snowflake.query(compose("SELECT {} FROM {} ORDER BY N", selected, Sql(_TARGET))).rows
    kinds = list(table.columns.values())
    found = [[_seen(kind, value) for kind, value in zip(kinds, list(row.values())[1:], strict=True)] for row in answer]
    assert found == [
        [_seen_as_expected(kind, value, format) for kind, value in zip(kinds, row, strict=True)] for row in table.rows
    ]
    described = snowflake.query(
        compose(
            "SELECT COLUMN_NAME, DATA_TYPE FROM DEMO.INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = {}"
            " ORDER BY ORDINAL_POSITION",
            literal("ANY_TABLE"),
        )
    ).rows
    assert [(row["column_name"], row["data_type"]) for row in described[1:]] == [
        (column_name(column), kind.ddl) for column, kind in zip(manifest.columns[1:], kinds, strict=True)
    ]


def _seen_as_expected(kind: Kind, value: Any, format: Format) -> Any:
    expected = kind.expected(value, format)
    return "NaN" if isinstance(expected, float) and math.isnan(expected) else expected


@settings(
    max_examples=10,
    deadline=None,
    # A table that fails is small enough to read, and each further one takes a second.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(table=tables())
def test_any_table_arrives(
    table: Table, export: Export, snowflake: SnowflakeSession, materialize: psycopg.Connection[Any]
) -> None:
    _make(materialize, table)
    _check(table, "parquet", export, snowflake)
    _check(table, "csv", export, snowflake)
