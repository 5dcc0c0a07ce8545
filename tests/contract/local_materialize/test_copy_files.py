"""What COPY TO S3 leaves in the bucket: keys, files, the sentinel."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest

from .conftest import Bucket, Copy, StandIn

_DATA = re.compile(r"mz-t\d+-batch-\d{4}-\d{4}\.(?:csv|parquet)")


def test_keys_of_parquet_files_count_from_zero(copy: Copy, bucket: Bucket) -> None:
    assert copy("numbers") == "COPY 500"
    keys = bucket.names()
    assert [re.sub(r"t\d+", "tN", key) for key in keys] == [
        "mz-tN-batch-0000-0000.parquet",
        "mz-tN-batch-0001-0000.parquet",
    ]
    assert sum(file.metadata.num_rows for file in bucket.parquet()) == 500


def test_keys_of_csv_files_count_from_one(copy: Copy, bucket: Bucket) -> None:
    assert copy("numbers", "FORMAT csv") == "COPY 500"
    assert [re.sub(r"t\d+", "tN", key) for key in bucket.names()] == [
        "mz-tN-batch-0000-0001.csv",
        "mz-tN-batch-0001-0001.csv",
    ]
    assert sorted(bucket.csv().splitlines()) == sorted(f"{i},row {i}".encode() for i in range(1, 501))


def test_every_statement_has_an_id_of_its_own(connection: psycopg.Connection[Any], bucket: Bucket) -> None:
    for name in ("a", "b"):
        connection.execute(f"COPY numbers TO '{bucket.uri}{name}/' (FORMAT csv, AWS CONNECTION local_s3)")
    ids = {key.split("/")[1].split("-")[1] for key in bucket.names()}
    assert len(ids) == 2


def test_an_empty_parquet_export_is_one_file_with_a_schema(copy: Copy, bucket: Bucket) -> None:
    assert copy("(SELECT * FROM numbers WHERE n < 0)") == "COPY 0"
    [key] = bucket.names()
    assert _DATA.fullmatch(key)
    [file] = bucket.parquet()
    assert file.metadata.num_rows == 0
    assert file.schema_arrow.names == ["n", "t"]


@pytest.mark.parametrize(("options", "content"), [("FORMAT csv", b""), ("FORMAT csv, HEADER", b"n,t\n")])
def test_an_empty_csv_export_is_one_file(copy: Copy, bucket: Bucket, options: str, content: bytes) -> None:
    assert copy("(SELECT * FROM numbers WHERE n < 0)", options) == "COPY 0"
    [key] = bucket.names()
    assert bucket.read(key) == content


def test_rows_only_in_another_batch_leave_an_empty_first_file(copy: Copy, bucket: Bucket) -> None:
    assert copy("(SELECT 1 AS n)") == "COPY 1"
    rows = [file.metadata.num_rows for file in bucket.parquet()]
    assert sum(rows) == 1
    assert bucket.names()[0].endswith("-batch-0000-0000.parquet")


def test_csv_files_end_before_the_limit_and_each_has_the_header(copy: Copy, bucket: Bucket) -> None:
    limit = 16 << 20
    query = "(SELECT i, repeat('x', 1000) AS x FROM generate_series(1, 45000) i)"
    assert copy(query, "FORMAT csv, HEADER, MAX FILE SIZE = '16MB'") == "COPY 45000"
    bodies = [bucket.read(key) for key in bucket.names()]
    assert len(bodies) > 2
    assert {body.split(b"\n", 1)[0] for body in bodies} == {b"i,x"}
    assert all(len(body) <= limit for body in bodies)
    rows = [row for body in bodies for row in body.splitlines()[1:]]
    assert {int(row.split(b",")[0]) for row in rows} == set(range(1, 45001))
    assert [k[-8:] for k in bucket.names() if "batch-0000" in k][:2] == ["0001.csv", "0002.csv"]


def test_parquet_files_are_split_and_lose_nothing(copy: Copy, bucket: Bucket) -> None:
    query = (
        "(SELECT i, (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 30) j) AS x"
        " FROM generate_series(1, 60000) i)"
    )
    assert copy(query, "FORMAT parquet, MAX FILE SIZE = '16MB'") == "COPY 60000"
    files = bucket.parquet()
    assert len(files) > 2
    assert {i for file in files for i in file.read(["i"])["i"].to_pylist()} == set(range(1, 60001))
    assert sum(file.metadata.num_rows for file in files) == 60000
    assert all(file.metadata.num_row_groups > 1 for file in files[:1])


def test_a_failing_query_leaves_the_sentinel(copy: Copy, bucket: Bucket) -> None:
    with pytest.raises(psycopg.errors.InternalError_, match="division by zero"):
        copy("(SELECT 100 / (n - 7) AS x FROM numbers)")
    [key] = bucket.names()
    assert re.fullmatch(r"mz-t\d+-INCOMPLETE", key)
    assert bucket.read(key) == b""


def test_the_path_of_a_failed_copy_is_burned(copy: Copy, bucket: Bucket) -> None:
    with pytest.raises(psycopg.errors.InternalError_, match="division by zero"):
        copy("(SELECT 100 / (n - 7) AS x FROM numbers)")
    with pytest.raises(psycopg.errors.InternalError_, match="contains 1 objects"):
        copy("numbers")


def test_top_level_limit_and_offset_are_dropped(copy: Copy) -> None:
    assert copy("(SELECT * FROM numbers LIMIT 3)", "FORMAT csv") == "COPY 500"


@pytest.mark.parametrize("tail", ["LIMIT 3 OFFSET 2", "OFFSET 2", "FETCH FIRST 3 ROWS ONLY"])
def test_each_form_of_limit_is_dropped(copy: Copy, tail: str) -> None:
    assert copy(f"(SELECT * FROM numbers {tail})", "FORMAT csv") == "COPY 500"


def test_a_limit_in_a_subquery_holds(copy: Copy) -> None:
    assert copy("(SELECT * FROM (SELECT * FROM numbers ORDER BY n LIMIT 3) s)", "FORMAT csv") == "COPY 3"


@pytest.mark.parametrize(
    ("what", "rows"),
    [
        ("public.numbers", 500),
        ("materialize.public.numbers", 500),
        ('"numbers"', 500),
        ("(TABLE numbers)", 500),
        ("(VALUES (1), (2))", 2),
        ("(WITH a AS (SELECT 1 AS x) SELECT * FROM a -- done\n)", 1),
        ("(SELECT 1 AS a, 2 AS a, 'x;y' AS \"?column?\")", 1),
        ("(SELECT n AS of FROM numbers)", 500),
        ("(SELECT * FROM numbers AS OF AT LEAST 0)", 500),
    ],
)
def test_what_can_be_copied(copy: Copy, what: str, rows: int) -> None:
    assert copy(what, "FORMAT csv") == f"COPY {rows}"


@pytest.mark.parametrize(
    "options",
    [
        "WITH (FORMAT = csv, AWS CONNECTION = local_s3)",
        "(FORMAT 'CSV', AWS CONNECTION public.local_s3, HEADER false)",
        "WITH (AWS CONNECTION local_s3, MAX FILE SIZE 16777216, FORMAT csv, FILES = ['a', 'b'], PATTERN = 'x')",
    ],
)
def test_spellings_of_options(connection: psycopg.Connection[Any], bucket: Bucket, options: str) -> None:
    connection.execute(f"COPY numbers TO '{bucket.uri}' {options}")
    assert len(bucket.csv().splitlines()) == 500


def test_the_target_is_an_expression(connection: psycopg.Connection[Any], bucket: Bucket) -> None:
    connection.execute(
        f"COPY numbers TO '{bucket.uri}' || to_char(timestamp '2024-05-06', 'YYYY-MM-DD') || '/'"
        " (FORMAT csv, AWS CONNECTION local_s3)"
    )
    assert bucket.names()[0].startswith("2024-05-06/mz-t")


def test_all_copies_of_a_transaction_read_at_one_time(server: StandIn, bucket: Bucket) -> None:
    with server.connect() as setup:
        setup.execute("CREATE TABLE growing (i int)")
        setup.execute("INSERT INTO growing VALUES (1)")
    text = f"COPY growing TO '{bucket.uri}{{}}/' (FORMAT csv, AWS CONNECTION local_s3)"
    with server.connect(autocommit=False) as reader, server.connect() as other:
        assert reader.execute(text.format("first")).rowcount == 1
        other.execute("INSERT INTO growing VALUES (2)")
        assert reader.execute(text.format("second")).rowcount == 1
        assert reader.execute("SELECT count(*) FROM growing").fetchone() == (1,)
        reader.commit()
        assert reader.execute(text.format("third")).rowcount == 2


def test_mz_now_in_the_query_is_the_time_of_the_transaction(server: StandIn, bucket: Bucket) -> None:
    with server.connect(autocommit=False) as reader:
        expected = reader.execute("SELECT mz_now()::bigint").fetchone()
        reader.execute(f"COPY (SELECT mz_now()::bigint AS t) TO '{bucket.uri}' (FORMAT csv, AWS CONNECTION local_s3)")
    assert expected is not None
    assert int(bucket.csv()) == expected[0]


def test_time_limits_of_the_session_do_not_bound_the_copy(connection: psycopg.Connection[Any], copy: Copy) -> None:
    connection.execute("SET statement_timeout = '300ms'")
    assert copy("(SELECT 1 AS x FROM pg_sleep(0.6))", "FORMAT csv") == "COPY 1"
    with pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
        connection.execute("SELECT pg_sleep(5)")


def test_the_search_path_of_the_session_counts(connection: psycopg.Connection[Any], copy: Copy) -> None:
    connection.execute("CREATE SCHEMA aside")
    connection.execute("CREATE TABLE aside.numbers (n int)")
    connection.execute("SET search_path = aside, public")
    try:
        assert copy("numbers", "FORMAT csv") == "COPY 0"
    finally:
        connection.execute("DROP SCHEMA aside CASCADE")
