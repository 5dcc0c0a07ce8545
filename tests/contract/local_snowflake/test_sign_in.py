"""Every way a service signs in, through the connector, and the numbers that refuse it."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import snowflake.connector
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

MAJOR = int(snowflake.connector.__version__.partition(".")[0])
REFUSED = snowflake.connector.errors.Error


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public(key: rsa.RSAPrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def written(key: rsa.RSAPrivateKey, path: Path, password: str | None = None) -> str:
    how = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    return str(path)


@pytest.fixture(scope="module")
def admin(server: Any) -> Any:
    with server.connect() as connection:
        yield connection.cursor()


@pytest.fixture(scope="module")
def loader(admin: Any, key: rsa.RSAPrivateKey) -> str:
    """A service user with a key and one role."""
    admin.execute("CREATE ROLE LOADER_ROLE")
    admin.execute(
        f"CREATE USER LOADER TYPE = SERVICE DEFAULT_ROLE = LOADER_ROLE DEFAULT_WAREHOUSE = COMPUTE_WH "
        f"RSA_PUBLIC_KEY = '{public(key)}' WORKLOAD_IDENTITY = "
        "(TYPE = OIDC ISSUER = 'https://identity.local' SUBJECT = 'system:serviceaccount:loader')"
    )
    admin.execute("GRANT ROLE LOADER_ROLE TO USER LOADER")
    return "LOADER"


def token(server: Any, client: str, **more: object) -> str:
    form = {"grant_type": "client_credentials", "client_id": client, "client_secret": server.password, **more}
    answer = httpx.post(server.url("/local/oauth/token"), data=form)
    return str(answer.raise_for_status().json()["access_token"])


def who(connection: Any) -> Any:
    with connection:
        return connection.cursor().execute("SELECT CURRENT_USER(), CURRENT_ROLE(), CURRENT_WAREHOUSE()").fetchone()


def refusal(server: Any, **options: Any) -> Any:
    with pytest.raises(REFUSED) as caught:
        server.connect(**{"password": None, **options})
    return caught.value


def test_key_pair(server: Any, loader: str, key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    path = written(key, tmp_path / "key.p8")
    signed_in = server.connect(user=loader, password=None, authenticator="SNOWFLAKE_JWT", private_key_file=path)
    assert who(signed_in) == ("LOADER", "LOADER_ROLE", "COMPUTE_WH")


def test_the_stacks_own_key(server: Any) -> None:
    path = server.statements.parent / "snowflake" / "rsa_key.p8"
    assert path.stat().st_mode & 0o777 == 0o600
    signed_in = server.connect(password=None, authenticator="SNOWFLAKE_JWT", private_key_file=str(path))
    assert who(signed_in) == ("LOCAL", "ACCOUNTADMIN", "COMPUTE_WH")


def test_key_pair_with_a_passphrase(server: Any, loader: str, key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    path = written(key, tmp_path / "key.p8", "opensesame")
    signed_in = server.connect(
        user=loader,
        password=None,
        authenticator="SNOWFLAKE_JWT",
        private_key_file=path,
        **{"private_key_file_pwd" if MAJOR < 5 else "private_key_password": "opensesame"},
    )
    assert who(signed_in)[0] == "LOADER"


def test_another_key_is_refused(server: Any, loader: str, tmp_path: Path) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = written(other, tmp_path / "key.p8")
    error = refusal(server, user=loader, authenticator="SNOWFLAKE_JWT", private_key_file=path)
    assert "JWT token is invalid" in str(error)


def test_two_keys_for_the_time_of_a_rotation(server: Any, admin: Any, tmp_path: Path) -> None:
    first, second = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    admin.execute("CREATE USER ROTATING")
    admin.execute(f"ALTER USER ROTATING SET RSA_PUBLIC_KEY = '{public(first)}'")
    admin.execute(f"ALTER USER ROTATING SET RSA_PUBLIC_KEY_2 = '{public(second)}'")
    paths = [written(first, tmp_path / "first.p8"), written(second, tmp_path / "second.p8")]
    options = {"user": "ROTATING", "password": None, "authenticator": "SNOWFLAKE_JWT"}
    for path in paths:
        assert who(server.connect(**options, private_key_file=path))[:2] == ("ROTATING", "PUBLIC")
    admin.execute("ALTER USER ROTATING UNSET RSA_PUBLIC_KEY")
    assert "JWT token is invalid" in str(refusal(server, **options, private_key_file=paths[0]))
    assert who(server.connect(**options, private_key_file=paths[1]))[0] == "ROTATING"


def jwt(key: rsa.RSAPrivateKey, header: dict[str, Any], claims: dict[str, Any]) -> str:
    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    signed = ".".join(part(json.dumps(each).encode()) for each in (header, claims))
    return f"{signed}.{part(key.sign(signed.encode(), PKCS1v15(), SHA256()))}"


def fingerprint(key: rsa.RSAPrivateKey) -> str:
    from hashlib import sha256

    return "SHA256:" + base64.b64encode(sha256(base64.b64decode(public(key))).digest()).decode()


@pytest.mark.parametrize(
    ("claims", "header", "code"),
    [
        ({}, {}, None),
        ({"exp": -1}, {}, "390144"),
        ({"iat": -3700, "exp": 600}, {}, "390144"),
        ({"iat": 600, "exp": 700}, {}, "390144"),
        ({"exp": None}, {}, "390144"),
        ({"iss": "LOCAL.LOADER.SHA256:other"}, {}, "390144"),
        ({"sub": "ELSEWHERE.LOADER"}, {}, "390144"),
        ({}, {"alg": "none"}, "390144"),
        ({}, {"alg": "HS256"}, "390144"),
    ],
)
def test_what_a_key_pairs_token_must_say(
    server: Any,
    loader: str,
    key: rsa.RSAPrivateKey,
    claims: dict[str, Any],
    header: dict[str, Any],
    code: str | None,
) -> None:
    now = time.time()
    given = {"iss": f"LOCAL.LOADER.{fingerprint(key)}", "sub": "LOCAL.LOADER", "iat": 0, "exp": 60, **claims}
    for moment in ("iat", "exp"):
        given[moment] = None if given[moment] is None else int(now + given[moment])
    data = {
        "LOGIN_NAME": loader,
        "AUTHENTICATOR": "SNOWFLAKE_JWT",
        "TOKEN": jwt(key, {"alg": "RS256", **header}, given),
    }
    answer = httpx.post(server.url("/session/v1/login-request"), json={"data": data}).json()
    assert (answer["success"], answer["code"]) == (code is None, code)


def test_a_garbled_token_and_a_garbled_key(server: Any, loader: str, admin: Any, key: rsa.RSAPrivateKey) -> None:
    data = {"LOGIN_NAME": loader, "AUTHENTICATOR": "SNOWFLAKE_JWT", "TOKEN": "a.b.c"}
    assert httpx.post(server.url("/session/v1/login-request"), json={"data": data}).json()["code"] == "390144"
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for wrong in ("garbage", pem):
        with pytest.raises(snowflake.connector.errors.ProgrammingError, match="Invalid Public key") as caught:
            admin.execute(f"ALTER USER LOADER SET RSA_PUBLIC_KEY = '{wrong}'")
        assert caught.value.errno == 3552
    # What was there before is there still.
    shown = dict(row[:2] for row in admin.execute("DESC USER LOADER").fetchall())
    assert shown["RSA_PUBLIC_KEY_FP"] == fingerprint(key)


def test_oauth_access_token(server: Any, loader: str) -> None:
    signed_in = server.connect(user=loader, password=None, authenticator="OAUTH", token=token(server, "LOADER"))
    assert who(signed_in)[:2] == ("LOADER", "LOADER_ROLE")
    scoped = token(server, "LOCAL", scope="session:role:SYSADMIN")
    assert who(server.connect(password=None, authenticator="OAUTH", token=scoped))[:2] == ("LOCAL", "SYSADMIN")


@pytest.mark.parametrize(
    ("client", "more", "said"),
    [
        ("LOADER", {"lifetime": -5}, "OAuth access token expired"),
        ("LOADER", {"audience": "elsewhere"}, "Invalid OAuth access token"),
        ("NOBODY", {}, "Invalid OAuth access token"),
        ("LOCAL", {}, "differs from the user"),
        (None, {}, "Invalid OAuth access token"),
    ],
)
def test_oauth_tokens_that_are_refused(
    server: Any, loader: str, client: str | None, more: dict[str, object], said: str
) -> None:
    given = token(server, client, **more) if client else "no.such.token"
    error = refusal(server, user=loader, authenticator="OAUTH", token=given)
    assert said in str(error)
    assert given not in str(error)


def test_oauth_client_credentials(server: Any, loader: str) -> None:
    signed_in = server.connect(
        user=loader,
        password=None,
        authenticator="OAUTH_CLIENT_CREDENTIALS",
        oauth_client_id="LOADER",
        oauth_client_secret=server.password,
        oauth_token_request_url=server.url("/local/oauth/token"),
        oauth_scope="session:role:LOADER_ROLE",
    )
    assert who(signed_in)[:2] == ("LOADER", "LOADER_ROLE")


def test_the_token_endpoint_knows_its_clients(server: Any) -> None:
    form = {"grant_type": "client_credentials", "client_id": "LOADER", "client_secret": "wrong"}
    assert httpx.post(server.url("/local/oauth/token"), data=form).status_code == 401
    form["client_secret"] = server.password
    assert httpx.post(server.url("/local/oauth/token"), data=form).status_code == 200
    assert httpx.post(server.url("/local/oauth/token"), data={**form, "grant_type": "password"}).status_code == 400


def test_programmatic_access_token(server: Any, loader: str, admin: Any) -> None:
    sql = "ALTER USER LOADER ADD PROGRAMMATIC ACCESS TOKEN NIGHTLY ROLE_RESTRICTION = 'LOADER_ROLE' DAYS_TO_EXPIRY = 30"
    name, secret = admin.execute(sql).fetchone()
    assert name == "NIGHTLY"
    options = {"user": loader, "password": None, "authenticator": "PROGRAMMATIC_ACCESS_TOKEN"}
    assert who(server.connect(**options, token=secret))[:2] == ("LOADER", "LOADER_ROLE")
    # It also stands in the place of a password, even of a service's, which has none.
    assert who(server.connect(user=loader, password=secret))[0] == "LOADER"
    shown = admin.execute("SHOW USER PROGRAMMATIC ACCESS TOKENS FOR USER LOADER").fetchall()
    assert [row[:3] for row in shown] == [("NIGHTLY", "LOADER", "LOADER_ROLE")]
    assert secret not in server.statements.read_text()
    for wrong in ({"token": "wrong"}, {"token": secret, "user": "LOCAL"}):
        assert "Programmatic access token is invalid" in str(refusal(server, **{**options, **wrong}))
    admin.execute("ALTER USER LOADER REMOVE PROGRAMMATIC ACCESS TOKEN NIGHTLY")
    assert "Programmatic access token is invalid" in str(refusal(server, **options, token=secret))


def test_workload_identity(server: Any, loader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The connector sends such tokens to Snowflake's own hosts only, and to those named here.
    monkeypatch.setenv("SNOWFLAKE_WIF_ALLOWED_HOST_SUFFIXES", "127.0.0.1")
    options = {
        "user": None if MAJOR < 5 else loader,
        "password": None,
        "authenticator": "WORKLOAD_IDENTITY",
        "workload_identity_provider": "OIDC",
    }
    subject = "system:serviceaccount:loader"
    assert who(server.connect(**options, token=token(server, subject)))[:2] == ("LOADER", "LOADER_ROLE")
    for wrong in (
        token(server, "system:serviceaccount:other"),
        token(server, subject, audience="elsewhere"),
        token(server, subject, lifetime=-5),
    ):
        assert "Incorrect username or password" in str(refusal(server, **options, token=wrong))


def test_what_is_not_emulated_says_so(server: Any) -> None:
    for data in (
        {"AUTHENTICATOR": "EXTERNALBROWSER"},
        {"AUTHENTICATOR": "WORKLOAD_IDENTITY", "PROVIDER": "AWS", "TOKEN": "x"},
    ):
        answer = httpx.post(
            server.url("/session/v1/login-request"), json={"data": {"LOGIN_NAME": "LOCAL", **data}}
        ).json()
        assert answer["code"] == "390139"
        assert "stand-in takes passwords, key pairs" in answer["message"]


def test_passwords_of_other_users(server: Any, admin: Any) -> None:
    admin.execute("CREATE USER ANALYST PASSWORD = 'first-secret' DEFAULT_ROLE = PUBLIC")
    assert who(server.connect(user="analyst", password="first-secret"))[:2] == ("ANALYST", "PUBLIC")
    admin.execute("ALTER USER ANALYST SET PASSWORD = 'second-secret'")
    assert "Incorrect username or password" in str(refusal(server, user="analyst", password="first-secret"))
    admin.execute("ALTER USER ANALYST SET DISABLED = TRUE")
    assert "User access disabled" in str(refusal(server, user="analyst", password="second-secret"))
    assert "-secret" not in server.statements.read_text()
    admin.execute("ALTER USER ANALYST SET DISABLED = FALSE TYPE = SERVICE")
    assert "Incorrect username or password" in str(refusal(server, user="analyst", password="second-secret"))
    admin.execute("DROP USER ANALYST")
    with pytest.raises(snowflake.connector.errors.ProgrammingError, match="'ANALYST' does not exist"):
        admin.execute("DROP USER ANALYST")


def test_roles_at_the_sign_in(server: Any, loader: str, key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    path = written(key, tmp_path / "key.p8")
    options = {"user": loader, "authenticator": "SNOWFLAKE_JWT", "private_key_file": path}
    assert who(server.connect(**options, password=None, role="public"))[1] == "PUBLIC"
    assert "does not exist or not authorized" in str(refusal(server, **options, role="nosuch"))
    assert "is not granted to this user" in str(refusal(server, **options, role="accountadmin"))


def test_only_administrators_change_users(server: Any, loader: str, key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    path = written(key, tmp_path / "key.p8")
    signed_in = server.connect(user=loader, password=None, authenticator="SNOWFLAKE_JWT", private_key_file=path)
    with signed_in as connection:
        for sql in ("CREATE USER INTRUDER", "ALTER USER LOCAL SET PASSWORD = 'x'", "DROP USER LOCAL"):
            with pytest.raises(snowflake.connector.errors.ProgrammingError, match="Insufficient privileges"):
                connection.cursor().execute(sql)
