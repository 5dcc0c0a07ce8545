"""Settings, the way to sign in that follows from them, and what the connector is given."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pydantic import ValidationError

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.sign_in import SignIn
from mz_orchestration.validation import validated

PASSPHRASE = "hunter2-passphrase"
RSA = rsa.generate_private_key(65537, 2048)


def pem(key: Any = RSA, passphrase: str | None = None) -> str:
    encryption = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    text: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return text.decode()


def der(key: Any = RSA) -> bytes:
    content: bytes = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return content


def config(**fields: Any) -> SnowflakeConfig:
    return validated(SnowflakeConfig, account="acme", user="LOADER", **fields)


def environment(**settings: str) -> dict[str, str]:
    named = {f"SNOWFLAKE_{name.upper()}": value for name, value in settings.items()}
    return {"SNOWFLAKE_ACCOUNT": "acme", "SNOWFLAKE_USER": "LOADER", **named}


def test_from_the_environment() -> None:
    found = SnowflakeConfig.from_environment(environment(password="hunter2", schema="PUBLIC", x="1"))
    assert (found.account, found.schema_name) == ("acme", "PUBLIC")
    assert "hunter2" not in repr(found)


def test_a_missing_account_says_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match="SNOWFLAKE_ACCOUNT is not set"):
        SnowflakeConfig.from_environment({})


def test_a_wrong_value_names_the_field() -> None:
    with pytest.raises(ConfigurationError, match="port"):
        SnowflakeConfig.from_environment(environment(port="many"))


@pytest.mark.parametrize(
    ("settings", "way", "given"),
    [
        ({"password": "p"}, SignIn.PASSWORD, {"password": "p"}),
        ({"private_key": pem()}, SignIn.KEY_PAIR, {"private_key": der()}),
        (
            {"token": "t", "authenticator": "programmatic_access_token"},
            SignIn.PROGRAMMATIC_ACCESS_TOKEN,
            {"token": "t"},
        ),
        ({"token": "t", "authenticator": "oauth"}, SignIn.OAUTH, {"token": "t"}),
        (
            {"oauth_client_id": "i", "oauth_client_secret": "s", "oauth_token_request_url": "https://idp/token"},
            SignIn.OAUTH_CLIENT_CREDENTIALS,
            {"oauth_client_id": "i", "oauth_client_secret": "s", "oauth_token_request_url": "https://idp/token"},
        ),
        (
            {"workload_identity_provider": "oidc", "token": "t"},
            SignIn.WORKLOAD_IDENTITY,
            {"workload_identity_provider": "OIDC", "token": "t"},
        ),
        ({"workload_identity_provider": "AWS"}, SignIn.WORKLOAD_IDENTITY, {"workload_identity_provider": "AWS"}),
    ],
)
def test_the_way_to_sign_in_follows_from_what_is_given(
    settings: dict[str, str], way: SignIn, given: dict[str, Any]
) -> None:
    found = SnowflakeConfig.from_environment(environment(**settings))
    assert found.sign_in() is way
    assert found.connect_arguments() == {
        "account": "acme",
        "user": "LOADER",
        "login_timeout": 30,
        "authenticator": way.value,
        **given,
    }


@pytest.mark.parametrize("authenticator", ["externalbrowser", "https://acme.okta.com"])
def test_a_way_that_asks_a_person_is_the_connectors_own(authenticator: str) -> None:
    found = config(authenticator=authenticator, password="p")
    assert found.sign_in() is None
    assert (found.connect_arguments()["authenticator"], found.connect_arguments()["password"]) == (authenticator, "p")


def test_a_named_connection_brings_its_own_way() -> None:
    found = SnowflakeConfig.from_environment({"SNOWFLAKE_DEFAULT_CONNECTION_NAME": "prod", "SNOWFLAKE_ROLE": "R"})
    assert found.connect_arguments() == {"connection_name": "prod", "role": "R", "login_timeout": 30}
    assert (
        SnowflakeConfig.from_environment(
            {**environment(password="p"), "SNOWFLAKE_DEFAULT_CONNECTION_NAME": "prod"}
        ).connection_name
        is None
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "no way to sign in.*SNOWFLAKE_PRIVATE_KEY_FILE"),
        ({"password": "p", "private_key": "k"}, "SNOWFLAKE_PASSWORD.* and .*SNOWFLAKE_PRIVATE_KEY.*different ways"),
        ({"password": "p", "token": "t"}, "SNOWFLAKE_PASSWORD.* and .*SNOWFLAKE_TOKEN.*different ways"),
        ({"private_key": "k", "workload_identity_provider": "AWS"}, "different ways"),
        ({"token": "t"}, "SNOWFLAKE_TOKEN.*what kind.*SNOWFLAKE_AUTHENTICATOR"),
        ({"token_file_path": "/t"}, "SNOWFLAKE_TOKEN_FILE_PATH.*what kind"),
        ({"token": "t", "token_file_path": "/t", "authenticator": "OAUTH"}, "SNOWFLAKE_TOKEN.* both set"),
        ({"private_key": "k", "private_key_file": "/k"}, "SNOWFLAKE_PRIVATE_KEY_FILE.* both set"),
        ({"authenticator": "OAUTH"}, "needs token .*SNOWFLAKE_TOKEN_FILE_PATH"),
        ({"authenticator": "SNOWFLAKE_JWT"}, "needs private_key_file"),
        ({"authenticator": "KEYPAIR"}, "SNOWFLAKE_AUTHENTICATOR.*'KEYPAIR'.*SNOWFLAKE_JWT"),
        ({"oauth_client_id": "i"}, "needs oauth_client_secret"),
        ({"workload_identity_provider": "OIDC"}, "OIDC needs token"),
        ({"workload_identity_provider": "GCP", "token": "t"}, "GCP brings a token of its own"),
        ({"workload_identity_provider": "IBM"}, "SNOWFLAKE_WORKLOAD_IDENTITY_PROVIDER.*'IBM'"),
        ({"token_file_path": "/nowhere/t", "authenticator": "OAUTH"}, "SNOWFLAKE_TOKEN_FILE_PATH.*/nowhere/t.*No such"),
        ({"private_key_file": "/nowhere/k.p8"}, "SNOWFLAKE_PRIVATE_KEY_FILE.*/nowhere/k.p8.*No such"),
    ],
)
def test_what_contradicts_itself_or_lacks_something(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        SnowflakeConfig.from_environment(environment(**settings))


def test_a_user_is_asked_for_where_the_way_needs_one() -> None:
    with pytest.raises(ConfigurationError, match="SNOWFLAKE_USER"):
        SnowflakeConfig.from_environment({"SNOWFLAKE_ACCOUNT": "acme", "SNOWFLAKE_PASSWORD": "p"})
    token = {"SNOWFLAKE_ACCOUNT": "a", "SNOWFLAKE_TOKEN": "t", "SNOWFLAKE_AUTHENTICATOR": "PROGRAMMATIC_ACCESS_TOKEN"}
    assert SnowflakeConfig.from_environment(token).user is None


def test_an_authenticator_decides_between_two_ways() -> None:
    found = config(authenticator="snowflake_jwt", private_key=pem(), password="hunter2")
    assert "password" not in found.connect_arguments()
    assert ["password (SNOWFLAKE_PASSWORD) set and not used" in warning for warning in found.warnings()] == [True]


def test_a_token_file_is_read_at_every_sign_in_and_without_its_line_end(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    found = config(token_file_path=str(path), authenticator="OAUTH")
    assert found.connect_arguments()["token"] == "first"
    path.write_text("second\n")
    assert found.connect_arguments()["token"] == "second"
    path.write_text("\n")
    with pytest.raises(ConfigurationError, match="is empty"):
        found.connect_arguments()


@pytest.mark.parametrize(
    "text",
    [
        pem(),
        pem().replace("\n", "\\n"),
        base64.b64encode(pem().encode()).decode(),
        base64.b64encode(der()).decode(),
        base64.encodebytes(der()).decode(),
    ],
    ids=["pem", "pem-escaped", "base64-of-pem", "base64-of-der", "base64-in-lines"],
)
def test_forms_of_a_key(text: str) -> None:
    assert config(private_key=text).connect_arguments()["private_key"] == der()


def test_a_key_file_and_its_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "key.p8"
    path.write_text(pem(passphrase=PASSPHRASE))
    path.chmod(0o600)
    settings = environment(private_key_file=str(path), private_key_passphrase=PASSPHRASE)
    assert SnowflakeConfig.from_environment(settings).connect_arguments()["private_key"] == der()
    assert config(private_key_file=str(path), private_key_file_pwd=PASSPHRASE).warnings() == []
    path.chmod(0o640)
    [warning] = config(private_key_file=str(path), private_key_file_pwd=PASSPHRASE).warnings()
    assert f"chmod 600 {path}" in warning


@pytest.mark.parametrize(
    ("key", "passphrase", "said"),
    [
        (pem(passphrase=PASSPHRASE), None, "is encrypted, and there is no passphrase.*SNOWFLAKE_PRIVATE_KEY_FILE_PWD"),
        (pem(passphrase=PASSPHRASE), "wrong", "passphrase does not open"),
        (pem(), PASSPHRASE, "is not encrypted, and there is a passphrase"),
        ("-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----\n", None, "is not a private key in PKCS#8"),
        ("%%%", None, "neither PEM nor base64"),
        (pem(ed25519.Ed25519PrivateKey.generate()), None, "neither an RSA nor an EC key"),
        (pem(rsa.generate_private_key(65537, 1024)), None, "1024 bits"),
        (
            RSA.public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode(),
            None,
            "is a public key",
        ),
    ],
    ids=["locked", "wrong", "open", "broken", "text", "ed25519", "short", "public"],
)
def test_keys_that_cannot_be_used(key: str, passphrase: str | None, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        config(private_key=key, private_key_file_pwd=passphrase).connect_arguments()
    assert PASSPHRASE not in str(raised.value)
    assert raised.value.__cause__ is None


def test_an_elliptic_key() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert config(private_key=pem(key)).connect_arguments()["private_key"] == der(key)


def test_a_password_is_warned_of_except_to_a_stand_in() -> None:
    [warning] = config(password="hunter2").warnings()
    assert "password" in warning
    assert "hunter2" not in warning
    assert config(password="hunter2", protocol="http").warnings() == []
    [warning] = config(authenticator="externalbrowser").warnings()
    assert "asks a person" in warning


def test_secrets_are_not_shown() -> None:
    names = ("password", "token", "private_key", "private_key_file_pwd", "oauth_client_secret")
    found = config(**dict.fromkeys(names, "hunter2"))
    assert "hunter2" not in repr(found) + str(found) + found.model_dump_json()


@pytest.mark.parametrize("fields", [{"passwort": "hunter2"}, {"password": 12345}, {"private_key_content": "hunter2"}])
def test_a_secret_that_is_refused_is_not_shown(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        validated(SnowflakeConfig, account="a", user="u", **fields)
    assert not any(str(value) in str(raised.value) for value in fields.values())
    with pytest.raises(ValidationError) as plain:
        SnowflakeConfig(account="a", user="u", **fields)
    assert not any(str(value) in str(plain.value) for value in fields.values())
