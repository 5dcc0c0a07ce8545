"""What the owner of a table has set on it is still there after any load, and stays what it was."""

from __future__ import annotations

from typing import Any

import pytest

from mz_orchestration.snowflake.load import run_load
from mz_orchestration.snowflake.spec import load_spec

from .conftest import STAGE, Exported, Query
from .test_kills import STRATEGIES

_SHOWN = (
    "kind", "comment", "cluster_by", "automatic_clustering", "owner", "retention_time", "change_tracking"
)  # fmt: skip


def described(name: str, snowflake: Query) -> dict[str, Any]:
    """Everything about a table but its rows."""
    table = f"DEMO.PUBLIC.{name}"
    [shown] = snowflake(f"SHOW TABLES LIKE '{name}' IN SCHEMA DEMO.PUBLIC")
    shown["comment"] = shown["comment"].partition(" [mz-orchestration")[0]
    columns = snowflake(f"DESC TABLE {table}")
    used = snowflake(
        "SELECT POLICY_NAME, POLICY_KIND, REF_COLUMN_NAME FROM TABLE(DEMO.INFORMATION_SCHEMA.POLICY_REFERENCES("
        f"REF_ENTITY_NAME => '{table}', REF_ENTITY_DOMAIN => 'TABLE'))"
    )
    return {
        **{key: shown[key] for key in _SHOWN if key in shown},
        "columns": [{key: row[key] for key in ("name", "type", "null?", "default", "primary key")} for row in columns],
        "grants": sorted((row["privilege"], row["grantee_name"]) for row in snowflake(f"SHOW GRANTS ON TABLE {table}")),
        "policies": sorted(tuple(sorted(map(str, row.values()))) for row in used),
        "tag": snowflake(f"SELECT SYSTEM$GET_TAG('DEMO.PUBLIC.OWNER_TAG', '{table}', 'TABLE') AS V")[0]["v"],
    }


@pytest.fixture
def settings(snowflake: Query) -> None:
    snowflake("CREATE ROLE IF NOT EXISTS READERS")
    snowflake("CREATE TAG IF NOT EXISTS DEMO.PUBLIC.OWNER_TAG")
    for kind, signature in (
        ("MASKING", "(v VARCHAR) RETURNS VARCHAR -> v"),
        ("ROW ACCESS", "(v NUMBER) RETURNS BOOLEAN -> TRUE"),
    ):
        name = f"DEMO.PUBLIC.{kind.replace(' ', '_')}_POLICY"
        snowflake(f"CREATE {kind} POLICY IF NOT EXISTS {name} AS {signature}")


@pytest.mark.parametrize("kind", ["", "TRANSIENT"])
@pytest.mark.parametrize("way", list(STRATEGIES))
def test_settings_survive(way: str, kind: str, today: Exported, snowflake: Query, settings: None) -> None:
    name = f"SET_{kind}_{way}".upper()
    table = f"DEMO.PUBLIC.{name}"
    snowflake(
        f"CREATE {kind} TABLE {table} (ID NUMBER(38,0) NOT NULL PRIMARY KEY, NAME VARCHAR DEFAULT 'none') "
        "CLUSTER BY (ID) DATA_RETENTION_TIME_IN_DAYS = 1 COMMENT = 'Of the people''s team'"
    )
    snowflake(f"ALTER TABLE {table} RESUME RECLUSTER")
    snowflake(f"GRANT SELECT ON TABLE {table} TO ROLE READERS")
    snowflake(f"ALTER TABLE {table} MODIFY COLUMN NAME SET MASKING POLICY DEMO.PUBLIC.MASKING_POLICY")
    snowflake(f"ALTER TABLE {table} ADD ROW ACCESS POLICY DEMO.PUBLIC.ROW_ACCESS_POLICY ON (ID)")
    snowflake(f"ALTER TABLE {table} SET TAG DEMO.PUBLIC.OWNER_TAG = 'people'")
    before = described(name, snowflake)
    assert ("SELECT", "READERS") in before["grants"]
    assert len(before["policies"]) == 2
    assert (before["tag"], before["automatic_clustering"]) == ("people", "ON")
    run_load(load_spec(manifest=today.url, stage=STAGE, table=table, **STRATEGIES[way]))
    assert described(name, snowflake) == before
