"""The statements only Materialize has: settings, secrets, connections, clusters, materialized views."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from .conftest import Bucket, Refusal, StandIn


def _one(connection: psycopg.Connection[Any], sql: str) -> Any:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize(
    "options",
    [
        "--cluster=etl",
        "-c cluster=etl",
        "-ccluster=etl",
        r"--transaction_isolation=strict\ serializable --cluster=etl",
    ],
)
def test_the_cluster_at_connect(server: StandIn, options: str) -> None:
    with server.connect(options=options) as connection:
        assert _one(connection, "SHOW cluster") == "etl"
        connection.execute("SET cluster TO 'other'")
        assert _one(connection, "SHOW CLUSTER") == "other"
        connection.execute("RESET cluster")
        assert _one(connection, "SHOW cluster") == "etl"


def test_other_options_reach_postgresql(server: StandIn) -> None:
    with server.connect(options=r"-c search_path=a,b --statement_timeout=5s") as connection:
        assert _one(connection, "SHOW search_path") == "a,b"
        assert _one(connection, "SHOW statement_timeout") == "5s"


def test_settings_are_transactional(server: StandIn) -> None:
    with server.connect(autocommit=False) as connection:
        connection.execute("SET cluster = rolled_back")
        connection.rollback()
        assert _one(connection, "SHOW cluster") == "quickstart"


def test_the_cluster_is_fixed_once_a_transaction_has_read(server: StandIn) -> None:
    with server.connect(autocommit=False) as connection:
        connection.execute("SET cluster = 'quickstart'")
        connection.execute("SELECT 1")
        with pytest.raises(psycopg.errors.ActiveSqlTransaction) as caught:
            connection.execute("SET cluster = 'quickstart'")
        assert caught.value.diag.message_primary == "SET cluster cannot be called in an active transaction"


@pytest.mark.parametrize(
    "sql",
    [
        "SET transaction_isolation = 'strict serializable'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL STRICT SERIALIZABLE",
        "SET cluster_replica = r1",
        "SET real_time_recency TO true",
        "SET LOCAL cluster = 'x'",
    ],
)
def test_settings_that_are_accepted(connection: psycopg.Connection[Any], sql: str) -> None:
    assert connection.execute(sql).statusmessage == "SET"


def test_strict_serializable_is_the_level(connection: psycopg.Connection[Any]) -> None:
    assert _one(connection, "SHOW transaction_isolation") == "strict serializable"
    connection.execute("BEGIN ISOLATION LEVEL STRICT SERIALIZABLE")
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
    connection.execute("COMMIT")


def test_secrets(connection: psycopg.Connection[Any], refused: Callable[[str], Refusal]) -> None:
    assert connection.execute("CREATE SECRET s1 AS 'first'").statusmessage == "CREATE SECRET"
    connection.execute("CREATE SECRET IF NOT EXISTS s1 AS 'again'")
    assert refused("CREATE SECRET s1 AS 'again'").message == "catalog item 's1' already exists"
    assert connection.execute("ALTER SECRET s1 AS decode('c2Vjb25k', 'base64')").statusmessage == "ALTER SECRET"
    assert _one(connection, "SELECT count(*) FROM mz_secrets WHERE name = 's1'") == 1
    assert refused("SELECT value FROM mz_local.secrets").code == "42501"
    assert connection.execute("DROP SECRET s1").statusmessage == "DROP SECRET"
    assert refused("DROP SECRET s1").message == "unknown catalog item 's1'"
    connection.execute("DROP SECRET IF EXISTS s1")
    assert refused("CREATE SECRET nowhere.s AS 'x'").message == "unknown schema 'nowhere'"


def test_an_altered_secret_is_used(
    connection: psycopg.Connection[Any], refused: Callable[[str], Refusal], bucket: Bucket, endpoint: str
) -> None:
    connection.execute("CREATE SECRET moving AS ''")
    connection.execute(
        "CREATE CONNECTION moved TO AWS (ACCESS KEY ID 'local', SECRET ACCESS KEY SECRET moving,"
        f" ENDPOINT '{endpoint}')"
    )
    sql = f"COPY numbers TO '{bucket.uri}' (FORMAT csv, AWS CONNECTION moved)"
    assert refused(sql).message == "dispatch failure: other: an error occurred while loading credentials"
    connection.execute("ALTER SECRET moving AS 'local-secret'")
    connection.execute(sql)
    assert refused("DROP SECRET moving").code == "2BP01"
    connection.execute("DROP SECRET moving CASCADE")
    assert _one(connection, "SELECT count(*) FROM mz_connections WHERE name = 'moved'") == 0


CONNECTIONS = [
    ("ACCESS KEY ID = 'x'", "must specify both ACCESS KEY ID and SECRET ACCESS KEY with optional SESSION TOKEN"),
    ("SESSION TOKEN = 'x'", "must specify both ACCESS KEY ID and SECRET ACCESS KEY with optional SESSION TOKEN"),
    ("ASSUME ROLE SESSION NAME = 'x'", "must specify ASSUME ROLE ARN with optional ASSUME ROLE SESSION NAME"),
    (
        "ACCESS KEY ID = 'x', SECRET ACCESS KEY = SECRET local_key, ASSUME ROLE ARN = 'arn:aws:iam::1:role/r'",
        "cannot specify both ACCESS KEY ID and ASSUME ROLE ARN",
    ),
    (
        "REGION = 'us-east-1'",
        "must specify either ASSUME ROLE ARN or ACCESS KEY ID and SECRET ACCESS KEY",
    ),
    (
        "ACCESS KEY ID = 'x', SECRET ACCESS KEY = 'plain'",
        "invalid SECRET ACCESS KEY option value: must provide a secret value",
    ),
    ("ACCESS KEY ID = 'x', SECRET ACCESS KEY = SECRET nowhere", "unknown catalog item 'nowhere'"),
    ("ACCESS KEY ID = 'x', SECRET ACCESS KEY = SECRET numbers", "public.numbers is not a secret"),
]


@pytest.mark.parametrize(("options", "message"), CONNECTIONS)
def test_a_wrong_connection(refused: Callable[[str], Refusal], options: str, message: str) -> None:
    error = refused(f"CREATE CONNECTION wrong TO AWS ({options})")
    assert (error.code, error.message) == ("XX000", message)


def test_connections(connection: psycopg.Connection[Any]) -> None:
    created = connection.execute(
        "CREATE CONNECTION by_role TO AWS (ASSUME ROLE ARN = 'arn:aws:iam::1:role/r', ENDPOINT = '')"
        " WITH (VALIDATE = false)"
    )
    assert created.statusmessage == "CREATE CONNECTION"
    row = connection.execute(
        "SELECT a.endpoint, a.assume_role_arn, a.external_id, a.id, a.example_trust_policy IS NOT NULL"
        " FROM mz_internal.mz_aws_connections a JOIN mz_connections c USING (id)"
        " WHERE c.name = 'by_role' AND c.type = 'aws'"
    ).fetchone()
    assert row is not None
    endpoint, role, external_id, identifier, policy = row
    assert (endpoint, role, policy) == (None, "arn:aws:iam::1:role/r", True)
    assert external_id.endswith(f"_{identifier}")
    assert connection.execute("DROP CONNECTION by_role").statusmessage == "DROP CONNECTION"


def test_validate_connection(connection: psycopg.Connection[Any], refused: Callable[[str], Refusal]) -> None:
    cursor = connection.execute("VALIDATE CONNECTION local_s3")
    assert (cursor.statusmessage, cursor.description) == ("VALIDATE CONNECTION", None)
    connection.execute(
        "CREATE CONNECTION dead TO AWS (ACCESS KEY ID = 'x', SECRET ACCESS KEY = SECRET local_key,"
        " ENDPOINT = 'http://127.0.0.1:9')"
    )
    error = refused("VALIDATE CONNECTION dead")
    assert error.code == "58000"
    assert error.message is not None
    assert error.message.startswith("dispatch failure")
    assert refused("VALIDATE CONNECTION nowhere").message == "unknown catalog item 'nowhere'"
    connection.execute("DROP CONNECTION dead")


def test_a_role_whose_policy_asks_for_no_external_id(
    connection: psycopg.Connection[Any], refused: Callable[[str], Refusal], endpoint: str
) -> None:
    connection.execute(
        "CREATE CONNECTION open_role TO AWS (ASSUME ROLE ARN = 'arn:aws:iam::123456789012:role/r',"
        f" ENDPOINT = '{endpoint}')"
    )
    error = refused("VALIDATE CONNECTION open_role")
    assert (error.code, error.message) == ("58000", "role trust policy does not require an external ID")
    assert error.detail
    assert error.hint
    connection.execute("DROP CONNECTION open_role")


def test_a_role_can_be_used(connection: psycopg.Connection[Any], bucket: Bucket, endpoint: str) -> None:
    connection.execute(
        "CREATE CONNECTION some_role TO AWS (ASSUME ROLE ARN = 'arn:aws:iam::123456789012:role/r',"
        f" ENDPOINT = '{endpoint}')"
    )
    copied = connection.execute(f"COPY numbers TO '{bucket.uri}' (FORMAT csv, AWS CONNECTION some_role)")
    assert copied.statusmessage == "COPY 500"
    connection.execute("DROP CONNECTION some_role")


def test_clusters(connection: psycopg.Connection[Any], refused: Callable[[str], Refusal]) -> None:
    assert connection.execute("CREATE CLUSTER c1 (SIZE = '50cc', REPLICATION FACTOR 2)").statusmessage == (
        "CREATE CLUSTER"
    )
    connection.execute("CREATE CLUSTER c2 REPLICAS (r1 (SIZE '25cc'))")
    assert refused("CREATE CLUSTER c1 SIZE '25cc'").message == "cluster 'c1' already exists"
    listed = {row[0]: row[1] for row in connection.execute("SHOW CLUSTERS")}
    assert listed["c1"] == "r1 (50cc), r2 (50cc)"
    connection.execute("ALTER CLUSTER c1 SET (REPLICATION FACTOR = 0)")
    row = connection.execute("SELECT size, replication_factor, managed FROM mz_clusters WHERE name = 'c1'").fetchone()
    assert row == ("50cc", 0, True)
    assert _one(connection, "SELECT managed FROM mz_clusters WHERE name = 'c2'") is False
    connection.execute("CREATE MATERIALIZED VIEW in_c2 IN CLUSTER c2 AS SELECT 1 AS x")
    assert refused("DROP CLUSTER c2").code == "2BP01"
    assert connection.execute("DROP CLUSTER c1, c2 CASCADE").statusmessage == "DROP CLUSTER"
    assert refused("SELECT * FROM in_c2").message == "unknown catalog item 'in_c2'"
    assert refused("DROP CLUSTER c1").message == "unknown cluster 'c1'"
    connection.execute("DROP CLUSTER IF EXISTS c1")


def test_materialized_views(
    connection: psycopg.Connection[Any], refused: Callable[[str], Refusal], bucket: Bucket
) -> None:
    connection.execute("CREATE TABLE base (i int)")
    created = connection.execute(
        "CREATE MATERIALIZED VIEW totals IN CLUSTER quickstart WITH (REFRESH = ON COMMIT) AS"
        ' SELECT count(*) AS "it\'s" FROM base'
    )
    assert created.statusmessage == "CREATE MATERIALIZED VIEW"
    connection.execute("INSERT INTO base VALUES (1), (2)")
    assert _one(connection, "SELECT * FROM totals") == 2
    row = connection.execute(
        "SELECT o.type, c.name, f.schema_name, f.database_name FROM mz_objects o"
        " JOIN mz_clusters c ON c.id = o.cluster_id"
        " JOIN mz_internal.mz_object_fully_qualified_names f ON f.id = o.id WHERE o.name = 'totals'"
    ).fetchone()
    assert row == ("materialized-view", "quickstart", "public", "materialize")
    assert "count(*)" in _one(connection, "SELECT definition FROM mz_materialized_views WHERE name = 'totals'")
    copied = connection.execute(f"COPY totals TO '{bucket.uri}' (FORMAT csv, AWS CONNECTION local_s3)")
    assert copied.rowcount == 1
    connection.execute("CREATE MATERIALIZED VIEW IF NOT EXISTS totals AS SELECT 1")
    assert refused("CREATE MATERIALIZED VIEW other IN CLUSTER nope AS SELECT 1").message == "unknown cluster 'nope'"
    connection.execute('CREATE OR REPLACE MATERIALIZED VIEW totals AS SELECT count(*) AS "it\'s", 1 AS more FROM base')
    connection.execute("CREATE VIEW plain AS SELECT 1")
    assert refused("DROP MATERIALIZED VIEW plain").message == "public.plain is not a materialized view"
    assert connection.execute("DROP MATERIALIZED VIEW totals").statusmessage == "DROP MATERIALIZED VIEW"
    assert refused("DROP MATERIALIZED VIEW totals").message == "unknown catalog item 'totals'"
    connection.execute("DROP MATERIALIZED VIEW IF EXISTS totals")


def test_ddl_stands_alone_in_a_transaction(server: StandIn) -> None:
    with server.connect(autocommit=False) as connection:
        connection.execute("CREATE SECRET alone AS 'x'")
        connection.commit()
        for sql in ("DROP SECRET alone", "VALIDATE CONNECTION local_s3"):
            connection.execute("SELECT 1")
            with pytest.raises(psycopg.errors.ActiveSqlTransaction, match="cannot be run inside a transaction block"):
                connection.execute(sql)
            connection.rollback()
        with pytest.raises(psycopg.errors.ActiveSqlTransaction):
            psycopg.ClientCursor(connection).execute("SELECT 1; VALIDATE CONNECTION local_s3")
        connection.rollback()
        connection.execute("DROP SECRET alone")
        connection.commit()


def test_an_idle_transaction_is_ended(server: StandIn) -> None:
    with server.connect(autocommit=False) as connection:
        assert connection.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("2min",)
        connection.execute("SET idle_in_transaction_session_timeout = '100ms'")
        connection.execute("SELECT 1")
        assert select.select([connection.fileno()], [], [], 30)[0]
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            connection.execute("SELECT 1")


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE SOURCE s FROM LOAD GENERATOR AUCTION",
        "CREATE TABLE t2 FROM SOURCE s (REFERENCE x)",
        "SUBSCRIBE numbers",
        "SUBSCRIBE TO (SELECT 1)",
        "COPY (SUBSCRIBE numbers) TO STDOUT WITH (FORMAT binary)",
        "COPY numbers FROM 's3://b/c' (FORMAT csv)",
        "COPY INTO numbers FROM 's3://b/c' (FORMAT csv)",
        "ALTER SINK s SET (PARTITION BY = 1)",
        "GRANT USAGE ON CONNECTION local_s3 TO guest",
    ],
)
def test_what_is_missing_is_said_at_once(refused: Callable[[str], Refusal], sql: str) -> None:
    error = refused(sql)
    assert error.code == "0A000"
    assert error.message == f"the local stack does not support this statement yet: {sql}"


def test_unknown_names_in_ordinary_statements(refused: Callable[[str], Refusal]) -> None:
    error = refused("SELECT * FROM nothing")
    assert (error.code, error.message, error.other["position"]) == ("XX000", "unknown catalog item 'nothing'", "15")
    assert refused("SELECT * FROM nothing.at_all").message == "unknown schema 'nothing'"
    assert refused("CREATE TABLE nothing.at_all (i int)").message == "unknown schema 'nothing'"
    assert refused("SELECT nothing").code == "42703"
    assert refused("SELEC 1").code == "42601"


def test_the_catalog(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE SCHEMA described")
    connection.execute("CREATE TABLE described.t (id int NOT NULL, price numeric(10,2) DEFAULT 0, tags text[])")
    rows = connection.execute(
        'SELECT c.name, c.position, c.nullable, c.type, c."default", c.type_oid, c.type_mod'
        " FROM mz_catalog.mz_columns c JOIN mz_internal.mz_object_fully_qualified_names o USING (id)"
        " WHERE (o.database_name, o.schema_name, o.name) = ('materialize', 'described', 't') ORDER BY position"
    ).fetchall()
    assert rows == [
        ("id", 1, False, "integer", None, 23, -1),
        ("price", 2, True, "numeric", "0", 1700, 655366),
        ("tags", 3, True, "text[]", None, 1009, -1),
    ]
    assert _one(connection, "SELECT id LIKE 'u%' FROM mz_schemas WHERE name = 'described'") is True
    assert _one(connection, "SELECT database_id IS NULL FROM mz_schemas WHERE name = 'mz_catalog'") is True
    assert _one(connection, "SELECT name FROM mz_databases") == "materialize"
    assert _one(connection, "SELECT count(*) FROM mz_cluster_replicas r JOIN mz_clusters c ON c.id = r.cluster_id") >= 3
    assert _one(connection, "SELECT mz_version()") == "v26.24.0 (local)"
    assert "-" in _one(connection, "SELECT mz_environment_id()")
    assert _one(connection, "SELECT abs(mz_now() - extract(epoch FROM now()) * 1000) < 1") is True
    assert _one(connection, "SHOW TimeZone") == "UTC"


def test_sessions(connection: psycopg.Connection[Any], server: StandIn) -> None:
    pid = connection.info.backend_pid
    assert _one(connection, "SELECT pg_backend_pid()") == pid
    with server.connect() as other:
        found = {row[0] for row in other.execute("SELECT connection_id FROM mz_internal.mz_sessions")}
        assert {pid, other.info.backend_pid} <= found
        administrators = other.execute(
            "SELECT count(*) FROM mz_internal.mz_sessions s JOIN pg_stat_activity a ON a.pid = s.connection_id"
            " WHERE a.usename = 'mz_admin'"
        ).fetchone()
    assert administrators == (0,)
