"""Grants: who may do what, and what SHOW GRANTS tells."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import snowflake.connector


def values(cursor: Any, sql: str) -> list[Any]:
    return list(cursor.execute(sql).fetchall())


def by_name(cursor: Any, sql: str) -> list[dict[str, Any]]:
    cursor.execute(sql)
    names = [d[0] for d in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def fails(cursor: Any, sql: str, errno: int, text: str = "") -> None:
    with pytest.raises(snowflake.connector.errors.DatabaseError) as caught:
        cursor.execute(sql)
    assert caught.value.errno == errno, caught.value
    assert text in str(caught.value)


@pytest.fixture
def role(cursor: Any) -> str:
    """A role of this test alone that may use the warehouse and nothing else."""
    name = f"R_{uuid.uuid4().hex}".upper()
    cursor.execute(f"CREATE ROLE {name}")
    cursor.execute(f"GRANT ROLE {name} TO USER LOCAL")
    cursor.execute(f"GRANT USAGE ON WAREHOUSE COMPUTE_WH TO ROLE {name}")
    return name


@pytest.fixture
def loader(server: Any, connection: Any, role: str) -> Iterator[Any]:
    """A session of that role in the test's schema."""
    opened = server.connect(database="DEMO", schema=connection.schema)
    cursor = opened.cursor()
    cursor.execute("USE WAREHOUSE COMPUTE_WH")
    cursor.execute(f"USE ROLE {role}")
    yield cursor
    opened.close()


def use(cursor: Any, connection: Any, role: str) -> None:
    cursor.execute(f"GRANT USAGE ON DATABASE DEMO TO ROLE {role}")
    cursor.execute(f"GRANT USAGE ON SCHEMA {connection.schema} TO ROLE {role}")


def test_a_missing_privilege_hides_or_refuses(cursor: Any, connection: Any, loader: Any, role: str) -> None:
    cursor.execute("CREATE TABLE T (A NUMBER)")
    fails(loader, "SELECT * FROM T", 2003, "Database 'DEMO' does not exist or not authorized")
    fails(loader, "SELECT * FROM DEMO.INFORMATION_SCHEMA.TABLES", 2003, "Database 'DEMO'")
    cursor.execute(f"GRANT USAGE ON DATABASE DEMO TO ROLE {role}")
    assert values(loader, "SELECT TABLE_NAME FROM DEMO.INFORMATION_SCHEMA.TABLES") == []
    fails(loader, "SELECT * FROM T", 2003, f"Schema 'DEMO.{connection.schema}' does not exist or not authorized")
    cursor.execute(f"GRANT USAGE ON SCHEMA {connection.schema} TO {role}")
    fails(loader, "SELECT * FROM T", 2003, "T' does not exist or not authorized")
    assert values(loader, "SHOW TABLES") == []
    cursor.execute(f"GRANT INSERT ON TABLE T TO ROLE {role}")
    loader.execute("INSERT INTO T VALUES (1)")
    fails(loader, "SELECT * FROM T", 3001, "Insufficient privileges to operate on table")
    assert [r["name"] for r in by_name(loader, "SHOW TABLES")] == ["T"]
    for statement in (
        "DELETE FROM T",
        "UPDATE T SET A = 2",
        "TRUNCATE TABLE T",
        "INSERT OVERWRITE INTO T SELECT 2",
        "MERGE INTO T USING (SELECT 1 A) S ON T.A = S.A WHEN MATCHED THEN DELETE",
        "DROP TABLE T",
        "ALTER TABLE T ADD COLUMN B NUMBER",
        "COMMENT ON TABLE T IS 'x'",
        "CREATE OR REPLACE TABLE U AS SELECT * FROM T",
    ):
        fails(loader, statement, 3001, "Insufficient privileges to operate on")
    assert values(cursor, "SELECT * FROM T") == [(1,)]


def test_each_privilege_is_enough_for_its_statement(cursor: Any, connection: Any, loader: Any, role: str) -> None:
    use(cursor, connection, role)
    cursor.execute("CREATE TABLE T (A NUMBER)")
    cursor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLE T TO ROLE {role}")
    loader.execute("INSERT INTO T VALUES (1), (2)")
    loader.execute("UPDATE T SET A = 3 WHERE A = 2")
    loader.execute(
        "MERGE INTO T USING (SELECT 1 A UNION ALL SELECT 5) S ON T.A = S.A "
        "WHEN MATCHED THEN UPDATE SET A = 4 WHEN NOT MATCHED THEN INSERT VALUES (S.A)"
    )
    assert values(loader, "SELECT * FROM T ORDER BY A") == [(3,), (4,), (5,)]
    loader.execute("INSERT OVERWRITE INTO T SELECT 9")
    loader.execute("DELETE FROM T")
    loader.execute("TRUNCATE TABLE T")
    fails(loader, "ALTER TABLE T SWAP WITH T", 3001)
    cursor.execute(f"REVOKE SELECT ON TABLE T FROM ROLE {role}")
    fails(loader, "SELECT * FROM T", 3001)


def test_a_creator_owns_and_only_owners_swap(cursor: Any, connection: Any, loader: Any, role: str) -> None:
    use(cursor, connection, role)
    cursor.execute("CREATE TABLE T (A NUMBER)")
    cursor.execute(f"GRANT SELECT ON TABLE T TO ROLE {role}")
    fails(loader, "CREATE TABLE S CLONE T", 3001, "Insufficient privileges to operate on schema")
    loader.execute("CREATE TEMPORARY TABLE MINE (A NUMBER)")
    cursor.execute(f"GRANT CREATE TABLE ON SCHEMA {connection.schema} TO ROLE {role}")
    loader.execute("CREATE TABLE S CLONE T")
    owners = {r["name"]: r["owner"] for r in by_name(cursor, "SHOW TABLES")}
    assert owners == {"T": "ACCOUNTADMIN", "S": role}
    fails(loader, "ALTER TABLE T SWAP WITH S", 3001, "table")
    fails(loader, "ALTER TABLE S SWAP WITH T", 3001, "table")
    cursor.execute(f"GRANT OWNERSHIP ON TABLE T TO ROLE {role} COPY CURRENT GRANTS")
    loader.execute("ALTER TABLE T SWAP WITH S")
    loader.execute("DROP TABLE S")


def test_swap_moves_grants_and_copy_grants_keeps_them(cursor: Any, connection: Any, role: str) -> None:
    schema = connection.schema
    cursor.execute(f"GRANT INSERT ON FUTURE TABLES IN SCHEMA {schema} TO ROLE {role}")
    cursor.execute("CREATE TABLE T (A NUMBER)")
    cursor.execute(f"REVOKE INSERT ON TABLE T FROM ROLE {role}")
    cursor.execute(f"GRANT SELECT ON TABLE T TO ROLE {role} WITH GRANT OPTION")

    def granted(table: str) -> list[tuple[str, str, str]]:
        rows = by_name(cursor, f"SHOW GRANTS ON TABLE {table}")
        return [(r["privilege"], r["grantee_name"], r["grant_option"]) for r in rows if r["privilege"] != "OWNERSHIP"]

    for how, expected in (
        ("CLONE T", [("INSERT", role, "false")]),
        ("CLONE T COPY GRANTS", [("SELECT", role, "true")]),
        ("LIKE T", [("INSERT", role, "false")]),
        ("LIKE T COPY GRANTS", [("SELECT", role, "true")]),
        ("AS SELECT * FROM T", [("INSERT", role, "false")]),
    ):
        cursor.execute("DROP TABLE IF EXISTS S")
        cursor.execute(f"CREATE TABLE S {how}")
        assert granted("S") == expected, how
    cursor.execute("ALTER TABLE T SWAP WITH S")
    assert (granted("T"), granted("S")) == ([("INSERT", role, "false")], [("SELECT", role, "true")])
    cursor.execute("ALTER TABLE T RENAME TO RENAMED")
    assert granted("RENAMED") == [("INSERT", role, "false")]
    # A replaced table, not the source, is where COPY GRANTS takes them from.
    cursor.execute("CREATE OR REPLACE TABLE RENAMED CLONE S COPY GRANTS")
    assert granted("RENAMED") == [("INSERT", role, "false")]
    shown = by_name(cursor, f"SHOW FUTURE GRANTS IN SCHEMA {schema}")
    assert [(r["privilege"], r["grant_on"], r["name"], r["grantee_name"]) for r in shown] == [
        ("INSERT", "TABLE", f"DEMO.{schema}.<TABLE>", role)
    ]


def test_show_grants_by_role_and_user(cursor: Any, connection: Any, role: str) -> None:
    cursor.execute("CREATE TABLE T (A NUMBER)")
    cursor.execute(f"GRANT ALL PRIVILEGES ON TABLE T TO ROLE {role}")
    rows = by_name(cursor, f"SHOW GRANTS TO ROLE {role}")
    held = {(r["privilege"], r["granted_on"], r["name"]) for r in rows}
    table = f"DEMO.{connection.schema}.T"
    assert {("SELECT", "TABLE", table), ("TRUNCATE", "TABLE", table), ("USAGE", "WAREHOUSE", "COMPUTE_WH")} <= held
    assert {r["granted_by"] for r in rows} == {"ACCOUNTADMIN"}
    assert role in [r["role"] for r in by_name(cursor, "SHOW GRANTS TO USER LOCAL")]
    assert [(r["granted_to"], r["grantee_name"]) for r in by_name(cursor, f"SHOW GRANTS OF ROLE {role}")] == [
        ("USER", "LOCAL")
    ]
    fails(cursor, "GRANT USAGE ON TABLE T TO ROLE PUBLIC", 3008, "privilege 'USAGE'")
    fails(cursor, "GRANT SELECT ON TABLE T TO ROLE NOBODY", 2003, "Role 'NOBODY'")
    fails(cursor, "GRANT SELECT ON TABLE NOPE TO ROLE PUBLIC", 2003, "NOPE")


def test_roles_inherit_and_public_is_everybody(cursor: Any, connection: Any, loader: Any, role: str) -> None:
    use(cursor, connection, "PUBLIC")
    cursor.execute("CREATE TABLE T (A NUMBER)")
    parent = f"P_{role}"
    cursor.execute(f"CREATE ROLE {parent}")
    cursor.execute(f"GRANT SELECT ON TABLE T TO ROLE {parent}")
    fails(loader, "SELECT * FROM T", 2003)
    cursor.execute(f"GRANT ROLE {parent} TO ROLE {role}")
    assert values(loader, "SELECT * FROM T") == []
    fails(cursor, f"GRANT ROLE {role} TO ROLE {parent}", 3008, "cycle")
    cursor.execute(f"REVOKE ROLE {parent} FROM ROLE {role}")
    fails(loader, "SELECT * FROM T", 2003)
    for container in ("DATABASE DEMO", f"SCHEMA {connection.schema}"):
        cursor.execute(f"REVOKE USAGE ON {container} FROM ROLE PUBLIC")


def test_a_refresh_with_no_more_than_it_needs(
    cursor: Any, connection: Any, loader: Any, role: str, bucket: Any
) -> None:
    use(cursor, connection, role)
    bucket.put("a.csv", b"2\n")
    cursor.execute("CREATE TABLE T (A NUMBER)")
    cursor.execute("INSERT INTO T VALUES (1)")
    cursor.execute("GRANT SELECT ON TABLE T TO ROLE PUBLIC")
    cursor.execute(f"GRANT CREATE TABLE ON SCHEMA {connection.schema} TO ROLE {role}")
    cursor.execute(f"GRANT OWNERSHIP ON TABLE T TO ROLE {role} COPY CURRENT GRANTS")
    cursor.execute("GRANT USAGE ON DATABASE DEMO TO ROLE PUBLIC")
    cursor.execute(f"GRANT USAGE ON SCHEMA DEMO.PUBLIC TO ROLE {role}")
    fails(loader, f"COPY INTO T FROM {bucket.stage}", 2003, "Stage")
    cursor.execute(f"GRANT USAGE ON STAGE DEMO.PUBLIC.MZ_STAGE TO ROLE {role}")
    loader.execute("CREATE TABLE S CLONE T COPY GRANTS")
    loader.execute("TRUNCATE TABLE S")
    loader.execute(f"COPY INTO S FROM {bucket.stage}")
    loader.execute("ALTER TABLE T SWAP WITH S")
    loader.execute("DROP TABLE S")
    assert values(loader, "SELECT A FROM T") == [(2,)]
    granted = {(r["privilege"], r["grantee_name"]) for r in by_name(cursor, "SHOW GRANTS ON TABLE T")}
    assert granted == {("OWNERSHIP", role), ("SELECT", "PUBLIC")}
    cursor.execute("REVOKE USAGE ON DATABASE DEMO FROM ROLE PUBLIC")


def test_stages_integrations_and_warehouses(cursor: Any, connection: Any, loader: Any, role: str, bucket: Any) -> None:
    use(cursor, connection, role)
    cursor.execute(f"GRANT CREATE STAGE, CREATE TABLE ON SCHEMA {connection.schema} TO ROLE {role}")
    create = f"CREATE STAGE S URL = 's3://mz-exports/{bucket.prefix}' STORAGE_INTEGRATION = MZ_INTEGRATION"
    bucket.put("a", b"x")
    fails(loader, create, 2003, "Integration 'MZ_INTEGRATION' does not exist or not authorized")
    cursor.execute(create)
    fails(loader, "LIST @S", 2003, "Stage")
    cursor.execute(f"GRANT USAGE ON STAGE S TO ROLE {role}")
    assert len(values(loader, "LIST @S")) == 1
    fails(loader, "DROP STAGE S", 3001, "stage")
    cursor.execute("DROP STAGE S")
    cursor.execute(f"GRANT USAGE ON INTEGRATION MZ_INTEGRATION TO ROLE {role}")
    loader.execute(create)
    cursor.execute(f"REVOKE USAGE ON INTEGRATION MZ_INTEGRATION FROM ROLE {role}")
    loader.execute("CREATE TABLE T (A NUMBER)")
    cursor.execute(f"REVOKE USAGE ON WAREHOUSE COMPUTE_WH FROM ROLE {role}")
    fails(loader, "INSERT INTO T VALUES (1)", 606, "No active warehouse selected")
    fails(loader, "SELECT * FROM T", 606)
    assert [r["name"] for r in by_name(loader, "SHOW TABLES")] == ["T"]
