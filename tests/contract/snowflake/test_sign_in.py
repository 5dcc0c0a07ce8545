"""Every way to sign in that needs no person, over the real connector, and what is said of wrong credentials."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import traceback
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mz_orchestration.errors import ConfigurationError, CredentialsError
from mz_orchestration.local.snowflake.json_web_tokens import ISSUER
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.quoting import Sql, compose, identifier, literal
from mz_orchestration.snowflake.session import SnowflakeSession

PASSPHRASE = "hunter2-passphrase"


def pem(key: rsa.RSAPrivateKey, passphrase: str) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode()),
    )


def public(key: rsa.RSAPrivateKey) -> str:
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


class Service:
    """A user of the service kind, and who may change it."""

    def __init__(self, administrator: SnowflakeSession, name: str) -> None:
        self._administrator = administrator
        self.name = name

    def alter(self, change: Sql) -> list[dict[str, Any]]:
        return self._administrator.query(compose("ALTER USER {} {}", Sql(identifier(self.name)), change)).rows


@pytest.fixture
def service() -> Iterator[Service]:
    with SnowflakeSession(SnowflakeConfig.from_environment()) as administrator:
        found = Service(administrator, f"SERVICE_{uuid.uuid4().hex[:8].upper()}")
        name = Sql(identifier(found.name))
        administrator.query(compose("CREATE USER {} TYPE = SERVICE DEFAULT_ROLE = ACCOUNTADMIN", name))
        administrator.query(compose("GRANT ROLE ACCOUNTADMIN TO USER {}", name))
        yield found
        administrator.query(compose("DROP USER {}", name))


def signed_in(monkeypatch: pytest.MonkeyPatch, **settings: str) -> str:
    """Sign in by these settings and no password, and return the user Snowflake sees."""
    monkeypatch.delenv("SNOWFLAKE_PASSWORD")
    monkeypatch.delenv("SNOWFLAKE_USER")
    for name, value in settings.items():
        monkeypatch.setenv(f"SNOWFLAKE_{name.upper()}", value)
    with SnowflakeSession(SnowflakeConfig.from_environment()) as session:
        [row] = session.query(Sql("SELECT CURRENT_USER() AS NAME")).rows
    return str(row["name"])


def oauth_token(environment: dict[str, str], subject: str, **more: str) -> str:
    answer = httpx.post(
        token_url(environment),
        auth=(subject, environment["SNOWFLAKE_PASSWORD"]),
        data={"grant_type": "client_credentials", **more},
    )
    return str(answer.raise_for_status().json()["access_token"])


def token_url(environment: dict[str, str]) -> str:
    return f"http://{environment['SNOWFLAKE_HOST']}:{environment['SNOWFLAKE_PORT']}/local/oauth/token"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def test_key_pair(service: Service, key: rsa.RSAPrivateKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service.alter(compose("SET RSA_PUBLIC_KEY = {}", literal(public(key))))
    path = tmp_path / "key.p8"
    path.write_bytes(pem(key, PASSPHRASE))
    settings = {"user": service.name, "private_key_file": str(path), "private_key_file_pwd": PASSPHRASE}
    assert signed_in(monkeypatch, **settings) == service.name


def test_a_key_that_is_not_the_users(service: Service, key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch) -> None:
    other = rsa.generate_private_key(65537, 2048)
    service.alter(compose("SET RSA_PUBLIC_KEY = {}", literal(public(other))))
    settings = {
        "user": service.name,
        "private_key": pem(key, PASSPHRASE).decode(),
        "private_key_passphrase": PASSPHRASE,
    }
    with pytest.raises(CredentialsError, match="RSA_PUBLIC_KEY") as raised:
        signed_in(monkeypatch, **{**settings, "private_key_file_pwd": PASSPHRASE})
    assert raised.value.details["errno"] == 390144
    assert PASSPHRASE not in "".join(traceback.format_exception(raised.value))


def test_programmatic_access_token(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [row] = service.alter(Sql("ADD PROGRAMMATIC ACCESS TOKEN NIGHTLY ROLE_RESTRICTION = 'ACCOUNTADMIN'"))
    path = tmp_path / "token"
    path.write_text(f"{row['token_secret']}\n")
    settings = {"user": service.name, "authenticator": "PROGRAMMATIC_ACCESS_TOKEN"}
    assert signed_in(monkeypatch, token_file_path=str(path), **settings) == service.name


@pytest.mark.parametrize("authenticator", ["PROGRAMMATIC_ACCESS_TOKEN", "OAUTH"])
def test_a_token_nobody_knows(authenticator: str, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"user": service.name, "authenticator": authenticator, "token": "hunter2-token"}
    with pytest.raises(CredentialsError) as raised:
        signed_in(monkeypatch, **settings)
    assert "hunter2-token" not in "".join(traceback.format_exception(raised.value))


def test_oauth_access_token(service: Service, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    token = oauth_token(environment, service.name)
    assert signed_in(monkeypatch, user=service.name, authenticator="OAUTH", token=token) == service.name


def test_an_oauth_access_token_that_has_expired(
    service: Service, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = oauth_token(environment, service.name, lifetime="-60")
    with pytest.raises(CredentialsError, match="new access token") as raised:
        signed_in(monkeypatch, user=service.name, authenticator="OAUTH", token=token)
    assert raised.value.details["errno"] == 390318


def test_oauth_client_credentials(
    service: Service, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "user": service.name,
        "oauth_client_id": service.name,
        "oauth_client_secret": environment["SNOWFLAKE_PASSWORD"],
        "oauth_token_request_url": token_url(environment),
    }
    assert signed_in(monkeypatch, **settings) == service.name


def test_oauth_client_credentials_that_are_wrong(
    service: Service, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "user": service.name,
        "oauth_client_id": service.name,
        "oauth_client_secret": "hunter2-secret",
        "oauth_token_request_url": token_url(environment),
    }
    with pytest.raises(CredentialsError, match="token URL, client id and secret") as raised:
        signed_in(monkeypatch, **settings)
    assert "hunter2-secret" not in "".join(traceback.format_exception(raised.value))


def test_workload_identity(service: Service, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    subject = f"workload/{service.name.lower()}"
    identity = "SET WORKLOAD_IDENTITY = (TYPE = OIDC ISSUER = {} SUBJECT = {})"
    service.alter(compose(identity, literal(ISSUER), literal(subject)))
    token = oauth_token(environment, subject)
    settings = {"user": service.name, "workload_identity_provider": "oidc", "token": token}
    # The connector proves a workload to Snowflake's own hosts only, and to those that are named here.
    with pytest.raises((CredentialsError, ConfigurationError), match=r"127\.0\.0\.1"), monkeypatch.context() as context:
        signed_in(context, **settings)
    monkeypatch.setenv("SNOWFLAKE_WIF_ALLOWED_HOST_SUFFIXES", "127.0.0.1")
    assert signed_in(monkeypatch, **settings) == service.name


def test_a_named_connection(environment: dict[str, str], tmp_path: Path) -> None:
    """In a process of its own: the connector reads where its files are when it is imported."""
    fields = ("account", "user", "password", "host", "protocol")
    lines = [f'{name} = "{environment[f"SNOWFLAKE_{name.upper()}"]}"' for name in fields]
    path = tmp_path / "connections.toml"
    path.write_text("\n".join(["[stack]", *lines, f"port = {environment['SNOWFLAKE_PORT']}", 'schema = "NOWHERE"']))
    path.chmod(0o600)
    program = (
        "from mz_orchestration.snowflake.config import SnowflakeConfig\n"
        "from mz_orchestration.snowflake.quoting import Sql\n"
        "from mz_orchestration.snowflake.session import SnowflakeSession\n"
        "with SnowflakeSession(SnowflakeConfig.from_environment()) as session:\n"
        "    print(session.query(Sql('SELECT CURRENT_USER() AS A, CURRENT_SCHEMA() AS B')).rows)\n"
    )
    settings = {
        "SNOWFLAKE_HOME": str(tmp_path),
        "SNOWFLAKE_DEFAULT_CONNECTION_NAME": "stack",
        # What is set here goes before what the file says.
        "SNOWFLAKE_DATABASE": "DEMO",
        "SNOWFLAKE_SCHEMA": "PUBLIC",
    }
    others = {name: value for name, value in os.environ.items() if not name.startswith("SNOWFLAKE_")}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**others, **settings}, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[{'a': 'LOCAL', 'b': 'PUBLIC'}]\n", done.stderr
