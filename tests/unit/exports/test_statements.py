from __future__ import annotations

from typing import Any

import pytest

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


def test_csv_names_its_columns_since_the_file_does_not() -> None:
    columns = with_casts([Column(name="n", type="integer"), Column(name="m", type="integer")], "csv")
    object, query = spec(format="csv"), spec(format="csv", query="SELECT * FROM t")
    assert copy_statement(object, columns, PATH).as_string(None).startswith('COPY (SELECT "n", "m" FROM "shop"."orders')
    assert (
        copy_statement(query, columns, PATH, as_of=7)
        .as_string(None)
        .startswith('COPY (SELECT "n", "m" FROM (\nSELECT * FROM t\n) AS q AS OF 7) TO ')
    )


def test_csv_of_a_query_whose_columns_share_a_name_is_copied_as_it_is() -> None:
    columns = with_casts([Column(name="n", type="integer")] * 2, "csv", safe=False)
    query = spec(format="csv", query="SELECT 1 AS n, 2 AS n")
    text = copy_statement(query, columns, PATH).as_string(None)
    assert text.startswith("COPY (\nSELECT 1 AS n, 2 AS n\n) TO ")


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


@pytest.mark.parametrize(
    ("column", "expression"),
    [
        (Column(name="c", type="integer", array=True, cast="jsonb"), 'to_jsonb("c")'),
        (Column(name="c", type="text", array=True, cast="jsonb"), 'to_jsonb("c")'),
        (Column(name="c", type="bigint", array=True, cast="jsonb"), 'to_jsonb("c"::numeric[])'),
        (Column(name="c", type="uint8", array=True, cast="jsonb"), 'to_jsonb("c"::numeric[])'),
        (Column(name="c", type="real", array=True, cast="jsonb"), 'to_jsonb("c"::text[])'),
        (Column(name="c", type="double precision", array=True, cast="jsonb"), 'to_jsonb("c"::text[])'),
        (Column(name="c", type="real", cast="jsonb"), 'to_jsonb("c"::text)'),
        (Column(name="c", type="double precision", cast="jsonb"), 'to_jsonb("c"::text)'),
        (Column(name="c", type="bigint", cast="jsonb"), 'to_jsonb("c"::numeric)'),
        (Column(name="c", type="uint4", cast="jsonb"), 'to_jsonb("c"::numeric)'),
        (Column(name="c", type="list", cast="jsonb"), 'to_jsonb("c")'),
        (Column(name="c", type="record", cast="jsonb"), 'to_jsonb("c")'),
        (Column(name="c", type="integer", cast="jsonb"), 'to_jsonb("c")'),
        (Column(name="c", type="text", cast="jsonb"), '"c"::jsonb'),
        (Column(name="c", type="text", array=True, cast="text list"), '"c"::text list'),
        (Column(name="c", type="numeric", cast="NUMERIC( 38 , 2 )"), '"c"::numeric(38,2)'),
        (Column(name="c", type="interval", cast="text"), '"c"::text'),
    ],
)
def test_how_a_column_is_cast(column: Column, expression: str) -> None:
    text = copy_statement(spec(), [column], PATH).as_string(None)
    assert text.startswith(f'COPY (SELECT {expression} AS "c" FROM "shop"."orders") TO ')


def test_percent_signs_and_braces_in_names_are_nothing_special() -> None:
    columns = [Column(name="100 %s {}", type="uuid", cast="text")]
    text = copy_statement(spec(), columns, PATH).as_string(None)
    assert text.startswith('COPY (SELECT "100 %s {}"::text AS "100 %s {}" FROM ')
