"""The whole stack as a user finds it: wired, seeded, and reachable with the printed settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mz_orchestration.local.errors import LocalStackError
from mz_orchestration.local.seed import seed_shop
from mz_orchestration.local.seed_statements import TABLES, Sizes
from mz_orchestration.local.stack import LocalStack

from .conftest import run

ROWS = 5000


def connect(stack: LocalStack) -> psycopg.Connection:
    variables = stack.environment
    return psycopg.connect(
        host=variables["PGHOST"],
        port=variables["PGPORT"],
        user=variables["PGUSER"],
        password=variables["PGPASSWORD"],
        dbname=variables["PGDATABASE"],
        autocommit=True,
    )


def seed(stack: LocalStack, *, rows: int = ROWS, number: int = 1) -> dict[str, int]:
    return seed_shop(stack.state, rows=rows, seed=number, report=lambda *_: None)


def fingerprints(stack: LocalStack) -> dict[str, Any]:
    with connect(stack) as connection:
        return {
            table: connection.execute(
                f"SELECT count(*), md5(string_agg(md5(t::text), '' ORDER BY id)) FROM shop.{table} AS t"
            ).fetchone()
            for table in TABLES
        }


def test_the_connection_reaches_the_bucket(stack: LocalStack) -> None:
    import boto3

    with connect(stack) as connection:
        tag = connection.execute(
            "COPY (SELECT 1 AS a) TO 's3://mz-exports/wired/' WITH (AWS CONNECTION = local_s3, FORMAT = 'csv')"
        ).statusmessage
    assert tag == "COPY 1"
    variables = stack.environment
    s3 = boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=variables["AWS_REGION"],
    )
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="mz-exports", Prefix="wired/")["Contents"]]
    assert b"".join(s3.get_object(Bucket="mz-exports", Key=key)["Body"].read() for key in keys).strip() == b"1"


def test_the_stage_covers_the_bucket(stack: LocalStack) -> None:
    import snowflake.connector

    variables = stack.environment
    with connect(stack) as connection:
        connection.execute(
            "COPY (SELECT 1 AS a) TO 's3://mz-exports/staged/' WITH (AWS CONNECTION = local_s3, FORMAT = 'parquet')"
        )
    with snowflake.connector.connect(
        account=variables["SNOWFLAKE_ACCOUNT"],
        user=variables["SNOWFLAKE_USER"],
        password=variables["SNOWFLAKE_PASSWORD"],
        host=variables["SNOWFLAKE_HOST"],
        port=int(variables["SNOWFLAKE_PORT"]),
        protocol=variables["SNOWFLAKE_PROTOCOL"],
        database=variables["SNOWFLAKE_DATABASE"],
        schema=variables["SNOWFLAKE_SCHEMA"],
        warehouse=variables["SNOWFLAKE_WAREHOUSE"],
        role=variables["SNOWFLAKE_ROLE"],
        enable_server_session_keep_alive_auto_detection=False,
    ) as connection:
        listed = connection.cursor().execute("LIST @MZ_STAGE/staged/").fetchall()
    assert listed
    assert all(name.startswith("s3://mz-exports/staged/") for name, *_ in listed)


def test_a_wrong_password_is_refused(stack: LocalStack) -> None:
    variables = stack.environment
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(
            host=variables["PGHOST"], port=variables["PGPORT"], user=variables["PGUSER"], password="wrong", dbname="x"
        )


def test_the_same_seed_makes_the_same_rows_and_another_does_not(stack: LocalStack) -> None:
    counts = seed(stack)
    first = fingerprints(stack)
    assert counts["order_lines"] == ROWS
    assert counts["orders"] == counts["order_totals"] == Sizes.of(ROWS).orders
    assert {table: count for table, (count, _) in first.items()} == {table: counts[table] for table in TABLES}
    seed(stack, number=2)
    second = fingerprints(stack)
    assert all(first[table][1] != second[table][1] for table in TABLES)
    seed(stack)
    assert fingerprints(stack) == first


def test_the_shop_agrees_with_itself(stack: LocalStack) -> None:
    counts = seed(stack)
    with connect(stack) as connection:

        def one(query: str) -> Any:
            row = connection.execute(query).fetchone()
            assert row is not None
            return row

        assert one("SELECT count(DISTINCT order_id), min(order_id), max(order_id) FROM shop.order_lines") == (
            counts["orders"],
            1,
            counts["orders"],
        )
        assert one("SELECT sum(net_amount), sum(lines), count(*) FROM shop.order_totals") == (
            *one("SELECT sum(net_amount), count(*) FROM shop.order_lines"),
            counts["orders"],
        )
        assert one("SELECT sum(paid_amount) FROM shop.order_totals") == one("SELECT sum(amount) FROM shop.payments")
        unpaid, partial = one(
            "SELECT count(*) FILTER (WHERE paid_amount = 0),"
            " count(*) FILTER (WHERE paid_amount NOT IN (0, net_amount)) FROM shop.order_totals"
        )
        assert unpaid > 0
        assert partial == 0
        ids = "SELECT count(*) = count(DISTINCT id) AND count(*) = count(DISTINCT public_id) FROM shop."
        assert all(one(ids + table) == (True,) for table in ("customers", "orders", "payments"))


def test_the_data_holds_what_exports_trip_over(stack: LocalStack) -> None:
    seed(stack)
    found = {
        "empty beside null": "SELECT bool_or(note = '') AND bool_or(note IS NULL) FROM shop.order_lines",
        "the word NULL": "SELECT bool_or(note = 'NULL') FROM shop.order_lines",
        "line break": "SELECT bool_or(note LIKE E'%\\r\\n%') FROM shop.order_lines",
        "quote and comma": "SELECT bool_or(delivery_note LIKE '%,%\"%') FROM shop.orders",
        "apostrophe": "SELECT bool_or(name LIKE '%''%') FROM shop.customers",
        "beyond latin": "SELECT bool_or(name LIKE '%渡辺%') FROM shop.customers",
        "beyond the basic plane": "SELECT bool_or(delivery_note LIKE '%📦%') FROM shop.orders",
        "empty array beside null": "SELECT bool_or(boxes = '{}') AND bool_or(boxes IS NULL) FROM shop.order_lines",
        "null in an array": "SELECT bool_or(array_position(boxes, NULL) > 0) FROM shop.order_lines",
        "json null": "SELECT bool_or(profile->'referrer' = 'null') FROM shop.customers",
        "sql null in a json column": "SELECT bool_or(profile IS NULL) FROM shop.customers",
        "microseconds": "SELECT bool_or(extract(microseconds FROM placed_at)::bigint % 1000 > 0) FROM shop.orders",
        "three-valued boolean": "SELECT count(DISTINCT coalesce(newsletter::text, '')) = 3 FROM shop.customers",
    }
    with connect(stack) as connection:
        missing = [what for what, query in found.items() if connection.execute(query).fetchone() != (True,)]
    assert missing == []


@pytest.mark.parametrize("relation", [*TABLES, "order_totals"])
def test_every_relation_can_be_exported_as_parquet(stack: LocalStack, relation: str) -> None:
    counts = seed(stack, rows=500)
    with connect(stack) as connection:
        tag = connection.execute(
            f"COPY shop.{relation} TO 's3://mz-exports/shop/{relation}/'"
            " WITH (AWS CONNECTION = local_s3, FORMAT = 'parquet')"
        ).statusmessage
    assert tag == f"COPY {counts[relation]}"


def test_an_empty_shop(stack: LocalStack) -> None:
    assert set(seed(stack, rows=0).values()) == {0}


def test_the_command_says_what_it_made(folder: Path) -> None:
    with LocalStack() as stack:
        stack.start(folder, servers=("materialize",))
        answer = run("seed", "--rows", "70", "--seed", "7", "--dir", str(folder))
        assert answer.returncode == 0, answer.stderr
        for line in ("shop.order_lines", "70 rows", "shop.order_totals", "20 rows"):
            assert line in answer.stdout
        statements = [json.loads(line) for line in (folder / "statements.jsonl").read_text().splitlines()]
        assert any("INSERT INTO shop.order_lines" in json.dumps(statement) for statement in statements)


def test_seeding_needs_a_stack_with_materialize(folder: Path) -> None:
    answer = run("seed", "--dir", str(folder))
    assert answer.returncode == 1
    assert "no local stack is running" in answer.stderr
    with LocalStack() as stack:
        stack.start(folder, servers=("s3",))
        with pytest.raises(LocalStackError, match="without Materialize"):
            seed(stack)
