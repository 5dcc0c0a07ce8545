from __future__ import annotations

from typing import Any

from mz_orchestration.exports.spec import export_spec
from mz_orchestration.exports.statements import copy_statement, describe_statement
from mz_orchestration.materialize.types import Column, with_casts

PATH = "s3://bucket/exports/x/"
COLUMNS = [Column(name="id", type="uuid"), Column(name='we"ird', type="text")]


def spec(**change: Any) -> Any:
    return export_spec(**{"object": "shop.Orders", "to": "s3://bucket/e/", "connection": "c", **change})


def test_an_object_without_casts_is_copied_by_name() -> None:
    columns = with_casts([Column(name="n", type="integer")], "parquet")
    assert copy_statement(spec(), columns, PATH).as_string(None) == (
        f'COPY "shop"."orders" TO \'{PATH}\' '
        "WITH (AWS CONNECTION = \"c\", FORMAT = 'parquet', MAX FILE SIZE = '256MB')"
    )


def test_columns_that_would_lose_their_meaning_are_cast() -> None:
    text = copy_statement(spec(), with_casts(COLUMNS, "parquet"), PATH).as_string(None)
    assert text.startswith('COPY (SELECT "id"::text AS "id", "we""ird" FROM "shop"."orders") TO ')


def test_a_query_ending_in_a_comment_stays_closed() -> None:
    query = spec(query="SELECT 1 AS id -- done")
    assert describe_statement(query).as_string(None) == "SELECT * FROM (\nSELECT 1 AS id -- done\n) AS q LIMIT 0"
    assert copy_statement(query, None, PATH).as_string(None).startswith("COPY (\nSELECT 1 AS id -- done\n) TO ")


def test_csv_options() -> None:
    csv = spec(format="csv", csv={"delimiter": ";", "null": "it's", "header": True})
    text = copy_statement(csv, None, PATH).as_string(None)
    assert "DELIMITER = ';', QUOTE = '\"', ESCAPE = '\"', NULL = 'it''s', HEADER = true)" in text
