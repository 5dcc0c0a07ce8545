"""Which statements are passed on, which are replaced and by what."""

from __future__ import annotations

import pytest

from mz_orchestration.local.materialize.copy_grammar import CopyTo
from mz_orchestration.local.materialize.startup import startup_message
from mz_orchestration.local.materialize.statements import Rewrite, classify, needs_tokens
from mz_orchestration.local.materialize.tokens import split
from mz_orchestration.local.materialize.wire import startup_parameters

PASSED_ON = [
    "SELECT 'COPY t TO s3'",
    "SET search_path = a",
    "SHOW search_path",
    "SHOW ALL",
    "RESET ALL",
    "BEGIN",
    "START TRANSACTION READ ONLY",
    "CREATE TABLE t (cluster int)",
    "CREATE VIEW v AS SELECT 1",
    "COPY t FROM STDIN",
    "COPY t (a, b) FROM STDIN WITH (FORMAT csv)",
    "COPY (SELECT 1) TO STDOUT",
    "DROP TABLE t",
    "ALTER TABLE t ADD c int",
    "GRANT SELECT ON t TO r",
    "DECLARE c CURSOR FOR SELECT 1",
    "DECLARE subscribe CURSOR FOR SELECT 1",
]


@pytest.mark.parametrize("sql", PASSED_ON)
def test_passed_on(sql: str) -> None:
    assert classify(split(sql)[0]) is None


REPLACED = [
    ("SET cluster = x", "SET mz.cluster = x"),
    ("set local CLUSTER to 'x'", "set local mz.cluster to 'x'"),
    ("SET SESSION /* c */ cluster_replica = r1", "SET SESSION /* c */ mz.cluster_replica = r1"),
    ("RESET cluster", "RESET mz.cluster"),
    ("BEGIN ISOLATION LEVEL STRICT SERIALIZABLE", "BEGIN ISOLATION LEVEL REPEATABLE READ"),
]


@pytest.mark.parametrize(("sql", "expected"), REPLACED)
def test_replaced(sql: str, expected: str) -> None:
    found = classify(split(sql)[0])
    assert isinstance(found, Rewrite)
    assert found.sql == expected


def test_the_target_ends_where_the_options_begin() -> None:
    sql = "COPY t TO 's3://b/' || to_char(now(), ('YYYY')) || f('x') (FORMAT csv)"
    found = classify(split(sql)[0])
    assert isinstance(found, CopyTo)
    assert found.target == "'s3://b/' || to_char(now(), ('YYYY')) || f('x')"
    assert list(found.options) == ["FORMAT"]


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("SELECT a FROM t LIMIT 3", "SELECT a FROM t"),
        ("SELECT a FROM t OFFSET 1 LIMIT 3", "SELECT a FROM t"),
        ("SELECT a FROM (SELECT 1 LIMIT 1) x", "SELECT a FROM (SELECT 1 LIMIT 1) x"),
        ("SELECT a FROM t LIMIT 3 AS OF 5", "SELECT a FROM t"),
        ("SELECT 'LIMIT 1' -- LIMIT 2", "SELECT 'LIMIT 1'"),
        ('SELECT "limit" FROM t', 'SELECT "limit" FROM t'),
        ("SELECT row_number() OVER (ORDER BY a) FROM t", "SELECT row_number() OVER (ORDER BY a) FROM t"),
        ("SELECT 1 AS of, 2", "SELECT 1 AS of, 2"),
    ],
)
def test_what_is_read(query: str, left: str) -> None:
    found = classify(split(f"COPY ({query}\n) TO 's3://b/c' (FORMAT csv)")[0])
    assert isinstance(found, CopyTo)
    assert (found.query, found.ordered) == (left, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1", False),
        ("INSERT INTO t VALUES (1);", False),
        ("SELECT 1; COPY t TO 's3://b/c'", True),
        ("/* c */ COPY t TO 's3://b/c'", True),
        ("copy t to 's3://b/c'", True),
        ("(SELECT 1)", True),
    ],
)
def test_when_a_text_must_be_looked_at(text: str, expected: bool) -> None:
    assert needs_tokens(text) is expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--cluster=a", "--mz.cluster=a"),
        ("-c cluster=a -c search_path=b", "-c mz.cluster=a -c search_path=b"),
        ("-ccluster=a", "-cmz.cluster=a"),
        ("--transaction-isolation=strict\\ serializable", "--mz.transaction_isolation=strict\\ serializable"),
        ("-c application_name=cluster=x", "-c application_name=cluster=x"),
    ],
)
def test_options_of_the_startup_packet(options: str, expected: str) -> None:
    body = b"user\0u\0options\0" + options.encode() + b"\0cluster\0c\0\0"
    sent = startup_message(196608, body, "materialize")
    assert int.from_bytes(sent[:4], "big") == len(sent)
    assert dict(startup_parameters(sent[8:])) == {
        "user": "u",
        "database": "materialize",
        "options": expected,
        "mz.cluster": "c",
    }
