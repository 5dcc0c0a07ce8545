from __future__ import annotations

from typing import Any

import dagster as dg
import pytest
from pydantic import BaseModel

from mz_orchestration.dagster import MaterializeResource, ObjectStoreResource, SnowflakeResource
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.materialize.connection import MaterializeConfig
from mz_orchestration.objectstore.client import ObjectStoreConfig
from mz_orchestration.snowflake.config import SnowflakeConfig


@pytest.mark.parametrize(
    ("resource", "config"),
    [
        (MaterializeResource, MaterializeConfig),
        (ObjectStoreResource, ObjectStoreConfig),
        (SnowflakeResource, SnowflakeConfig),
    ],
)
def test_a_resource_has_every_setting_of_the_core_and_a_description(
    resource: type[BaseModel], config: type[BaseModel]
) -> None:
    ours = {field.alias or name: field for name, field in resource.model_fields.items()}
    assert set(ours) == {field.alias or name for name, field in config.model_fields.items()}
    assert all(field.description for field in ours.values())


@pytest.mark.parametrize(
    ("resource", "secret"),
    [
        (MaterializeResource(password="hunter22"), "password"),
        (ObjectStoreResource(aws_secret_access_key="hunter22", aws_session_token="hunter22"), "aws_secret_access_key"),
        (
            SnowflakeResource(account="a", password="hunter22", token="hunter22", private_key_file_pwd="hunter22"),
            "token",
        ),
    ],
)
def test_secrets_are_not_shown(resource: dg.ConfigurableResource[Any], secret: str) -> None:
    assert getattr(resource, secret) == "hunter22"
    assert "hunter22" not in repr(resource)
    assert "hunter22" not in str(resource)


def test_what_is_left_out_is_left_to_the_systems_own_tools() -> None:
    assert MaterializeResource().config() == MaterializeConfig()
    assert SnowflakeResource(account="a", schema="PUBLIC").config() == SnowflakeConfig(account="a", schema="PUBLIC")


def test_a_profile_that_does_not_exist() -> None:
    with pytest.raises(Exception, match="nowhere"):
        ObjectStoreResource(profile_name="nowhere").store()


def test_definitions_load_without_any_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGPASSWORD", "AWS_ENDPOINT_URL", "SNOWFLAKE_ACCOUNT"):
        monkeypatch.delenv(name, raising=False)
    from dagster_defs.definitions import defs

    dg.Definitions.validate_loadable(defs)


def test_an_unset_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MZ_TEST_PASSWORD", raising=False)

    @dg.asset
    def needs(materialize: MaterializeResource) -> None:
        materialize.config()

    resource = MaterializeResource(password=dg.EnvVar("MZ_TEST_PASSWORD"))
    with pytest.raises(Exception, match="MZ_TEST_PASSWORD"):
        dg.materialize([needs], resources={"materialize": resource})


def test_a_setting_of_the_wrong_kind_is_named() -> None:
    with pytest.raises(ConfigurationError, match="port"):
        SnowflakeResource.model_construct(account="a", port="many").config()
