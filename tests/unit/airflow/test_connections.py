from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import Connection
from pydantic import SecretStr

from mz_orchestration.airflow.connections import (
    get_connection,
    materialize_config,
    object_store_config,
    snowflake_config,
)
from mz_orchestration.errors import ConfigurationError

MINE = {"host": "h", "login": "me"}


def connection(extra: Any = None, **fields: Any) -> Connection:
    text = extra if isinstance(extra, str) or extra is None else json.dumps(extra)
    # Airflow 3.1 wants the type.
    return Connection(conn_id="mine", extra=text, **{"conn_type": "generic", **fields})


def test_materialize() -> None:
    config = materialize_config(
        connection(
            {"sslmode": "require", "cluster": "exports", "connect_timeout": "5", "service": "other", "options": "-c x"},
            conn_type="materialize",
            host="mz.example.com",
            login="me",
            password="hunter22",
            schema="materialize",
        )
    )
    assert config.password is not None
    assert config.password.get_secret_value() == "hunter22"
    assert config.model_dump(exclude_none=True, exclude={"password"}) == {
        "host": "mz.example.com",
        "port": 6875,
        "user": "me",
        "database": "materialize",
        "sslmode": "require",
        "cluster": "exports",
        "connect_timeout": 5,
    }


def test_aws() -> None:
    config = object_store_config(
        connection(
            {"endpoint_url": "http://store:9000", "region_name": "eu-west-1", "config_kwargs": {"proxies": {}}},
            conn_type="aws",
            login="AKIA",
            password="hunter22",
        )
    )
    assert (config.endpoint_url, config.region_name, config.aws_access_key_id) == (
        "http://store:9000",
        "eu-west-1",
        "AKIA",
    )
    assert config.aws_secret_access_key is not None
    assert config.aws_secret_access_key.get_secret_value() == "hunter22"


def test_aws_keys_from_extras() -> None:
    extra = {"aws_access_key_id": "AKIA", "aws_secret_access_key": "hunter22", "aws_session_token": "token"}
    config = object_store_config(connection(extra, conn_type="aws"))
    assert config.aws_access_key_id == "AKIA"
    assert config.aws_session_token is not None


def test_snowflake() -> None:
    extra = {
        "account": "org-acct",
        "extra__snowflake__warehouse": "WH",
        "database": "DEMO",
        "role": "LOADER",
        "host": "localhost",
        "port": 8082,
        "protocol": "http",
        "session_parameters": {"QUERY_TAG": "theirs"},
    }
    config = snowflake_config(connection(extra, conn_type="snowflake", login="me", password="pw", schema="PUBLIC"))
    assert config.model_dump(exclude_none=True, exclude={"password"}) == {
        "account": "org-acct",
        "warehouse": "WH",
        "database": "DEMO",
        "role": "LOADER",
        "host": "localhost",
        "port": 8082,
        "protocol": "http",
        "user": "me",
        "schema_name": "PUBLIC",
        "login_timeout": 30,
    }


def test_the_password_of_a_key_file_is_its_passphrase() -> None:
    config = snowflake_config(
        connection({"account": "a", "private_key_file": "/keys/rsa.p8"}, login="me", password="hunter22")
    )
    assert config.password is None
    assert config.private_key_file_pwd is not None
    assert config.private_key_file_pwd.get_secret_value() == "hunter22"


@pytest.mark.parametrize(
    ("read", "fields", "message"),
    [
        (snowflake_config, {"login": "me"}, "account"),
        (snowflake_config, {"extra": {"account": "a", "port": "many"}}, r"port: .*'many'"),
        (snowflake_config, {"extra": {"account": "a", "private_key_content": "x"}}, "private_key_content"),
        (object_store_config, {"extra": {"role_arn": "arn:aws:iam::1:role/r"}}, "role_arn"),
        (materialize_config, {**MINE, "extra": {"connect_timeout": "soon"}}, r"connect_timeout: .*'soon'"),
        (materialize_config, {"host": "h"}, "has no login"),
        (materialize_config, {"login": "me"}, "has no host"),
        (object_store_config, {"extra": {"service_config": {"s3": {}}}}, "service_config"),
        (snowflake_config, {"extra": {"account": "a", "region": "eu"}}, "region"),
        (materialize_config, {**MINE, "extra": "sslmode=require"}, "extra is not a JSON object"),
        (object_store_config, {"extra": '["endpoint_url"]'}, "extra is not a JSON object"),
    ],
)
def test_errors_name_connection_and_field(read: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"connection 'mine'.*{message}"):
        read(connection(**fields))


@pytest.mark.parametrize("secret", [12345678, "hunter22", ["hunter22"]])
def test_errors_and_reprs_hold_no_secret(secret: Any) -> None:
    extra = {"account": "a", "token": secret, "port": "many"}
    with pytest.raises(ConfigurationError) as caught:
        snowflake_config(connection(extra, login="me", password="hunter22"))
    config = snowflake_config(connection({**extra, "port": 1}, login="me", password="hunter22"))
    for text in (str(caught.value), repr(config)):
        assert "hunter22" not in text
        assert "12345678" not in text


def test_connections_are_found_by_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MINE", "materialize://me:pw@mz.example.com:6876/db?cluster=exports")
    config = materialize_config(get_connection("mine"))
    assert (config.host, config.port, config.database, config.cluster) == ("mz.example.com", 6876, "db", "exports")


def test_an_empty_password_stays_empty_for_sqlalchemy(monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy import create_engine

    from mz_orchestration.airflow.hooks.materialize import MaterializeHook
    from mz_orchestration.materialize.connection import MaterializeConfig

    config = MaterializeConfig(host="h", user="me", password=SecretStr(""))
    monkeypatch.setattr(MaterializeHook, "get_config", lambda hook: config)
    url = MaterializeHook().sqlalchemy_url
    assert create_engine(url).dialect.create_connect_args(url)[1]["password"] == ""


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"private_key_file": "/keys/rsa.p8"}, "private_key_file_pwd"),
        ({"private_key_content": "LS0tLS1CRUdJTg=="}, "private_key_file_pwd"),
        ({"authenticator": "PROGRAMMATIC_ACCESS_TOKEN"}, "token"),
        ({"authenticator": "oauth"}, "token"),
        ({"authenticator": "WORKLOAD_IDENTITY", "workload_identity_provider": "OIDC"}, "token"),
        (
            {"authenticator": "OAUTH_CLIENT_CREDENTIALS", "oauth_token_request_url": "https://idp"},
            "oauth_client_secret",
        ),
        ({}, "password"),
    ],
)
def test_snowflakes_password_is_the_secret_of_the_way_to_sign_in(extra: dict[str, str], field: str) -> None:
    config = snowflake_config(connection({"account": "a", **extra}, login="me", password="hunter22"))
    secrets = {name: value for name in type(config).model_fields if (value := getattr(config, name)) is not None}
    assert [name for name, value in secrets.items() if "hunter22" in getattr(value, "get_secret_value", str)()] == [
        field
    ]
    assert config.oauth_client_id == ("me" if field == "oauth_client_secret" else None)
    assert "hunter22" not in repr(config)


def test_a_refresh_token_is_not_read() -> None:
    with pytest.raises(ConfigurationError, match=r"refresh_token.*OAUTH_CLIENT_CREDENTIALS"):
        snowflake_config(connection({"account": "a", "authenticator": "oauth", "refresh_token": "x"}, login="me"))
