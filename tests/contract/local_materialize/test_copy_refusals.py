"""Every refusal of COPY TO S3 in Materialize's own words, and that none of them writes anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from .conftest import BUCKET, Bucket, Refusal, StandIn

_NAME = "numbers"
_WITH = "FORMAT = 'parquet', AWS CONNECTION = local_s3"
_COLUMNS = "specifying columns for COPY <table_name> TO commands not yet supported; use COPY (SELECT...) TO ... instead"
_ORDER = "ORDER BY is not supported in SELECT query for COPY statements"
_OPTION = (
    "Expected one of FORMAT or DELIMITER or NULL or ESCAPE or QUOTE or HEADER or AWS or MAX or FILES or PATTERN, "
    "found {}"
)
_SCHEME = "only 's3://...' and 'gs://...' urls are supported as COPY TO target"
_AS_OF = "AS OF or UP TO should be castable to a (non-null) mz_timestamp value"

SYNTAX = [
    ("COPY numbers TO {t} WITH", "Expected left parenthesis, found EOF"),
    ("COPY numbers TO {t} WITH (COMPRESSION = 'gzip')", _OPTION.format("COMPRESSION")),
    ("COPY numbers TO {t} WITH (gzip)", _OPTION.format('identifier "gzip"')),
    ("COPY numbers TO {t} WITH (FORMAT csv", "Expected right parenthesis, found EOF"),
    ("COPY numbers TO {t} WITH (FORMAT csv) LIMIT 1", "Expected end of statement, found LIMIT"),
    ("COPY INTO numbers TO {t} WITH (FORMAT csv)", "Expected identifier, found INTO"),
    ("COPY (SHOW CLUSTERS) TO {t} WITH (FORMAT csv)", "unsupported query in COPY"),
    ("COPY (SELECT 1) FROM {t} WITH (FORMAT csv)", "queries not allowed in COPY FROM"),
]

STDOUT = [
    ("COPY numbers TO STDOUT", "named with COPY TO STDOUT unsupported"),
    ("COPY numbers (n) TO STDOUT WITH (FORMAT csv)", "named with COPY TO STDOUT unsupported"),
    ("COPY (SELECT 1) TO STDOUT (DELIMITER '|')", "COPY TO does not support DELIMITER option yet"),
    ("COPY (SELECT 1) TO STDOUT (FORMAT csv, QUOTE '|')", "COPY TO does not support QUOTE option yet"),
    ("COPY numbers TO STDOUT WITH (NULL = 'x')", "COPY TO does not support NULL option yet"),
]

REFUSED = [
    (_NAME, "AWS CONNECTION = local_s3", "COPY TO <expr> requires a FORMAT option"),
    # FORMAT is looked at before the connection.
    (_NAME, "HEADER", "COPY TO <expr> requires a FORMAT option"),
    (_NAME, "FORMAT csv", "AWS CONNECTION is required for COPY ... TO <expr>"),
    (
        _NAME,
        "FORMAT csv, AWS CONNECTION some_kafka",
        "only AWS CONNECTION is supported for COPY ... TO <expr>",
    ),
    (_NAME, "FORMAT csv, AWS CONNECTION nowhere", "unknown catalog item 'nowhere'"),
    (_NAME, "FORMAT csv, AWS CONNECTION numbers", "public.numbers is not a connection"),
    (_NAME, "FORMAT avro, AWS CONNECTION local_s3", "unknown FORMAT: avro"),
    (_NAME, "FORMAT text, AWS CONNECTION local_s3", "FORMAT TEXT not yet supported"),
    (_NAME, "FORMAT = 'binary', AWS CONNECTION local_s3", "FORMAT BINARY not yet supported"),
    (_NAME, "FORMAT csv, FORMAT csv", "FORMAT specified more than once"),
    ("(SELECT n FROM numbers ORDER BY n)", _WITH, _ORDER),
    ("(SELECT n FROM numbers ORDER BY n LIMIT 3)", _WITH, _ORDER),
    ("numbers (n)", _WITH, _COLUMNS),
    ("(SUBSCRIBE numbers)", _WITH, "COPY TO <target> not supported"),
    (_NAME, f"{_WITH}, MAX FILE SIZE = '15MB'", "MAX FILE SIZE cannot be less than 16MB"),
    (_NAME, f"{_WITH}, MAX FILE SIZE = 16777215", "MAX FILE SIZE cannot be less than 16MB"),
    (_NAME, f'{_WITH}, MAX FILE SIZE "5GB"', "MAX FILE SIZE cannot be greater than 4GB"),
    (
        _NAME,
        "FORMAT csv, DELIMITER '||', AWS CONNECTION local_s3",
        "COPY delimiter must be a single one-byte character",
    ),
    (
        _NAME,
        "FORMAT csv, QUOTE 'ä', AWS CONNECTION local_s3",
        "COPY quote must be a single one-byte character",
    ),
    (
        _NAME,
        "FORMAT csv, ESCAPE '', AWS CONNECTION local_s3",
        "COPY escape must be a single one-byte character",
    ),
    (
        _NAME,
        "FORMAT csv, DELIMITER '\"', AWS CONNECTION local_s3",
        "COPY delimiter and quote must be different",
    ),
    ("nowhere", _WITH, "unknown catalog item 'nowhere'"),
    ("nowhere.numbers", _WITH, "unknown schema 'nowhere'"),
    ("elsewhere.public.numbers", _WITH, "unknown database 'elsewhere'"),
    ("(SELECT * FROM public.nothing)", _WITH, "unknown catalog item 'public.nothing'"),
    (
        "(SELECT interval '1 day')",
        _WITH,
        'Cannot encode the following columns/types: ["interval: Interval (unsupported arrow datatype)"]',
    ),
    (
        '(SELECT 1 AS fine, 0::numeric(39,39) AS tiny, \'numbers\'::regclass AS "a""b")',
        _WITH,
        'Cannot encode the following columns/types: ["tiny: Numeric { max_scale: Some(NumericMaxScale(39)) }", '
        '"a\\"b: RegClass"]',
    ),
    (
        "(SELECT 1 AS OF now())",
        _WITH,
        "calling an unmaterializable function in AS OF or UP TO not yet supported",
    ),
    ("(SELECT 1 AS OF 'soon')", _WITH, _AS_OF),
    ("(SELECT 1 AS OF NULL)", _WITH, _AS_OF),
]

TARGETS = [
    ("NULL::text", "COPY TO target value can not be null"),
    ("17", "COPY TO target must have type text, not type integer"),
    ("'https://x/y'", _SCHEME),
    ("'/tmp/x'", _SCHEME),
    ("''", "could not parse COPY TO target url: empty string"),
    ("'s3://b/a b'", "could not parse COPY TO target url: invalid uri character"),
    ("'s3://b/ä'", "could not parse COPY TO target url: invalid uri character"),
    ("'s3:///x'", "could not parse COPY TO target url: invalid format"),
    ("'s3://b/' || mz_now()", "cannot call mz_now in this "),
    ("(SELECT 's3://b/c')", "COPY TO target does not allow subqueries"),
]


@pytest.mark.parametrize(("sql", "message"), SYNTAX)
def test_the_parser_words_its_refusals(
    refused: Callable[[str], Refusal], bucket: Bucket, sql: str, message: str
) -> None:
    error = refused(sql.format(t=f"'{bucket.uri}'"))
    assert (error.code, error.message) == ("42601", message)
    assert set(error.other.values()) == {None}


@pytest.mark.parametrize(("sql", "message"), STDOUT)
def test_what_is_not_done_to_stdout(refused: Callable[[str], Refusal], sql: str, message: str) -> None:
    error = refused(sql)
    assert (error.code, error.message) == ("XX000", message)


@pytest.mark.parametrize(("what", "options", "message"), REFUSED)
def test_a_wrong_statement_is_refused_before_anything_is_written(
    refused: Callable[[str], Refusal], bucket: Bucket, what: str, options: str, message: str
) -> None:
    error = refused(f"COPY {what} TO '{bucket.uri}' WITH ({options})")
    assert (error.code, error.message) == ("XX000", message)
    assert bucket.names() == []


@pytest.mark.parametrize(("target", "message"), TARGETS)
def test_a_wrong_target_is_refused(refused: Callable[[str], Refusal], target: str, message: str) -> None:
    error = refused(f"COPY numbers TO {target} WITH ({_WITH})")
    assert (error.code, error.message) == ("XX000", message)


def test_parameters_are_refused(connection: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.errors.UndefinedParameter, match=r"there is no parameter \$1"):
        connection.execute(f"COPY numbers TO %s WITH ({_WITH})", ["s3://b/c"])


def test_a_time_that_is_not_held(refused: Callable[[str], Refusal], bucket: Bucket) -> None:
    error = refused(f"COPY (SELECT * FROM numbers AS OF 1712345678901) TO '{bucket.uri}' WITH ({_WITH})")
    assert (error.code, error.message) == ("22000", "could not find a valid timestamp for the query")
    assert error.detail is not None
    assert "(Query's AS OF): [1712345678901]" in error.detail
    assert bucket.names() == []


def test_a_cluster_without_replicas(connection: psycopg.Connection[Any], bucket: Bucket) -> None:
    connection.execute("SET cluster = nobody")
    with pytest.raises(psycopg.errors.FeatureNotSupported) as caught:
        connection.execute(f"COPY numbers TO '{bucket.uri}' WITH ({_WITH})")
    diag = caught.value.diag
    assert diag.message_primary == 'CLUSTER "nobody" has no replicas available to service request'
    assert diag.message_hint is not None
    assert "REPLICATION FACTOR" in diag.message_hint
    assert bucket.names() == []


def test_an_unknown_cluster(connection: psycopg.Connection[Any], bucket: Bucket) -> None:
    connection.execute("SET cluster = 'missing'")
    with pytest.raises(psycopg.errors.InternalError_, match=r"^unknown cluster 'missing'$"):
        connection.execute(f"COPY numbers TO '{bucket.uri}' WITH ({_WITH})")


def test_a_role_without_privileges(server: StandIn, connection: psycopg.Connection[Any], bucket: Bucket) -> None:
    connection.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    try:
        with (
            server.connect(user="guest", password="guest") as guest,
            pytest.raises(psycopg.errors.InsufficientPrivilege) as caught,
        ):
            guest.execute(f"COPY numbers TO '{bucket.uri}' WITH ({_WITH})")
    finally:
        connection.execute("DROP ROLE guest")
    assert caught.value.diag.message_primary == 'permission denied for TABLE "materialize.public.numbers"'
    assert caught.value.diag.message_detail == (
        "The 'guest' role needs SELECT privileges on TABLE \"materialize.public.numbers\""
    )
    assert bucket.names() == []


@pytest.mark.parametrize("sibling", ["", "0/old.parquet"], ids=["same path", "path with the same beginning"])
def test_a_path_that_is_not_empty(refused: Callable[[str], Refusal], bucket: Bucket, s3: Any, sibling: str) -> None:
    # The emptiness check is a bare prefix: run=1 is not empty when run=10 holds something.
    s3.put_object(Bucket=BUCKET, Key=f"{bucket.prefix}run=1{sibling or '/x'}", Body=b"")
    s3.put_object(Bucket=BUCKET, Key=f"{bucket.prefix}run=1{sibling or '/x'}2", Body=b"")
    error = refused(f"COPY numbers TO '{bucket.uri}run=1/' WITH ({_WITH})")
    assert (error.code, error.message) == ("XX000", "S3 bucket path is not empty, contains 2 objects")


def test_a_missing_bucket(refused: Callable[[str], Refusal]) -> None:
    error = refused(f"COPY numbers TO 's3://no-such-bucket/x/' WITH ({_WITH})")
    assert error.code == "XX000"
    assert error.message is not None
    assert error.message.startswith("service error: unhandled error (NoSuchBucket)")


def test_a_store_that_is_down(connection: psycopg.Connection[Any], refused: Callable[[str], Refusal]) -> None:
    connection.execute(
        "CREATE CONNECTION IF NOT EXISTS dead_s3 TO AWS (ACCESS KEY ID = 'local',"
        " SECRET ACCESS KEY = SECRET local_key, ENDPOINT = 'http://127.0.0.1:9')"
    )
    error = refused("COPY numbers TO 's3://b/x/' WITH (FORMAT csv, AWS CONNECTION dead_s3)")
    assert error.code == "XX000"
    assert error.message is not None
    assert error.message.startswith("dispatch failure")
    assert "local-secret" not in error.message
