from __future__ import annotations

import pytest

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.snowflake.session import SnowflakeConfig


def test_from_the_environment() -> None:
    config = SnowflakeConfig.from_environment(
        {"SNOWFLAKE_ACCOUNT": "acme", "SNOWFLAKE_PASSWORD": "hunter2", "SNOWFLAKE_SCHEMA": "PUBLIC", "SNOWFLAKE_X": "1"}
    )
    assert (config.account, config.schema_name) == ("acme", "PUBLIC")
    assert "hunter2" not in repr(config)


def test_a_missing_account_says_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match="SNOWFLAKE_ACCOUNT is not set"):
        SnowflakeConfig.from_environment({})


def test_a_wrong_value_names_the_field() -> None:
    with pytest.raises(ConfigurationError, match="port"):
        SnowflakeConfig.from_environment({"SNOWFLAKE_ACCOUNT": "a", "SNOWFLAKE_PORT": "many"})
